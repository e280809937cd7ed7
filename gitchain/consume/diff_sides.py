"""Verify both sides of `gitchain diff`, and find the signed statements of each step of their chains.

A side that passes has the statements of the chains that satisfy the layout. A side that fails has no such chain: it has
the statements of functionaries that `gitchain.consume.diff_signed` finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from gitchain.consume.diff_signed import SignedStatements
from gitchain.consume.diff_values import document_value
from gitchain.consume.targets import GivenTarget
from gitchain.consume.verifier import Verification, Verifier
from gitchain.errors import ExitCode, NoEvidenceError
from gitchain.evidence.canonical import Json
from gitchain.evidence.statement import Statement
from gitchain.verify.findings import Finding, FindingCode
from gitchain.verify.report import Attestation, StepReport, SublayoutReport
from gitchain.verify.target import Target

MAX_FINDINGS = 20
"""Most findings of one side in a document; `gitchain verify` has all."""

REVOKED = {FindingCode.REVOKED_ATTESTATION, FindingCode.REVOKED_SIGNER, FindingCode.REVOKED_ARTIFACT}
OF_STRANGERS = {
    FindingCode.PREDICATE_TYPE,
    FindingCode.UNAUTHORISED,
    FindingCode.OTHER_LAYOUT,
    FindingCode.MALFORMED_CLAIM,
}
"""Findings about statements whose signer is no functionary, or was not checked."""

MAX_RESOURCES = 100
"""Most artifacts of one side in a document: a bundle file may have thousands of subjects."""

MAX_FAILED = 100
"""Most artifacts of one side that failed for which signed statements are looked up."""

MAX_STEPS = 200
MAX_ATTESTATIONS = 20


@dataclass(frozen=True, slots=True)
class SideStep:
    """One step of a side: its attestations, and their statements where they are bundles."""

    name: str
    evidence: str | None
    attestations: tuple[Attestation, ...]
    statements: tuple[Statement, ...]
    sublayout: SublayoutReport | None = None

    def merged(self, other: SideStep) -> SideStep:
        """Return the step with the attestations of the same step in another chain of the side."""
        known = {one.id for one in self.attestations}
        fresh = [one for one in other.attestations if one.id not in known]
        if not fresh:
            return self
        statements = {id(one): one for one in (*self.statements, *other.statements)}
        return replace(self, attestations=(*self.attestations, *fresh), statements=tuple(statements.values()))

    def to_json(self) -> dict[str, Any]:
        """Return the step as in `diff --json`."""
        return {
            "name": document_value(self.name),
            "evidence": self.evidence,
            "attestations": [
                {"id": one.id, "signer": one.signer.to_json(), "time": one.to_json()["time"]}
                for one in self.attestations[:MAX_ATTESTATIONS]
            ],
        }


@dataclass(frozen=True, slots=True)
class Side:
    """One side: the target as given, its verification, and its steps by name in the order of the layout."""

    target: str
    verification: Verification
    steps: Mapping[str, SideStep]

    @property
    def passed(self) -> bool:
        """Return whether every artifact of the target passed."""
        return self.exit_code is ExitCode.OK

    @property
    def exit_code(self) -> ExitCode:
        """Return OK if every artifact passed, else the lowest code, as `gitchain verify` ends with it."""
        codes = [one.exit_code for one in self.verification.decisions]
        failed = min((code for code in codes if code is not ExitCode.OK), default=None)
        return ExitCode.NOTHING if not codes else ExitCode.OK if failed is None else failed

    def to_json(self) -> dict[str, Any]:
        """Return the side as in `diff --json`: target, verdict, artifacts, steps and findings."""
        decisions = self.verification.decisions
        findings = sorted((finding for one in decisions for finding in one.findings), key=_rank)
        return {
            "target": document_value(self.target),
            "verificationResult": "PASSED" if self.passed else "FAILED",
            "resources": [
                one.target.to_json() | {"verificationResult": one.result} for one in decisions[:MAX_RESOURCES]
            ],
            "resourcesTotal": len(decisions),
            "steps": [step.to_json() for step in list(self.steps.values())[:MAX_STEPS]],
            "findings": [document_value(finding.to_json()) for finding in findings[:MAX_FINDINGS]],
            "findingsTotal": len(findings),
        }


def side_of(verifier: Verifier, given: GivenTarget) -> Side:
    """Verify one target and return it as a side.

    Raises the errors of `Verifier.verify`, and NoEvidenceError if no attestation is about the target.
    """
    verification = verifier.verify(given)
    if all(one.exit_code is ExitCode.NOTHING for one in verification.decisions):
        raise _nothing(given, verification)
    steps: dict[str, SideStep] = {}
    for decision in verification.decisions:
        if decision.passed:
            for step in _chain(verifier, decision.steps):
                known = steps.get(step.name)
                steps[step.name] = step if known is None else known.merged(step)
    # what passed comes first: it decides which statement of a step is shown
    failed = [one.target for one in verification.decisions if not one.passed][:MAX_FAILED]
    if failed:
        signed = SignedStatements(verifier, failed)
        for step in chain.from_iterable(_signed(signed, target) for target in failed):
            steps.setdefault(step.name, step)
    return Side(given.text, verification, steps)


def _rank(finding: Finding) -> int:
    """Return the place of a finding: revocations first, what anybody can cause with a statement of their own last."""
    return 0 if finding.code in REVOKED else 2 if finding.code in OF_STRANGERS else 1


def _nothing(given: GivenTarget, verification: Verification) -> NoEvidenceError:
    findings = [one for decision in verification.decisions for one in decision.findings]
    first = next((one for one in findings if one.severity == "error"), None)
    if first is None:
        return NoEvidenceError("nothing to compare", where=given.text, help="gitchain log")
    return NoEvidenceError(
        first.message, where=given.text, expected=first.expected, got=first.got, help=first.advice
    )


def _chain(verifier: Verifier, steps: Sequence[StepReport], prefix: str = "") -> Iterator[SideStep]:
    """Yield the steps of a chain that satisfies the layout; those of a sublayout after its step."""
    for step in steps:
        statements = tuple(
            statement
            for one in step.attestations
            for statement in verifier.evidence.verified(verifier.evidence.bundles.with_id(one.id))[:1]
        )
        name = f"{prefix}{step.name}"
        found = tuple(one.statement for one in statements)
        yield SideStep(name, step.evidence, step.attestations, found, step.sublayout)
        if step.sublayout is not None:
            yield from _chain(verifier, step.sublayout.steps, f"{name}/")


def _signed(known: SignedStatements, target: Target) -> Iterator[SideStep]:
    """Yield for each step the statement of a functionary that digests connect to a target that failed."""
    for name, one in known.of(target).items():
        attestation = Attestation.of(one.statement, one.claim.run)
        yield SideStep(name, one.claim.evidence, (attestation,), (one.statement.statement,))


def signers_of(step: SideStep, *, timed: bool) -> Json:
    """Return the identities that signed a step, sorted, each once; with `timed` when each signed."""
    found: dict[tuple[str, ...], Json] = {}
    for one in step.attestations:
        value: dict[str, Json] = {**one.signer.to_json()}
        if timed:
            value["time"] = one.to_json()["time"]
        found[tuple(str(value[key]) for key in sorted(value))] = value
    return [found[key] for key in sorted(found)]
