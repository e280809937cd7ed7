"""A strict subset of YAML, read from libyaml's events: maps, lists, and three kinds of scalar.

Ambiguous or expanding constructs are refused: anchors, aliases, tags, directives, several documents, duplicate keys,
keys that are not strings, `<<`. A plain scalar is null
(`null`, `~`, nothing), a boolean (`true`, `false`), a decimal integer, or else a string: `no`, `1.0`, `0x10`
and `2027-01-01` are strings, as in YAML 1.2 and unlike YAML 1.1.

Spec: https://yaml.org/spec/1.2.2/ . Does NOT interpret the values.
"""

from __future__ import annotations

import re

from gitchain.errors import LayoutError
from gitchain.evidence.canonical import MAX_SAFE_INTEGER, Json
from gitchain.platform.yaml import Dialect, YamlValue, read_documents

MAX_DEPTH = 32
_MAX_SIZE = 64 << 20  # beyond what callers read: they limit the bytes
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,15})\.[0-9]{1,15}")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,15})")
_CONSTANTS: dict[str, YamlValue] = {"": None, "~": None, "null": None, "true": True, "false": False}


def read_yaml(text: str, *, decimals: bool = False) -> Json:
    """Return the one document in the text. Raises LayoutError for everything outside the subset.

    A layout has no decimals, so `1.0` is a string in it; with `decimals` it is a number.
    """
    dialect = Dialect(
        _decimal if decimals else _scalar,
        LayoutError,
        depth=MAX_DEPTH,
        values=_MAX_SIZE,
        characters=_MAX_SIZE,
        limit=LayoutError,
        is_plain=True,
    )
    for value, _ in [*read_documents(text, dialect, "", most=1)]:
        return value
    raise LayoutError("the file is empty", expected="a layout")


def _decimal(text: str) -> YamlValue:
    return float(text) if _DECIMAL.fullmatch(text) else _scalar(text)


def _scalar(text: str) -> YamlValue:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if not _INTEGER.fullmatch(text):
        return text
    if abs(int(text)) > MAX_SAFE_INTEGER:
        raise ValueError("integer is too large")
    return int(text)
