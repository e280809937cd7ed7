"""Read a JSON object of a layout field by field; fields that are left over are refused.

`gitchain.layout.load` defines the fields. `check_label` and the others check labels, printable texts and lists without
duplicates; each raises LayoutError with the field in `where`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from gitchain.errors import GitchainError, LayoutError, MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.names import check_step_name

MAX_TEXT = 2048  # longer than any URL that a certificate authority would certify


class Fields:
    """A JSON object that is read field by field; `done` refuses fields that are left over."""

    __slots__ = ("_left", "where")

    def __init__(self, value: Json, where: str) -> None:
        if not isinstance(value, dict):
            raise LayoutError("not a map", where=where, got=type(value).__name__)
        self._left: dict[str, Json] = dict(value)
        self.where = where

    def path(self, name: str) -> str:
        """Return the place of a field in the layout, for messages."""
        return f"{self.where}.{name}" if self.where else name

    def __contains__(self, name: object) -> bool:
        return name in self._left

    def map(self, name: str) -> Fields:
        """Take a field that is a map."""
        return Fields(self.take(name), self.path(name))

    def names(self, limit: int) -> tuple[str, ...]:
        """Return the names of all fields that are left, at most `limit`."""
        if len(self._left) > limit:
            raise LayoutError("too many entries", where=self.where, expected=f"at most {limit}")
        return tuple(self._left)

    def take(self, name: str) -> Json:
        """Take a field. Raises LayoutError if it is missing."""
        if name not in self._left:
            raise LayoutError("field is missing", where=self.path(name))
        return self._left.pop(name)

    def text(self, name: str, default: str | None = None) -> str:
        """Take a string that is not empty."""
        if default is not None and name not in self._left:
            return default
        value = self.take(name)
        if not isinstance(value, str) or not value:
            raise LayoutError(
                "not a string",
                where=self.path(name),
                got=str(value) or "nothing",
                help="put the value in quotes",
            )
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """Take an integer."""
        if default is not None and name not in self._left:
            return default
        value = self.take(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise LayoutError("not an integer", where=self.path(name), got=str(value))
        return value

    def constant(self, name: str, expected: str) -> None:
        """Take a field that has this one value."""
        value = self.take(name)
        if value != expected:
            raise LayoutError("unknown schema", where=self.path(name), expected=expected, got=str(value))

    def sequence(self, name: str, default: Sequence[Json] | None = None) -> Sequence[Json]:
        """Take a list."""
        if default is not None and name not in self._left:
            return default
        value = self.take(name)
        if not isinstance(value, list):
            raise LayoutError("not a list", where=self.path(name), got=str(value))
        return value

    def texts(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Take a list of strings."""
        if default is not None and name not in self._left:
            return default
        return texts(self.take(name), self.path(name))

    def items(self, name: str, limit: int, *, optional: bool = False) -> list[Fields]:
        """Take a list of maps, at most `limit`."""
        values = self.sequence(name, () if optional else None)
        if len(values) > limit:
            raise LayoutError("too many entries", where=self.path(name), expected=f"at most {limit}")
        return [Fields(value, f"{self.path(name)}[{index}]") for index, value in enumerate(values)]

    def done(self) -> None:
        """Refuse every field that was not taken."""
        if self._left:
            raise LayoutError("unknown field", where=self.path(next(iter(self._left))))


def texts(value: Json, where: str) -> tuple[str, ...]:
    """Return the strings of a list; LayoutError with the place for anything else."""
    if not isinstance(value, list):
        raise LayoutError("not a list", where=where, got=str(value))
    found: list[str] = []
    for index, item in enumerate(value):
        if not isinstance(item, str):
            raise LayoutError("not a string", where=f"{where}[{index}]", got=str(item))
        found.append(item)
    return tuple(found)


@contextmanager
def placed(where: str) -> Iterator[None]:
    """Add the path to a LayoutError that names only its field."""
    try:
        yield
    except LayoutError as error:
        if error.where.startswith(where):
            raise
        raise layout_error(error, where) from error


def layout_error(error: GitchainError, where: str) -> LayoutError:
    """Return the error as a LayoutError whose place begins with `where`."""
    place = ".".join(part for part in (where, error.where) if part)
    return LayoutError(error.what, where=place, expected=error.expected, got=error.got, help=error.help)


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
