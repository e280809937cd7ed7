"""The search for a whole chain: one group for each step, tied together, with every rule and every demand satisfied.

`narrow` first drops groups that no choice could save; what is left is searched depth first and exactly, within
MAX_CHECKS for a whole decision. A choice of groups that the artifact rules accept is a chain only if it also satisfies
what the layout demands of several steps at once (`gitchain.verify.cross_step_constraints`): if not, the search goes on
to other choices.

The decision is existential, hence monotonic: more evidence only adds choices. Does NOT explain why there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gitchain.errors import LimitError
from gitchain.layout.model import Layout, Step
from gitchain.verify.chain import Chains
from gitchain.verify.cross_step_constraints import Demands
from gitchain.verify.evidence_groups import Chain, EvidenceGroup
from gitchain.verify.findings import Finding

MAX_CHECKS = (
    20_000  # rule checks in one decision: 200 steps with 100 groups each; honest stores need a few per step
)

MAX_UNDER = 20_000
"""Most steps in all the sublayouts that one decision looks under, each counted as often as a step names it."""

LAYOUT_COST = 20
"""How many steps looking under a sublayout counts for, besides its own: it sorts all the evidence."""


@dataclass(slots=True)
class SearchBudget:
    """How many checks one decision has made, over all of its layouts, and how much it has looked under sublayouts."""

    spent: int = 0
    under: int = 0

    def spend(self, count: int = 1) -> None:
        """Count checks; LimitError when there have been too many to go on: no verdict, never a pass."""
        self.spent += count
        if self.spent > MAX_CHECKS:
            raise LimitError(
                "too many combinations of evidence to decide",
                expected=f"at most {MAX_CHECKS} checks",
                help="name the attestations to verify, or make the layout's rules tighter",
            )

    def look_under(self, layout: Layout) -> None:
        """Count a sublayout; LimitError when the sublayouts of the decision have too many steps together."""
        self.under += LAYOUT_COST + len(layout.steps)
        if self.under > MAX_UNDER:
            raise LimitError(
                "too many sublayouts to decide",
                where=f"layout {layout.name}",
                expected=f"at most {MAX_UNDER} steps in all sublayouts, and {LAYOUT_COST} more for each sublayout",
                help="ask the owner of the sublayout for one with fewer steps that have sublayouts of their own",
            )


@dataclass(slots=True)
class Search:
    """A search over the groups of one layout's steps.

    `nearest` is the choice of groups whose rules all pass and that violates the fewest of the layout's other demands,
    with what it violates.
    """

    chains: Chains
    groups: Mapping[str, Sequence[EvidenceGroup]]
    demands: Demands
    budget: SearchBudget
    nearest: tuple[Chain, Sequence[Finding]] | None = None

    def find(self, seeds: Sequence[EvidenceGroup]) -> Chain | None:
        """Return a whole chain through one of the seeds, or None if there is none.

        Raises LimitError when MAX_CHECKS are not enough to tell.
        """
        for seed in seeds:
            narrowed = self.narrow(seed)
            if narrowed is not None and (chain := self._search(seed, narrowed)) is not None:
                return chain
        return None

    def narrow(self, seed: EvidenceGroup) -> Mapping[str, Sequence[EvidenceGroup]] | None:
        """Return the groups that could be in a whole chain with the seed, or None if a step has none.

        Drops what is tied to nothing, and what the rules refuse even if every source offered all of its groups.
        """
        left: dict[str, Sequence[EvidenceGroup]] = {**self.groups, seed.step.name: (seed,)}
        while True:
            reached = self._reached(seed, left)
            kept = {
                name: tuple(one for one in reached.get(name, ()) if self.chains.possible(one, reached))
                for name in left
            }
            if not all(kept.values()):
                return None
            if sum(map(len, kept.values())) == sum(map(len, left.values())):
                return kept
            left = dict(kept)

    def _reached(
        self, seed: EvidenceGroup, groups: Mapping[str, Sequence[EvidenceGroup]]
    ) -> dict[str, tuple[EvidenceGroup, ...]]:
        """Return the groups that edges between groups connect with the seed."""
        neighbours = self.chains.neighbours
        left = {name: list(items) for name, items in groups.items()}
        left[seed.step.name] = []
        found: dict[str, list[EvidenceGroup]] = {seed.step.name: [seed]}
        waiting = [seed]
        while waiting:
            group = waiting.pop()
            for name in neighbours[group.step.name]:
                tied = {id(one) for one in left[name] if self.chains.linked(group, one)}
                fresh = [one for one in left[name] if id(one) in tied]
                left[name] = [one for one in left[name] if id(one) not in tied]
                found.setdefault(name, []).extend(fresh)
                waiting += fresh
        return {name: tuple(items) for name, items in found.items()}

    def _search(self, seed: EvidenceGroup, groups: Mapping[str, Sequence[EvidenceGroup]]) -> Chain | None:
        """Depth first, the step with the fewest choices next; a choice that failed is not tried again below."""
        chain: dict[str, EvidenceGroup] = {seed.step.name: seed}
        if not self._fits(chain, seed.step):
            return None
        barred: set[int] = set()
        stack = [_Frame()]
        while stack:
            if len(chain) == len(self.chains.layout.steps) and self._satisfies(chain):
                return chain
            frame = stack[-1]
            group = frame.next_choice(chain)
            if group is None:
                barred |= frame.exhausted()
                if not frame.reset(self._next_step(chain, groups, barred)):
                    stack.pop()
                    barred -= frame.barred
                continue
            chain[group.step.name] = group
            if self._fits(chain, group.step):
                stack.append(_Frame())
            else:
                del chain[group.step.name]
        return None

    def _satisfies(self, chain: Chain) -> bool:
        """Tell whether the layout's demands on several steps hold too; remember the chain that came closest."""
        self.budget.spend()
        wrong = self.demands.of(chain)
        if wrong and (self.nearest is None or len(wrong) < len(self.nearest[1])):
            self.nearest = dict(chain), wrong
        return not wrong

    def _next_step(
        self, chain: Chain, groups: Mapping[str, Sequence[EvidenceGroup]], barred: set[int]
    ) -> Sequence[EvidenceGroup]:
        """Return the choices for the step that has the fewest, among the steps tied to the chain so far."""
        best: Sequence[EvidenceGroup] = ()
        neighbours = self.chains.neighbours
        frontier = {name for member in chain for name in neighbours[member]} - set(chain)
        for name in sorted(frontier):
            around = [chain[other] for other in neighbours[name] if other in chain]
            choices = [
                one
                for one in groups[name]
                if id(one) not in barred and any(self.chains.linked(one, other) for other in around)
            ]
            if choices and (not best or len(choices) < len(best)):
                best = choices
        return best

    def _fits(self, chain: Chain, step: Step) -> bool:
        """Check the rules of every step whose last missing source has just been chosen, and that runs agree."""
        if any(step.name in names for names in self.chains.layout.same_run) and self.chains.split_runs(chain):
            return False
        for name, group in chain.items():
            sources = self.chains.sources(name)
            if (step.name == name or step.name in sources) and all(source in chain for source in sources):
                self.budget.spend()
                if not self.chains.check(group, {source: (chain[source],) for source in sources}).passed:
                    return False
        return True


@dataclass(slots=True)
class _Frame:
    """One level of the search: the choices for one step, tried in order; then for another step, if need be."""

    choices: Sequence[EvidenceGroup] = ()
    at: int = 0
    barred: set[int] = field(default_factory=set)

    def next_choice(self, chain: dict[str, EvidenceGroup]) -> EvidenceGroup | None:
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

    def reset(self, choices: Sequence[EvidenceGroup]) -> bool:
        self.choices, self.at = choices, 0
        return bool(choices)
