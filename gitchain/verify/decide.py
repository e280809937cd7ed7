"""Decide about a target: from layout, verified statements and time to PASSED or FAILED, with all findings.

 1. Classify the statements (`gitchain.verify.classify`): which count for which step, grouped by content, with thresholds
    over distinct people; and negative evidence. For sublayout steps, likewise under their layout
    (`gitchain.verify.sublayout`).
 2. Find the groups of served steps that made the target. A chain starts there.
 3. Search for a complete chain that satisfies the layout (`gitchain.verify.search`): of all steps, or of those in the
    `serve` entry's scope (`gitchain.layout.scope`).
 4. Without one, explain what is wrong with the closest chain (`gitchain.verify.explain`).
 5. On request, list every check of that chain (`gitchain.verify.trace`).

Pure: no I/O, no clock. Monotonic: removing positive evidence never turns FAILED into PASSED. Never PASSED without
evidence for every step that the target needs. docs/layout.md defines each part of a layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gitchain.layout.artifact import Manifests
from gitchain.layout.model import Layout
from gitchain.layout.scope import scopes
from gitchain.verify.chain import Chain, Chains, EvidenceGroup, EvidenceGroups
from gitchain.verify.classify import claims_under
from gitchain.verify.findings import Finding, FindingCode
from gitchain.verify.report import Attestation, Decision, ReportedCheck, StepReport, SublayoutReport
from gitchain.verify.search import ChainSearch, LayoutStack, Sources, demands_on
from gitchain.verify.target import Target, is_served_by, makes
from gitchain.verify.verified import SignedLayout, VerifiedStatement

__all__ = ["Attestation", "Decision", "Finding", "ReportedCheck", "StepReport", "Target", "decide"]


def decide(
    signed: SignedLayout,
    evidence: Iterable[VerifiedStatement],
    target: Target,
    now: datetime,
    manifests: Callable[[str], bytes | None],
    *,
    explain: bool = False,
    beside: Sequence[Finding] = (),
) -> Decision:
    """Return the decision about the target; with `explain`, it lists every check.

    `beside` are findings that replace "no evidence"; they decide nothing (`gitchain.verify.other_statements`).
    Raises LimitError if the evidence allows too many combinations; there is no verdict then.
    """
    layout = signed.layout
    statements = tuple(evidence)
    sources = Sources(statements, now, Manifests(manifests, target.upgrade))
    claims = claims_under(layout, LayoutStack((layout.name,)), sources)
    problems, attempts = claims.authorizer.problems, list[_Attempt]()
    makers = {group.step.name for group in _seeds(layout, claims, target, sources.manifests)}
    for scope in scopes(layout, makers):
        attempt = _Attempt.of(scope, claims, target, sources)
        chain = attempt.search.find(attempt.seeds)
        if chain is not None and not problems:
            checks = _checks(signed, claims, attempt.search, chain, target) if explain else ()
            return Decision(
                "PASSED", target, signed, now, _report(scope, chain), _warnings(statements), checks
            )
        attempts.append(replace(attempt, chain=chain))
    closest = attempts[0] if attempts else _Attempt.of(_asked_for(layout, target), claims, target, sources)
    from gitchain.verify.explain import Explanation
    from gitchain.verify.explain import explain as explain_failure

    chains, seeds, search = closest.chains, closest.seeds, closest.search
    why = (
        Explanation((), closest.chain)
        if closest.chain
        else explain_failure(chains, claims, target, seeds, search)
    )
    told = (
        beside
        if beside and any(one.code is FindingCode.NO_EVIDENCE for one in why.findings)
        else why.findings
    )
    findings = (*problems, *told, *_warnings(statements))
    if not explain:
        return Decision("FAILED", target, signed, now, (), findings)
    from gitchain.verify.trace import path_to

    checks = _checks(signed, claims, search, why.chain, target, findings)
    return Decision("FAILED", target, signed, now, (), findings, checks, path_to(chains, seeds, findings))


def _checks(
    signed: SignedLayout,
    claims: EvidenceGroups,
    search: ChainSearch,
    chain: Chain | None,
    target: Target,
    findings: Sequence[Finding] = (),
) -> tuple[ReportedCheck, ...]:
    """Return every check of the chain. Imports `trace` only here, as few callers need it."""
    from gitchain.verify.trace import trace

    return trace(signed, claims, search, chain, target, findings)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """The search for a complete chain in one scope of the layout, from the evidence that made the target."""

    chains: Chains
    seeds: Sequence[EvidenceGroup]
    search: ChainSearch
    chain: Chain | None = None

    @classmethod
    def of(cls, scope: Layout, claims: EvidenceGroups, target: Target, sources: Sources) -> _Attempt:
        chains = Chains(scope, sources.manifests)
        counted = {step.name: claims.counted(step.name) for step in scope.steps}
        demands = demands_on(chains, claims.authorizer, target, sources.statements)
        seeds = _seeds(scope, claims, target, sources.manifests)
        return cls(chains, seeds, ChainSearch(chains, counted, demands, sources.budget))


def _asked_for(layout: Layout, target: Target) -> Layout:
    """Return the scope that serves the target's name, for a target without evidence; else the layout."""
    entries = (one for one in layout.serve if target.name and is_served_by(one, target.name))
    entry = next(entries, None)
    return next(scopes(layout, {entry.step})) if entry else layout


def _seeds(
    layout: Layout, claims: EvidenceGroups, target: Target, manifests: Manifests
) -> Sequence[EvidenceGroup]:
    """Return the groups that made the target, the newest first."""
    found = [
        group
        for name in dict.fromkeys(one.step for one in layout.serve)
        for group in claims.counted(name)
        if makes(layout, group.link, name, target, manifests)
    ]
    return sorted(found, key=lambda group: group.time, reverse=True)


def _report(layout: Layout, chain: Chain) -> tuple[StepReport, ...]:
    return tuple(_step_report(chain[step.name]) for step in layout.steps)


def _step_report(group: EvidenceGroup) -> StepReport:
    attestations = tuple(Attestation.of(member.statement, member.claim.run) for member in group.members)
    kinds = {member.claim.evidence for member in group.members}
    # The weakest attestation counts: one declared among observed ones makes the step declared.
    evidence = None if None in kinds else "declared" if "declared" in kinds else "observed"
    behind = None
    if (inner := group.inner) is not None:
        layout = inner.layout
        steps = _report(inner.scope, inner.chain)
        behind = SublayoutReport(layout.name, layout.version, layout.digest, steps)
    return StepReport(group.step.name, group.principals, evidence, attestations, behind)


def _warnings(statements: Iterable[VerifiedStatement]) -> tuple[Finding, ...]:
    """Return a warning for each MD5 with two different SHA-256 digests: DVC would confuse the two files."""
    seen: dict[str, tuple[str, str]] = {}
    found: dict[str, Finding] = {}
    for statement in statements:
        for descriptor in statement.statement.subject:
            md5, sha256 = descriptor.annotations.get("dvc.md5"), descriptor.digest.get("sha256")
            if not isinstance(md5, str) or sha256 is None or descriptor.is_directory:
                continue
            name = descriptor.rule_name or ""
            first = seen.setdefault(md5, (sha256, name))
            if first[0] != sha256:
                found[md5] = Finding(
                    FindingCode.SAME_MD5,
                    f"md5 {md5} is shared by two contents, {first[1]} and {name}: DVC cannot tell them apart",
                    artifact=name,
                    expected=f"sha256:{first[0]}",
                    got=f"sha256:{sha256}",
                    help="treat both files as hostile until you know why",
                )
    return tuple(found.values())
