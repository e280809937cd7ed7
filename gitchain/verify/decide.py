"""The decision: layout, verified statements, target and time to PASSED or FAILED, with all findings.

 1. Sort the statements: which count for which step, grouped by content, thresholds over distinct people.
 2. Find the groups of served steps that made the target: the chain starts there.
 3. Find a whole chain (`gitchain.verify.chain`).
 4. If there is none, say what is wrong with the closest one (`gitchain.verify.explain`).
 5. If asked, list every check that was made on that chain (`gitchain.verify.trace`).

Pure: no I/O, no clock. Monotonic: taking evidence away never turns FAILED into PASSED. Never PASSED without
evidence for every step. docs/layout.md says what each part of a layout means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from gitchain.layout.artifact import Manifests
from gitchain.layout.model import Layout
from gitchain.verify.chain import Chain, Chains
from gitchain.verify.claims import Claims, Group, sort_claims
from gitchain.verify.explain import explain as explain_failure
from gitchain.verify.findings import Finding
from gitchain.verify.reasons import warnings
from gitchain.verify.report import Attestation, Check, Decision, StepReport
from gitchain.verify.target import Target, makes
from gitchain.verify.trace import path_to, trace
from gitchain.verify.verified import SignedLayout, VerifiedStatement

__all__ = ["Attestation", "Check", "Decision", "Finding", "StepReport", "Target", "decide"]


def decide(
    signed: SignedLayout,
    evidence: Iterable[VerifiedStatement],
    target: Target,
    now: datetime,
    manifests: Callable[[str], bytes | None],
    *,
    explain: bool = False,
) -> Decision:
    """Decide whether the target got here the way the layout says; with `explain`, list every check that was made.

    Raises LimitError if the evidence allows more combinations than can be tried: no verdict.
    """
    layout = signed.layout
    statements = tuple(evidence)
    claims = sort_claims(layout, statements, now)
    chains = Chains(layout, Manifests(manifests))
    seeds = _seeds(layout, claims, target, chains.manifests)
    chain = chains.find(seeds, {step.name: claims.counted(step.name) for step in layout.steps})
    if chain is not None:
        checks = trace(signed, claims, chains, chain, target) if explain else ()
        return Decision("PASSED", target, signed, now, _report(layout, chain), warnings(statements), checks)
    why = explain_failure(chains, claims, target, seeds)
    findings = (*why.findings, *warnings(statements))
    if not explain:
        return Decision("FAILED", target, signed, now, (), findings)
    checks = trace(signed, claims, chains, why.chain, target, findings)
    return Decision("FAILED", target, signed, now, (), findings, checks, path_to(chains, seeds, findings))


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
    attestations = tuple(Attestation.of(member.statement, member.claim.run) for member in group.members)
    kinds = {member.claim.evidence for member in group.members}
    # The chain is as strong as its weakest member: one declared claim among observed ones reads as declared.
    evidence = None if None in kinds else "declared" if "declared" in kinds else "observed"
    return StepReport(group.step.name, group.principals, evidence, attestations)
