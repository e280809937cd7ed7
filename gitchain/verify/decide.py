"""The decision: layout, verified statements, target and time to PASSED or FAILED, with all findings.

 1. Sort the statements: which count for which step, grouped by content, thresholds over distinct people; and what
    forbids them (`gitchain.verify.sort`). Steps that stand for another layout: the same under that one
    (`gitchain.verify.sublayout`).
 2. Find the groups of served steps that made the target: the chain starts there.
 3. Find a whole chain that satisfies the layout's demands (`gitchain.verify.search`).
 4. If there is none, say what is wrong with the closest one (`gitchain.verify.explain`).
 5. If asked, list every check that was made on that chain (`gitchain.verify.trace`).

Pure: no I/O, no clock. Monotonic: taking positive evidence away never turns FAILED into PASSED. Never PASSED without
evidence for every step. docs/layout.md says what each part of a layout means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from gitchain.layout.artifact import Manifests
from gitchain.layout.model import Layout
from gitchain.verify.chain import Chains
from gitchain.verify.claims import Chain, Claims, Group
from gitchain.verify.context import Above, Sources
from gitchain.verify.demands import Demands
from gitchain.verify.explain import Explanation
from gitchain.verify.explain import explain as explain_failure
from gitchain.verify.findings import Finding
from gitchain.verify.reasons import warnings
from gitchain.verify.report import Attestation, Check, Decision, StepReport, SublayoutReport
from gitchain.verify.search import Search
from gitchain.verify.sublayout import claims_under
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
    sources = Sources(statements, now, Manifests(manifests, target.upgrade))
    claims = claims_under(layout, Above((layout.name,)), sources)
    chains = Chains(layout, sources.manifests)
    seeds = _seeds(layout, claims, target, sources.manifests)
    counted = {step.name: claims.counted(step.name) for step in layout.steps}
    demands = Demands(claims.judge, target, statements, sources.manifests)
    search = Search(chains, counted, demands, sources.budget)
    chain, problems = search.find(seeds), claims.judge.problems
    if chain is not None and not problems:
        checks = trace(signed, claims, chains, chain, search) if explain else ()
        return Decision("PASSED", target, signed, now, _report(layout, chain), warnings(statements), checks)
    why = Explanation((), chain) if chain else explain_failure(chains, claims, target, seeds, search)
    findings = (*problems, *why.findings, *warnings(statements))
    if not explain:
        return Decision("FAILED", target, signed, now, (), findings)
    checks = trace(signed, claims, chains, why.chain, search, findings)
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
    behind = None
    if (inner := group.inner) is not None:
        layout = inner.layout
        steps = _report(layout, inner.chain)
        behind = SublayoutReport(layout.name, layout.version, layout.digest, steps)
    return StepReport(group.step.name, group.principals, evidence, attestations, behind)
