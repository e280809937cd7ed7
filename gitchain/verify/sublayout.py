"""Sublayout steps: their evidence is a chain under another layout, for example a data supplier's.

The newest layout that enough of the step's functionaries signed (`gitchain.verify.sublayout_candidates`) is used. Its
chain is searched in the same evidence; only statements that name this layout count for it. The products that a complete
chain serves are the products of the step, which has no materials: rules of other steps MATCH them as usual.

Bounded: layouts nest at most four deep, no layout is nested in itself, and all searches and sublayouts of a decision
share one budget. Of many deliveries, those are searched that the neighbouring steps could have used, and a few of the
newest.

A layout with inspections cannot be a sublayout, because inspections need the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from gitchain.evidence.claim import StepClaim
from gitchain.layout.artifact import Artifacts, Link, contents
from gitchain.layout.model import Layout, Step, Sublayout
from gitchain.layout.rule import ArtifactList
from gitchain.layout.scope import scopes
from gitchain.verify.authorization import Authorizer
from gitchain.verify.chain import (
    Chain,
    Chains,
    EvidenceGroup,
    EvidenceGroups,
    Reasons,
    SublayoutChain,
    content_of,
    people_of,
)
from gitchain.verify.findings import Finding, FindingCode
from gitchain.verify.negative_evidence import NegativeEvidence
from gitchain.verify.search import ChainSearch, LayoutStack, Sources, demands_on
from gitchain.verify.step_diagnostics import without_evidence
from gitchain.verify.target import Target, is_served
from gitchain.verify.verified import StepStatement

if TYPE_CHECKING:
    from gitchain.verify.sublayout_candidates import SublayoutCandidate

Digests: TypeAlias = frozenset[tuple[str, str]]

LookUnder: TypeAlias = Callable[[Layout, LayoutStack, Sources], EvidenceGroups]
"""`gitchain.verify.classify.claims_under`: returns the evidence under a layout."""


def _near(step: Step, claims: EvidenceGroups, sources: Sources) -> Digests | None:
    """Return every digest of the neighbouring steps, or None if the set is unknown.

    A delivery without any of these digests cannot be linked to their evidence, so it is skipped.
    """
    layout = claims.authorizer.layout
    if any(served.step == step.name for served in layout.serve):
        return None
    found: set[tuple[str, str]] = set()
    for one in layout.steps:
        if step.name not in one.sources and one.name not in step.sources:
            continue
        if one.sublayout is not None:
            return None
        for group in claims.groups[one.name]:
            inside = contents(group.link, sources.manifests)
            if inside is None:
                return None
            found |= inside
    return frozenset(found)


@dataclass(slots=True)
class SublayoutSearch:
    """The search for chains under the layout of one step."""

    step: Step
    wanted: Sublayout
    negative: NegativeEvidence
    above: LayoutStack
    sources: Sources
    near: Digests | None
    look_under: LookUnder
    problems: list[Finding] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        step: Step,
        wanted: Sublayout,
        claims: EvidenceGroups,
        negative: NegativeEvidence,
        above: LayoutStack,
        sources: Sources,
        look_under: LookUnder,
    ) -> SublayoutSearch:
        """Return the search for a step of the layout with the evidence `claims`."""
        return cls(step, wanted, negative, above, sources, _near(step, claims, sources), look_under)

    @property
    def authorizer(self) -> Authorizer:
        """Return the rules for statements under the enclosing layout."""
        return self.negative.authorizer

    def groups(self) -> Iterator[EvidenceGroup]:
        """Yield a group for each set of products that a chain under the newest layout serves, with faults if there are."""
        from gitchain.verify.sublayout_candidates import SublayoutCandidates

        offered = SublayoutCandidates(
            self.step, self.wanted, self.authorizer, self.above, self.sources, self.problems
        )
        chosen = offered.newest()
        if chosen is None:
            return
        layout = chosen.layout
        self.sources.budget.look_under(layout)
        above = replace(self.above, names=(*self.above.names, layout.name))
        claims = self.look_under(layout, above, self.sources)
        if claims.authorizer.problems:
            self.problems += _inside(self.step, layout, claims.authorizer.problems)
            return
        for scope in scopes(layout, {entry.step for entry in layout.serve}):
            chains = Chains(scope, self.sources.manifests)
            for seed in self._deliveries(scope, claims):
                yield from self._from_seed(chosen, claims, chains, seed)
        self.problems.append(self._no_chain(layout))
        self.problems += _inside(self.step, layout, without_evidence(claims))

    def _deliveries(self, scope: Layout, claims: EvidenceGroups) -> Sequence[EvidenceGroup]:
        """Return the groups of the served steps: all that could be linked to the neighbouring steps, and the newest."""
        names = dict.fromkeys(one.step for one in scope.serve)
        found = [group for name in names for group in claims.counted(name)]
        found.sort(key=lambda group: group.time, reverse=True)
        near = self.near
        if near is None:
            return found
        from gitchain.verify.explain import MAX_SEEDS

        inside = [contents(Link({}, group.link.products), self.sources.manifests) for group in found]
        return [
            group
            for index, group in enumerate(found)
            if index < MAX_SEEDS or (held := inside[index]) is None or not held.isdisjoint(near)
        ]

    def missing(self) -> Sequence[Finding]:
        """Return why the step has no chain under a sublayout."""
        wanted = self.wanted
        if self.problems:
            return self.problems
        message = f"no acceptable signed layout {wanted.name} was found for step {self.step.name}"
        expected = f"layout {wanted.name}, version {wanted.minimum_version} or newer"
        help_ = "ask its owner for the signed layout and its evidence; then gitchain sync"
        return (Finding(FindingCode.SUBLAYOUT, message, self.step.name, expected=expected, help=help_),)

    def _from_seed(
        self, signed: SublayoutCandidate, claims: EvidenceGroups, chains: Chains, seed: EvidenceGroup
    ) -> Iterator[EvidenceGroup]:
        """Yield one group for the products with a chain from this seed, and one with a fault for each without."""
        layout, step = chains.layout, seed.step.name
        served = {
            name: artifact
            for name, artifact in seed.link.products.items()
            if "sha256" in artifact.digest and is_served(layout, step, name)
        }
        # Constraints may read the target. Without constraints, one chain holds for all products of its last step.
        parts = (
            [{name: one} for name, one in served.items()]
            if layout.constraints
            else [served]
            if served
            else []
        )
        whole: list[tuple[Artifacts, Chain]] = []
        for part in parts:
            chain, why = self._find(claims, chains, seed, part)
            if chain is None:
                yield self._group(signed, part, why, None)
            else:
                whole.append((part, chain))
        if whole:
            products = {name: one for part, _ in whole for name, one in part.items()}
            faults = self.negative.faults(self.step, Link({}, products))
            yield self._group(
                signed, products, faults, SublayoutChain(signed.layout, claims, whole[0][1], layout)
            )

    def _find(
        self, claims: EvidenceGroups, chains: Chains, seed: EvidenceGroup, products: Artifacts
    ) -> tuple[Chain | None, Reasons]:
        """Return a complete chain from the seed for the first of the products, and the reason if there is none."""
        name, artifact = next(iter(products.items()))
        target = Target.of(artifact, name)
        demands = demands_on(chains, claims.authorizer, target, self.sources.statements)
        counted = {step.name: claims.counted(step.name) for step in chains.layout.steps}
        search = ChainSearch(chains, counted, demands, self.sources.budget)

        def why() -> Sequence[Finding]:
            from gitchain.verify.explain import explain

            found = explain(chains, claims, target, (seed,), search)
            return (self._no_chain(chains.layout), *_inside(self.step, chains.layout, found.findings))

        return search.find([seed]), why

    def _group(
        self,
        signed: SublayoutCandidate,
        served: Artifacts,
        faults: Reasons | None,
        inner: SublayoutChain | None,
    ) -> EvidenceGroup:
        link = Link({}, served)
        members = tuple(
            self.authorizer.named(StepStatement(self.step, one, _claim(self.step, signed.layout), link))
            for one in sorted(signed.by, key=lambda one: (one.time, one.attestation_id))
        )
        content = {ArtifactList.MATERIALS: content_of({}), ArtifactList.PRODUCTS: content_of(served)}
        people = people_of(members)
        return EvidenceGroup(self.step, members, people, content, faults=faults, inner=inner)

    def _no_chain(self, layout: Layout) -> Finding:
        message = f"the step has no whole chain under layout {layout.name} version {layout.version}"
        return Finding(FindingCode.SUBLAYOUT_CHAIN, message, self.step.name, expected="a whole chain")


def _claim(step: Step, layout: Layout) -> StepClaim:
    """Return the claim of a signed layout as the evidence of a sublayout step."""
    return StepClaim(step.name, None, layout.name, None, (), (), "summary")


def _inside(step: Step, layout: Layout, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings under a sublayout as findings about its step."""
    for one in findings:
        where = f"{layout.name}/{one.step}" if one.step else layout.name
        yield Finding(
            one.code,
            f"under layout {where}: {one.message}",
            step.name,
            one.artifact,
            one.expected,
            one.got,
            one.help,
        )
