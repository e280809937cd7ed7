"""JSON in and out: strict on the way in, canonical (RFC 8785) on the way out.

What two parsers could read differently is refused: duplicate keys, NaN, integers that a double cannot hold,
a byte-order mark, bytes that are not UTF-8, lone surrogates, trailing data. Size, depth and number of values
are bounded before memory is spent.

Format: https://www.rfc-editor.org/rfc/rfc8785 over I-JSON, https://www.rfc-editor.org/rfc/rfc7493.
Does NOT check that what it reads is canonical: bytes that were signed are kept, not made again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

import rfc8785

from gitchain.errors import LimitError, MalformedError

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""A JSON value. Parsed ones are built of dict and list; tuples may be given for writing."""

MAX_JSON_BYTES = 16 * 1024 * 1024
"""Default limit for a document: a statement over 100,000 files is 14 MB."""

MAX_JSON_DEPTH = 64
"""Deepest nesting: real statements stay below 12; Python's own stack ends near 1,000."""

MAX_JSON_VALUES = 400_000
"""Most separators in one document, which costs at most 100 MB in memory; a statement over 10,000 artifacts has 100,000."""

MAX_SAFE_INTEGER = 2**53 - 1
"""Largest integer that every JSON parser reads alike (RFC 7493 section 2.2)."""

_LONG_INTEGER = re.compile(rb"\d{16}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_PARSED_CONTAINERS = frozenset({dict, list})
_SCALARS = frozenset({str, int, float, bool, type(None)})
_BOM = b"\xef\xbb\xbf"


def canonical_json(value: Json) -> bytes:
    """Return the one RFC 8785 encoding of the value.

    Raises MalformedError for what strict readers refuse: NaN, numbers that read as integers beyond ±(2^53-1),
    lone surrogates, types that JSON has not; LimitError beyond MAX_JSON_DEPTH.
    """
    _check_depth(value, "value", MAX_JSON_DEPTH)
    try:
        data = rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, AttributeError, TypeError) as error:
        raise MalformedError("value has no canonical JSON form", got=str(error)) from error
    # RFC 8785 writes 1e20 as 100000000000000000000, which strict_json refuses: refuse it before it is signed.
    if _LONG_INTEGER.search(data):
        strict_json(data, "value", max_bytes=len(data), max_values=len(data))
    return data


def strict_json(
    data: bytes,
    what: str,
    *,
    max_bytes: int = MAX_JSON_BYTES,
    max_depth: int = MAX_JSON_DEPTH,
    max_values: int = MAX_JSON_VALUES,
) -> Json:
    """Return the JSON value that these bytes hold.

    Raises LimitError beyond the bounds, MalformedError for everything that RFC 7493 (I-JSON) refuses.
    """
    if len(data) > max_bytes:
        raise LimitError(f"{what} is too large", expected=f"at most {max_bytes} bytes", got=str(len(data)))
    brackets = data.count(b"{") + data.count(b"[")
    if brackets + data.count(b",") > max_values:
        raise LimitError(f"{what} holds too many values", expected=f"at most {max_values}")
    if data.startswith(_BOM):
        raise MalformedError(f"{what} starts with a byte-order mark")
    try:
        value: Json = _DECODER.decode(data.decode("utf-8"))
    except RecursionError as error:
        raise LimitError(f"{what} is nested too deeply", expected=f"at most {max_depth} levels") from error
    except MalformedError as error:
        raise MalformedError(error.what, where=what, expected=error.expected, got=error.got) from error
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError among them
        raise MalformedError(f"{what} is not JSON", got=str(error)) from error
    if brackets > max_depth:  # with fewer it cannot be deeper
        _check_parsed_depth(value, what, max_depth)
    if b"\\u" in data and _SURROGATE.search(data):  # UTF-8 has none: only an escape can spell one
        _check_surrogates(value, what)
    return value


def _pairs(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise MalformedError("JSON key appears twice", got=ascii(twice[:100]))
    return found


def _integer(text: str) -> int:
    """Return the integer, or raise MalformedError; text longer than the lowest one is never converted."""
    if len(text) > len(f"-{MAX_SAFE_INTEGER}") or abs(int(text)) > MAX_SAFE_INTEGER:
        raise MalformedError("JSON integer is too large", expected="at most 2^53-1", got=text[:40])
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise MalformedError("JSON number is too large", got=text[:40])
    return number


def _constant(text: str) -> NoReturn:
    raise MalformedError("JSON number is not finite", got=text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def _check_depth(value: Json, what: str, max_depth: int) -> None:
    """Walk level by level, so that neither a deep nor a wide value can exhaust the stack."""
    level: list[Json] = [value]
    for _ in range(max_depth):
        level = [child for item in level for child in _inside(item) if type(child) not in _SCALARS]
        if not level:
            return
    raise LimitError(f"{what} is nested too deeply", expected=f"at most {max_depth} levels")


def _check_parsed_depth(value: Json, what: str, max_depth: int) -> None:
    """Check a parsed value in the same way: the parser makes no other containers than `dict` and `list`."""
    level: list[Any] = [[value]]
    for _ in range(max_depth + 1):
        level = [
            child
            for item in level
            for child in (item.values() if type(item) is dict else item)
            if type(child) in _PARSED_CONTAINERS
        ]
        if not level:
            return
    raise LimitError(f"{what} is nested too deeply", expected=f"at most {max_depth} levels")


def _inside(item: Json) -> Iterable[Json]:
    """Return what is right inside an object or array."""
    if isinstance(item, (dict, Mapping)):
        return item.values()
    return item if isinstance(item, (list, tuple)) else ()


def _check_surrogates(value: Json, what: str) -> None:
    r"""Refuse `\ud800` without its partner: such text has no UTF-8 and no canonical form."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedError(f"{what} holds half a surrogate pair") from error
