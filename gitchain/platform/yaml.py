"""The one YAML reader: documents from libyaml's events, in bounds, with the line of each value.

Built from events and not by libyaml's composer: that recurses once per level, and 100,000 brackets kill the process.
Events cost no stack, so depth, size and number of values are bounded here. An alias counts as much as a copy of its
anchor's value: a small file of nested aliases cannot fill the memory of code that walks the result.

Refused in each dialect: duplicate keys, unknown tags, keys that are collections, an alias inside its own anchor.
Spec: https://yaml.org/spec/1.2.2/ chapter 10 and https://yaml.org/type/merge.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

import yaml

from gitchain.errors import GitchainError, LimitError

YamlValue: TypeAlias = "bool | int | float | str | list[YamlValue] | dict[str, YamlValue] | None"
_MERGE = "<<"
_CONTAINERS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "set", "omap", "pairs"))


class YamlMap(dict[str, YamlValue]):
    """A mapping that knows the line of each key."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class YamlList(list[YamlValue]):
    """A sequence that knows the line of each item."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a reader accepts, and how it reports the rest.

    `scalar` returns the meaning of an unquoted scalar, or raises ValueError, saying what is wrong. A `is_plain` dialect
    has no anchors, aliases, merge keys, tags and directives, and its keys are strings. `typed` are the tags of scalars
    whose text has its unquoted meaning. `merges_first` dialects accept `<<` only as the first key of a map:
    readers differ about another place. `values` and `characters` limit each document, with aliases expanded.
    """

    scalar: Callable[[str], YamlValue]
    error: type[GitchainError]
    depth: int
    values: int
    characters: int
    limit: type[GitchainError] = LimitError
    is_plain: bool = False
    merges_first: bool = False
    tags: frozenset[str] = frozenset()
    typed: frozenset[str] = frozenset()
    remedy: str = ""


def read_documents(
    data: bytes | str, dialect: Dialect, where: str, *, most: int | None = None
) -> Iterator[tuple[YamlValue, int]]:
    """Yield each document with its number of values. Raises the dialect's errors, which name file and line."""
    builder, count = _Builder(dialect, where), 0
    for event in _events(data, dialect, where):
        if isinstance(event, yaml.NodeEvent):
            builder.node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            builder.close()
        elif isinstance(event, yaml.DocumentStartEvent):
            if count == most:
                builder.refuse("file holds several YAML documents", _line(event))
            if dialect.is_plain and (event.version or event.tags):
                builder.refuse("YAML directives are not allowed", _line(event))
            count += 1
        elif isinstance(event, yaml.DocumentEndEvent):
            yield builder.root, builder.values
            builder = _Builder(dialect, where)


def read_document(data: bytes | str, dialect: Dialect, where: str) -> YamlValue:
    """Return the only document, None if there is none. Raises the dialect's errors, also for several documents."""
    return next(iter([value for value, _ in read_documents(data, dialect, where, most=1)]), None)


def _events(data: bytes | str, dialect: Dialect, where: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(data, Loader=yaml.CBaseLoader)
    except (yaml.YAMLError, UnicodeError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        got = getattr(error, "problem", None) or str(error).splitlines()[0]
        place = where if mark is None else _place(where, mark.line + 1)
        raise dialect.error("file is not YAML", where=place, got=got, help=dialect.remedy) from error


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1  # type: ignore[union-attr] # libyaml always marks


def _place(where: str, line: int) -> str:
    return f"{where} line {line}".strip()


@dataclass(slots=True)
class _OpenCollection:
    """A mapping or list that is not yet complete; `values` and `characters` are the counts at its start."""

    container: YamlMap | YamlList
    anchor: str | None
    values: int
    characters: int
    key: str | None = None
    is_merge: bool = False
    merged: list[YamlMap] | None = None
    height: int = 1


@dataclass(frozen=True, slots=True)
class _AliasTarget:
    """Target of an alias, with its share of the counts; `text` is a scalar's text, None for a collection."""

    value: YamlValue = field(repr=False)
    text: str | None
    values: int
    characters: int
    height: int = 0


class _Builder:
    """Builds values from events, with an explicit stack: no input can exhaust Python's."""

    def __init__(self, dialect: Dialect, where: str) -> None:
        self._dialect = dialect
        self._where = where
        self._stack: list[_OpenCollection] = []
        self._anchors: dict[str, _AliasTarget] = {}
        self.root: YamlValue = None
        self.values = 0
        self._characters = 0

    def node(self, event: yaml.NodeEvent) -> None:
        line = _line(event)
        if self._dialect.is_plain and event.anchor:
            self.refuse("YAML anchors and aliases are not allowed", line)
        if isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor), line)
            return
        is_scalar, tag = isinstance(event, yaml.ScalarEvent), getattr(event, "tag", None)
        known = tag in self._dialect.tags and (tag in _CONTAINERS) != is_scalar
        if not known and tag is not None and (tag != "!" or self._dialect.is_plain):
            self.refuse("YAML tag is not allowed", line, ascii(tag)[:100])
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
        else:
            self._open(YamlMap(line) if isinstance(event, yaml.MappingStartEvent) else YamlList(line), event)

    def _alias(self, name: str, line: int) -> None:
        found = self._anchors.get(name)
        if found is None:
            what = (
                "YAML alias is inside its own anchor"
                if any(one.anchor == name for one in self._stack)
                else "YAML alias has no anchor"
            )
            self.refuse(what, line, ascii(name[:100]))
        self._count(found.values, found.characters, line)
        if len(self._stack) + found.height > self._dialect.depth:
            self._too_deep(line)
        if not self._wants_key():
            self._add(found.value, line, found.height)
        elif found.text is None:
            self.refuse("a key must be a string", line)
        else:
            self._take_key(found.text, line)

    def _open(self, container: YamlMap | YamlList, event: yaml.NodeEvent) -> None:
        if len(self._stack) >= self._dialect.depth:
            self._too_deep(container.line)
        if self._wants_key():
            self.refuse("a key must be a string", container.line)
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)
        self._stack.append(_OpenCollection(container, event.anchor, self.values, self._characters))
        self._count(1, 0, container.line)

    def close(self) -> None:
        done = self._stack.pop()
        container = done.container
        if isinstance(container, YamlMap):
            for source in done.merged or ():
                for key in source:
                    if key not in container:
                        container[key] = source[key]
                        container.lines[key] = source.lines[key]
        if done.anchor is not None:
            values, characters = self.values - done.values, self._characters - done.characters
            found = _AliasTarget(container, None, values, characters, done.height)
            self._anchors.setdefault(done.anchor, found)  # an inner anchor of this name is later, and wins
        self._add(container, container.line, done.height)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        text, is_plain = event.value, event.implicit[0] and not event.style
        self._count(1, len(text), line)
        if self._dialect.is_plain and "\0" in text:
            self.refuse("a text must not contain a NUL character", line)
        try:
            value = self._dialect.scalar(text) if is_plain or event.tag in self._dialect.typed else text
        except ValueError as error:
            self.refuse(str(error), line, ascii(text)[:100])
        if event.anchor is not None:
            self._anchors[event.anchor] = _AliasTarget(value, text, 1, len(text))
        if not self._wants_key():
            self._add(value, line, 0)
        elif self._dialect.is_plain and (text == _MERGE or not isinstance(value, str)):
            self.refuse("a key must be a string", line)
        elif text == _MERGE and event.implicit[0]:  # also after the tag `!`
            self._begin_merge(line)
        else:
            self._take_key(text, line)

    def _wants_key(self) -> bool:
        return (
            bool(self._stack)
            and isinstance(self._stack[-1].container, YamlMap)
            and self._stack[-1].key is None
        )

    def _take_key(self, text: str, line: int) -> None:
        parent = self._stack[-1]
        if text in parent.container:
            self.refuse("YAML key appears twice", line, ascii(text[:100]))
        parent.key = text

    def _begin_merge(self, line: int) -> None:
        parent = self._stack[-1]
        if parent.merged is not None:
            self.refuse("YAML key appears twice", line, _MERGE)
        if self._dialect.merges_first and parent.container:
            self.refuse("YAML merge key is not the first key of its map", line, _MERGE)
        parent.key, parent.is_merge = _MERGE, True

    def _add(self, value: YamlValue, line: int, height: int) -> None:
        if not self._stack:
            self.root = value
            return
        parent = self._stack[-1]
        parent.height = max(parent.height, 1 + height)
        container = parent.container
        if isinstance(container, YamlList):
            container.append(value)
            container.lines.append(line)
        elif parent.is_merge:
            parent.merged = self._merged(value, line)
            parent.key, parent.is_merge = None, False
        elif parent.key is not None:
            container[parent.key] = value
            container.lines[parent.key] = line
            parent.key = None

    def _merged(self, value: YamlValue, line: int) -> list[YamlMap]:
        """Return the mappings that a merge key names, the first of which wins."""
        sources = value if isinstance(value, YamlList) else [value]
        found = [source for source in sources if isinstance(source, YamlMap)]
        if len(found) != len(sources):
            self.refuse("YAML merge key names no mapping", line)
        return found

    def _count(self, values: int, characters: int, line: int) -> None:
        self.values += values
        self._characters += characters
        if self.values > self._dialect.values:
            self._too_much("values", self._dialect.values, line)
        if self._characters > self._dialect.characters:
            self._too_much("characters", self._dialect.characters, line)

    def _too_much(self, what: str, limit: int, line: int) -> NoReturn:
        self._beyond(f"file holds too many {what}", f"at most {limit}, aliases expanded", line)

    def _too_deep(self, line: int) -> NoReturn:
        self._beyond("file is nested too deeply", f"at most {self._dialect.depth}", line)

    def _beyond(self, what: str, expected: str, line: int) -> NoReturn:
        raise self._dialect.limit(what, where=_place(self._where, line), expected=expected)

    def refuse(self, what: str, line: int, got: str = "") -> NoReturn:
        raise self._dialect.error(what, where=_place(self._where, line), got=got)
