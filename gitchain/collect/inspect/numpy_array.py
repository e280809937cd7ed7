"""Check that a NumPy file's header describes exactly the bytes that follow, or a pickle of objects.

The header is the text of a Python dictionary. It is read as NumPy reads it, with `ast.literal_eval`, so that an escaped
letter in a type counts as the letter. Types that are not known here are errors.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html (versions 1 to 3).
"""

from __future__ import annotations

import ast
import math
import re
from typing import IO

from gitchain.collect.inspect.problem import shown
from gitchain.errors import LimitError, MalformedError

MAGIC = b"\x93NUMPY"
MAX_HEADER = 10_000
"""Longest header in bytes: the limit of NumPy itself for files that are not trusted."""

MAX_DEPTH = 8
"""Deepest structured type in a structured type."""

_SIMPLE = re.compile(
    r"[<>=|]?([biufcSUVmM])([0-9]{1,9})(\[[0-9]{0,9}[A-Za-z]{1,2}(/[0-9]{1,9})?\])?", re.ASCII
)
_OBJECT = re.compile(r"[<>=|]?O[0-9]{0,2}", re.ASCII)


def data_size(stream: IO[bytes]) -> int | None:
    """Read the header of an array file from its start; return the size of the data in bytes, None for a pickle.

    Raises MalformedError or LimitError for a header that NumPy could take in another way.
    """
    start = stream.read(8)
    if len(start) < 8 or start[6:7] not in {b"\x01", b"\x02", b"\x03"} or start[7:8] != b"\0":
        raise MalformedError(
            "NumPy file has an unknown version", expected="1.0, 2.0 or 3.0", got=shown(start[6:8])
        )
    length = int.from_bytes(stream.read(2 if start[6:7] == b"\x01" else 4), "little")
    if length > MAX_HEADER:
        raise LimitError("NumPy header is too long", expected=f"at most {MAX_HEADER} bytes", got=str(length))
    header = _header(stream.read(length), length)
    shape, size = header["shape"], _item_size(header["descr"], 0)
    if not isinstance(shape, tuple) or not all(type(one) is int and one >= 0 for one in shape):
        raise MalformedError("NumPy header has no shape", got=shown(shape))
    return None if size is None else math.prod(shape) * size


def _header(data: bytes, length: int) -> dict[str, object]:
    try:
        value = ast.literal_eval(data.decode("utf-8").strip(" \n\0"))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise MalformedError("NumPy header cannot be read", got=type(error).__name__) from error
    if (
        len(data) != length
        or not isinstance(value, dict)
        or set(value) != {"descr", "fortran_order", "shape"}
    ):
        raise MalformedError("NumPy header is malformed", expected="descr, fortran_order and shape")
    return value


def _item_size(kind: object, depth: int) -> int | None:
    """Return the size of an item in bytes, None if it is or holds objects."""
    if depth > MAX_DEPTH:
        raise LimitError("NumPy type nests too deeply", expected=f"at most {MAX_DEPTH} levels")
    if isinstance(kind, str):
        if _OBJECT.fullmatch(kind):
            return None
        found = _SIMPLE.fullmatch(kind)
        if found:
            return int(found[2]) * (4 if found[1] == "U" else 1)
    if isinstance(kind, list) and kind:
        sizes = [_field_size(one, depth + 1) for one in kind]
        known = [one for one in sizes if one is not None]
        return sum(known) if len(known) == len(sizes) else None
    raise MalformedError("NumPy type is not known", got=shown(kind))


def _field_size(item: object, depth: int) -> int | None:
    """Return the size of a field `(name, type)` or `(name, type, shape)`."""
    if not isinstance(item, tuple) or len(item) not in {2, 3}:
        raise MalformedError("NumPy type is not known", got=shown(item))
    shape = item[2] if len(item) == 3 else ()
    sizes = (shape,) if type(shape) is int else shape
    if not isinstance(sizes, tuple) or not all(type(one) is int and one >= 0 for one in sizes):
        raise MalformedError("NumPy type is not known", got=shown(item))
    size = _item_size(item[1], depth)
    return None if size is None else size * math.prod(sizes)
