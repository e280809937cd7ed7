"""Groups of verified statements by step and content, and whether one choice of groups is a chain.

Statements for one step with equal materials and products form a group. A group counts if enough distinct people or
workloads (not identities) signed it, and no negative evidence is about it. The group of a sublayout step holds the
products that a chain under the sublayout serves, and that chain.

A chain starts at evidence for a served step that made the target, and grows along MATCH edges in both directions. It is
complete when every step of the layout has a group, each linked to another one by an artifact that a MATCH rule finds in
both, and every step's artifact rules pass against the groups of the other steps. Steps are linked by digests, not by
names, so evidence of different runs cannot be combined.

Does NOT decide which statements count (`gitchain.verify.authorization`), and does NOT choose the groups
(`gitchain.verify.search`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

from gitchain.layout.artifact import Artifacts, Link, Manifests, contents
from gitchain.layout.model import Layout, Step
from gitchain.layout.rule import ArtifactList, ArtifactRule, Keyword
from gitchain.layout.rules import AppliedRule, MatchedArtifact, RefusedArtifact, RulesResult, apply_rules
from gitchain.verify.authorization import Authorizer
from gitchain.verify.findings import Finding
from gitchain.verify.verified import RejectedStatement, StepStatement

Content: TypeAlias = frozenset[tuple[str, int, tuple[tuple[str, str], ...]]]
"""One list of artifacts as a value: names, kinds and accepted digests."""

Chain: TypeAlias = Mapping[str, "EvidenceGroup"]
"""One group for each step, by the step's name."""

Reasons: TypeAlias = Callable[[], Sequence[Finding]]
"""Computes why something does not count, when that is reported."""


@dataclass(frozen=True, slots=True, eq=False)
class SublayoutChain:
    """The chain under the sublayout of a step: the layout, its evidence, and the chain.

    `scope` is the layout reduced to the steps of the chain.
    """

    layout: Layout
    claims: EvidenceGroups
    chain: Chain
    scope: Layout


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceGroup:
    """Statements for one step with equal materials and products, and the people who signed them.

    `runs` are the runs in which enough of these people signed. `faults` computes why the group does not count although
    enough people signed; None for a group without faults.
    """

    step: Step
    members: tuple[StepStatement, ...]
    principals: tuple[str, ...]
    content: Mapping[ArtifactList, Content] = field(repr=False)
    runs: frozenset[str] = frozenset()
    faults: Reasons | None = None
    inner: SublayoutChain | None = None

    @property
    def link(self) -> Link:
        """Return the materials and products of the members."""
        return self.members[0].link

    @property
    def enough(self) -> bool:
        """Return whether enough distinct people signed."""
        return len(self.principals) >= self.step.threshold

    @property
    def counts(self) -> bool:
        """Return whether enough distinct people signed, and the group has no fault."""
        return self.enough and self.faults is None

    @property
    def time(self) -> datetime:
        """Return the latest proven time among the members."""
        return max(member.statement.time for member in self.members)


@dataclass(frozen=True, slots=True)
class EvidenceGroups:
    """All evidence under one layout, by step.

    `missing` computes, for a sublayout step, why there is no chain under its layout.
    """

    authorizer: Authorizer
    groups: Mapping[str, tuple[EvidenceGroup, ...]]
    rejected: tuple[RejectedStatement, ...] = field(default=())
    missing: Mapping[str, Reasons] = field(default_factory=dict)

    def counted(self, step: str) -> tuple[EvidenceGroup, ...]:
        """Return the groups of a step that reach its threshold and have no fault."""
        return tuple(group for group in self.groups[step] if group.counts)

    def within(self, scope: Layout) -> EvidenceGroups:
        """Return the evidence for the steps of a scope, with all rejected statements."""
        groups = {step.name: self.groups[step.name] for step in scope.steps}
        return replace(self, groups=groups)


def content_of(artifacts: Artifacts) -> Content:
    """Return a list of artifacts as a hashable value."""
    return frozenset((name, item.kind, item.digest.accepted) for name, item in artifacts.items())


def people_of(members: Iterable[StepStatement]) -> tuple[str, ...]:
    """Return the distinct people and workloads who signed."""
    return tuple(sorted({one.principal for one in members}))


@dataclass(frozen=True, slots=True)
class StepRulesResult:
    """Result of one step's rules for its group, given groups for the steps that they name."""

    refusals: tuple[RefusedArtifact, ...]
    matches: tuple[MatchedArtifact, ...]
    vacuous: bool
    applied: tuple[AppliedRule, ...] = ()

    @property
    def passed(self) -> bool:
        """Return whether all rules passed, and rules with sources found at least one."""
        return not self.refusals and not self.vacuous


@dataclass(slots=True)
class Chains:
    """Applies the rules of one layout, with one set of manifests; caches results during a decision."""

    layout: Layout
    manifests: Manifests
    _checks: dict[tuple[object, ...], StepRulesResult] = field(default_factory=dict)
    _links: dict[tuple[object, ...], bool] = field(default_factory=dict)
    _numbers: dict[Content, int] = field(default_factory=dict)
    _looks: dict[str, dict[str, tuple[ArtifactList, ...]]] = field(default_factory=dict)
    _contents: dict[int, frozenset[tuple[str, str]] | None] = field(default_factory=dict)
    neighbours: Mapping[str, tuple[str, ...]] = field(init=False)
    """The neighbours of each step: the steps that its rules name, and those whose rules name it."""

    def __post_init__(self) -> None:
        near: dict[str, dict[str, None]] = {step.name: {} for step in self.layout.steps}
        for step in self.layout.steps:
            looks = self._looks.setdefault(step.name, {})
            for source, side in step.looks:
                looks[source] = (*looks.get(source, ()), side)
                if source != step.name:
                    near[step.name][source] = near[source][step.name] = None
        self.neighbours = {name: tuple(others) for name, others in near.items()}

    def sources(self, step: str) -> Collection[str]:
        """Return the steps that this step's MATCH rules name."""
        return self._looks[step].keys()

    def check(self, group: EvidenceGroup, sources: Mapping[str, Sequence[EvidenceGroup]]) -> StepRulesResult:
        """Apply the step's rules to the group. Several groups of one source are alternatives."""
        looks = self._looks[group.step.name]
        named = {
            name: {self._seen(one, sides): one for one in sources[name]}
            for name, sides in looks.items()
            if name in sources
        }
        key = (id(group), *((name, frozenset(found)) for name, found in named.items()))
        if key not in self._checks:
            distinct = {name: tuple(found.values()) for name, found in named.items()}
            self._checks[key] = self._check(group, distinct)
        return self._checks[key]

    def _seen(self, group: EvidenceGroup, sides: Sequence[ArtifactList]) -> tuple[int, ...]:
        """Return one number for each list; groups with equal numbers are equal for rules about these lists."""
        return tuple(self._numbers.setdefault(group.content[side], len(self._numbers)) for side in sides)

    def explain(self, group: EvidenceGroup, chain: Chain) -> StepRulesResult:
        """Apply the rules in this chain, and record what each MATCH rule looked for."""
        return self._check(group, {name: (one,) for name, one in chain.items()}, explain=True)

    def _check(
        self, group: EvidenceGroup, sources: Mapping[str, Sequence[EvidenceGroup]], *, explain: bool = False
    ) -> StepRulesResult:
        step, links = group.step, {name: [one.link for one in groups] for name, groups in sources.items()}

        def apply(rules: Sequence[ArtifactRule], side: ArtifactList) -> RulesResult:
            return apply_rules(rules, side, group.link, links, self.manifests, explain=explain)

        materials = apply(step.expected_materials, ArtifactList.MATERIALS)
        products = (
            apply(step.expected_products, ArtifactList.PRODUCTS) if step.has_products else RulesResult()
        )
        tied = any(rule.keyword is Keyword.MATCH for rule in step.expected_materials)
        return StepRulesResult(
            (*materials.refusals, *products.refusals),
            (*materials.matches, *products.matches),
            tied and not materials.matches,
            (*materials.applied, *products.applied),
        )

    def linked(self, one: EvidenceGroup, other: EvidenceGroup) -> bool:
        """Return whether a MATCH rule of either step links the two groups by a digest."""
        return self._consumes(one, other) or self._consumes(other, one)

    def _consumes(self, group: EvidenceGroup, source: EvidenceGroup) -> bool:
        name = source.step.name
        sides = self._looks[group.step.name].get(name)
        if sides is None:
            return False
        key = (id(group), name, *self._seen(source, sides))
        if key not in self._links:
            self._links[key] = self._share(group, source) and bool(
                self.check(group, {name: (source,)}).matches
            )
        return self._links[key]

    def _share(self, one: EvidenceGroup, other: EvidenceGroup) -> bool:
        """Return False only if the groups have no artifact in common. May return True without one."""
        mine, theirs = self._contents_of(one), self._contents_of(other)
        return mine is None or theirs is None or not mine.isdisjoint(theirs)

    def _contents_of(self, group: EvidenceGroup) -> frozenset[tuple[str, str]] | None:
        """Return every digest in the group, including those inside directories, or None if there are too many."""
        if id(group) not in self._contents:
            self._contents[id(group)] = contents(group.link, self.manifests)
        return self._contents[id(group)]

    def possible(self, group: EvidenceGroup, sources: Mapping[str, Sequence[EvidenceGroup]]) -> bool:
        """Return False only if no choice among the sources satisfies the step's rules. May return True without one."""
        looks = self._looks[group.step.name]
        tied = {name: [one for one in sources.get(name, ()) if self._consumes(group, one)] for name in looks}
        checked = self.check(group, tied)
        # REQUIRE after a MATCH can fail because the MATCH consumed the artifact: another choice may not consume it.
        fatal = (one for one in checked.refusals if one.reason != "required" or one.got is None)
        return not checked.vacuous and not any(fatal)

    def split_runs(self, chain: Chain) -> Sequence[str]:
        """Return the first steps that must be of one run but have no run in common, or nothing."""
        for names in self.layout.same_run:
            chosen = [chain[name].runs for name in names if name in chain]
            if chosen and not frozenset.intersection(*chosen):
                return names
        return ()

    def loose(self, chain: Chain, start: str) -> tuple[str, ...]:
        """Return the steps of a chain that are not linked to its start, directly or through others."""
        seen, waiting = {start}, [start]
        while waiting:
            one = chain[waiting.pop()]
            around = [name for name in self.neighbours[one.step.name] if name in chain and name not in seen]
            fresh = [name for name in around if self.linked(one, chain[name])]
            seen.update(fresh)
            waiting += fresh
        return tuple(name for name in chain if name not in seen)
