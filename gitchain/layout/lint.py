"""Check a layout for common mistakes. docs/lint.md lists every code.

A layout that loads is well formed. Lint finds rules that never apply, open lists, identities that others can get, steps
without links, and constraints that read no evidence.

Pure: no I/O, no clock. Does NOT use evidence: `gitchain layout test` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from gitchain.evidence.vocabulary import PROVENANCE, PROVENANCE_V02
from gitchain.layout.constraint import Scope, compile_constraint
from gitchain.layout.lint_code import Lint, LintCode
from gitchain.layout.lint_functionaries import lint_people, one_person
from gitchain.layout.lint_rules import lint_rules
from gitchain.layout.model import Identity, Layout
from gitchain.layout.parts import Constraint

__all__ = ["Lint", "LintCode", "lint"]

MAX_LIFETIME = timedelta(
    days=398
)  # as for certificates of web servers: a year and a month to get the next one out
MIN_LIFETIME = timedelta(days=14)
MIN_FRESHNESS = timedelta(days=1)
BUILDER_FIELDS = {
    PROVENANCE: (
        ("predicate", "buildDefinition", "buildType"),
        ("predicate", "runDetails", "builder", "id"),
    ),
    PROVENANCE_V02: (("predicate", "buildType"), ("predicate", "builder", "id")),
}
"""The fields of provenance with the kind of build and the builder, by predicate type."""


def lint(layout: Layout, now: datetime, signers: Sequence[Identity] = ()) -> tuple[Lint, ...]:
    """Return all findings about the layout: errors first, then in the order of the codes.

    `signers` are the allowed signers of the layout, if they are known.
    """
    found = (
        *_expiry(layout, now),
        *_strength(layout),
        *_conditions(layout),
        *_freshness(layout),
        *_builders(layout),
        *_any_artifact(layout),
        *lint_people(layout),
        *one_person(layout, signers),
        *lint_rules(layout),
    )
    return tuple(sorted(found, key=lambda one: (one.severity, one.code)))


def _expiry(layout: Layout, now: datetime) -> Iterator[Lint]:
    left = layout.expires - now
    if left <= timedelta(0):
        yield Lint(
            LintCode.EXPIRY,
            "error",
            "expires",
            f"expired on {layout.expires:%F}",
            "raise expires and version",
        )
    elif left < MIN_LIFETIME:
        yield Lint(
            LintCode.EXPIRY, "warning", "expires", f"expires in {left.days} days", "raise expires and version"
        )
    elif left > MAX_LIFETIME:
        message = f"expires in {left.days} days: until then, an older layout can be put in its place"
        yield Lint(LintCode.EXPIRY, "warning", "expires", message, f"at most {MAX_LIFETIME.days} days")


def _freshness(layout: Layout) -> Iterator[Lint]:
    if layout.freshness is not None and layout.freshness < MIN_FRESHNESS:
        message = "verification fails unless a checkpoint was signed within so short a time"
        yield Lint(LintCode.SHORT_FRESHNESS, "warning", "freshness", message, "P1D or more")


def _strength(layout: Layout) -> Iterator[Lint]:
    served = {one.step for one in layout.serve}
    for index, step in enumerate(layout.steps):
        if step.name in served and step.transformational and step.evidence != "observed":
            what = "selects statements of another tool" if step.select else "accepts declared evidence"
            message = f"step {step.name} makes what is served, and the layout {what} for it"
            place, fix = f"steps[{index}].evidence", "evidence: observed"
            if step.select:
                place, fix = (
                    f"steps[{index}].select",
                    "serve a step with evidence: observed, and MATCH it here",
                )
            yield Lint(LintCode.NOT_OBSERVED, "warning", place, message, fix)


def _any_artifact(layout: Layout) -> Iterator[Lint]:
    """Yield the served steps that give the name of what is served to any one artifact of their signers."""
    served = {one.step for one in layout.serve}
    for index, step in enumerate(layout.steps):
        if step.name not in served or step.select is None or step.select.name is None:
            continue
        if all(read[0] != "subject" for read in compile_constraint(step.select.where, "select").reads):
            place, name = f"steps[{index}].select.where", step.select.name
            message = f"step {step.name} serves any one artifact that its signers build as {name}"
            fix = "compare subject[0].name, or serve the step that makes the artifact"
            yield Lint(LintCode.ANY_ARTIFACT, "warning", place, message, fix)


def _conditions(layout: Layout) -> Iterator[Lint]:
    """Yield findings about constraints that read no evidence. The loader refuses those that do not compile."""
    for where, constraint, scope in _constraints(layout):
        if not compile_constraint(constraint, scope).reads:
            message = f"constraint {constraint.name} looks at nothing: it is the same for every evidence"
            yield Lint(LintCode.CONSTANT, "warning", where, message)


def _builders(layout: Layout) -> Iterator[Lint]:
    """Yield the steps that select provenance, and do not compare its build type or its builder."""
    for index, step in enumerate(layout.steps):
        named = BUILDER_FIELDS.get(step.predicate_type)
        if step.select is None or named is None:
            continue
        reads = compile_constraint(step.select.where, "select").reads
        if not any(read[: len(field)] == field for read in reads for field in named):
            fields = " or ".join(".".join(field) for field in named)
            message = (
                f"step {step.name} selects the provenance of every build and builder that its signers can run"
            )
            yield Lint(
                LintCode.ANY_BUILD, "warning", f"steps[{index}].select.where", message, f"compare {fields}"
            )


def _constraints(layout: Layout) -> Iterator[tuple[str, Constraint, Scope]]:
    for index, step in enumerate(layout.steps):
        for at, one in enumerate(step.constraints):
            yield f"steps[{index}].constraints[{at}]", one, "step"
        if step.select is not None:
            yield f"steps[{index}].select.where", step.select.where, "select"
    for at, one in enumerate(layout.datasets.constraints if layout.datasets else ()):
        yield f"datasets.constraints[{at}]", one, "dataset"
    for at, one in enumerate(layout.constraints):
        yield f"constraints[{at}]", one, "chain"
