"""Search for a complete chain: one linked group for each step that satisfies every rule and constraint.

`narrow` first drops groups that are in no possible chain. The others are searched depth first and exactly, with at most
MAX_CHECKS for a whole decision. A choice of groups that passes the artifact rules is a chain only if it also satisfies
the layout-wide conditions (`gitchain.verify.cross_step_constraints`); otherwise the search continues.

`Sources` are the inputs of one decision under every layout, with the budget that all its searches share.

One chain is enough, so the result is monotonic: more evidence only adds choices. Does NOT explain failures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from gitchain.errors import LayoutError, LimitError
from gitchain.layout.artifact import Manifests
from gitchain.layout.model import Layout, Step
from gitchain.verify.chain import Chain, Chains, EvidenceGroup
from gitchain.verify.findings import Finding
from gitchain.verify.negative_evidence import Rejections
from gitchain.verify.verified import StepReader, VerifiedStatement

if TYPE_CHECKING:
    from gitchain.verify.authorization import Authorizer
    from gitchain.verify.cross_step_constraints import CrossStepConstraints
    from gitchain.verify.revocations import Revocations
    from gitchain.verify.target import Target
    from gitchain.verify.verified import VerifiedStatement


MAX_CHECKS = (
    20_000  # rule checks in one decision: 200 steps with 100 groups each; honest stores need a few per step
)

MAX_UNDER = 20_000
"""Most steps in all sublayouts of one decision, each counted as often as a step names it."""

LAYOUT_COST = 20
"""The cost of a sublayout, in steps, besides its own steps: all evidence is classified again."""


@dataclass(slots=True)
class SearchBudget:
    """The number of checks of one decision, over all layouts, and the cost of its sublayouts."""

    spent: int = 0
    under: int = 0

    def spend(self, count: int = 1) -> None:
        """Count checks. Raises LimitError beyond MAX_CHECKS; there is no verdict then."""
        self.spent += count
        if self.spent > MAX_CHECKS:
            raise LimitError(
                "too many combinations of evidence to decide",
                expected=f"at most {MAX_CHECKS} checks",
                help="name the attestations to verify, or make the layout's rules tighter",
            )

    def look_under(self, layout: Layout) -> None:
        """Count a sublayout. Raises LimitError if the sublayouts of the decision have too many steps together."""
        self.under += LAYOUT_COST + len(layout.steps)
        if self.under > MAX_UNDER:
            raise LimitError(
                "too many sublayouts to decide",
                where=f"layout {layout.name}",
                expected=f"at most {MAX_UNDER} steps in all sublayouts, and {LAYOUT_COST} more for each sublayout",
                help="ask the owner of the sublayout for one with fewer steps that have sublayouts of their own",
            )


@dataclass(slots=True)
class Sources:
    """The inputs of a decision, and its caches across layouts."""

    statements: Sequence[VerifiedStatement]
    now: datetime
    manifests: Manifests
    budget: SearchBudget = field(default_factory=SearchBudget)
    reader: StepReader = field(default_factory=StepReader)
    layouts: dict[bytes, Layout | LayoutError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayoutStack:
    """The enclosing layouts of a layout: their names (its own last), revocations and rejections.

    Evidence refers to a layout by name, so no two nested layouts may have the same one.
    """

    names: tuple[str, ...]
    revocations: tuple[Revocations, ...] = ()
    rejections: Sequence[Rejections] = ()


def demands_on(
    chains: Chains, authorizer: Authorizer, target: Target, statements: Sequence[VerifiedStatement]
) -> CrossStepConstraints | None:
    """Return the layout-wide conditions on a chain for the target, or None for a layout without any."""
    layout = chains.layout
    if not layout.constraints and not layout.same_run and layout.datasets is None:
        return None
    from gitchain.verify.cross_step_constraints import CrossStepConstraints

    return CrossStepConstraints(layout, authorizer, target, statements, chains.manifests)


@dataclass(slots=True)
class ChainSearch:
    """A search over the groups of one layout's steps.

    `demands` is None for a layout without layout-wide conditions. `nearest` is the choice of groups with passing rules
    that fails the fewest of them, with these findings.
    """

    chains: Chains
    groups: Mapping[str, Sequence[EvidenceGroup]]
    demands: CrossStepConstraints | None
    budget: SearchBudget
    nearest: tuple[Chain, Sequence[Finding]] | None = None

    def find(self, seeds: Sequence[EvidenceGroup]) -> Chain | None:
        """Return a complete chain with one of the seeds, or None.

        Raises LimitError beyond MAX_CHECKS.
        """
        for seed in seeds:
            narrowed = self.narrow(seed)
            if narrowed is not None and (chain := self._search(seed, narrowed)) is not None:
                return chain
        return None

    def narrow(self, seed: EvidenceGroup) -> Mapping[str, Sequence[EvidenceGroup]] | None:
        """Return the groups that could be in a complete chain with the seed, or None if a step has none.

        Drops groups without links, and groups whose rules fail even with all groups of every source.
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
        """Return the groups that are connected with the seed by edges between groups."""
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
        """Search depth first, the step with the fewest choices next. A failed choice is not tried again below."""
        chain: dict[str, EvidenceGroup] = {seed.step.name: seed}
        if not self._fits(chain, seed.step):
            return None
        barred: set[int] = set()
        stack = [_SearchLevel()]
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
                stack.append(_SearchLevel())
            else:
                del chain[group.step.name]
        return None

    def _satisfies(self, chain: Chain) -> bool:
        """Return whether the layout-wide conditions hold; remember the choice that fails the fewest."""
        self.budget.spend()
        wrong = self.unmet(chain)
        if wrong and (self.nearest is None or len(wrong) < len(self.nearest[1])):
            self.nearest = dict(chain), wrong
        return not wrong

    def unmet(self, chain: Chain) -> Sequence[Finding]:
        """Return the layout-wide conditions that a chain with evidence for every step fails."""
        return () if self.demands is None else self.demands.of(chain)

    def _next_step(
        self, chain: Chain, groups: Mapping[str, Sequence[EvidenceGroup]], barred: set[int]
    ) -> Sequence[EvidenceGroup]:
        """Return the choices for the step with the fewest, among the steps linked to the chain so far."""
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
        """Check the rules of every step whose last missing source was just chosen, and that runs agree."""
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
class _SearchLevel:
    """One level of the search: the choices for one step in order, and then for another step if necessary."""

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
        """Exclude every tried choice: with the current chain, none of them can succeed."""
        fresh = {id(one) for one in self.choices}
        self.barred |= fresh
        return fresh

    def reset(self, choices: Sequence[EvidenceGroup]) -> bool:
        self.choices, self.at = choices, 0
        return bool(choices)
