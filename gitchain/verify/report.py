"""The decision as data: the verdict, the evidence of each step, the findings, and on request every check.

`gitchain verify --json` prints `Decision.to_json`; its schema is schemas/verify.schema.json. Building a decision whose
verdict contradicts its findings raises an error. Does NOT decide: `gitchain.verify.decide` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias

from gitchain.errors import ExitCode
from gitchain.evidence.canonical import Json
from gitchain.evidence.vocabulary import time_text
from gitchain.layout.model import Identity
from gitchain.layout.scope import step_names
from gitchain.verify.findings import Finding, FindingCode
from gitchain.verify.target import Target
from gitchain.verify.verified import SignedLayout, VerifiedStatement

SCHEMA = "https://gitchain.dev/verify/v1"
Result: TypeAlias = Literal["PASSED", "FAILED"]
Kind: TypeAlias = Literal[
    "signature",
    "expiry",
    "freshness",
    "evidence",
    "layout",
    "predicate type",
    "verifier",
    "result",
    "summary",
    "resource",
    "selection",
    "functionary",
    "time",
    "witnesses",
    "revocation",
    "strength",
    "age",
    "constraint",
    "threshold",
    "fault",
    "sublayout",
    "rule",
    "edge",
    "demand",
    "serve",
    "chain",
    "inspection",
]
"""The subject of a check, in the order of the checks of one layout."""

Basis: TypeAlias = Literal["proven", "claimed"]
PROVEN: frozenset[Kind] = frozenset(
    {
        "signature",
        "expiry",
        "freshness",
        "predicate type",
        "functionary",
        "time",
        "witnesses",
        "age",
        "threshold",
        "revocation",
        "inspection",
    }
)
"""Checks with a proven result (signatures, log, bytes); the others compare claims of signers."""

UNKNOWN = (
    "whether the signers tell the truth about what they did",
    "inputs that no statement names, and commands that ran outside of gitchain",
    "whether the log shows everybody the same history",
)
"""Limits of every check."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """One attestation of a decision: id, signer, time and log entry."""

    id: str
    signer: Identity
    time: datetime
    origin: str
    index: int
    run: str | None = None

    @classmethod
    def of(cls, statement: VerifiedStatement, run: str | None = None) -> Attestation:
        """Return the report entry of a verified statement."""
        log = statement.log
        return cls(statement.attestation_id, statement.identity, statement.time, log.origin, log.index, run)

    def to_json(self) -> dict[str, Json]:
        """Return the attestation as in `verify --json`."""
        log: dict[str, Json] = {"origin": self.origin, "index": self.index}
        return {
            "id": self.id,
            "signer": self.signer.to_json(),
            "time": time_text(self.time),
            "log": log,
            "run": self.run,
        }


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a chain: its signers, the strength of its evidence, and the attestations."""

    name: str
    functionaries: tuple[str, ...]
    evidence: str | None
    attestations: tuple[Attestation, ...]
    sublayout: SublayoutReport | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the step as in `verify --json`."""
        found: dict[str, Json] = {
            "name": self.name,
            "functionaries": self.functionaries,
            "evidence": self.evidence,
            "attestations": [one.to_json() for one in self.attestations],
        }
        return found | {"sublayout": self.sublayout.to_json()} if self.sublayout else found


@dataclass(frozen=True, slots=True)
class SublayoutReport:
    """The chain under the sublayout of a step: the layout and its steps."""

    name: str
    version: int
    digest: str
    steps: tuple[StepReport, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the chain as in `verify --json`."""
        return {
            "name": self.name,
            "version": self.version,
            "digest": {"sha256": self.digest},
            "steps": [step.to_json() for step in self.steps],
        }


@dataclass(frozen=True, slots=True)
class ReportedCheck:
    """One check: whether it passed, its subject, and the attestations it used."""

    kind: Kind
    passed: bool
    message: str
    step: str = ""
    expected: str = ""
    got: str = ""
    artifacts: tuple[str, ...] = ()
    attestations: tuple[Attestation, ...] = ()

    @property
    def basis(self) -> Basis:
        """Return "proven", or "claimed" for a result that depends on claims of signers."""
        return "proven" if self.kind in PROVEN else "claimed"

    def to_json(self) -> dict[str, Json]:
        """Return the check as in `verify --json --explain`; absent fields are null."""
        return {
            "check": self.kind,
            "passed": self.passed,
            "basis": self.basis,
            "step": self.step or None,
            "message": self.message,
            "expected": self.expected or None,
            "got": self.got or None,
            "artifacts": self.artifacts,
            "attestations": [one.to_json() for one in self.attestations],
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict with its reasons. PASSED has a report for every step that the target needs, and no error.

    `checks` and `path` are filled on request only: every check of the deciding chain, in order, and for a broken chain
    the shortest path of steps from the target to the break.
    """

    result: Result
    target: Target
    signed: SignedLayout
    time: datetime
    steps: tuple[StepReport, ...]
    findings: tuple[Finding, ...]
    checks: tuple[ReportedCheck, ...] = ()
    path: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        errors = any(finding.severity == "error" for finding in self.findings)
        layout, names = self.signed.layout, tuple(step.name for step in self.steps)
        whole = any(names == step_names(layout, entry) for entry in layout.serve)
        if errors == self.passed or (self.passed and not whole):
            raise ValueError(f"a decision that is {self.result} contradicts its own reasons")
        if self.checks and all(check.passed for check in self.checks) != self.passed:
            raise ValueError(f"a decision that is {self.result} contradicts its own checks")

    @property
    def passed(self) -> bool:
        """Return whether the verdict is PASSED."""
        return self.result == "PASSED"

    @property
    def exit_code(self) -> ExitCode:
        """Return OK for PASSED, NOTHING if no evidence is about the target, else FAILED."""
        if self.passed:
            return ExitCode.OK
        nothing = any(finding.code is FindingCode.NO_EVIDENCE for finding in self.findings)
        return ExitCode.NOTHING if nothing else ExitCode.FAILED

    def to_json(self, trust: Mapping[str, Json] | None = None) -> dict[str, Json]:
        """Return the `verify --json` document. `trust` describes the trusted root and its age."""
        layout = self.signed.layout
        document: dict[str, Json] = {
            "schema": SCHEMA,
            "verificationResult": self.result,
            "resource": self.target.to_json(),
            "layout": {
                "name": layout.name,
                "version": layout.version,
                "digest": {"sha256": self.signed.digest},
                "signer": self.signed.signer.to_json(),
                "expires": time_text(layout.expires),
            },
            "steps": [step.to_json() for step in self.steps],
            "findings": [finding.to_json() for finding in self.findings],
            "trust": trust,
            "timeVerified": time_text(self.time),
        }
        if self.checks:
            document["checks"] = [check.to_json() for check in self.checks]
            document["path"] = self.path
            document["unknown"] = UNKNOWN
        return document

    def with_inspections(self, findings: Sequence[Finding], checks: Sequence[ReportedCheck]) -> Decision:
        """Return the decision with inspection findings about the target's bytes; an error makes it FAILED.

        Raises ValueError for a decision that did not pass: only passed targets are inspected.
        """
        if not self.passed:
            raise ValueError("a target that did not pass is not inspected")
        failed = any(finding.severity == "error" for finding in findings)
        return replace(
            self,
            result="FAILED" if failed else "PASSED",
            steps=() if failed else self.steps,
            findings=(*findings, *self.findings),
            checks=(*self.checks, *checks) if self.checks else (),
        )


def attestations_in(steps: Iterable[StepReport]) -> frozenset[str]:
    """Return the attestation ids of a chain's steps, including those under sublayouts."""
    ids, waiting = set[str](), [*steps]
    while waiting:
        step = waiting.pop()
        ids |= {attestation.id for attestation in step.attestations}
        waiting += step.sublayout.steps if step.sublayout else ()
    return frozenset(ids)
