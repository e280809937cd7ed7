"""Parse one YAML document as DVC does (YAML 1.2 scalars, anchors, aliases, merge keys), with line numbers.

Built from libyaml's events and not by its composer: that recurses once per level, and 100,000 brackets kill
the process. Events cost no stack, so depth, size and number of values are bounded here. An alias counts as much
as a copy of its anchor's value: a small file of nested aliases cannot fill the memory of code that walks the result.

Refused: duplicate keys, tags that are not YAML's own, keys that are collections, several documents, merge conflicts,
an alias inside its own anchor. Dates, binary data and numbers of more than 400 characters stay text, a set is a
mapping to nulls.
Spec: https://yaml.org/spec/1.2.2/ chapter 10 and https://yaml.org/type/merge.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import yaml

from gitchain.collect.yaml_containers import YamlList, YamlMap
from gitchain.collect.yaml_scalars import plain_scalar
from gitchain.errors import LimitError, ProjectError
from gitchain.evidence.canonical import Json

MAX_YAML_BYTES = 32 * 1024 * 1024
"""Largest file: a dvc.lock of 200 stages is 46 KB, an inline list of 100,000 cloud files about 20 MB."""

MAX_YAML_DEPTH = 64
"""Deepest nesting: dvc.lock needs six levels and the parameters' own depth."""

MAX_YAML_VALUES = 2_000_000
"""Most values in one file, aliases expanded, so that a small file of many tiny values cannot fill the memory."""

MAX_YAML_CHARACTERS = MAX_YAML_BYTES
"""Most characters of text in one file, aliases expanded."""

CONFLICT = re.compile(rb"^(?:<{7}|>{7}|\|{7})(?: |\r?$)|^={7}\r?$", re.MULTILINE)
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in (
        "map",
        "seq",
        "str",
        "int",
        "float",
        "bool",
        "null",
        "timestamp",
        "binary",
        "set",
        "omap",
        "pairs",
    )
)
"""The tags that DVC's reader knows."""
_TYPED = frozenset(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null"))
_MERGE = "<<"


def load_yaml(data: bytes, where: str) -> Json:
    """Return the one document in these bytes, None if they are empty.

    Raises ProjectError that names file and line for all that is refused, LimitError beyond the bounds.
    """
    if len(data) > MAX_YAML_BYTES:
        raise LimitError(
            "file is too large", where=where, expected=f"at most {MAX_YAML_BYTES} bytes", got=str(len(data))
        )
    conflict = CONFLICT.search(data)
    if conflict is not None:
        line = data.count(b"\n", 0, conflict.start()) + 1
        raise ProjectError(
            "file holds merge conflict markers",
            where=f"{where} line {line}",
            help=f"resolve the conflict in {where}",
        )
    return _Builder(where).build(_events(data, where))


def _events(data: bytes, where: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(data, Loader=yaml.CBaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}" if mark is not None else ""
        raise ProjectError(
            "file is not YAML",
            where=f"{where}{line}",
            got=error.problem or "",
            help="correct the file at that line",
        ) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise ProjectError(
            "file is not YAML",
            where=where,
            got=str(error).splitlines()[0],
            help="correct the file at that line",
        ) from error


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

    value: Json = field(repr=False)
    text: str | None
    values: int
    characters: int
    height: int = 0


class _Builder:
    """Builds values from events, with an explicit stack: no input can exhaust Python's."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._stack: list[_OpenCollection] = []
        self._anchors: dict[str, _AliasTarget] = {}
        self._documents: list[Json] = []
        self._values = 0
        self._characters = 0

    def build(self, events: Iterator[yaml.Event]) -> Json:
        for event in events:
            if isinstance(event, yaml.NodeEvent):
                self._node(event)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                self._close(self._stack.pop())
        return self._documents[0] if self._documents else None

    def _node(self, event: yaml.NodeEvent) -> None:
        line = event.start_mark.line + 1  # type: ignore[union-attr] # libyaml always marks
        if isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor), line)
            return
        tag = getattr(event, "tag", None)
        if tag not in _TAGS and tag not in {None, "!"}:
            self._refuse("YAML tag is not supported", line, ascii(tag)[:100])
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
            self._refuse(what, line, ascii(name[:100]))
        self._count(found.values, found.characters, line)
        if len(self._stack) + found.height > MAX_YAML_DEPTH:
            self._too_deep(line)
        if not self._wants_key():
            self._add(found.value, line, found.height)
        elif found.text is None:
            self._refuse("YAML key is not text", line)
        else:
            self._take_key(found.text, line)

    def _open(self, container: YamlMap | YamlList, event: yaml.NodeEvent) -> None:
        if len(self._stack) >= MAX_YAML_DEPTH:
            self._too_deep(container.line)
        if self._wants_key():
            self._refuse("YAML key is not text", container.line)
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)
        self._stack.append(_OpenCollection(container, event.anchor, self._values, self._characters))
        self._count(1, 0, container.line)

    def _close(self, done: _OpenCollection) -> None:
        container = done.container
        if isinstance(container, YamlMap):
            for source in done.merged or ():
                for key in source.keys() - container.keys():
                    container[key] = source[key]
                    container.lines[key] = source.lines[key]
        if done.anchor is not None:
            self._anchors[done.anchor] = _AliasTarget(
                container,
                None,
                self._values - done.values,
                self._characters - done.characters,
                done.height,
            )
        self._add(container, container.line, done.height)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        text, is_plain = event.value, event.implicit[0] and not event.style
        self._count(1, len(text), line)
        value = plain_scalar(text) if is_plain or event.tag in _TYPED else text
        if event.anchor is not None:
            self._anchors[event.anchor] = _AliasTarget(value, text, 1, len(text))
        if not self._wants_key():
            self._add(value, line, 0)
        elif text == _MERGE and is_plain:
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
            self._refuse("YAML key appears twice", line, ascii(text[:100]))
        parent.key = text

    def _begin_merge(self, line: int) -> None:
        parent = self._stack[-1]
        if parent.merged is not None:
            self._refuse("YAML key appears twice", line, _MERGE)
        parent.key, parent.is_merge = _MERGE, True

    def _add(self, value: Json, line: int, height: int) -> None:
        if not self._stack:
            if self._documents:
                self._refuse("file holds several YAML documents", line)
            self._documents.append(value)
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

    def _merged(self, value: Json, line: int) -> list[YamlMap]:
        """Return the mappings that a merge key names, the first of which wins."""
        sources = value if isinstance(value, YamlList) else [value]
        found = [source for source in sources if isinstance(source, YamlMap)]
        if len(found) != len(sources):
            self._refuse("YAML merge key names no mapping", line)
        return found

    def _count(self, values: int, characters: int, line: int) -> None:
        self._values += values
        self._characters += characters
        if self._values > MAX_YAML_VALUES:
            self._too_much("values", MAX_YAML_VALUES, line)
        if self._characters > MAX_YAML_CHARACTERS:
            self._too_much("characters", MAX_YAML_CHARACTERS, line)

    def _too_much(self, what: str, limit: int, line: int) -> NoReturn:
        raise LimitError(
            f"file holds too many {what}",
            where=f"{self._where} line {line}",
            expected=f"at most {limit}, aliases expanded",
        )

    def _too_deep(self, line: int) -> NoReturn:
        raise LimitError(
            "file is nested too deeply",
            where=f"{self._where} line {line}",
            expected=f"at most {MAX_YAML_DEPTH}",
        )

    def _refuse(self, what: str, line: int, got: str = "") -> NoReturn:
        raise ProjectError(what, where=f"{self._where} line {line}", got=got)
