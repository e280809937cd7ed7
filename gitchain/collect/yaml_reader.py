"""Typed reads from parsed YAML: each returns the value in its type, or raises ProjectError with its line.

Formats are defined by the callers, such as `dvc_files`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from gitchain.errors import LimitError, ProjectError
from gitchain.evidence.canonical import Json
from gitchain.platform.yaml import YamlList, YamlMap

MAX_ENTRIES = 100_000
"""Most deps, outs or inline cloud files of one stage."""

_Item = TypeVar("_Item")


class YamlReader:
    """Typed reads from one YAML mapping; a wrong type is a ProjectError with its line."""

    __slots__ = ("_where", "value")

    def __init__(self, value: YamlMap, where: str) -> None:
        self.value = value
        self._where = where

    @classmethod
    def of(cls, value: Json, where: str, line: int = 1) -> YamlReader:
        """Return a reader of this value; None reads as an empty mapping. Raises ProjectError."""
        if value is None:
            return cls(YamlMap(line), where)
        if not isinstance(value, YamlMap):
            raise ProjectError(
                "DVC file is malformed",
                where=f"{where} line {line}",
                expected="a mapping",
                help="dvc status   shows DVC's error",
            )
        return cls(value, where)

    def fail(self, key: str, what: str, *, expected: str = "", got: str = "", help: str = "") -> NoReturn:  # noqa: A002
        """Raise ProjectError with the line of the key."""
        line = self.value.lines.get(key, self.value.line)
        raise ProjectError(what, where=f"{self._where} line {line}", expected=expected, got=got, help=help)

    def map(self, key: str) -> YamlReader:
        """Return the mapping at `key`, or an empty one."""
        return YamlReader.of(self.value.get(key), self._where, self.value.lines.get(key, self.value.line))

    def items(self, key: str, read: Callable[[YamlReader], _Item]) -> tuple[_Item, ...]:
        """Return the results of `read` for the mappings in the list at `key`. Raises LimitError beyond MAX_ENTRIES."""
        value = self.value.get(key)
        if value is None:
            return ()
        if not isinstance(value, YamlList):
            self.fail(key, "DVC file is malformed", expected=f"a list in {key!a}")
        if len(value) > MAX_ENTRIES:
            raise LimitError(
                "too many entries", where=self._where, expected=f"at most {MAX_ENTRIES}", got=str(len(value))
            )
        lines = value.lines
        return tuple(
            read(YamlReader.of(item, self._where, line)) for item, line in zip(value, lines, strict=True)
        )

    def text(self, key: str) -> str | None:
        """Return the text at `key`, or None."""
        value = self.value.get(key)
        if value is not None and not isinstance(value, str):
            self.fail(key, "DVC file is malformed", expected=f"text in {key!a}", got=type(value).__name__)
        return value

    def need(self, key: str) -> str:
        """Return the text at `key`, which must be there."""
        value = self.text(key)
        if not value:
            self.fail(key, "DVC file is malformed", expected=f"text in {key!a}", got="nothing")
        return value

    def checksum(self, key: str) -> str | None:
        """Return the checksum at `key`, or None if missing or empty. A whole number is converted to text, as in DVC."""
        value = self.value.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.text(key) or None

    def number(self, key: str) -> int | None:
        """Return the count at `key`, or None."""
        value = self.value.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
            self.fail(key, "DVC file is malformed", expected=f"a count in {key!a}", got=ascii(value)[:40])
        return value

    def flag(self, key: str) -> bool:
        """Return the boolean at `key`, default False."""
        value = self.value.get(key)
        if value is not None and not isinstance(value, bool):
            self.fail(
                key, "DVC file is malformed", expected=f"true or false in {key!a}", got=ascii(value)[:40]
            )
        return bool(value)
