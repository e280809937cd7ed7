"""Match texts of an object with the patterns of the operator."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

MAX_MATCHED = 4096
"""Longest text for patterns, in characters: of a longer reference only the beginning is examined."""

_ELSEWHERE = re.compile(r"://[^/]*@|(?<![\w.])(?:\.|%2e){2}(?![\w.])", re.ASCII | re.IGNORECASE)
"""A URL with user information before its host, or a path with `..`: it leads elsewhere than its beginning shows."""


def matches(text: str, patterns: Iterable[str]) -> bool:
    """Return True if a pattern of the operator matches a text.

    A text that leads elsewhere than its beginning shows matches only a pattern that does so itself.
    """
    if len(text) > MAX_MATCHED or _ELSEWHERE.search(text):
        patterns = (one for one in patterns if one == text or _ELSEWHERE.search(one))
    return any(one == text or fnmatchcase(text, one) for one in patterns)
