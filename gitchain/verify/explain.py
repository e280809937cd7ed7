"""Explain why there is no complete chain: findings about the closest one, for the person who fixes it.

Each finding names the step, the artifact, what was expected and got, and the signer. A step without evidence that counts
gets the reasons instead, and artifacts that fail only because of that step are left out.

Does NOT decide: the result is FAILED already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gitchain.layout.artifact import Artifact, closed_above, lookup
from gitchain.layout.rules import NearMiss, RefusedArtifact
from gitchain.verify.chain import Chain, Chains, EvidenceGroup, EvidenceGroups
from gitchain.verify.findings import MEANINGS, Finding, FindingCode
from gitchain.verify.search import ChainSearch
from gitchain.verify.step_diagnostics import HELP, about_target, faults, rejection, signed, without_evidence
from gitchain.verify.target import Target
from gitchain.verify.verified import StepStatement

MAX_BESIDE = 100  # rejected statements that are searched for some about the target, the newest first
MAX_SEEDS = 8  # chains to compare without a complete one: the user most likely works on the newest


@dataclass(frozen=True, slots=True)
class Explanation:
    """At least one finding, and the chain that it is about; None if no evidence made the target."""

    findings: tuple[Finding, ...]
    chain: Chain | None = None


def explain(
    chains: Chains,
    claims: EvidenceGroups,
    target: Target,
    seeds: Sequence[EvidenceGroup],
    search: ChainSearch,
) -> Explanation:
    """Return the findings about the closest chain, or about a target that no evidence has as a product.

    `search` is the failed search. A choice of evidence whose rules all pass is the closest chain.
    """
    if search.nearest is not None:
        return Explanation(tuple(search.nearest[1]), search.nearest[0])
    everything, claims = claims, claims.within(chains.layout)
    steps = tuple(without_evidence(claims))
    if not seeds:
        about = tuple(about_target(chains, everything, target))
        if about[0].code is FindingCode.NO_EVIDENCE:
            return Explanation(about)
        return Explanation(tuple(dict.fromkeys((*about, *steps))))
    closest = [_closest(chains, claims, seed) for seed in seeds[:MAX_SEEDS]]
    rated = [(tuple(_about_chain(chains, claims, chain)), chain) for chain in closest]
    wrong, chain = min(rated, key=lambda pair: len(pair[0]))
    if not wrong and not steps and len(chain) == len(chains.layout.steps):
        wrong = tuple(search.unmet(chain))
    found = (*steps, *wrong)
    beside = tuple(_beside(claims, {finding.step for finding in found}, target))
    nothing = Finding(FindingCode.NO_COMBINATION, MEANINGS[FindingCode.NO_COMBINATION])
    return Explanation(tuple(dict.fromkeys((*found, *beside))) or (nothing,), chain)


def _beside(claims: EvidenceGroups, steps: set[str], target: Target) -> Iterator[Finding]:
    """Yield why statements about the target do not count, for steps with findings."""
    for one in sorted(claims.rejected, key=lambda one: one.statement.time, reverse=True)[:MAX_BESIDE]:
        if one.attested is None or one.attested.step.name not in steps:
            continue
        link = one.attested.link
        if any(
            target.is_content_of(item) for side in (link.materials, link.products) for item in side.values()
        ):
            yield rejection(one)


def _closest(chains: Chains, claims: EvidenceGroups, seed: EvidenceGroup) -> Chain:
    """Extend a chain from the seed, each time by the group with the best score, whether or not its rules pass."""
    chain: dict[str, EvidenceGroup] = {seed.step.name: seed}
    neighbours = chains.neighbours
    pools = {name: _pool(groups) for name, groups in claims.groups.items() if groups}
    while missing := [name for name in pools if name not in chain]:
        near = [name for name in missing if set(neighbours[name]) & set(chain)] or missing
        scored = [(_score(chains, one, chain, neighbours[name]), one) for name in near for one in pools[name]]
        best = max(scored, key=lambda pair: pair[0])[1]
        chain[best.step.name] = best
    return chain


def _pool(groups: Sequence[EvidenceGroup]) -> Sequence[EvidenceGroup]:
    """Return the groups for a closest chain: also those with a fault, so that the fault is reported."""
    return tuple(group for group in groups if group.enough) or groups


def _score(
    chains: Chains, group: EvidenceGroup, chain: Chain, around: Sequence[str]
) -> tuple[int, int, float]:
    """Return the score of a group: edges to the chain, then fewest refusals, then the newest."""
    others = [chain[name] for name in around if name in chain]
    edges = sum(chains.linked(group, other) for other in others)
    alternatives = {name: (other,) for name, other in chain.items()}
    refused = len(chains.check(group, alternatives).refusals)
    return edges, -refused, group.time.timestamp()


def _about_chain(chains: Chains, claims: EvidenceGroups, chain: Chain) -> Iterator[Finding]:
    found = [finding for group in chain.values() for finding in _about_group(chains, claims, group, chain)]
    yield from found
    # A loose end is a consequence of what is missing or refused.
    if found or not all(claims.counted(step.name) for step in chains.layout.steps):
        return
    for name in chains.loose(chain, next(iter(chain))):
        yield Finding(
            FindingCode.UNLINKED,
            f"no artifact ties the evidence for step {name} to the rest of the chain",
            step=name,
            help="a MATCH rule has to find an artifact of this step, or one of this step's in another",
        )


def _about_group(
    chains: Chains, claims: EvidenceGroups, group: EvidenceGroup, chain: Chain
) -> Iterator[Finding]:
    """Yield the faults of the group, or its rule refusals that are not caused by another step without evidence."""
    if group.faults is not None:
        yield from faults(group)
        return
    checked = chains.explain(group, chain)
    for refusal in checked.refusals:
        if all(near.step in chain for near in refusal.near):
            yield _refusal(chains, group, refusal, chain, claims)
    if checked.vacuous and not checked.refusals and all(one in chain for one in group.step.sources):
        yield _vacuous(group)


def _vacuous(group: EvidenceGroup) -> Finding:
    return Finding(
        FindingCode.NOTHING_MATCHED,
        f"step {group.step.name} has no material from step {', '.join(group.step.sources)}",
        step=group.step.name,
        expected="at least one material that a MATCH rule finds",
        got=f"{len(group.link.materials)} materials, none of them matched",
    )


def _refusal(
    chains: Chains, group: EvidenceGroup, refusal: RefusedArtifact, chain: Chain, claims: EvidenceGroups
) -> Finding:
    step, name, got = group.step.name, refusal.artifact, str(refusal.got or "nothing")
    closed = _closed(chains, refusal, chain)
    if refusal.reason == "closed" or closed:
        where = closed or name
        code, message = (
            FindingCode.MANIFEST,
            f"rules of step {step} reach into {where}, whose manifest is missing",
        )
    elif refusal.reason == "conflict":
        code, message = (
            FindingCode.CONTRADICTION,
            f"step {step} names {name} with another content than its directory",
        )
    elif refusal.reason == "required":
        where = "consumed by an earlier rule" if refusal.got else f"not among the {refusal.side}"
        code, message = FindingCode.REQUIRED, f"step {step} must name {name}, which is {where}"
    else:
        return _disallowed(chains, group, refusal, chain, claims)
    return Finding(
        code, message, step=step, artifact=name, expected=str(refusal.rule), got=got, help=HELP.get(code, "")
    )


def _closed(chains: Chains, refusal: RefusedArtifact, chain: Chain) -> str | None:
    """Return the directory of an earlier step whose manifest a MATCH rule lacked."""
    for near in refusal.near:
        link = chain[near.step].link
        side = link.products if near.side == "products" else link.materials
        if near.expected is None and (closed := closed_above(side, near.name, chains.manifests)):
            return closed
    return None


def _disallowed(
    chains: Chains, group: EvidenceGroup, refusal: RefusedArtifact, chain: Chain, claims: EvidenceGroups
) -> Finding:
    step, name, got = group.step.name, refusal.artifact, refusal.got
    verb = "took" if refusal.side == "materials" else "made"
    near = next((one for one in refusal.near if one.expected is not None), None)
    if near is None or got is None:
        made = f"; step {refusal.near[0].step} made nothing of that name" if refusal.near else ""
        message = f"step {step} {verb} {name}, which no rule allows{made}"
        return Finding(
            FindingCode.NOT_ALLOWED,
            message,
            step=step,
            artifact=name,
            expected=str(refusal.rule),
            got=str(got),
        )
    source = chain[near.step].members[0]
    elsewhere = _elsewhere(chains, claims, near, got)
    theirs = "made" if near.side == "products" else "took"
    message = (
        f"step {step} {verb} {name} as {got} ({signed(group.members[0])}), "
        f"but step {near.step} {theirs} {near.expected} ({signed(source)})"
    )
    if elsewhere is not None:
        message += f"; that content belongs to another run, attested {signed(elsewhere)}"
    return Finding(
        FindingCode.MISMATCH if elsewhere is None else FindingCode.OTHER_RUN,
        message,
        step=step,
        artifact=name,
        expected=f"{near.expected} from step {near.step}",
        got=str(got),
        help=f"run step {step} again on the products of step {near.step}",
    )


def _elsewhere(chains: Chains, claims: EvidenceGroups, near: NearMiss, got: Artifact) -> StepStatement | None:
    """Return evidence that the same step had this content at another time."""
    for group in claims.groups[near.step]:
        side = group.link.products if near.side == "products" else group.link.materials
        if lookup(side, near.name, chains.manifests) == got:
            return group.members[0]
    return None
