"""Match texts of an object with the patterns of the operator."""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import fnmatchcase

MAX_MATCHED = 4096
"""Longest text for patterns, in characters: of a longer reference only the beginning is examined."""

_ELSEWHERE = re.compile(r"://[^/]*@|[$`\\]|%(?:2e|2f|5c)|(?<![\w.])\.\.(?![\w.])", re.ASCII | re.IGNORECASE)
"""Parts of a text that may lead elsewhere than its beginning shows.

These are user information before a host, `..`, what a shell or Kubernetes replaces, and escaped dots and slashes.
"""


def matches(text: str, patterns: Collection[str]) -> bool:
    """Return True if a pattern of the operator matches a text.

    A text that may lead elsewhere than its beginning shows, or is too long to be examined, has to be a pattern itself.
    """
    if len(text) > MAX_MATCHED or _ELSEWHERE.search(text):
        return text in patterns
    return any(one == text or fnmatchcase(text, one) for one in patterns)
