"""Evaluate the CEL constraints of a layout over evidence.

- A step's constraints must hold for each attestation of the step.
- A layout's constraints must hold for a chain: for every choice of one attestation for each step whose predicate they
  read. So a good attestation cannot hide a bad one about the same artifacts.

Pure. docs/constraints.md lists the variables.
Does NOT decide which statements count (`gitchain.verify.authorization`), nor check data sets (`gitchain.verify.datasets`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from gitchain.errors import LayoutError
from gitchain.evidence.canonical import Json, canonical_json
from gitchain.evidence.claim import StepClaim
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.evidence.vocabulary import time_text
from gitchain.layout.artifact import Artifacts, Link
from gitchain.layout.model import Constraint, Layout, Step
from gitchain.verify.findings import Finding, FindingCode
from gitchain.verify.target import Target
from gitchain.verify.verified import VerifiedStatement

if TYPE_CHECKING:
    from gitchain.layout.cel_cost import Path
    from gitchain.layout.constraint import CompiledConstraint, ConstraintResult, Input, Scope

MAX_ROWS = 1000  # choices of attestations that one constraint over a chain is evaluated for


class AttestationRow(Protocol):
    """One attestation of a step, with the functionary and the principal that it counts for."""

    @property
    def statement(self) -> VerifiedStatement:
        """The verified statement, with signer and time."""

    @property
    def claim(self) -> StepClaim:
        """Its claim about the step."""

    @property
    def link(self) -> Link:
        """Its materials and products."""

    @property
    def functionary(self) -> str:
        """The functionary whose identity signed."""

    @property
    def principal(self) -> str:
        """The person or workload that this functionary belongs to."""


class StepRows(Protocol):
    """The attestations of one step with equal materials and products."""

    @property
    def step(self) -> Step:
        """The step of the layout."""

    @property
    def members(self) -> Sequence[AttestationRow]:
        """The attestations, the oldest first."""

    @property
    def link(self) -> Link:
        """Their materials and products."""

    @property
    def principals(self) -> Sequence[str]:
        """The distinct people and workloads that signed."""


def check_step(step: Step, row: AttestationRow) -> Finding | None:
    """Return the first constraint of the step that fails for this attestation, or None."""
    variables = _attestation(row)
    for constraint in step.constraints:
        verdict = holds(constraint, "step", variables)
        if not verdict.ok:
            what = f"constraint {constraint.name} of step {step.name}"
            return finding(FindingCode.CONSTRAINT, what, constraint, verdict, step=step.name)
    return None


def check_chain(layout: Layout, chain: Mapping[str, StepRows], target: Target) -> tuple[Finding, ...]:
    """Return the layout's constraints that fail for this chain, and the `sameRun` steps without a common run."""
    found = [_chain_finding(one, layout, chain, target) for one in layout.constraints]
    runs = [_run_finding(names, chain) for names in layout.same_run]
    return tuple(one for one in (*found, *runs) if one is not None)


# Within a step --------------------------------------------------------------------------------------------------


def _attestation(row: AttestationRow) -> dict[str, Input]:
    """Return the variables of one attestation."""
    statement = row.statement.statement
    return {
        "subject": lambda: [_subject(one) for one in statement.subject],
        "predicateType": statement.predicate_type,
        "predicate": statement.predicate,
        "materials": lambda: _artifacts(row.link.materials),
        "products": lambda: _artifacts(row.link.products),
        "time": row.statement.time,
        "signer": lambda: signer_of(row.statement, row.functionary, row.principal),
        "run": row.claim.run,
        "evidence": row.claim.evidence,
    }


def _subject(descriptor: ResourceDescriptor) -> Input:
    return {"name": descriptor.rule_name, "digest": dict(descriptor.digest)}


def _artifacts(artifacts: Artifacts) -> Input:
    return {name: {**item.digest, "directory": item.directory} for name, item in artifacts.items()}


def signer_of(statement: VerifiedStatement, functionary: str, principal: str) -> Input:
    """Return the CEL value of the signer."""
    return {
        "issuer": statement.identity.issuer,
        "subject": statement.identity.subject,
        "functionary": functionary,
        "principal": principal,
        "claims": dict(statement.claims),
    }


# Across steps ---------------------------------------------------------------------------------------------------


def _chain_finding(
    constraint: Constraint, layout: Layout, chain: Mapping[str, StepRows], target: Target
) -> Finding | None:
    verdict = _over(constraint, layout, chain, target)
    if verdict.ok:
        return None
    return finding(FindingCode.CHAIN_CONSTRAINT, f"constraint {constraint.name}", constraint, verdict)


def _over(
    constraint: Constraint, layout: Layout, chain: Mapping[str, StepRows], target: Target
) -> ConstraintResult:
    """Return the first result that is not true, over all choices of attestations with different values."""
    from gitchain.layout.constraint import HOLDS, ConstraintResult, compile_constraint

    try:
        compiled = compile_constraint(constraint, "chain")
    except LayoutError as error:
        return ConstraintResult(False, str(error), evaluated=False)
    steps = (
        [(name, _step(rows, row)) for row in _choices(compiled, name, rows)] for name, rows in chain.items()
    )
    about: dict[str, Input] = {
        "target": {"name": target.name, "sha256": target.sha256},
        "layout": {"name": layout.name, "version": layout.version},
    }
    for count, chosen in enumerate(itertools.product(*steps)):
        if count >= MAX_ROWS:
            return ConstraintResult(
                False, f"more than {MAX_ROWS} combinations of attestations", evaluated=False
            )
        verdict = compiled.holds({**about, "steps": dict(chosen)})
        if not verdict.ok:
            return verdict
    return HOLDS


def _choices(compiled: CompiledConstraint, name: str, rows: StepRows) -> Sequence[AttestationRow | None]:
    """Return attestations whose values for the constraint differ; one of them if it reads no predicate."""
    place = ("steps", name, "predicate")
    if not rows.members:
        return (None,)
    reads = [read[len(place) :] for read in compiled.reads if read[: len(place)] == place[: len(read)]]
    distinct = {_key(row.statement.statement.predicate, reads): row for row in rows.members}
    return tuple(distinct.values())


def _key(predicate: Json, reads: Sequence[Path]) -> bytes:
    """Return the values that the constraint reads from the predicate."""
    return canonical_json([_at(predicate, read) for read in reads])


def _at(value: Json, path: Path) -> Json:
    """Return the value at the path, and the number of fields found: a missing field differs from null."""
    depth = 0
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            break
        value, depth = value[key], depth + 1
    return (depth, value)


def _step(rows: StepRows, row: AttestationRow | None) -> Input:
    found: dict[str, Input] = {
        "materials": lambda: _artifacts(rows.link.materials),
        "products": lambda: _artifacts(rows.link.products),
        "principals": rows.principals,
    }
    if row is not None:
        found["predicate"] = row.statement.statement.predicate
        found["attestations"] = lambda: [_nested(one) for one in rows.members]
        found["time"] = time_text(_complete(rows))
    return found


def _nested(row: AttestationRow) -> Input:
    """Return one attestation for use in a list, where the CEL engine takes times only as text."""
    return {**_attestation(row), "time": time_text(row.statement.time)}


def _complete(rows: StepRows) -> datetime:
    """Return when the step's threshold was reached; later signatures do not change it."""
    seen: set[str] = set()
    for row in sorted(rows.members, key=lambda row: row.statement.time):
        seen.add(row.principal)
        if len(seen) >= rows.step.threshold:
            return row.statement.time
    return max(row.statement.time for row in rows.members)


def _run_finding(names: Sequence[str], chain: Mapping[str, StepRows]) -> Finding | None:
    """Return a finding unless the attestations of one run reach the threshold of each of these steps."""
    runs = [_runs(chain[name]) for name in names]
    if set.intersection(*runs):
        return None
    listed = ", ".join(names)
    said = ["/".join(sorted(one)) or "no run" for one in runs]
    return Finding(
        FindingCode.SAME_RUN,
        f"steps {listed} were not done in one run",
        step=names[0],
        expected="one run id in the evidence of each of these steps",
        got="; ".join(f"{name}: {text[:200]}" for name, text in zip(names, said, strict=True)),
        help="run these steps together: gitchain run -- dvc repro",
    )


def _runs(rows: StepRows) -> set[str]:
    signers: dict[str, set[str]] = {}
    for row in rows.members:
        if row.claim.run is not None:
            signers.setdefault(row.claim.run, set()).add(row.principal)
    return {run for run, people in signers.items() if len(people) >= rows.step.threshold}


# ----------------------------------------------------------------------------------------------------------------


def holds(constraint: Constraint, scope: Scope, variables: Mapping[str, Input]) -> ConstraintResult:
    """Evaluate one constraint. An expression that does not compile is a problem, not an exception."""
    from gitchain.layout.constraint import ConstraintResult, compile_constraint

    try:
        return compile_constraint(constraint, scope).holds(variables)
    except LayoutError as error:
        return ConstraintResult(False, str(error), evaluated=False)


def finding(
    code: FindingCode,
    what: str,
    constraint: Constraint,
    verdict: ConstraintResult,
    *,
    step: str = "",
    artifact: str = "",
) -> Finding:
    """Return the finding for a constraint that fails, or that cannot be evaluated."""
    code, problem = (
        (code, verdict.problem) if verdict.evaluated else (FindingCode.CONSTRAINT_ERROR, verdict.problem)
    )
    verb = "does not hold" if verdict.evaluated else "cannot be evaluated"
    return Finding(code, f"{what} {verb}", step, artifact, constraint.expression, problem)
