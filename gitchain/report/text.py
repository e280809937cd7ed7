"""Make texts of evidence harmless: bounded in length, and without control, bidirectional or invisible characters.

`document_text` bounds a text for the JSON document, which keeps its characters. `shown` makes a text for a page.
Neither escapes HTML: the templates do.
"""

from __future__ import annotations

import unicodedata
from itertools import groupby

from gitchain.consume.diff_values import shortened

MAX_DOCUMENT = 400
"""Longest text in a document, in characters; a longer one ends with its length and the start of its SHA-256."""

MAX_MARKS = 4
"""Most combining marks on one character: more would be drawn over other lines."""


def document_text(text: str) -> str:
    """Return the text, or its start, length and the start of its SHA-256. Surrogates, which UTF-8 lacks, are escaped."""
    return shortened(text, MAX_DOCUMENT).encode("utf-8", "backslashreplace").decode("utf-8")


def shown(text: str, limit: int) -> str:
    """Return the text with unprintable characters as escapes, cut after `limit` characters."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    found = "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in _few_marks(text[: limit + 1])
    )
    return found if len(found) <= limit and len(text) <= limit else f"{found[: limit - 1]}…"


def cut_middle(text: str, limit: int) -> str:
    """Return the text without its middle if it is too long: similar names often differ at their end."""
    if width(text) <= limit:
        return text
    start, end = (limit - 1) // 2, limit - 1 - (limit - 1) // 2
    while width(text[:start]) + width(text[len(text) - end :]) >= limit and end > 1:
        start, end = start - 1 if start > 1 else 1, end - 1
    return f"{text[:start]}…{text[len(text) - end :]}"


def width(text: str) -> int:
    """Return the width of a text in columns: wide characters, as of Chinese, take two."""
    return sum(2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1 for char in text)


def _few_marks(text: str) -> str:
    groups = groupby(text, key=lambda char: unicodedata.category(char) in {"Mn", "Me"})
    return "".join("".join(list(group)[:MAX_MARKS]) if marks else "".join(group) for marks, group in groups)
