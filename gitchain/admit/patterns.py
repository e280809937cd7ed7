"""Match texts of an object with the patterns of the operator."""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import fnmatchcase

from gitchain.admit.references import filled

MAX_MATCHED = 4096
"""Longest text for patterns, in characters: of a longer reference only the beginning is examined."""

_ELSEWHERE = re.compile(
    r"://[^/]*@|[$`\\\"']|%(?:2e|2f|5c)|(?<![\w.])\.\.(?![\w.])", re.ASCII | re.IGNORECASE
)
"""Parts of a text that may lead elsewhere than its beginning shows.

These are user information before a host, `..`, what a shell or Kubernetes replaces or leaves out (also quotes), and
escaped dots and slashes.
"""

_BRACES = re.compile(r"[{}]")

_JOINED = re.compile(r"[;|(){}<>]|,(?![0-9]{0,6}(?:\.[0-9]{0,6})?(?:,|$))(?![A-Za-z0-9+.-]+://)")
"""What joins an address to a command of a shell, or to another item of a list."""


def matches(text: str, patterns: Collection[str]) -> bool:
    """Return True if a pattern of the operator matches a text.

    A text that may lead elsewhere than its beginning shows, or is too long to be examined, has to be a pattern itself.
    A pattern for addresses matches an address only, not a program or a list that begins with one.
    """
    if len(text) > MAX_MATCHED or _ELSEWHERE.search(text) or _BRACES.search(filled(text)):
        return text in patterns
    if _is_joined(text):
        patterns = [one for one in patterns if one == text or "://" not in one]
    return any(one == text or fnmatchcase(text, one) for one in patterns)


def _is_joined(text: str) -> bool:
    """Return True if something is joined to the address in a text."""
    return _JOINED.search(filled(text.partition("://")[2]).rstrip(";,)}]>")) is not None
