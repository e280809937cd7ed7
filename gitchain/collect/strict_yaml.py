"""YAML in, strictly: the subset that DVC writes, read as DVC reads it (YAML 1.2 scalars), with line numbers.

Built from libyaml's events and not by its composer: that recurses once per level, and 100,000 brackets kill
the process. Events cost no stack, so depth, size and number of values are bounded here.

Refused: duplicate keys, anchors and aliases, tags, keys that are no text, several documents, merge conflicts.
Spec: https://yaml.org/spec/1.2.2/ chapter 10. Does NOT resolve timestamps (they stay text) or merge keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

import yaml

from gitchain.errors import LimitError, ProjectError
from gitchain.evidence.canonical import Json

MAX_YAML_BYTES = 32 * 1024 * 1024
"""Largest file: a dvc.lock of 200 stages is 46 KB, an inline list of 100,000 cloud files about 20 MB."""

MAX_YAML_DEPTH = 64
"""Deepest nesting: dvc.lock needs six levels and the parameters' own depth."""

MAX_YAML_VALUES = 2_000_000
"""Most values in one file, so that a small file of many tiny values cannot fill the memory."""

_CONFLICT = re.compile(rb"^(?:<{7}|>{7}|\|{7})(?: |\r?$)|^={7}\r?$", re.MULTILINE)
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_DECIMAL = re.compile(r"[-+]?[0-9][0-9_]*", re.ASCII)
_BASED = re.compile(r"([-+]?)0(b[01_]+|o?[0-7_]+|x[0-9a-fA-F_]+)", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?",
    re.ASCII,
)
"""`.5e3` stays text: after a leading point DVC's reader wants a sign in the exponent."""
_SPECIAL = re.compile(r"([-+]?)\.(?:(inf|Inf|INF)|nan|NaN|NAN)", re.ASCII)
_BASES = {"b": 2, "o": 8, "x": 16}
_MAX_NUMBER = 400
"""Longest number that is converted: Python's conversion of digits is quadratic."""


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


def load_yaml(data: bytes, where: str) -> Json:
    """Return the one document in these bytes, None if they are empty.

    Raises ProjectError that names file and line for all that is refused, LimitError beyond the bounds.
    """
    if len(data) > MAX_YAML_BYTES:
        raise LimitError(
            "file is too large", where=where, expected=f"at most {MAX_YAML_BYTES} bytes", got=str(len(data))
        )
    conflict = _CONFLICT.search(data)
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
        raise ProjectError("file is not YAML", where=f"{where}{line}", got=error.problem or "") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise ProjectError("file is not YAML", where=where, got=str(error).splitlines()[0]) from error


class _Builder:
    """Values from events, with an explicit stack: no input can exhaust Python's."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._stack: list[tuple[YamlMap | YamlList, str | None]] = []
        self._key: str | None = None
        self._documents: list[Json] = []
        self._count = 0

    def build(self, events: Iterator[yaml.Event]) -> Json:
        for event in events:
            if isinstance(event, yaml.NodeEvent):
                self._node(event)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                done, self._key = self._stack.pop()
                self._add(done, done.line)
        return self._documents[0] if self._documents else None

    def _node(self, event: yaml.NodeEvent) -> None:
        line = event.start_mark.line + 1  # type: ignore[union-attr] # libyaml always marks
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self._refuse("YAML anchors and aliases are not supported", line)
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._refuse("YAML tags are not supported", line, str(tag)[:100])
        self._count += 1
        if self._count > MAX_YAML_VALUES:
            raise LimitError(
                "file holds too many values", where=self._where, expected=f"at most {MAX_YAML_VALUES}"
            )
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
        else:
            self._open(YamlMap(line) if isinstance(event, yaml.MappingStartEvent) else YamlList(line), line)

    def _open(self, container: YamlMap | YamlList, line: int) -> None:
        if len(self._stack) >= MAX_YAML_DEPTH:
            raise LimitError(
                "file is nested too deeply",
                where=f"{self._where} line {line}",
                expected=f"at most {MAX_YAML_DEPTH}",
            )
        if self._wants_key():
            self._refuse("YAML key is not text", line)
        self._stack.append((container, self._key))
        self._key = None

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        if self._wants_key():
            parent = self._stack[-1][0]
            if event.value in parent:
                self._refuse("YAML key appears twice", line, ascii(event.value[:100]))
            self._key = event.value
            return
        try:
            value = plain_scalar(event.value) if event.implicit[0] and not event.style else event.value
        except ValueError as error:
            self._refuse("YAML number cannot be read", line, str(error))
        self._add(value, line)

    def _wants_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1][0], YamlMap) and self._key is None

    def _add(self, value: Json, line: int) -> None:
        if not self._stack:
            if self._documents:
                self._refuse("file holds several YAML documents", line)
            self._documents.append(value)
            return
        parent = self._stack[-1][0]
        if isinstance(parent, YamlList):
            parent.append(value)
            parent.lines.append(line)
        elif self._key is not None:
            parent[self._key] = value
            parent.lines[self._key] = line
            self._key = None

    def _refuse(self, what: str, line: int, got: str = "") -> NoReturn:
        raise ProjectError(what, where=f"{self._where} line {line}", got=got)


def plain_scalar(text: str) -> bool | int | float | str | None:
    """Return what an unquoted scalar means in YAML 1.2, as DVC's reader takes it.

    Raises ValueError for a number too long to convert.
    """
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text[0] not in "+-.0123456789":
        return text
    if len(text) > _MAX_NUMBER:
        if _DECIMAL.fullmatch(text) or _BASED.fullmatch(text) or _FLOAT.fullmatch(text):
            raise ValueError(f"number of {len(text)} characters")
        return text
    return _number(text)


def _number(text: str) -> int | float | str:
    based = _BASED.fullmatch(text)
    if based is not None:
        digits = based[2].replace("_", "")
        base = _BASES.get(digits[:1], 8 if digits[:1] == "o" else 10)
        value = int(digits.lstrip("box") or "0", base)
        return -value if based[1] == "-" else value
    if _DECIMAL.fullmatch(text):
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    special = _SPECIAL.fullmatch(text)
    if special is not None:
        return float(f"{special[1]}inf") if special[2] else float("nan")
    return text
