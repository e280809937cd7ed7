"""Kubernetes objects from files: YAML or JSON, several documents, `kind: List`.

YAML is parsed like kubectl does (https://yaml.org/spec/1.1/): anchors, aliases and `<<` are allowed, and a document
must be valid as JSON. Duplicate keys are refused, as in kubectl's strict validation, and so are all tags except
`!!str`. Aliases count in full, so that a small file cannot become large objects. Which kinds are reviewed is decided
elsewhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import yaml

from gitchain.errors import LimitError, UsageError
from gitchain.evidence.canonical import Json

MAX_FILE_BYTES = 64 << 20
MAX_VALUES = 500_000
"""Most values of one object: the limit of a review."""

MAX_FILE_VALUES = 2_000_000
"""Most values of one file with aliases expanded; regular files of 64 MiB have fewer."""

MAX_DEPTH = 60
MAX_OBJECTS = 100_000
_MERGE = "tag:yaml.org,2002:merge"
_STRING = "tag:yaml.org,2002:str"
_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(
        r"[-+]?(?:0|0b[01]{1,64}|0x[0-9A-Fa-f]{1,16}|0[0-7]{1,22}|[1-9][0-9]{0,18})"
    ),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?(?:\.[0-9]{1,300}|[0-9]{1,300}(?:\.[0-9]{0,300})?)(?:[eE][-+]?[0-9]{1,5})?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}
"""Numbers as kubectl parses them, of limited length. PyYAML also accepts `1:30`, in base 60."""

_OTHERS = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value", *_NUMBERS})


@dataclass(frozen=True, slots=True)
class KubernetesManifest:
    """An object, with its file and the number of its document, starting at 1."""

    file: str
    document: int
    source: dict[str, Json]

    @property
    def where(self) -> str:
        """Return the place for messages."""
        return f"{self.file}, document {self.document}"


class _Loader(yaml.CSafeLoader):
    """PyYAML's safe loader without dates, which JSON lacks, and with a check for duplicate keys."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._checked: WeakSet[yaml.MappingNode] = WeakSet()
        self._merged, self._depth = 0, 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Check the keys of a map before `<<` is merged into them."""
        if node not in self._checked:
            self._checked.add(node)
            _check_keys(node)
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise _refused(f"maps are merged more than {MAX_DEPTH} deep", node)
            keys = len(node.value)
            super().flatten_mapping(node)
            self._depth -= 1
            self._merged += len(node.value) - keys
            if self._merged > MAX_VALUES:
                raise _refused(f"maps that are merged have more than {MAX_VALUES} values", node)


def _refused(what: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


def _check_keys(node: yaml.MappingNode) -> None:
    """Refuse a duplicate key, and a list of maps to merge, which could grow exponentially.

    Every key is compared as a string: Python considers `1` and `true` equal, and would lose one.
    """
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refused("a key is no scalar", key)
        if key.value in seen:
            raise _refused(f"key {key.value!r} appears twice", key)
        if key.tag == _MERGE and not isinstance(value, yaml.MappingNode):
            raise _refused("`<<` takes one map", key)
        if key.tag != _MERGE:
            key.tag = _STRING
        seen.add(key.value)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OTHERS]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern.pattern})\Z"), list("+-.0123456789"))


def read_manifests(data: bytes, file: str) -> Iterator[KubernetesManifest]:
    """Yield every object of a file, with the items of lists one by one.

    Raises UsageError for invalid YAML, an invalid object or list. Raises LimitError for too much content.
    """
    if len(data) > MAX_FILE_BYTES:
        raise LimitError("the file is too large", where=file, expected=f"at most {MAX_FILE_BYTES} bytes")
    left = MAX_FILE_VALUES
    for number, value in enumerate(_documents(data, file), 1):
        if value is None:
            continue
        if number > MAX_OBJECTS:
            raise LimitError("too many documents", where=file, expected=f"at most {MAX_OBJECTS}")
        where = f"{file}, document {number}"
        found, count = _plain(value, where)
        left -= count
        if left < 0:
            raise LimitError(
                "the file has too many values", where=where, expected=f"at most {MAX_FILE_VALUES}"
            )
        for item in _items(found, where):
            yield KubernetesManifest(file, number, item)


def _documents(data: bytes, file: str) -> Iterator[Any]:
    try:
        text = data.decode("utf-8")
        _check_events(text, file)
        yield from yaml.load_all(text, Loader=_Loader)
    except UnicodeDecodeError as error:
        raise UsageError("the file is not UTF-8", where=file) from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError("not YAML or JSON", where=file, got=" ".join(str(error).split())[:500]) from error


def _check_events(text: str, file: str) -> None:
    """Refuse a file that nests too deeply, before a recursive loader reads it, and tags, which change types."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        tag = getattr(event, "tag", None)
        if tag not in {None, "!", _STRING}:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise UsageError(
                "a tag is not allowed",
                where=f"{file}, line {line}",
                expected="!!str",
                got=ascii(tag)[:80],
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else 0
                raise LimitError(f"nested more than {MAX_DEPTH} deep", where=f"{file}, line {line}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _items(value: Json, where: str) -> Iterator[dict[str, Json]]:
    if not isinstance(value, dict):
        raise UsageError("not a Kubernetes object", where=where, expected="a map with apiVersion and kind")
    for key in ("apiVersion", "kind"):
        if not isinstance(value.get(key), str) or not value[key]:
            raise UsageError("not a Kubernetes object", where=where, expected=f"a string in {key}")
    if not str(value["kind"]).endswith("List") or "items" not in value:
        yield value
        return
    items = value["items"]
    if not isinstance(items, list):
        raise UsageError("not a list of objects", where=f"{where}, items")
    for index, item in enumerate(items):
        yield from _items(item, f"{where}, items[{index}]")


def _plain(value: Any, where: str) -> tuple[Json, int]:
    """Return a value as JSON with aliases expanded, and its number of values. Raises UsageError or LimitError."""
    left = MAX_VALUES

    def plain(one: Any, depth: int) -> Json:
        nonlocal left
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise LimitError(
                "the object is too large or too deep", where=where, expected=f"{MAX_VALUES} values"
            )
        if isinstance(one, dict):
            return {str(key): plain(item, depth + 1) for key, item in one.items()}
        if isinstance(one, list):
            return [plain(item, depth + 1) for item in one]
        if (
            one is None
            or isinstance(one, str | bool | int)
            or (isinstance(one, float) and math.isfinite(one))
        ):
            return one
        raise UsageError(
            "a value that JSON does not have", where=where, got=f"{type(one).__name__} {one!r:.40}"
        )

    return plain(value, 0), MAX_VALUES - left
