"""Mappings and sequences of a YAML document that know their line."""

from __future__ import annotations

from gitchain.evidence.canonical import Json


class YamlMap(dict[str, Json]):
    """A mapping that knows the line of each key."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class YamlList(list[Json]):
    """A sequence that knows the line of each item."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []
