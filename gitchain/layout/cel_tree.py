"""The tree of a CEL expression, read from the engine's own checked form.

The engine parses and type-checks an expression and can serialise the result: a `google.protobuf.Any` that holds
a `cel.expr.CheckedExpr`. Only its expression is read here, as plain values; types and source positions are skipped.

Format: https://github.com/google/cel-spec/blob/master/proto/cel/expr/syntax.proto .
Does NOT parse CEL text and evaluates nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class CelConstant:
    """A literal; `text` is set for a string, `size` is the length of a string or of bytes."""

    text: str | None = None
    size: int = 1


@dataclass(frozen=True, slots=True)
class CelVariable:
    """A variable of the environment, of a loop, or a type."""

    name: str


@dataclass(frozen=True, slots=True)
class CelSelect:
    """`operand.field`, or `has(operand.field)` if it is a test."""

    operand: Node
    field: str
    test: bool


@dataclass(frozen=True, slots=True)
class CelCall:
    """A function or operator; the target of a member function is its first argument."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class CelItems:
    """A list, map or message literal; `message` is the name of its type, empty for lists and maps."""

    elements: tuple[Node, ...]
    message: str = ""


@dataclass(frozen=True, slots=True)
class CelMacro:
    """The expansion of a macro (`all`, `exists`, `exists_one`, `filter`, `map`)."""

    variable: str
    over: Node
    accumulator: str
    start: Node
    condition: Node
    step: Node
    result: Node


Node: TypeAlias = CelConstant | CelVariable | CelSelect | CelCall | CelItems | CelMacro


def read_tree(serialised: bytes) -> Node:
    """Return the expression in these bytes. Raises ValueError unless they are in the engine's format."""
    return _expression(_CelMessage(_CelMessage(serialised).one(2)).one(4))


class _CelMessage:
    """The fields of one protobuf message, in order, each a varint or bytes."""

    __slots__ = ("_fields",)

    def __init__(self, data: bytes) -> None:
        self._fields = tuple(_fields(data))

    def numbers(self) -> tuple[int, ...]:
        return tuple(number for number, _ in self._fields)

    def all(self, wanted: int) -> tuple[bytes, ...]:
        return tuple(value for number, value in self._fields if number == wanted and isinstance(value, bytes))

    def one(self, wanted: int) -> bytes:
        return next(iter(self.all(wanted)), b"")

    def text(self, wanted: int) -> str:
        return self.one(wanted).decode()

    def flag(self, wanted: int) -> bool:
        return any(value == 1 for number, value in self._fields if number == wanted)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in {_FIXED64, _FIXED32}:
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"protobuf field of kind {kind}")
        if at + size > len(data):
            raise ValueError("protobuf field is cut off")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("protobuf number is cut off")


def _expression(data: bytes) -> Node:
    message = _CelMessage(data)
    for number in message.numbers():
        if number in _READERS:
            return _READERS[number](_CelMessage(message.one(number)))
    raise ValueError("expression of an unknown kind")


def _constant(message: _CelMessage) -> Node:
    if message.all(6):
        return CelConstant(message.text(6), len(message.one(6)))
    return CelConstant(None, max(1, len(message.one(7))))


def _name(message: _CelMessage) -> Node:
    return CelVariable(message.text(1))


def _select(message: _CelMessage) -> Node:
    return CelSelect(_expression(message.one(1)), message.text(2), message.flag(3))


def _call(message: _CelMessage) -> Node:
    return CelCall(message.text(2), tuple(_expression(one) for one in (*message.all(1), *message.all(3))))


def _list(message: _CelMessage) -> Node:
    return CelItems(tuple(_expression(one) for one in message.all(1)))


def _struct(message: _CelMessage) -> Node:
    entries = [_CelMessage(one) for one in message.all(2)]
    parts = (one for entry in entries for one in (*entry.all(3), *entry.all(4)))
    return CelItems(tuple(_expression(one) for one in parts), message.text(1))


def _loop(message: _CelMessage) -> Node:
    return CelMacro(
        message.text(1),
        _expression(message.one(2)),
        message.text(3),
        *(_expression(message.one(number)) for number in (4, 5, 6, 7)),
    )


_READERS = {3: _constant, 4: _name, 5: _select, 6: _call, 7: _list, 8: _struct, 9: _loop}
