"""Read typed fields from parsed JSON: each function returns the value in its type, or raises an error with the field.

`where` is the path of the object that is being read (`predicate.buildDefinition`), for the message.
A field that is absent and one that is null are the same to the optional readers, as in proto3 JSON.

Does NOT know any format: a parser chooses the expected type by the reader that it calls.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.canonical import Json

Object = Mapping[str, Json]

MAX_UINT_DIGITS = 19
"""Most digits of a decimal integer in text: those of 2^63-1, so no conversion is ever expensive."""

_STANDARD = str.maketrans("-_", "+/")
_UNDERSCORE = re.compile(r"_([a-z0-9])", re.ASCII)


def _wrong(where: str, expected: str, value: Json) -> MalformedError:
    got = "nothing" if value is None else type(value).__name__
    return MalformedError("field has the wrong type", where=where, expected=expected, got=got)


def as_object(value: Json, where: str) -> Object:
    """Return the value as a JSON object, or raise MalformedError."""
    if type(value) is dict or isinstance(value, Mapping):  # the second test alone takes five times as long
        return value
    raise _wrong(where, "an object", value)


def as_array(value: Json, where: str, *, limit: int) -> Sequence[Json]:
    """Return the value as a JSON array. Raises MalformedError for another type, LimitError beyond `limit` items."""
    if not isinstance(value, list | tuple):
        raise _wrong(where, "an array", value)
    if len(value) > limit:
        raise LimitError("too many items", where=where, expected=f"at most {limit}", got=str(len(value)))
    return value


def as_string(value: Json, where: str) -> str:
    """Return the value as text, or raise MalformedError."""
    if not isinstance(value, str):
        raise _wrong(where, "a string", value)
    return value


def get_object(source: Object, key: str, where: str) -> Object:
    """Return the object at `key`, or raise MalformedError."""
    value = source.get(key)
    return value if type(value) is dict else as_object(value, f"{where}.{key}")


def find_object(source: Object, key: str, where: str) -> Object | None:
    """Return the object at `key`, None if there is none, or raise MalformedError."""
    return None if source.get(key) is None else get_object(source, key, where)


def get_array(source: Object, key: str, where: str, *, limit: int) -> Sequence[Json]:
    """Return the array at `key`, or raise MalformedError or LimitError."""
    return as_array(source.get(key), f"{where}.{key}", limit=limit)


def find_array(source: Object, key: str, where: str, *, limit: int) -> Sequence[Json]:
    """Return the array at `key`, an empty one if there is none, or raise MalformedError or LimitError."""
    return () if source.get(key) is None else get_array(source, key, where, limit=limit)


def get_string(source: Object, key: str, where: str) -> str:
    """Return the text at `key`, or raise MalformedError."""
    value = source.get(key)
    return value if type(value) is str else as_string(value, f"{where}.{key}")


def find_string(source: Object, key: str, where: str) -> str | None:
    """Return the text at `key`, None if there is none, or raise MalformedError."""
    return None if source.get(key) is None else get_string(source, key, where)


def get_integer(source: Object, key: str, where: str) -> int:
    """Return the non-negative integer at `key`, or raise MalformedError. true is no integer."""
    value = source.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _wrong(f"{where}.{key}", "an integer, 0 or more", value)
    return value


def decimal(text: str, where: str) -> int:
    """Return the non-negative integer that the text spells canonically, or raise MalformedError."""
    canonical = text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")
    if not canonical or len(text) > MAX_UINT_DIGITS or int(text) >= 2**63:
        raise MalformedError("not a canonical decimal number", where=where, got=ascii(text[:40]))
    return int(text)


def get_uint64(source: Object, key: str, where: str) -> int:
    """Return the integer at `key` in proto3 JSON, or raise MalformedError.

    Text is usual, a number is allowed, and an absent field is 0: writers leave zeros out.
    """
    value = source.get(key)
    if value is None:
        return 0
    if isinstance(value, str):
        return decimal(value, f"{where}.{key}")
    return get_integer(source, key, where)


def encode_base64(data: bytes) -> str:
    """Return the bytes in canonical standard base64."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def decode_base64(text: str, where: str) -> bytes:
    """Return the bytes of canonical standard base64, or raise MalformedError."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("not base64", where=where, got=ascii(text[:40])) from error
    if binascii.b2a_base64(data, newline=False) != text.encode():
        raise MalformedError("not canonical base64", where=where, got=ascii(text[:40]))
    return data


def decode_proto_base64(text: str, where: str) -> bytes:
    """Return the bytes that proto3 JSON spells so, or raise MalformedError.

    Both alphabets are read, the standard and the URL-safe one, but not mixed; the padding may be left out.
    """
    if ("-" in text or "_" in text) and "+" not in text and "/" not in text:
        text = text.translate(_STANDARD)
    return decode_base64(text if "=" in text else text + "=" * (-len(text) % 4), where)


def get_bytes(source: Object, key: str, where: str) -> bytes:
    """Return the bytes that are base64 in proto3 JSON at `key`, or raise MalformedError."""
    return decode_proto_base64(get_string(source, key, where), f"{where}.{key}")


def proto_names(value: Json) -> Json:
    """Return proto3 JSON with every field under its lowerCamelCase name: the original `snake_case` is as good.

    Raises MalformedError if a field is there under both names. For messages without maps, as Sigstore's are.
    """
    if isinstance(value, Mapping):
        found: dict[str, Json] = {}
        for key, item in value.items():
            name = _UNDERSCORE.sub(lambda match: match[1].upper(), key)
            if name in found:
                raise MalformedError("field occurs under two names", got=ascii(name[:100]))
            found[name] = proto_names(item)
        return found
    return [proto_names(item) for item in value] if isinstance(value, list) else value
