"""Verify both sides of `gitchain diff`, and find the signed statements of each step of their chains.

A side that passes has the statements of the chains that satisfy the layout. A side that fails has no such chain: it has
the statements of functionaries that `gitchain.consume.diff_signed` finds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

STRENGTHS = (None, "declared", "observed")
MAX_STEPS = 200
MAX_ATTESTATIONS = 20


@dataclass(frozen=True, slots=True)
class SideStep:
    """One step of a side: its attestations, and their statements where they are bundles."""

    name: str
    evidence: str | None
    attestations: tuple[Attestation, ...]
    statements: tuple[Statement, ...]
    sublayouts: tuple[SublayoutReport, ...] = ()
    part: str = ""
    """Tells apart the steps of one name in several models."""

    @property
    def key(self) -> tuple[str, str]:
        """Return what the step is compared under."""
        return self.name, self.part

    def to_json(self) -> dict[str, Any]:
        """Return the step as in `diff --json`."""
        return {
            "name": document_value(self.name),
            "evidence": self.evidence,
            "attestations": [
                {"id": one.id, "signer": one.signer.to_json(), "time": one.to_json()["time"]}
                for one in self.attestations[:MAX_ATTESTATIONS]
            ],
            "attestationsTotal": len(self.attestations),
        }


@dataclass(frozen=True, slots=True)
class Side:
    """One side: the target as given, its verification, and its steps by name: of all models together, and of each."""

    target: str
    verification: Verification
    steps: Mapping[str, SideStep]
    models: tuple[Mapping[str, SideStep], ...]

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
        more = sum(not one.passed for one in decisions) - MAX_FAILED
        return {
            "target": document_value(self.target),
            "verificationResult": "PASSED" if self.passed else "FAILED",
            "resources": [
                one.target.to_json() | {"verificationResult": one.result} for one in decisions[:MAX_RESOURCES]
            ],
            "resourcesTotal": len(decisions),
            "steps": [step.to_json() for step in list(self.steps.values())[:MAX_STEPS]],
            "stepsTotal": len(self.steps),
            "findings": [document_value(finding.to_json()) for finding in findings[:MAX_FINDINGS]],
            "findingsTotal": len(findings),
        } | ({"notCompared": more} if more > 0 else {})


def side_of(verifier: Verifier, given: GivenTarget, *, explain: bool = False) -> Side:
    """Verify one target and return it as a side; with `explain`, its decisions list every check.

    Raises the errors of `Verifier.verify`, and NoEvidenceError if no attestation is about the target.
    """
    verification = verifier.verify(given, explain=explain)
    if all(one.exit_code is ExitCode.NOTHING for one in verification.decisions):
        raise _nothing(given, verification)
    decisions = verification.decisions
    failed = [one for one in decisions if not one.passed][:MAX_FAILED]
    signed = SignedStatements(verifier, [one.target for one in failed]) if failed else None
    models = {
        id(one): _by_name(chain_steps(verifier, one.steps) if one.passed else _signed(signed, one.target))
        for one in (*(one for one in decisions if one.passed), *failed)
    }
    together: defaultdict[str, list[SideStep]] = defaultdict(list)
    for name, step in chain.from_iterable(steps.items() for steps in models.values()):
        together[name].append(step)
    steps = {name: _together(many) for name, many in together.items()}
    return Side(given.text, verification, steps, tuple(models.get(id(one), {}) for one in decisions))


def _by_name(steps: Iterable[SideStep]) -> Mapping[str, SideStep]:
    return {step.name: step for step in steps}


def _together(many: Sequence[SideStep]) -> SideStep:
    """Return one step of several models as one, with all attestations of it and the weakest evidence."""
    attestations = {(one.id, one.signer): one for step in many for one in step.attestations}
    statements = {id(one): one for step in many for one in step.statements}
    weakest = min((step.evidence for step in many), key=STRENGTHS.index)
    return replace(
        many[0],
        evidence=weakest,
        attestations=tuple(attestations.values()),
        statements=tuple(statements.values()),
        sublayouts=tuple({one.digest: one for step in many for one in step.sublayouts}.values()),
    )


def paired(a: Side, b: Side) -> tuple[Sequence[SideStep], Sequence[SideStep]]:
    """Return the steps to compare: model by model if both sides have several models with the same names.

    Otherwise the steps of all models of a side together. Steps that several models share are compared once.
    """
    by_name = [
        {
            one.target.name or "": model
            for one, model in zip(side.verification.decisions, side.models, strict=True)
        }
        for side in (a, b)
    ]
    are_named = all(len(names) == len(side.models) for names, side in zip(by_name, (a, b), strict=True))
    if len(a.models) == 1 or not are_named or by_name[0].keys() != by_name[1].keys():
        return list(a.steps.values()), list(b.steps.values())
    before, after, seen = list[SideStep](), list[SideStep](), set[object]()
    for name, old in by_name[0].items():
        new = by_name[1][name]
        for step in dict.fromkeys((*old, *new)) if old and new else ():
            pair = old.get(step), new.get(step)
            key = (
                step,
                *(one and tuple((each.id, each.signer) for each in one.attestations) for one in pair),
            )
            if key not in seen:
                seen.add(key)
                for one, side in zip(pair, (before, after), strict=True):
                    side.extend([replace(one, part=str(len(seen)))] if one is not None else [])
    return before, after


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


def chain_steps(verifier: Verifier, steps: Sequence[StepReport], prefix: str = "") -> Iterator[SideStep]:
    """Yield the steps of a chain that satisfies the layout; those of a sublayout after its step."""
    for step in steps:
        statements = tuple(
            statement
            for one in step.attestations
            for statement in verifier.evidence.verified(verifier.evidence.bundles.with_id(one.id))[:1]
        )
        name = f"{prefix}{step.name}"
        found = tuple(one.statement for one in statements)
        yield SideStep(
            name, step.evidence, step.attestations, found, (step.sublayout,) if step.sublayout else ()
        )
        if step.sublayout is not None:
            yield from chain_steps(verifier, step.sublayout.steps, f"{name}/")


def _signed(known: SignedStatements | None, target: Target) -> Iterator[SideStep]:
    """Yield for each step the statement of a functionary that digests connect to a target that failed."""
    for name, one in known.of(target).items() if known is not None else ():
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
