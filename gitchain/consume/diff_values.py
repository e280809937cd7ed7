"""Compare facts by name: which were added, removed or changed, with the exact difference of numbers.

Facts come from signed statements, so a name or a value can be of any length and hold any character: comparisons use the
whole text, documents a shortened one. Does NOT know what a fact means: `gitchain.consume.diff_facts` does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from hashlib import sha256
from itertools import chain, zip_longest
from typing import Any, Literal, TypeAlias

from gitchain.evidence.canonical import Json

MAX_CHANGES = 1000
"""Most changes of one group in a document; the total counts all."""

MAX_STEPS = 20
"""Most steps that one change names in a document, and most items of an array of values."""

MAX_SHOWN = 1000
"""Longest text in a document, in characters; a longer one ends with its length and SHA-256."""

Basis: TypeAlias = Literal["proven", "claimed"]
Facts: TypeAlias = Mapping[str, Json]
"""Facts of one step by name. A tuple as value has all values of the name, in any order, if they differ."""

_DIGITS = re.compile(r"([0-9]+)")
_PLAIN_KEY = re.compile(r"[^.:\"\[\]\s]+")
_CUT = "… ({} characters, sha256:{})"
_EXACT = Context(prec=60)
_THREE_DIGITS = Context(prec=3)


class Absent:
    """The type of ABSENT."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()
"""A side without the fact; null is a value."""

Value: TypeAlias = "Json | Absent"


@dataclass(frozen=True, slots=True)
class Change:
    """One fact that differs between A and B, and the steps that state it so."""

    name: str
    steps: tuple[str, ...]
    a: Value
    b: Value
    basis: Basis = "claimed"
    more: Mapping[str, Json] = field(default_factory=dict, hash=False)
    """Further facts about the change: `difference` and `relative` of numbers, `commits` of a commit range."""

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        """Return the kind of the change, from A to B."""
        return "added" if self.a is ABSENT else "removed" if self.b is ABSENT else "changed"

    def to_json(self) -> dict[str, Any]:
        """Return the change as in `diff --json`; a side without the fact has no field."""
        found: dict[str, Any] = {"name": shortened(self.name), "change": self.kind, "basis": self.basis}
        steps = [step for step in self.steps if step]
        found["steps"] = [shortened(step) for step in steps[:MAX_STEPS]]
        for side, value in (("a", self.a), ("b", self.b), ("steps", steps)):
            if isinstance(value, Absent):
                continue
            found.setdefault(side, document_value(value))
            if isinstance(value, list | tuple) and len(value) > MAX_STEPS:
                found[f"{side}Total"] = len(value)
        return found | dict(self.more)


@dataclass(frozen=True, slots=True)
class Group:
    """The changes of one kind of facts. `compared` counts the compared facts, `basis` is that of unchanged facts.

    `complete` is False if further differences of large directories were not listed.
    """

    changes: tuple[Change, ...]
    compared: int
    basis: Basis = "claimed"
    complete: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the group as in `diff --json`, with at most MAX_CHANGES changes."""
        return {
            "basis": self.basis,
            "compared": self.compared,
            "total": len(self.changes),
            "complete": self.complete and len(self.changes) <= MAX_CHANGES,
            "changes": [change.to_json() for change in self.changes[:MAX_CHANGES]],
        }


def compare(
    a: Mapping[tuple[str, str], Facts], b: Mapping[tuple[str, str], Facts], basis: Basis = "claimed"
) -> Group:
    """Return the changes between the facts of both sides, keyed by step and role or part.

    Equal changes of several steps are one change.
    """
    found: dict[tuple[Any, ...], tuple[str, dict[str, None], Value, Value]] = {}
    names: set[str] = set()
    for key in dict.fromkeys((*a, *b)):
        before, after = a.get(key, {}), b.get(key, {})
        for name in sorted(before.keys() | after.keys(), key=natural):
            names.add(name)
            old, new = before.get(name, ABSENT), after.get(name, ABSENT)
            old_key, new_key = _comparable(old), _comparable(new)
            if old_key != new_key:
                steps = found.setdefault((name, old_key, new_key), (name, {}, old, new))[1]
                steps[key[0]] = None
    changes = (
        Change(name, tuple(steps), old, new, basis, _difference(old, new))
        for name, steps, old, new in found.values()
    )
    return Group(tuple(changes), len(names), basis)


def natural(name: str) -> tuple[Any, ...]:
    """Return a key that sorts `p2` before `p10`: runs of digits count as numbers, of any length."""
    texts, numbers = _DIGITS.split(name)[::2], (found.lstrip("0") for found in _DIGITS.findall(name))
    pairs = zip_longest(texts, ((len(digits), digits) for digits in numbers), fillvalue=(0, ""))
    return (*chain.from_iterable(pairs), name)


def _comparable(value: Value) -> Any:
    """Return a hashable key: equal for equal values of the same type, and for numbers that are equal."""
    if isinstance(value, Absent | bool) or value is None:
        return (type(value).__name__, value)
    if (number := _number(value)) is not None:
        return ("number", number)
    if isinstance(value, str):
        return ("text", value)
    if isinstance(value, tuple):
        return ("values", tuple(sorted((_comparable(one) for one in value), key=repr)))
    return ("other", json.dumps(value, sort_keys=True))


def combined(many: Sequence[Facts]) -> Facts:
    """Return the facts of several attestations as one: where they differ, the value is a tuple of all values."""
    if len(many) == 1:
        return many[0]
    return collected(pair for facts in many for pair in facts.items())


def collected(pairs: Iterable[tuple[str, Json]]) -> Facts:
    """Return the facts by name; where a name has several values that differ, the value is a tuple of all of them."""
    found: dict[str, list[Json]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {
        name: values[0] if len({_comparable(one) for one in values}) == 1 else tuple(values)
        for name, values in found.items()
    }


@dataclass(frozen=True, slots=True)
class Name:
    """A name that grows by parts. Of a name of more than MAX_SHOWN characters only its start is kept, and its SHA-256."""

    start: str = ""
    length: int = 0
    digest: Any = None

    def __add__(self, part: str) -> Name:
        """Return the longer name."""
        length = self.length + len(part)
        if self.digest is None and length <= MAX_SHOWN:
            return Name(self.start + part, length)
        digest = sha256(_encoded(self.start)) if self.digest is None else self.digest.copy()
        digest.update(_encoded(part))
        return Name((self.start + part)[: MAX_SHOWN - len(_CUT.format(length, "0" * 64))], length, digest)

    def __str__(self) -> str:
        """Return the name; a long one is its start, its length and its SHA-256, together MAX_SHOWN characters."""
        return self.start + (_CUT.format(self.length, self.digest.hexdigest()) if self.digest else "")


def quoted(text: str, plain: re.Pattern[str] = _PLAIN_KEY) -> str:
    """Return a part of a name: as it is if all of it matches `plain`, else as a JSON string."""
    return text if plain.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def flattened(value: Json, name: Name = Name(), separator: str = "") -> Iterator[tuple[str, Json]]:
    """Yield the values in nested objects and arrays with their names, such as `train.layers[0].size`.

    `separator` is put between `name` and the first key. Keys with characters that have a meaning in names are quoted.
    """
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from flattened(item, name + (separator + quoted(key)), ".")
    elif isinstance(value, list | tuple) and value:
        for index, item in enumerate(value):
            yield from flattened(item, name + f"{separator if separator != '.' else ''}[{index}]", ".")
    else:
        yield str(name), value


def _number(value: Value) -> Decimal | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(repr(value))
    return None


def _difference(a: Value, b: Value) -> Mapping[str, Json]:
    """Return the exact difference of two numbers as decimals, and in relation to A unless A is 0."""
    old, new = _number(a), _number(b)
    if old is None or new is None:
        return {}
    difference = _EXACT.subtract(new, old)
    found: dict[str, Json] = {"difference": _signed(difference)}
    if old:
        percent = _THREE_DIGITS.divide(_EXACT.multiply(difference, Decimal(100)), abs(old))
        found["relative"] = f"{_signed(percent)}%"
    return found


def _signed(number: Decimal) -> str:
    return ("" if number < 0 else "+") + decimal_text(number)


def decimal_text(number: Decimal) -> str:
    """Return a number in decimals without trailing zeros; very large and very small ones with an exponent."""
    if not number:
        return "0"
    normal = _EXACT.plus(number).normalize(_EXACT)
    return format(normal, "f") if -7 <= normal.adjusted() < 16 else str(normal)


def shortened(text: str, limit: int = MAX_SHOWN) -> str:
    """Return the text, or its start with its length and the start of its SHA-256 if it is longer than `limit`."""
    if len(text) <= limit:
        return text
    digest = sha256(_encoded(text)).hexdigest()[:12]
    return f"{text[:limit]}… ({len(text)} characters, sha256:{digest}…)"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def document_value(value: Json) -> Json:
    """Return a value for a document: long texts shortened, and at most MAX_STEPS items of an array."""
    if isinstance(value, str):
        return shortened(value)
    if isinstance(value, Mapping):
        return {key: document_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [document_value(item) for item in value[:MAX_STEPS]]
    return value


def by_step(many: Iterable[tuple[tuple[str, str], Facts]]) -> dict[tuple[str, str], Facts]:
    """Return facts of steps under the keys that `compare` reads, without empty ones."""
    return {key: facts for key, facts in many if facts}
