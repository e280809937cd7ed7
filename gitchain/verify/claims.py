"""Which verified statements count for which step of a layout, and why the others do not.

A statement counts for a step if its signed payload names the step (and no other layout), it has the step's
predicate type, the strength that the step asks for, a functionary of the step as signer, and is fresh enough.
Statements that agree on all materials and products form a group; a group counts if enough distinct
functionaries, people or workloads and not identities, signed it.

Does NOT compare steps with each other: `gitchain.verify.chain` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.claim import Claim, claim_of
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.layout.artifact import Artifact, Artifacts, Link
from gitchain.layout.model import Identity, Layout, Step
from gitchain.layout.rule import Side
from gitchain.verify.findings import Code
from gitchain.verify.verified import VerifiedStatement

MAX_CLOCK_SKEW = timedelta(
    minutes=5
)  # timestamps have whole seconds and clocks differ; a certificate lives ten


Content: TypeAlias = frozenset[tuple[str, bool, tuple[tuple[str, str], ...]]]
"""One list of artifacts as a value: names, kinds and accepted digests."""


@dataclass(frozen=True, slots=True, eq=False)
class Attested:
    """A verified statement that names a step of the layout, with what it claims."""

    step: Step
    statement: VerifiedStatement
    claim: Claim
    link: Link


@dataclass(frozen=True, slots=True, eq=False)
class Rejected:
    """A verified statement that does not count, and why. `attested` is None if its claim cannot be read."""

    code: Code
    statement: VerifiedStatement
    attested: Attested | None
    expected: str = ""
    got: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Statements for one step that agree on every material and product, and the people who signed them."""

    step: Step
    members: tuple[Attested, ...]
    principals: tuple[str, ...]
    content: Mapping[Side, Content] = field(repr=False)

    @property
    def link(self) -> Link:
        """Return the materials and products that all members agree on."""
        return self.members[0].link

    @property
    def counts(self) -> bool:
        """Tell whether enough distinct functionaries signed."""
        return len(self.principals) >= self.step.threshold

    @property
    def time(self) -> datetime:
        """Return the latest proven time among the members."""
        return max(member.statement.time for member in self.members)


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that a statement has to be in order to count, and whether it is."""

    code: Code
    passed: bool
    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class Claims:
    """All evidence, sorted by what it is good for."""

    judge: Judge
    groups: Mapping[str, tuple[Group, ...]]
    rejected: tuple[Rejected, ...] = field(default=())

    def counted(self, step: str) -> tuple[Group, ...]:
        """Return the groups of a step that reach its threshold."""
        return tuple(group for group in self.groups[step] if group.counts)


def sort_claims(layout: Layout, statements: Iterable[VerifiedStatement], now: datetime) -> Claims:
    """Return what counts for each step, and what does not with the reason."""
    judge = Judge(layout, now)
    steps = {step.name: step for step in layout.steps}
    accepted: dict[str, list[Attested]] = {step.name: [] for step in layout.steps}
    rejected: list[Rejected] = []
    unique = {(one.attestation_id, one.identity, one.time): one for one in statements}
    for statement in unique.values():
        attested = _attested(steps, statement)
        if isinstance(attested, Rejected):
            rejected.append(attested)
        elif attested is not None:
            reason = judge.rejection(attested)
            if reason is None:
                accepted[attested.step.name].append(attested)
            else:
                rejected.append(reason)
    groups = {name: _groups(steps[name], members, judge) for name, members in accepted.items()}
    return Claims(judge, groups, tuple(rejected))


class Judge:
    """Says whether a statement counts under one layout at one time, and for whom."""

    __slots__ = ("_allowed", "_owners", "layout", "now")

    def __init__(self, layout: Layout, now: datetime) -> None:
        self.layout, self.now = layout, now
        self._owners: dict[tuple[Identity, frozenset[tuple[str, str]]], tuple[str, ...]] = {}
        names = {one.name: sorted(map(str, one.identities)) for one in layout.functionaries}
        self._allowed = {
            step.name: " or ".join(sorted(text for name in step.functionaries for text in names[name]))
            for step in layout.steps
        }

    def functionary(self, step: Step, statement: VerifiedStatement) -> str | None:
        """Return the first functionary of the step that is the signer, or None: a signature is never two people's."""
        key = (statement.identity, frozenset(statement.claims.items()))
        if key not in self._owners:
            self._owners[key] = tuple(
                one.name
                for one in self.layout.functionaries
                if one.matches(statement.identity, statement.claims)
            )
        return next((name for name in self._owners[key] if name in step.functionaries), None)

    def principal(self, attested: Attested) -> str:
        """Return the person or workload for whom the statement counts; it must count."""
        name = self.functionary(attested.step, attested.statement)
        assert name is not None  # noqa: S101 - only statements that are not rejected are grouped
        return self.layout.principal_of(name)

    def rejection(self, attested: Attested) -> Rejected | None:
        """Return the first reason why the claim does not count, in the order in which a person would ask."""
        for one in self.conditions(attested):
            if not one.passed:
                return Rejected(one.code, attested.statement, attested, one.expected, one.got)
        return None

    def conditions(self, attested: Attested) -> Iterator[Condition]:
        """Yield what the statement has to be in order to count."""
        step, statement, claim = attested.step, attested.statement, attested.claim
        name, kind, who = self.layout.name, statement.statement.predicate_type, statement.identity
        yield Condition(Code.OTHER_LAYOUT, claim.layout in {None, name}, name, claim.layout or "")
        yield Condition(Code.PREDICATE_TYPE, kind == step.predicate_type, step.predicate_type, kind)
        allowed = self.functionary(step, statement) is not None
        yield Condition(Code.UNAUTHORISED, allowed, self._allowed[step.name], str(who))
        strong = step.evidence is None or claim.evidence in {"observed", step.evidence}
        got = claim.evidence or "no word on its strength"
        yield Condition(Code.TOO_WEAK, strong, step.evidence or "any strength", got)
        time, age = statement.time.isoformat(), self.now - statement.time
        timely = age >= -MAX_CLOCK_SKEW
        yield Condition(Code.FUTURE, timely, f"not after {self.now.isoformat()}", time)
        if step.max_age is not None:
            oldest = (self.now - step.max_age).isoformat()
            yield Condition(Code.STALE, age <= step.max_age, f"not before {oldest}", time)


def _attested(steps: Mapping[str, Step], statement: VerifiedStatement) -> Attested | Rejected | None:
    """Return the claim on a step of the layout, or None if the statement claims none."""
    try:
        claim = claim_of(statement.statement)
    except (MalformedError, LimitError) as error:
        return Rejected(Code.MALFORMED_CLAIM, statement, None, got=str(error))
    if claim.step is None or claim.step not in steps:
        return None
    link = Link(_artifacts(claim.materials), _artifacts(claim.products))
    return Attested(steps[claim.step], statement, claim, link)


def _artifacts(descriptors: Sequence[ResourceDescriptor]) -> Artifacts:
    return {item.rule_name or "": Artifact(item.digest, item.is_directory) for item in descriptors}


def _groups(step: Step, members: Sequence[Attested], judge: Judge) -> tuple[Group, ...]:
    found: dict[tuple[Content, ...], list[Attested]] = {}
    for member in members:
        found.setdefault((_content(member.link.materials), _content(member.link.products)), []).append(member)
    return tuple(
        Group(
            step,
            tuple(sorted(same, key=lambda one: (one.statement.time, one.statement.attestation_id))),
            tuple(sorted({judge.principal(one) for one in same})),
            {Side.MATERIALS: materials, Side.PRODUCTS: products},
        )
        for (materials, products), same in found.items()
    )


def _content(artifacts: Artifacts) -> Content:
    return frozenset((name, item.directory, item.digest.accepted) for name, item in artifacts.items())
