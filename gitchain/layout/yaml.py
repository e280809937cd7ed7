"""A strict subset of YAML, read from libyaml's events: maps, lists, and three kinds of scalar.

Ambiguous or expanding constructs are refused: anchors, aliases, tags, directives, several documents, duplicate keys,
keys that are not strings, `<<`. A plain scalar is null
(`null`, `~`, nothing), a boolean (`true`, `false`), a decimal integer, or else a string: `no`, `1.0`, `0x10`
and `2027-01-01` are strings, as in YAML 1.2 and unlike YAML 1.1.

Spec: https://yaml.org/spec/1.2.2/ . Does NOT interpret the values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from gitchain.errors import LayoutError
from gitchain.evidence.canonical import MAX_SAFE_INTEGER, Json

MAX_DEPTH = 32
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,15})\.[0-9]{1,15}")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,15})")
_CONSTANTS: dict[str, Json] = {"": None, "~": None, "null": None, "true": True, "false": False}


def read_yaml(text: str, *, decimals: bool = False) -> Json:
    """Return the one document in the text. Raises LayoutError for everything outside the subset.

    A layout has no decimals, so `1.0` is a string in it; with `decimals` it is a number.
    """
    events = _checked(text)
    try:
        value = _value(next(events), events, 0, decimals)
        next(events, None)  # the end of the document, or a second one, which `_checked` refuses
    except StopIteration:
        raise LayoutError("the file is empty", expected="a layout") from None
    except yaml.YAMLError as error:
        raise LayoutError("not YAML", got=" ".join(str(error).split())) from error
    return value


def _checked(text: str) -> Iterator[yaml.Event]:
    """Yield the events of the one document, each without anchor, alias or tag."""
    documents = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1 or event.version or event.tags:
                raise _refused("one document without directives is allowed", event)
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refused("anchors and aliases are not allowed", event)
        elif getattr(event, "tag", None):
            raise _refused("tags are not allowed", event)
        elif isinstance(event, (yaml.NodeEvent, yaml.CollectionEndEvent)):
            yield event


def _value(event: yaml.Event, events: Iterator[yaml.Event], depth: int, decimals: bool) -> Json:
    if depth > MAX_DEPTH:
        raise _refused(f"nested more than {MAX_DEPTH} deep", event)
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event, decimals)
    if isinstance(event, yaml.SequenceStartEvent):
        found: list[Json] = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            found.append(_value(item, events, depth + 1, decimals))
        return found
    return _mapping(events, depth, decimals)


def _mapping(events: Iterator[yaml.Event], depth: int, decimals: bool) -> Json:
    found: dict[str, Json] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = _value(event, events, depth + 1, decimals)
        if not isinstance(key, str) or key == "<<":
            raise _refused("a key must be a string", event)
        if key in found:
            raise _refused(f"key {key!r} appears twice", event)
        found[key] = _value(next(events), events, depth + 1, decimals)
    return found


def _scalar(event: yaml.ScalarEvent, decimals: bool) -> Json:
    text = str(event.value)
    if "\0" in text:
        raise _refused("a text must not contain a NUL character", event)
    if event.style is not None and event.style != "":
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        if abs(int(text)) > MAX_SAFE_INTEGER:
            raise _refused("integer is too large", event)
        return int(text)
    return float(text) if decimals and _DECIMAL.fullmatch(text) else text


def _refused(what: str, event: yaml.Event) -> LayoutError:
    mark = event.start_mark
    return LayoutError(what, where=f"line {mark.line + 1}, column {mark.column + 1}" if mark else "")
