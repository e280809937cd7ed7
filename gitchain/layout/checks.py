"""Checks for values of a layout: labels, printable texts, lists without duplicates.

Each raises LayoutError with the field in `where`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from gitchain.errors import LayoutError, MalformedError
from gitchain.evidence.names import check_step_name

MAX_TEXT = 2048  # longer than any URL that a certificate authority would certify


def check_label(name: str, where: str = "name") -> None:
    """Raise LayoutError for a text that cannot be the name of a step, a functionary, or anything else in reports."""
    try:
        check_step_name(name)
    except MalformedError as error:
        raise LayoutError(
            error.what, where=where, expected=error.expected, got=error.got or error.where
        ) from error


def check_text(value: str, where: str) -> None:
    """Raise LayoutError for an empty text, or one with surrounding spaces or unprintable characters."""
    if not 0 < len(value) <= MAX_TEXT or not value.isprintable() or value != value.strip():
        raise LayoutError(f"{where} is empty or not printable", where=where, got=ascii(value[:80]))


def check_distinct(what: str, where: str, values: Iterable[str]) -> None:
    """Raise LayoutError for a list with duplicates."""
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise LayoutError(f"{what} is listed twice", where=where, got=", ".join(sorted(twice)))


def check_known(what: str, where: str, values: Iterable[str], known: Iterable[str]) -> None:
    """Raise LayoutError for a name that the layout does not define."""
    defined = tuple(known)
    if unknown := sorted(set(values) - set(defined)):
        raise LayoutError(what, where=where, expected=", ".join(defined) or "one", got=", ".join(unknown))
