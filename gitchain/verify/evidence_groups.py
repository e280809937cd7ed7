"""Groups of verified statements by step and content: the data types of a decision.

Statements for one step with equal materials and products form a group. A group counts if enough distinct people or
workloads (not identities) signed it, and no negative evidence is about it. The group of a sublayout step holds the
products that a chain under the sublayout serves, and that chain.

Does NOT decide which statements count (`gitchain.verify.authorization`), and does NOT compare steps with each other
(`gitchain.verify.chain`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

from gitchain.layout.artifact import Artifacts, Link
from gitchain.layout.model import Layout, Step
from gitchain.layout.rule import ArtifactList
from gitchain.verify.authorization import Authorizer
from gitchain.verify.findings import Finding
from gitchain.verify.step_statement import RejectedStatement, StepStatement

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
