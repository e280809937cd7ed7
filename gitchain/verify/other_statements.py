"""Statements about a target that are evidence for no step of the layout, and the reasons, for a failed verdict.

For example a monorepo's second pipeline, or the provenance of another builder: these verify and name the target, but do
not count. No verdict depends on this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gitchain.errors import GitchainError
from gitchain.evidence.claim import StepClaim, claim_of
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.subjects import Subject
from gitchain.evidence.vocabulary import (
    CHECKPOINT,
    DEPLOYMENT,
    DEPLOYMENT_CHECK,
    LAYOUT,
    RETIREMENT,
    REVOCATION,
)
from gitchain.layout.model import Layout
from gitchain.verify.findings import Finding, FindingCode
from gitchain.verify.target import Target
from gitchain.verify.verified import VerifiedStatement

MAX_OTHERS = 5  # statements to name, the newest first
_ABOUT_OTHER_THINGS = frozenset({CHECKPOINT, DEPLOYMENT, DEPLOYMENT_CHECK, LAYOUT, RETIREMENT, REVOCATION})
"""Types that are not about how a model was made, such as deployments, which clusters record."""


def names_target(claim: StepClaim, target: Target) -> bool:
    """Return whether a claim has the target among its materials or products, by content or by name."""
    return _named(claim, target) is not None


def about_other_steps(
    layout: Layout, statements: Iterable[VerifiedStatement], target: Target
) -> Sequence[Finding]:
    """Return a finding for each statement about the target that names no step of the layout, the newest first."""
    steps = {step.name for step in layout.steps}
    selected = {step.predicate_type for step in layout.steps if step.select is not None}
    found: list[Finding] = []
    for one in sorted(statements, key=lambda one: one.time, reverse=True):
        claim = _claim(one.statement)
        if claim is None or claim.step in steps or (item := _named(claim, target)) is None:
            continue
        if one.statement.predicate_type in selected and not claim.has_facts:
            continue  # it counts, or `gitchain.verify.classify` has the reason why it does not
        found.append(_finding(layout, one, claim, _says(item, target), target))
    return found[:MAX_OTHERS]


def unverified(attestation_id: AttestationId, step: str | None, reason: str, target: Target) -> Finding:
    """Return the finding about an attestation of the target that does not verify."""
    of = f" of step {step}" if step else ""
    return Finding(
        FindingCode.NO_EVIDENCE,
        f"attestation {attestation_id[:12]}{of} names {target}, but does not verify: {reason}",
        artifact=target.artifact_name,
        expected="an attestation that verifies under the trusted root",
        got=reason,
        help="make the attestation again, or pass the trusted root that it was made under with --trust",
    )


def unread(found: Iterable[tuple[str, Sequence[Subject], str]], target: Target) -> Iterator[Finding]:
    """Yield a finding for each statement with the target as subject that cannot be read as evidence.

    `found` has id, subjects and reason of each, for example an old version of the format, or a subject without a name.
    """
    for attestation_id, subjects, reason in found:
        if any(_is_subject(one, target) for one in subjects):
            yield Finding(
                FindingCode.NO_EVIDENCE,
                f"attestation {attestation_id[:12]} names {target}, but cannot be read as evidence: {reason}",
                artifact=target.artifact_name,
                expected="an in-toto statement that names its step and its subjects",
                got=reason,
                help="attest the step with gitchain run or gitchain attest; "
                "gitchain bundle verify   checks what a layout cannot use",
            )


def _is_subject(subject: Subject, target: Target) -> bool:
    named = target.name is not None and subject.name == target.name
    return named or subject.digest.get("sha256") in target.digests


def _claim(statement: Statement) -> StepClaim | None:
    if statement.predicate_type in _ABOUT_OTHER_THINGS:
        return None
    try:
        return claim_of(statement)
    except GitchainError:
        return None  # unreadable claims are negative evidence (`gitchain.verify.classify`)


def _named(claim: StepClaim, target: Target) -> ResourceDescriptor | None:
    items = (*claim.products, *claim.materials)
    same = (item for item in items if item.digest.get("sha256") in target.digests)
    called = (item for item in items if target.name is not None and item.rule_name == target.name)
    return next(same, None) or next(called, None)


def _says(item: ResourceDescriptor, target: Target) -> str:
    if item.digest.get("sha256") not in target.digests:
        return f"names {target} with other content"
    name = item.rule_name
    return (
        f"names {target}"
        if name in {target.name, None} or target.name is None
        else f"names {target} as {name}"
    )


def _finding(layout: Layout, one: VerifiedStatement, claim: StepClaim, says: str, target: Target) -> Finding:
    kind = one.statement.predicate_type
    who = f"attestation {one.attestation_id[:12]} by {one.identity} {says}"
    if claim.step is None:
        message = f"{who}, but no step: its predicate type is {kind}"
        got = f"{kind}{_build_type(one.statement)}"
        fix = (
            "attest the step with gitchain run or gitchain attest, or let a step of the layout select it "
            "(docs/selectors.md): an attestation without a step is evidence for no other"
        )
    else:
        message = f"{who}, but is evidence for step {claim.step}, which layout {layout.name} does not have"
        got = f"step {claim.step}"
        fix = f"add step {claim.step} and its product under serve to the layout, raise version, then: gitchain layout sign"
    return Finding(
        FindingCode.UNACCEPTED,
        message,
        artifact=target.artifact_name,
        expected=f"evidence for a step of layout {layout.name}: {', '.join(step.name for step in layout.steps)}",
        got=got,
        help=fix,
    )


def _build_type(statement: Statement) -> str:
    definition = statement.predicate.get("buildDefinition")
    found = definition.get("buildType") if isinstance(definition, dict) else None
    return f", buildType {found}" if isinstance(found, str) else ""
