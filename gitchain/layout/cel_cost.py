"""The variables that a CEL expression reads, forbidden constructs, and an upper bound of its work.

The engine bounds depth and loop turns, but not the work of one turn: `[x].map(a, a + a)` doubles a value each time,
`==` walks both sides, `matches` compiles its pattern again and again. So the work is bounded before: every value
has a `CostBound`, that of a variable is measured, and the work of a node is a function of the bounds of its operands.
One unit of work is about 0.1 µs and 40 bytes at worst; the bounds are never too low, and often too high.

Does NOT evaluate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from gitchain.errors import LayoutError, LimitError
from gitchain.layout.cel_tree import CelCall, CelConstant, CelItems, CelMacro, CelSelect, CelVariable, Node

MAX_WORK = 4_000_000
MAX_TURNS = 10_000  # the engine's own bound on the turns of all loops together
MAX_PATTERN = 256
MAX_NESTING = 4  # loops within loops; measuring a loop looks at its step twice

Path: TypeAlias = tuple[str, ...]
"""A variable with the fields and string keys that are read from it: `("predicate", "result")`."""

_CHEAP = frozenset({"_&&_", "_||_", "!_", "_?_:_", "@not_strictly_false", "dyn", "type", "_[_]"})
_PART = frozenset({"dyn", "_[_]"})
_EQUAL = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})
_NUMBERS = frozenset({"-_", "_-_", "_*_", "_/_", "_%_"})
_TEXT = frozenset({"size", "int", "uint", "double", "bool", "string", "bytes", "duration", "timestamp"})
_SEARCH = frozenset({"contains", "startsWith", "endsWith"})
_TIME = frozenset(
    f"get{part}"
    for part in (
        "FullYear",
        "Month",
        "Date",
        "DayOfMonth",
        "DayOfWeek",
        "DayOfYear",
        "Hours",
        "Minutes",
        "Seconds",
        "Milliseconds",
    )
)
_KNOWN = _CHEAP | _EQUAL | _NUMBERS | _TEXT | _SEARCH | _TIME | {"_+_", "@in", "matches"}
_REPEAT = re.compile(r"\{(\d+)(?:,(\d*))?\}")


@dataclass(frozen=True, slots=True)
class CostBound:
    """At most: `weight`, all values and characters/8 in it; `width`, the entries or characters/8 of its widest part."""

    weight: int = 1
    width: int = 1

    def __add__(self, other: CostBound) -> CostBound:
        return CostBound(self.weight + other.weight, self.width + other.width)


ONE = CostBound()


def text_bound(size: int) -> CostBound:
    """Return the bound of a string of that many characters or bytes."""
    return CostBound(1 + size // 8, 1 + size // 8)


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes right below."""
    match node:
        case CelSelect():
            return (node.operand,)
        case CelCall():
            return node.arguments
        case CelItems():
            return node.elements
        case CelMacro():
            return (node.over, node.start, node.condition, node.step, node.result)
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """Yield the node and every node below."""
    yield node
    for child in children(node):
        yield from walk(child)


def check_tree(tree: Node) -> None:
    """Raise LayoutError for functions that read the host, or whose work is not bounded."""
    if _nesting(tree) > MAX_NESTING:
        raise LayoutError("loops are nested too deeply", expected=f"at most {MAX_NESTING} levels")
    for node in walk(tree):
        if isinstance(node, CelItems) and node.message:
            raise LayoutError("messages are not available", got=node.message)
        if isinstance(node, CelCall):
            _check_call(node)


def _nesting(node: Node) -> int:
    if isinstance(node, CelMacro):
        return max(_nesting(node.over), 1 + _nesting(node.step))
    return max(map(_nesting, children(node)), default=0)


def _check_call(node: CelCall) -> None:
    if node.function not in _KNOWN:
        raise LayoutError("function is not available", got=node.function[:80])
    if node.function in _TIME and len(node.arguments) > 1:
        raise LayoutError("times are in UTC", where=node.function, got="a time zone", help="leave it out")
    if node.function == "matches":
        pattern = node.arguments[-1]
        if not isinstance(pattern, CelConstant) or pattern.size > MAX_PATTERN:
            raise LayoutError(
                "pattern is not a plain string", where="matches", expected=f"at most {MAX_PATTERN} characters"
            )


def paths(tree: Node) -> frozenset[Path]:
    """Return the paths that the expression reads, up to the first computed key."""
    path = _path(tree)
    if path is not None:
        return frozenset({path})
    return frozenset(found for child in children(tree) for found in paths(child))


def _path(node: Node) -> Path | None:
    match node:
        case CelVariable():
            return (node.name.removeprefix("."),)  # ".x" is the variable x where a loop has an x of its own
        case CelSelect():
            above = _path(node.operand)
            return None if above is None else (*above, node.field)
        case CelCall(function="_[_]", arguments=(operand, CelConstant(text=str() as key))):
            above = _path(operand)
            return None if above is None else (*above, key)
        case _:
            return None


def check_work(tree: Node, variables: Mapping[str, CostBound]) -> None:
    """Raise LimitError if evaluating the expression could be more work than MAX_WORK."""
    measure(tree, variables)


def measure(tree: Node, variables: Mapping[str, CostBound]) -> tuple[CostBound, int]:
    """Return the bound of the expression's value and the work that it can be; LimitError beyond MAX_WORK."""
    meter = _CostMeter()
    scope = {**variables, **{f".{name}": bound for name, bound in variables.items()}}
    return meter.bound(tree, scope, 1), meter.work


class _CostMeter:
    """Adds up the work of an expression."""

    __slots__ = ("work",)

    def __init__(self) -> None:
        self.work = 0

    def _spend(self, work: int, turns: int) -> None:
        self.work += (work + 1) * turns
        if self.work > MAX_WORK:
            raise LimitError("more work than a constraint may be", expected=f"at most {MAX_WORK} units")

    def bound(self, node: Node, scope: Mapping[str, CostBound], turns: int) -> CostBound:
        """Return the bound of the node's value; `turns` is how often the loops around it turn at most."""
        match node:
            case CelConstant():
                return text_bound(node.size)
            case CelVariable():
                return scope.get(node.name, ONE)
            case CelSelect():
                found = self.bound(node.operand, scope, turns)
                self._spend(0, turns)
                return ONE if node.test else found
            case CelItems():
                return self._items(node, scope, turns)
            case CelMacro():
                return self._loop(node, scope, turns)
        return self._call(node, [self.bound(one, scope, turns) for one in node.arguments], turns)

    def _items(self, node: CelItems, scope: Mapping[str, CostBound], turns: int) -> CostBound:
        parts = [self.bound(one, scope, turns) for one in node.elements]
        self._spend(len(parts), turns)
        width = max((len(parts) + 1, *(part.width for part in parts)))
        return CostBound(1 + sum(part.weight for part in parts), width)

    def _call(self, node: CelCall, given: list[CostBound], turns: int) -> CostBound:
        name, first, last = node.function, given[0], given[-1]
        result, work = ONE, 0
        if name == "_+_":
            result, work = first + last, first.width + last.width
        elif name == "_?_:_":
            result = CostBound(max(one.weight for one in given), max(one.width for one in given))
        elif name in _EQUAL:
            work = min(first.weight, last.weight)
        elif name == "@in":
            work = first.weight + min(last.weight, last.width * first.weight)
        elif name in _SEARCH:
            work = first.width * last.width
        elif name == "matches":
            work = _matching(node.arguments[-1], first.width * 8)
        elif name in _TEXT:
            result, work = replace(first, weight=first.weight + 8, width=first.width + 8), first.width
        elif name in _PART:
            result = first
        self._spend(work, turns)
        return result

    def _loop(self, node: CelMacro, scope: Mapping[str, CostBound], turns: int) -> CostBound:
        over = self.bound(node.over, scope, turns)
        inner = min(MAX_TURNS, over.width)
        start = self.bound(node.start, scope, turns)
        total = min(MAX_TURNS, turns * inner)
        inside = {**scope, node.variable: over}
        # How much one turn adds: the step over a start of nothing. Then every turn works on the final size.
        grown = _CostMeter().bound(node.step, {**inside, node.accumulator: CostBound(0, 0)}, 1)
        final = CostBound(start.weight + grown.weight * inner, start.width + grown.width * inner)
        inside[node.accumulator] = final
        self.bound(node.condition, inside, total)
        self.bound(node.step, inside, total)
        return self.bound(node.result, {**scope, node.accumulator: final}, turns)


def _matching(pattern: Node, characters: int) -> int:
    """Return the work of compiling the pattern, which the engine does for each call, and of matching."""
    text = pattern.text or "" if isinstance(pattern, CelConstant) else ""
    repeats = math.prod(max(int(one[1]), int(one[2] or 0), 1) for one in _REPEAT.finditer(text))
    classes = sum(text.lower().count(one) for one in ("\\p", "[[:", "(?i"))
    states = (len(text) + 40 * classes) * min(1000, repeats)
    return 64 * states + characters * (1 + states // 7)
