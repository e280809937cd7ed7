"""The search for a chain: one group of evidence per step, such that everything fits together.

A chain starts at evidence for a served step that made the target, and grows along MATCH edges in both
directions. It is whole when every step of the layout has a group, each tied to another by an artifact that a
MATCH rule finds in both, and every step's artifact rules pass against the groups chosen for the others. So runs
cannot be mixed: what ties two steps is a digest, not a name.

The decision is existential, hence monotonic: more evidence only adds choices. `Chains.narrow` first drops groups
that no choice could save; what is left is searched exactly, within MAX_CHECKS.

Does NOT explain a failure: `gitchain.verify.explain` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gitchain.errors import LimitError
from gitchain.layout.artifact import Manifests, contents
from gitchain.layout.model import Layout, Step
from gitchain.layout.rule import Keyword, Rule, Side
from gitchain.layout.rules import Applied, Match, Outcome, Refusal, apply_rules
from gitchain.verify.claims import Content, Group

MAX_CHECKS = (
    20_000  # rule checks in one search: 200 steps with 100 groups each; honest stores need a few per step
)

Chain = Mapping[str, Group]


@dataclass(frozen=True, slots=True)
class Checked:
    """What the rules of one step said about its group, given groups for the steps that it names."""

    refusals: tuple[Refusal, ...]
    matches: tuple[Match, ...]
    vacuous: bool
    applied: tuple[Applied, ...] = ()

    @property
    def passed(self) -> bool:
        """Tell whether no rule refused, and whether rules that name sources found at least one."""
        return not self.refusals and not self.vacuous


@dataclass(slots=True)
class Chains:
    """The rules of one layout over one set of manifests; results are kept for the length of a decision."""

    layout: Layout
    manifests: Manifests
    _checks: dict[tuple[object, ...], Checked] = field(default_factory=dict)
    _links: dict[tuple[object, ...], bool] = field(default_factory=dict)
    _numbers: dict[Content, int] = field(default_factory=dict)
    _looks: dict[str, dict[str, tuple[Side, ...]]] = field(default_factory=dict)
    _contents: dict[int, frozenset[tuple[str, str]] | None] = field(default_factory=dict)
    _spent: int = 0

    def __post_init__(self) -> None:
        for step in self.layout.steps:
            looks = self._looks.setdefault(step.name, {})
            for source, side in step.looks:
                looks[source] = (*looks.get(source, ()), side)

    def check(self, group: Group, sources: Mapping[str, Sequence[Group]]) -> Checked:
        """Return what the step's rules say about the group; several groups of a source are alternatives."""
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

    def _seen(self, group: Group, sides: Sequence[Side]) -> tuple[int, ...]:
        """Return a number for each list: equal for groups that rules looking at these lists cannot tell apart."""
        return tuple(self._numbers.setdefault(group.content[side], len(self._numbers)) for side in sides)

    def explain(self, group: Group, chain: Chain) -> Checked:
        """Return what the rules say in this chain, with what each MATCH rule looked for."""
        return self._check(group, {name: (one,) for name, one in chain.items()}, explain=True)

    def _check(
        self, group: Group, sources: Mapping[str, Sequence[Group]], *, explain: bool = False
    ) -> Checked:
        step, links = group.step, {name: [one.link for one in groups] for name, groups in sources.items()}

        def apply(rules: Sequence[Rule], side: Side) -> Outcome:
            return apply_rules(rules, side, group.link, links, self.manifests, explain=explain)

        materials = apply(step.expected_materials, Side.MATERIALS)
        products = apply(step.expected_products, Side.PRODUCTS) if step.has_products else Outcome()
        tied = any(rule.keyword is Keyword.MATCH for rule in step.expected_materials)
        return Checked(
            (*materials.refusals, *products.refusals),
            (*materials.matches, *products.matches),
            tied and not materials.matches,
            (*materials.applied, *products.applied),
        )

    def linked(self, one: Group, other: Group) -> bool:
        """Tell whether a MATCH rule of either step ties the two groups together by a digest."""
        return self._consumes(one, other) or self._consumes(other, one)

    def _consumes(self, group: Group, source: Group) -> bool:
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

    def _share(self, one: Group, other: Group) -> bool:
        """Tell whether the groups could have an artifact in common: cheap, and right whenever it says no."""
        mine, theirs = self._contents_of(one), self._contents_of(other)
        return mine is None or theirs is None or not mine.isdisjoint(theirs)

    def _contents_of(self, group: Group) -> frozenset[tuple[str, str]] | None:
        """Return every digest in the group, inside directories too, or None if there are too many to list."""
        if id(group) not in self._contents:
            self._contents[id(group)] = contents(group.link, self.manifests)
        return self._contents[id(group)]

    def neighbours(self) -> dict[str, tuple[str, ...]]:
        """Return for each step the steps that it names or that name it."""
        found: dict[str, dict[str, None]] = {step.name: {} for step in self.layout.steps}
        for step in self.layout.steps:
            for source in step.sources:
                if source != step.name:
                    found[step.name][source] = None
                    found[source][step.name] = None
        return {name: tuple(others) for name, others in found.items()}

    def find(self, seeds: Sequence[Group], groups: Mapping[str, Sequence[Group]]) -> Chain | None:
        """Return a whole chain through one of the seeds, or None if there is none.

        Raises LimitError when MAX_CHECKS are not enough to tell: no verdict, never a pass.
        """
        for seed in seeds:
            narrowed = self.narrow(seed, groups)
            if narrowed is not None and (chain := self._search(seed, narrowed)) is not None:
                return chain
        return None

    def narrow(
        self, seed: Group, groups: Mapping[str, Sequence[Group]]
    ) -> Mapping[str, Sequence[Group]] | None:
        """Return the groups that could be in a whole chain with the seed, or None if a step has none.

        Drops what is tied to nothing, and what the rules refuse even if every source offered all of its groups.
        """
        left: dict[str, Sequence[Group]] = {**groups, seed.step.name: (seed,)}
        while True:
            reached = self._reached(seed, left)
            kept = {
                name: tuple(one for one in reached.get(name, ()) if self._possible(one, reached))
                for name in left
            }
            if not all(kept.values()):
                return None
            if sum(map(len, kept.values())) == sum(map(len, left.values())):
                return kept
            left = dict(kept)

    def _reached(self, seed: Group, groups: Mapping[str, Sequence[Group]]) -> dict[str, tuple[Group, ...]]:
        """Return the groups that edges between groups connect with the seed."""
        neighbours = self.neighbours()
        left = {name: list(items) for name, items in groups.items()}
        left[seed.step.name] = []
        found: dict[str, list[Group]] = {seed.step.name: [seed]}
        waiting = [seed]
        while waiting:
            group = waiting.pop()
            for name in neighbours[group.step.name]:
                tied = {id(one) for one in left[name] if self.linked(group, one)}
                fresh = [one for one in left[name] if id(one) in tied]
                left[name] = [one for one in left[name] if id(one) not in tied]
                found.setdefault(name, []).extend(fresh)
                waiting += fresh
        return {name: tuple(items) for name, items in found.items()}

    def _possible(self, group: Group, sources: Mapping[str, Sequence[Group]]) -> bool:
        looks = self._looks[group.step.name]
        tied = {name: [one for one in sources.get(name, ()) if self._consumes(group, one)] for name in looks}
        checked = self.check(group, tied)
        # REQUIRE after a MATCH can fail only because the MATCH took the artifact: another choice may not take it.
        fatal = (one for one in checked.refusals if one.reason != "required" or one.got is None)
        return not checked.vacuous and not any(fatal)

    def _search(self, seed: Group, groups: Mapping[str, Sequence[Group]]) -> Chain | None:
        """Depth first, the step with the fewest choices next; a choice that failed is not tried again below."""
        chain: dict[str, Group] = {seed.step.name: seed}
        if not self._fits(chain, seed.step):
            return None
        barred: set[int] = set()
        stack = [_Frame()]
        neighbours = self.neighbours()
        while stack:
            if len(chain) == len(self.layout.steps):
                return chain
            frame = stack[-1]
            group = frame.next_choice(chain)
            if group is None:
                barred |= frame.exhausted()
                if not frame.reset(self._next_step(chain, groups, barred, neighbours)):
                    stack.pop()
                    barred -= frame.barred
                continue
            chain[group.step.name] = group
            if self._fits(chain, group.step):
                stack.append(_Frame())
            else:
                del chain[group.step.name]
        return None

    def _next_step(
        self,
        chain: Chain,
        groups: Mapping[str, Sequence[Group]],
        barred: set[int],
        neighbours: Mapping[str, Sequence[str]],
    ) -> Sequence[Group]:
        """Return the choices for the step that has the fewest, among the steps tied to the chain so far."""
        best: Sequence[Group] = ()
        frontier = {name for member in chain for name in neighbours[member]} - set(chain)
        for name in sorted(frontier):
            around = [chain[other] for other in neighbours[name] if other in chain]
            choices = [
                one
                for one in groups[name]
                if id(one) not in barred and any(self.linked(one, other) for other in around)
            ]
            if choices and (not best or len(choices) < len(best)):
                best = choices
        return best

    def _fits(self, chain: Chain, step: Step) -> bool:
        """Check the rules of every step whose last missing source has just been chosen."""
        for name, group in chain.items():
            sources = self._looks[name]
            if (step.name == name or step.name in sources) and all(source in chain for source in sources):
                self._spent += 1
                if self._spent > MAX_CHECKS:
                    raise LimitError(
                        "too many combinations of evidence to decide",
                        expected=f"at most {MAX_CHECKS} checks",
                        help="name the attestations to verify, or make the layout's rules tighter",
                    )
                if not self.check(group, {source: (chain[source],) for source in sources}).passed:
                    return False
        return True

    def loose(self, chain: Chain, start: str) -> tuple[str, ...]:
        """Return the steps of a chain that nothing ties to the start, directly or through others."""
        neighbours = self.neighbours()
        seen, waiting = {start}, [start]
        while waiting:
            one = chain[waiting.pop()]
            around = [name for name in neighbours[one.step.name] if name in chain and name not in seen]
            fresh = [name for name in around if self.linked(one, chain[name])]
            seen.update(fresh)
            waiting += fresh
        return tuple(name for name in chain if name not in seen)


@dataclass(slots=True)
class _Frame:
    """One level of the search: the choices for one step, tried in order; then for another step, if need be."""

    choices: Sequence[Group] = ()
    at: int = 0
    barred: set[int] = field(default_factory=set)

    def next_choice(self, chain: dict[str, Group]) -> Group | None:
        if self.choices:
            chain.pop(self.choices[0].step.name, None)
        if self.at >= len(self.choices):
            return None
        self.at += 1
        return self.choices[self.at - 1]

    def exhausted(self) -> set[int]:
        """Bar every choice that was tried: with the chain as it is above, none of them can be right."""
        fresh = {id(one) for one in self.choices}
        self.barred |= fresh
        return fresh

    def reset(self, choices: Sequence[Group]) -> bool:
        self.choices, self.at = choices, 0
        return bool(choices)
