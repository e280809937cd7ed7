"""List every check of the deciding chain, in order, and the path from the target to the first problem.

The checks are those of the decision, repeated with their results recorded: the same conditions on statements
and edges (`gitchain.verify.chain`), the same rules (`gitchain.layout.rules`).
For a step without evidence that counts, the conditions of rejected statements are listed instead.

Does NOT decide. Runs for `--explain` only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from gitchain.layout.rules import AppliedRule
from gitchain.verify.chain import Chain, Chains, EvidenceGroup, EvidenceGroups, SublayoutChain
from gitchain.verify.constraints import check_step
from gitchain.verify.findings import MEANINGS, Finding, FindingCode
from gitchain.verify.report import Attestation, Kind, ReportedCheck
from gitchain.verify.search import ChainSearch
from gitchain.verify.step_diagnostics import MAX_PER_STEP, faults
from gitchain.verify.target import Target
from gitchain.verify.verified import SignedLayout, StepStatement

CONDITIONS: Mapping[FindingCode, tuple[Kind, str]] = {
    FindingCode.OTHER_LAYOUT: ("layout", "was made for this layout"),
    FindingCode.PREDICATE_TYPE: ("predicate type", "has the predicate type that the layout asks for"),
    FindingCode.VERIFIER: ("verifier", "is of the verifier that the layout names"),
    FindingCode.NOT_PASSED: ("result", "has the result PASSED"),
    FindingCode.SUMMARY_FIELD: ("summary", "has every field that a verification summary must have"),
    FindingCode.SUMMARY_RESOURCE: ("resource", "is about the resource that its subjects are"),
    FindingCode.SUMMARY_TIME: ("summary", "was verified neither in the future nor too long ago"),
    FindingCode.UNAUTHORISED: ("functionary", "is signed by a functionary of the step"),
    FindingCode.OLD_STATEMENT: ("selection", "is a Statement v1"),
    FindingCode.NOT_SELECTED: ("selection", "is selected by the step"),
    FindingCode.TOO_WEAK: ("strength", "is as strong as the layout asks for"),
    FindingCode.FUTURE: ("time", "was not made in the future"),
    FindingCode.UNCOSIGNED: ("witnesses", "is cosigned by enough witnesses"),
    FindingCode.REVOKED_ATTESTATION: ("revocation", "is not revoked"),
    FindingCode.REVOKED_SIGNER: ("revocation", "is by a signer who was not revoked by then"),
    FindingCode.STALE: ("age", "is not older than the step's maxAge"),
}
"""The text for a condition that holds; `findings.MEANINGS` has the texts for failures."""


def trace(
    signed: SignedLayout,
    claims: EvidenceGroups,
    search: ChainSearch,
    chain: Chain | None,
    target: Target,
    findings: Sequence[Finding] = (),
) -> tuple[ReportedCheck, ...]:
    """Return the checks in order. `chain` is the passed or closest one; None if no evidence made the target."""
    chains = search.chains
    return (
        *_about_layout(signed, claims),
        *_about_steps(claims, chains, chain),
        *_demands(search, chain),
        _served(target, chain),
        _whole(chains, findings),
    )


def _about_steps(claims: EvidenceGroups, chains: Chains, chain: Chain | None) -> Iterator[ReportedCheck]:
    loose = frozenset(chains.loose(chain, next(iter(chain)))) if chain else frozenset()
    for step in chains.layout.steps:
        yield from _about_step(step.name, claims, chains, chain, loose)


def _about_layout(signed: SignedLayout, claims: EvidenceGroups) -> Iterator[ReportedCheck]:
    layout, now = signed.layout, claims.authorizer.now
    who = f"layout {layout.name} version {layout.version} is signed by a trusted signer"
    yield ReportedCheck("signature", passed=True, message=who, got=str(signed.signer))
    still = f"layout {layout.name} has not expired"
    expected, got = f"a time after {now.isoformat()}", layout.expires.isoformat()
    yield ReportedCheck("expiry", passed=True, message=still, expected=expected, got=got)
    problems = [one for found in claims.authorizer.revocations for one in found.problems]
    count = sum(
        len(one.attestations) + len(one.signers) + len(one.artifacts) for one in claims.authorizer.revocations
    )
    message = problems[0].message if problems else "every revocation by those who may revoke can be read"
    yield ReportedCheck(
        "revocation", not problems, message, got=f"{count} attestations, signers and artifacts revoked"
    )
    if layout.freshness is not None:
        stale = claims.authorizer.stale
        fresh = "the newest signed checkpoint of the store is as new as the layout asks for"
        expected, got = (stale.expected, stale.got) if stale else (f"at most {layout.freshness} old", "")
        yield ReportedCheck("freshness", stale is None, stale.message if stale else fresh, "", expected, got)


def _about_step(
    name: str, claims: EvidenceGroups, chains: Chains, chain: Chain | None, loose: Collection[str]
) -> Iterator[ReportedCheck]:
    group = _chosen(name, claims, chain)
    rejected = [
        (one.attested, one.says) for one in claims.rejected if one.attested and one.attested.step.name == name
    ]
    members = group.members if group else ()
    yield ReportedCheck(
        "evidence",
        passed=bool(group),
        message=f"step {name} has {'' if group else 'no '}evidence that counts",
        step=name,
        got=f"attestations: {len(members)} here"
        + (f", {len(rejected)} that do not count" if rejected else ""),
        attestations=tuple(map(_attestation, members)),
    )
    for member in members:
        yield from _conditions(member, claims)
        yield from _constraints(member)
    if group is not None:
        yield _threshold(group)
        yield from _faults(group)
    if group is None or not group.counts:
        newest = sorted(rejected, key=lambda pair: pair[0].statement.time, reverse=True)[:MAX_PER_STEP]
        for attested, says in newest:
            yield from _conditions(attested, claims)
            yield from _constraints(attested) if says else ()
    if group is not None and group.inner is not None:
        yield from _behind(group.step.name, group.inner, chains)
    if group is not None and chain is not None:
        yield from _rules(group, chains, chain, loose)


def _chosen(name: str, claims: EvidenceGroups, chain: Chain | None) -> EvidenceGroup | None:
    """Return the chain's group for the step; without a chain, the newest that counts."""
    if chain is not None:
        return chain.get(name)
    return max(claims.counted(name), key=lambda group: group.time, default=None)


def _conditions(attested: StepStatement, claims: EvidenceGroups) -> Iterator[ReportedCheck]:
    """Yield the conditions of one statement, up to the first that fails."""
    attestation = _attestation(attested)
    for one in claims.authorizer.conditions(attested):
        kind, holds = CONDITIONS[one.code]
        says = holds if one.passed else f"does not count: {MEANINGS[one.code]}"
        message = f"attestation {attestation.id[:12]} {says}"
        step = attested.step.name
        yield ReportedCheck(
            kind, one.passed, message, step, one.expected, one.got, attestations=(attestation,)
        )
        if not one.passed:
            return


def _constraints(attested: StepStatement) -> Iterator[ReportedCheck]:
    """Yield the result of each constraint of the step for one statement."""
    attestation, step = _attestation(attested), attested.step
    for one in step.constraints:
        problem = check_step(replace(step, constraints=(one,)), attested)
        message = problem.message if problem else f"constraint {one.name} of step {step.name} holds"
        got = problem.got if problem else ""
        who = (attestation,)
        yield ReportedCheck(
            "constraint", not problem, message, step.name, one.expression, got, attestations=who
        )


def _faults(group: EvidenceGroup) -> Iterator[ReportedCheck]:
    """Yield the faults of the group, or one passed check."""
    name, found = group.step.name, tuple(faults(group))
    for one in found:
        yield ReportedCheck(
            "fault", passed=False, message=one.message, step=name, expected=one.expected, got=one.got
        )
    if not found:
        yield ReportedCheck(
            "fault", passed=True, message=f"nothing forbids the evidence of step {name}", step=name
        )


def _behind(step: str, inner: SublayoutChain, chains: Chains) -> Iterator[ReportedCheck]:
    """Yield the checks of the chain under a sublayout, each with the name of the sublayout's step."""
    layout = inner.layout
    message = f"step {step} has a chain under layout {layout.name} version {layout.version}"
    got = layout.expires.isoformat()
    yield ReportedCheck("sublayout", True, message, step, "a layout that has not expired", got)
    for check in _about_steps(inner.claims, Chains(inner.scope, chains.manifests), inner.chain):
        yield replace(check, step=f"{step}/{check.step}")


def _demands(search: ChainSearch, chain: Chain | None) -> Iterator[ReportedCheck]:
    """Yield the layout-wide conditions, if every step has evidence."""
    if search.demands is None or chain is None or len(chain) < len(search.chains.layout.steps):
        return
    for what, wrong in search.demands.each(chain):
        for one in wrong:
            yield ReportedCheck("demand", False, one.message, one.step, one.expected, one.got)
        if not wrong:
            yield ReportedCheck("demand", passed=True, message=what)


def _threshold(group: EvidenceGroup) -> ReportedCheck:
    step, people = group.step, group.principals
    message = f"enough people signed for step {step.name}: {len(people)} of {step.threshold}"
    if not group.enough:
        message = f"too few people signed for step {step.name}: {len(people)} of {step.threshold}"
    who = tuple(map(_attestation, group.members))
    expected, got = f"{step.threshold} of {', '.join(step.functionaries)}", ", ".join(people)
    return ReportedCheck("threshold", group.enough, message, step.name, expected, got, attestations=who)


def _rules(
    group: EvidenceGroup, chains: Chains, chain: Chain, loose: Collection[str]
) -> Iterator[ReportedCheck]:
    """Yield the result of each rule of the step, its links to the steps that the rules name, and if it is `loose`."""
    step, checked = group.step, chains.explain(group, chain)
    for applied in checked.applied:
        yield _rule(step.name, applied)
    for source in step.sources:
        names = tuple(dict.fromkeys(one.artifact for one in checked.matches if one.step == source))
        if names:
            message = (
                f"step {step.name} and step {source} are tied by {len(names)} artifacts, equal by digest"
            )
            yield ReportedCheck(
                "edge", passed=True, message=message, step=step.name, got=source, artifacts=names
            )
    if checked.vacuous:
        message = f"step {step.name} has no material from step {', '.join(step.sources)}"
        yield ReportedCheck("edge", passed=False, message=message, step=step.name)
    if step.name in loose:
        message = f"no artifact ties step {step.name} to the target"
        yield ReportedCheck("edge", passed=False, message=message, step=step.name)


def _rule(step: str, applied: AppliedRule) -> ReportedCheck:
    rule, passed = applied.rule, not applied.refused
    did = f"took {len(applied.consumed)}" if passed else f"refused {len(applied.refused)}"
    message = f"{applied.side} of step {step}: {rule}: {did}"
    return ReportedCheck(
        "rule", passed, message, step, expected=str(rule), artifacts=applied.refused or applied.consumed
    )


def _served(target: Target, chain: Chain | None) -> ReportedCheck:
    if chain is None:
        message = f"no accepted evidence shows that a served step made {target}"
        return ReportedCheck("serve", passed=False, message=message, got=target.content)
    seed = next(iter(chain.values()))
    message = f"step {seed.step.name} made {target}, and the layout serves it"
    made = tuple(map(_attestation, seed.members))
    return ReportedCheck("serve", True, message, seed.step.name, got=target.content, attestations=made)


def _whole(chains: Chains, findings: Sequence[Finding]) -> ReportedCheck:
    errors = [finding for finding in findings if finding.severity == "error"]
    steps = len(chains.layout.steps)
    if not errors:
        return ReportedCheck("chain", passed=True, message=f"the evidence of {steps} steps makes one chain")
    message = f"no choice of evidence for {steps} steps makes one chain"
    return ReportedCheck("chain", False, message, errors[0].step, got=errors[0].message)


def path_to(chains: Chains, seeds: Sequence[EvidenceGroup], findings: Sequence[Finding]) -> tuple[str, ...]:
    """Return the shortest path from a step that makes the target to the nearest step with an error."""
    broken = {finding.step for finding in findings if finding.severity == "error"}
    start = [seed.step.name for seed in seeds] or [one.step for one in chains.layout.serve]
    neighbours = chains.neighbours
    paths: dict[str, tuple[str, ...]] = {name: (name,) for name in start}
    waiting = list(paths)
    while waiting:
        name = waiting.pop(0)
        if name in broken:
            return paths[name]
        for other in neighbours[name]:
            if other not in paths:
                paths[other] = (*paths[name], other)
                waiting.append(other)
    return ()


def _attestation(attested: StepStatement) -> Attestation:
    return Attestation.of(attested.statement, attested.claim.run)
