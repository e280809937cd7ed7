"""Skip arrays that joblib wrote into a pickle, by their description: shape, size of an item, alignment.

Format: `joblib.numpy_pickle.NumpyArrayWrapper`; types are those of `numpy.dtype.__reduce__`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from gitchain.collect.inspect.pickle_stream import OpcodeStream
from gitchain.collect.inspect.pickle_values import (
    PickledItems,
    PickledObject,
    is_type,
)
from gitchain.errors import MalformedError

MAX_PADDING = 16
"""Most bytes between joblib's description of an array and the array; the count is in one byte before them.

As opcodes, the bytes 1 to 16 end a pickle with an error: no unpickler reads the array's bytes as opcodes.
"""

MAX_FIELDS_DEPTH = 4
"""Deepest structured type in a structured type."""

_ITEM_TYPE = re.compile(r"([biufcmMSUV])([1-9][0-9]{0,8})", re.ASCII)

_HAS_OBJECTS = 1  # NPY_ITEM_HASOBJECT, NumPy's flag of a type whose items are Python objects


def skip_array(stream: OpcodeStream, items: Mapping[str, object] | None) -> bool:
    """Skip the array that follows its description; return True for an array of objects: a pickle follows instead.

    Raises MalformedError for a description whose size cannot be computed.
    """
    shape, size, alignment = _layout(items or {})
    if size is None:
        return True
    if alignment is None:
        raise MalformedError(
            "array of joblib has no padding",
            expected="joblib 1.2 or newer",
            help="write it again with joblib",
        )
    padding = stream.take(1)[0]
    if not 0 < padding <= MAX_PADDING:
        raise MalformedError("array of joblib is not aligned", expected="1 to 16 bytes", got=str(padding))
    stream.skip(padding + math.prod(shape) * size)
    return False


def _layout(items: Mapping[str, object]) -> tuple[tuple[int, ...], int | None, int | None]:
    """Return shape, bytes of an item (None for objects) and alignment (None if there is none) of an array of joblib."""
    shape, alignment = items.get("shape"), items.get("numpy_array_alignment_bytes")
    if not isinstance(shape, tuple):
        raise MalformedError(
            "array of joblib cannot be followed", expected="a shape", got=type(shape).__name__
        )
    sizes = [one for one in shape if isinstance(one, int) and one >= 0]
    if len(sizes) != len(shape):
        raise MalformedError("array of joblib cannot be followed", expected="sizes in its shape")
    if not isinstance(alignment, int | None) or isinstance(alignment, bool):
        raise MalformedError("array of joblib cannot be followed", expected="an alignment")
    return tuple(sizes), _item_size(items.get("dtype")), alignment


def _item_size(kind: object, depth: int = 0) -> int | None:
    """Return the size in bytes of an item of a NumPy type, None for objects.

    Raises MalformedError for a type whose arguments and state (`numpy.dtype.__reduce__`) do not agree on the size and
    on whether items are objects, and for a structured type with objects.
    """
    arguments, state = (
        (kind.arguments, kind.state) if isinstance(kind, PickledObject) and is_type(kind) else ((), ())
    )
    text = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if (
        not isinstance(text, str)
        or not isinstance(state, tuple)
        or len(state) < 8
        or depth > MAX_FIELDS_DEPTH
    ):
        raise MalformedError("array of joblib has a type that cannot be followed")
    subtype, names, fields, size, _, flags = state[2:8]
    if not isinstance(size, int) or not isinstance(flags, int) or subtype is not None:
        raise MalformedError("array of joblib has a type that cannot be followed", got=ascii(text[:40]))
    holds_objects = bool(flags & _HAS_OBJECTS)
    if text == "O8" and holds_objects:
        return None
    found = _ITEM_TYPE.fullmatch(text)
    expected = int(found[2]) * (4 if found[1] == "U" else 1) if found else -1
    if found and found[1] == "V" and isinstance(fields, PickledItems):
        for one in (fields.items or {"": None}).values():
            holds_objects |= not isinstance(one, tuple) or not one or _item_size(one[0], depth + 1) is None
    elif names is not None or fields is not None:
        expected = -1
    if expected < 0 or holds_objects or size not in {-1, expected}:
        raise MalformedError("array of joblib has a type that cannot be followed", got=ascii(text[:40]))
    return expected
