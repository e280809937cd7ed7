"""Plain scalars of YAML 1.2 as DVC reads them: null, booleans, integers, floats, text."""

from __future__ import annotations

import re

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
