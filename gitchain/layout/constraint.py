"""Compile CEL constraints over evidence, and evaluate them within bounds.

    {name: floor, expression: "predicate.metrics.accuracy >= 0.9"}

A constraint holds if its expression is exactly `true`. An error, a missing field, too much work, and every other
value are problems, never a pass. An expression reads only its variables: no clock, no file, no time zone, no
network. docs/constraints.md is the reference, docs/decisions/0007-constraints-in-cel.md has the reasons.

Language: https://github.com/google/cel-spec/blob/master/doc/langdef.md . The engine is loaded at the first use.
The variables come from `gitchain.verify.constraints`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from gitchain.errors import GitchainError, LayoutError, LimitError
from gitchain.layout.cel_cost import CostBound, Path, check_tree, check_work, paths, text_bound
from gitchain.layout.cel_tree import Node, read_tree
from gitchain.layout.model import Constraint, Layout

if TYPE_CHECKING:
    from cel_expr_python import cel

MAX_VALUES = (
    200_000  # values that one evaluation may be given: about 60 MB and a fifth of a second in the engine
)
MAX_LEVELS = 128  # of a value: evidence has 64 (`gitchain.evidence.canonical`), and what is around it few
MAX_COMPILED = 1024
MAX_PROBLEM = 300
MAX_SEEN = 4

Scope: TypeAlias = Literal["step", "select", "chain", "dataset"]
Input: TypeAlias = (
    "bool | int | float | str | datetime | Sequence[Input] | Mapping[str, Input] | Callable[[], Input] | None"
)
"""A value of a variable, or a function that returns it, called only if the expression reads it."""

VARIABLES: Mapping[Scope, Mapping[str, str]] = {
    "step": {
        "subject": "LIST",
        "predicateType": "STRING",
        "predicate": "DYN",
        "materials": "MAP",
        "products": "MAP",
        "time": "TIMESTAMP",
        "signer": "MAP",
        "run": "DYN",
        "evidence": "DYN",
    },
    "select": {"subject": "LIST", "predicate": "DYN", "signer": "MAP"},
    "chain": {"steps": "MAP", "target": "MAP", "layout": "MAP"},
    "dataset": {"dataset": "DYN", "artifact": "MAP", "signer": "MAP", "time": "TIMESTAMP"},
}


@dataclass(frozen=True, slots=True)
class ConstraintResult:
    """Whether a constraint holds, with the `problem` if not. `evaluated` is False if there was no result."""

    ok: bool
    problem: str = ""
    evaluated: bool = True


HOLDS = ConstraintResult(True)
FAILS = ConstraintResult(False, "is not true")


@dataclass(frozen=True, slots=True, eq=False)
class CompiledConstraint:
    """A compiled constraint. `reads` are the paths that it reads; nothing else influences the result."""

    constraint: Constraint
    scope: Scope
    reads: frozenset[Path]
    _tree: Node = field(repr=False)
    _program: cel.Expression = field(repr=False)

    def holds(self, variables: Mapping[str, Input]) -> ConstraintResult:
        """Return the result for these variables. Errors are returned as problems, not raised."""
        try:
            data, bounds = self._given(variables)
            check_work(self._tree, bounds)
            found = _verdict(self._program.eval(data=data))
            return found if found != FAILS else ConstraintResult(False, f"{FAILS.problem}{self._seen(data)}")
        except GitchainError as error:
            return ConstraintResult(False, str(error), evaluated=False)
        except (RuntimeError, TypeError, ValueError) as error:  # what the engine raises
            return ConstraintResult(False, _short(error), evaluated=False)

    def _seen(self, data: Mapping[str, Input]) -> str:
        """Return the values that the expression read, for messages."""
        found: list[str] = []
        for read in sorted(self.reads):
            value: Input = data
            for key in read:
                value = value.get(key) if isinstance(value, Mapping) else None
            if isinstance(value, bool | int | float | str | datetime):
                found.append(f"{'.'.join(read)} is {str(value)[:80]}")
        return f": {', '.join(found[:MAX_SEEN])}" if found else ""

    def _given(self, variables: Mapping[str, Input]) -> tuple[dict[str, Input], dict[str, CostBound]]:
        """Return the values that are read, as the engine needs them, and their size."""
        data: dict[str, Input] = {}
        bounds: dict[str, CostBound] = {}
        for name in VARIABLES[self.scope]:
            tails = [read[1:] for read in self.reads if read[0] == name]
            if tails:
                copier = _ValueCopier()
                data[name] = copier.part(variables[name], tails)
                bounds[name] = CostBound(copier.weight, copier.width)
        return data, bounds


@lru_cache(maxsize=MAX_COMPILED)
def compile_constraint(constraint: Constraint, scope: Scope) -> CompiledConstraint:
    """Return the constraint, ready to be evaluated.

    Raises LayoutError, with the constraint's name as the place, for an expression that does not type-check to
    a boolean in this scope, is nested too deeply, or uses what is not available.
    """
    try:
        return _compiled(constraint, scope)
    except LayoutError as error:
        place = ".".join(part for part in (constraint.name, error.where) if part)
        raise LayoutError(
            error.what, where=place, expected=error.expected, got=error.got, help=error.help
        ) from error
    except (RuntimeError, TypeError, ValueError) as error:  # what the engine raises
        raise LayoutError("not a valid expression", where=constraint.name, got=_short(error)) from error


def check_constraints(layout: Layout) -> None:
    """Raise LayoutError if a constraint of the layout does not compile, or names a step that there is not."""
    for index, step in enumerate(layout.steps):
        _check(step.constraints, "step", f"steps[{index}].constraints")
        _check((step.select.where,) if step.select else (), "select", f"steps[{index}].select")
    if layout.datasets:
        _check(layout.datasets.constraints, "dataset", "datasets.constraints")
    names = {step.name for step in layout.steps}
    for one in _check(layout.constraints, "chain", "constraints"):
        read = {path[1] for path in one.reads if path[0] == "steps" and len(path) > 1}
        if unknown := sorted(read - names):
            where = f"constraints.{one.constraint.name}"
            raise LayoutError(
                "constraint names a step that the layout does not have",
                where=where,
                expected=", ".join(sorted(names)),
                got=", ".join(unknown),
            )


def _check(constraints: Sequence[Constraint], scope: Scope, place: str) -> Sequence[CompiledConstraint]:
    try:
        return [compile_constraint(one, scope) for one in constraints]
    except LayoutError as error:
        where = f"{place}.{error.where}"
        raise LayoutError(
            error.what, where=where, expected=error.expected, got=error.got, help=error.help
        ) from error


def _compiled(constraint: Constraint, scope: Scope) -> CompiledConstraint:
    program = _environment(scope).compile(constraint.expression)
    kind = program.return_type().name()
    if kind not in {"BOOL", "DYN"}:
        raise LayoutError("expression is not a condition", expected="a boolean", got=kind)
    tree = read_tree(program.serialize())
    check_tree(tree)
    reads = frozenset(path for path in paths(tree) if path[0] in VARIABLES[scope])
    return CompiledConstraint(constraint, scope, reads, tree, program)


@lru_cache(maxsize=len(VARIABLES))
def _environment(scope: Scope) -> cel.Env:
    from cel_expr_python import cel  # only layouts with constraints pay for the engine

    anything = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    types = {"MAP": anything, "LIST": cel.Type.List(anything)}
    known = {"STRING": cel.Type.STRING, "DYN": cel.Type.DYN, "TIMESTAMP": cel.Type.TIMESTAMP, **types}
    return cel.NewEnv(variables={name: known[kind] for name, kind in VARIABLES[scope].items()})


def _verdict(value: cel.Value) -> ConstraintResult:
    kind = value.type().name()
    if kind == "BOOL":
        return HOLDS if value.value() is True else FAILS
    if kind == "ERROR":
        return ConstraintResult(False, _short(value.value()), evaluated=False)
    return ConstraintResult(False, f"gives {kind.lower()}, not true or false", evaluated=False)


def _short(said: object) -> str:
    """Return the engine's message on one line, without source excerpt and status words."""
    text = " ".join(str(said).partition(" | ")[0].split())
    text = re.sub(r"^([A-Z_]+: )?(ERROR: <input>:\S+ )?", "", text).replace(" (in container '')", "")
    return text if len(text) <= MAX_PROBLEM else f"{text[:MAX_PROBLEM]}…"


class _ValueCopier:
    """Copies the values that are read from one variable, and measures them."""

    __slots__ = ("weight", "width")

    def __init__(self) -> None:
        self.weight = 0
        self.width = 1

    def part(self, value: Input, tails: Sequence[Path]) -> Input:
        """Return a copy with the paths alone. Other fields are not read, so they are left out."""
        if callable(value):
            value = value()
        if () in tails or not isinstance(value, Mapping):
            return self.whole(value)
        heads = dict.fromkeys(tail[0] for tail in tails)
        self._count(1 + len(heads), len(heads))
        return {
            head: self.part(value[head], [tail[1:] for tail in tails if tail[0] == head])
            for head in heads
            if head in value
        }

    def whole(self, value: Input, levels: int = MAX_LEVELS) -> Input:
        """Return a copy of the whole value; LimitError beyond `levels`, which is the same in every Python."""
        if not levels:
            raise LimitError(
                "evidence is nested too deeply for a constraint", expected=f"at most {MAX_LEVELS} levels"
            )
        if callable(value):
            value = value()
        if isinstance(value, str):
            bound = text_bound(len(value))
            self._count(bound.weight, bound.width)
            return value
        if isinstance(value, Mapping):
            self._count(1, len(value))
            for key in value:
                self.whole(key)
            return {key: self.whole(one, levels - 1) for key, one in value.items()}
        if isinstance(value, Sequence):
            self._count(1, len(value))
            return [self.whole(one, levels - 1) for one in value]
        self._count(1, 1)
        return value

    def _count(self, weight: int, width: int) -> None:
        self.weight += weight
        self.width = max(self.width, width)
        if self.weight > MAX_VALUES:
            raise LimitError(
                "more evidence than a constraint may read", expected=f"at most {MAX_VALUES} values"
            )
