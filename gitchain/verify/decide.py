"""The decision: layout, verified statements, target and time to PASSED or FAILED, with all findings.

 1. Sort the statements: which count for which step, grouped by content, thresholds over distinct people.
 2. Find the groups of served steps that made the target: the chain starts there.
 3. Find a whole chain (`gitchain.verify.chain`).
 4. If there is none, say what is wrong with the closest one (`gitchain.verify.explain`).

Pure: no I/O, no clock. Monotonic: taking evidence away never turns FAILED into PASSED. Never PASSED without
evidence for every step. docs/layout.md says what each part of a layout means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from gitchain.errors import ExitCode
from gitchain.evidence.canonical import Json
from gitchain.layout.artifact import Manifests
from gitchain.layout.model import Identity, Layout
from gitchain.verify.chain import Chain, Chains
from gitchain.verify.claims import Claims, Group, sort_claims
from gitchain.verify.explain import explain
from gitchain.verify.findings import Code, Finding
from gitchain.verify.reasons import warnings
from gitchain.verify.target import Target, makes
from gitchain.verify.verified import SignedLayout, VerifiedStatement

__all__ = ["Attestation", "Decision", "Finding", "StepReport", "Target", "decide"]

SCHEMA = "https://gitchain.dev/verify/v1"
Result: TypeAlias = Literal["PASSED", "FAILED"]


@dataclass(frozen=True, slots=True)
class Attestation:
    """One attestation that a decision rests on: its id, who signed it, when, and where it is logged."""

    id: str
    signer: Identity
    time: datetime
    origin: str
    index: int
    run: str | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the attestation as `verify --json` holds it."""
        log: dict[str, Json] = {"origin": self.origin, "index": self.index}
        return {
            "id": self.id,
            "signer": self.signer.to_json(),
            "time": _text(self.time),
            "log": log,
            "run": self.run,
        }


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a chain: who signed for it, how strong the evidence is, and the attestations."""

    name: str
    functionaries: tuple[str, ...]
    evidence: str | None
    attestations: tuple[Attestation, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the step as `verify --json` holds it."""
        return {
            "name": self.name,
            "functionaries": self.functionaries,
            "evidence": self.evidence,
            "attestations": [one.to_json() for one in self.attestations],
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict with its reasons. PASSED has a report for every step of the layout and no error."""

    result: Result
    target: Target
    signed: SignedLayout
    time: datetime
    steps: tuple[StepReport, ...]
    findings: tuple[Finding, ...]

    def __post_init__(self) -> None:
        errors = any(finding.severity == "error" for finding in self.findings)
        whole = [step.name for step in self.steps] == [step.name for step in self.signed.layout.steps]
        if errors == self.passed or (self.passed and not whole):
            raise ValueError(f"a decision that is {self.result} contradicts its own reasons")

    @property
    def passed(self) -> bool:
        """Tell whether the target may be served."""
        return self.result == "PASSED"

    @property
    def exit_code(self) -> ExitCode:
        """Return OK for PASSED, NOTHING where nothing is known of the target, else FAILED."""
        if self.passed:
            return ExitCode.OK
        nothing = any(finding.code is Code.NO_EVIDENCE for finding in self.findings)
        return ExitCode.NOTHING if nothing else ExitCode.FAILED

    def to_json(self, trust: Mapping[str, Json] | None = None) -> dict[str, Json]:
        """Return the `verify --json` document; `trust` says which trusted root the caller used, and how old."""
        layout = self.signed.layout
        return {
            "schema": SCHEMA,
            "verificationResult": self.result,
            "resource": self.target.to_json(),
            "layout": {
                "name": layout.name,
                "version": layout.version,
                "digest": {"sha256": self.signed.digest},
                "signer": self.signed.signer.to_json(),
                "expires": _text(layout.expires),
            },
            "steps": [step.to_json() for step in self.steps],
            "findings": [finding.to_json() for finding in self.findings],
            "trust": trust,
            "timeVerified": _text(self.time),
        }


def decide(
    signed: SignedLayout,
    evidence: Iterable[VerifiedStatement],
    target: Target,
    now: datetime,
    manifests: Callable[[str], bytes | None],
) -> Decision:
    """Decide whether the target got here the way the layout says.

    Raises LimitError if the evidence allows more combinations than can be tried: no verdict.
    """
    layout = signed.layout
    statements = tuple(evidence)
    claims = sort_claims(layout, statements, now)
    chains = Chains(layout, Manifests(manifests))
    seeds = _seeds(layout, claims, target, chains.manifests)
    chain = chains.find(seeds, {step.name: claims.counted(step.name) for step in layout.steps})
    if chain is None:
        findings = (*explain(chains, claims, target, seeds), *warnings(statements))
        return Decision("FAILED", target, signed, now, (), findings)
    return Decision("PASSED", target, signed, now, _report(layout, chain), warnings(statements))


def _seeds(layout: Layout, claims: Claims, target: Target, manifests: Manifests) -> Sequence[Group]:
    """Return the evidence that counts for having made the target, the newest first."""
    found = [
        group
        for name in dict.fromkeys(one.step for one in layout.serve)
        for group in claims.counted(name)
        if makes(layout, group.link, name, target, manifests)
    ]
    return sorted(found, key=lambda group: group.time, reverse=True)


def _report(layout: Layout, chain: Chain) -> tuple[StepReport, ...]:
    return tuple(_step_report(chain[step.name]) for step in layout.steps)


def _step_report(group: Group) -> StepReport:
    attestations = tuple(
        Attestation(
            member.statement.attestation_id,
            member.statement.identity,
            member.statement.time,
            member.statement.log.origin,
            member.statement.log.index,
            member.claim.run,
        )
        for member in group.members
    )
    kinds = {member.claim.evidence for member in group.members}
    # The chain is as strong as its weakest member: one declared claim among observed ones reads as declared.
    evidence = None if None in kinds else "declared" if "declared" in kinds else "observed"
    return StepReport(group.step.name, group.principals, evidence, attestations)


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
