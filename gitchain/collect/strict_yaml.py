"""Parse one YAML document as DVC does: YAML 1.2 scalars, anchors, aliases, merge keys, with line numbers.

Dates, binary data and numbers of more than 400 characters stay text, a set is a mapping to nulls. Several documents and
merge conflicts are refused, and what `gitchain.platform.yaml` refuses.
"""

from __future__ import annotations

import re

from gitchain.errors import LimitError, ProjectError
from gitchain.platform.yaml import Dialect, YamlValue, read_document

MAX_YAML_BYTES = 32 * 1024 * 1024
"""Largest file: a dvc.lock of 200 stages is 46 KB, an inline list of 100,000 cloud files about 20 MB."""

MAX_YAML_DEPTH = 64
"""Deepest nesting: dvc.lock needs six levels and the parameters' own depth."""

MAX_YAML_VALUES = 2_000_000
"""Most values in one file, aliases expanded, so that a small file of many tiny values cannot fill the memory."""

CONFLICT = re.compile(rb"^(?:<{7}|>{7}|\|{7})(?: |\r?$)|^={7}\r?$", re.MULTILINE)
_TYPED = frozenset(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null"))
_OTHERS = ("map", "seq", "str", "timestamp", "binary", "set", "omap", "pairs")
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_DECIMAL = re.compile(r"[-+]?[0-9][0-9_]*", re.ASCII)
_BASED = re.compile(r"([-+]?)0(b[01_]+|o?[0-7_]+|x[0-9a-fA-F_]+)", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?",
    re.ASCII,
)
"""`.5e3` stays text: after a leading point DVC's reader wants a sign in the exponent."""
_SPECIAL = re.compile(r"([-+]?)\.(?:(inf|Inf|INF)|nan|NaN|NAN)", re.ASCII)
_BASES = {"b": 2, "o": 8, "x": 16}
_MAX_NUMBER = 400
"""Longest number that is converted, since Python's conversion of digits is quadratic: a longer one stays text."""


def load_yaml(data: bytes, where: str) -> YamlValue:
    """Return the one document in these bytes, None if they are empty.

    Raises ProjectError that names file and line for all that is refused, LimitError beyond the bounds.
    """
    if len(data) > MAX_YAML_BYTES:
        raise LimitError(
            "file is too large", where=where, expected=f"at most {MAX_YAML_BYTES} bytes", got=str(len(data))
        )
    conflict = CONFLICT.search(data)
    if conflict is not None:
        line = data.count(b"\n", 0, conflict.start()) + 1
        raise ProjectError(
            "file holds merge conflict markers",
            where=f"{where} line {line}",
            help=f"resolve the conflict in {where}",
        )
    return read_document(data, _DVC, where)


def plain_scalar(text: str) -> bool | int | float | str | None:
    """Return the value of an unquoted scalar in YAML 1.2, as DVC reads it."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text[0] not in "+-.0123456789" or len(text) > _MAX_NUMBER:
        return text
    return _number(text)


def _number(text: str) -> int | float | str:
    based = _BASED.fullmatch(text)
    if based is not None:
        digits = based[2].replace("_", "")
        base = _BASES.get(digits[:1], 8 if digits[:1] == "o" else 10)
        value = int(digits.lstrip("box") or "0", base)
        return -value if based[1] == "-" else value
    if _DECIMAL.fullmatch(text):
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    special = _SPECIAL.fullmatch(text)
    if special is not None:
        return float(f"{special[1]}inf") if special[2] else float("nan")
    return text


_DVC = Dialect(
    plain_scalar,
    ProjectError,
    depth=MAX_YAML_DEPTH,
    values=MAX_YAML_VALUES,
    characters=MAX_YAML_BYTES,
    tags=frozenset({*_TYPED, *(f"tag:yaml.org,2002:{name}" for name in _OTHERS)}),
    typed=_TYPED,
    remedy="correct the file at that line",
)
"""What DVC's reader knows."""
