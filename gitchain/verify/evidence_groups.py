"""What verified statements claim about the steps of a layout, and how they group; the words of the decision.

Statements for one step that agree on all materials and products form a group; a group counts if enough distinct people
or workloads, not identities, signed it, and nothing forbids it. A step may also stand for a chain under another layout:
its group then holds what that chain serves, and the chain.

Does NOT say which statements count (`gitchain.verify.authorization`), and does NOT compare steps with each other
(`gitchain.verify.chain`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

from gitchain.layout.artifact import Artifacts, Link
from gitchain.layout.model import Layout, Step
from gitchain.layout.rule import Side
from gitchain.verify.authorization import Judge
from gitchain.verify.findings import Finding
from gitchain.verify.step_statement import Attested, Rejected

Content: TypeAlias = frozenset[tuple[str, int, tuple[tuple[str, str], ...]]]
"""One list of artifacts as a value: names, kinds and accepted digests."""

Chain: TypeAlias = Mapping[str, "EvidenceGroup"]
"""One group for each step, by the step's name."""

Reasons: TypeAlias = Callable[[], Sequence[Finding]]
"""Why something does not count, worked out only if somebody has to be told."""


@dataclass(frozen=True, slots=True, eq=False)
class Inner:
    """The chain under another layout that stands behind a step: the layout, its evidence, and the chain.

    `scope` is the layout with the steps alone that the chain is made of.
    """

    layout: Layout
    claims: EvidenceGroups
    chain: Chain
    scope: Layout


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceGroup:
    """Statements for one step that agree on every material and product, and the people who signed them.

    `runs` are the runs in which enough of these people signed. `faults` says why the group does not count although
    enough people signed; None if nothing is wrong with it.
    """

    step: Step
    members: tuple[Attested, ...]
    principals: tuple[str, ...]
    content: Mapping[Side, Content] = field(repr=False)
    runs: frozenset[str] = frozenset()
    faults: Reasons | None = None
    inner: Inner | None = None

    @property
    def link(self) -> Link:
        """Return the materials and products that all members agree on."""
        return self.members[0].link

    @property
    def enough(self) -> bool:
        """Tell whether enough distinct people signed."""
        return len(self.principals) >= self.step.threshold

    @property
    def counts(self) -> bool:
        """Tell whether enough distinct people signed, and nothing forbids what they signed."""
        return self.enough and self.faults is None

    @property
    def time(self) -> datetime:
        """Return the latest proven time among the members."""
        return max(member.statement.time for member in self.members)


@dataclass(frozen=True, slots=True)
class EvidenceGroups:
    """All evidence under one layout, sorted by what it is good for.

    `missing` says for a step that stands for another layout why there is no chain under it.
    """

    judge: Judge
    groups: Mapping[str, tuple[EvidenceGroup, ...]]
    rejected: tuple[Rejected, ...] = field(default=())
    missing: Mapping[str, Reasons] = field(default_factory=dict)

    def counted(self, step: str) -> tuple[EvidenceGroup, ...]:
        """Return the groups of a step that reach its threshold and have no fault."""
        return tuple(group for group in self.groups[step] if group.counts)

    def within(self, scope: Layout) -> EvidenceGroups:
        """Return the evidence for the steps of a scope alone; what was rejected stays."""
        groups = {step.name: self.groups[step.name] for step in scope.steps}
        return replace(self, groups=groups)


def content_of(artifacts: Artifacts) -> Content:
    """Return a list of artifacts as a value that can be compared and hashed."""
    return frozenset((name, item.kind, item.digest.accepted) for name, item in artifacts.items())


def people_of(members: Iterable[Attested]) -> tuple[str, ...]:
    """Return the distinct people and workloads who signed."""
    return tuple(sorted({one.principal for one in members}))
