"""Find the statements behind a target that failed: those of functionaries, connected to the target by digests.

No chain of the target satisfies the layout, so nothing but signatures vouches for these statements. A statement is taken
only if it names the layout, or none, and a step of it, has the step's predicate type, is signed by a functionary of the
step, not ahead of the clock, and not revoked. Statements that are not taken connect nothing: anybody can sign that one
artifact was made of another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TypeAlias

from gitchain.consume.verifier import Verifier
from gitchain.evidence.claim import StepClaim
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.evidence.vocabulary import REVOCATION
from gitchain.layout.artifact import Manifests
from gitchain.sources.bundle_facts import claim_in
from gitchain.verify.authorization import Authorizer
from gitchain.verify.negative_evidence import contents_of
from gitchain.verify.revocations import Revocations
from gitchain.verify.target import Target
from gitchain.verify.verified import VerifiedStatement

_Items: TypeAlias = Sequence[ResourceDescriptor]


@dataclass(frozen=True, slots=True, eq=False)
class SignedClaim:
    """A statement of a functionary, and its claim."""

    statement: VerifiedStatement
    claim: StepClaim
    step: str

    @property
    def age(self) -> tuple[datetime, int]:
        """Return what orders statements by their times."""
        return self.statement.time, self.statement.log.index


_Index: TypeAlias = Mapping[str, Sequence[SignedClaim]]


class SignedStatements:
    """The statements of functionaries around some targets. They are gathered once for all of these targets."""

    def __init__(self, verifier: Verifier, targets: Sequence[Target]) -> None:
        layout, self._evidence = verifier.accepted.signed.layout, verifier.evidence
        self._steps = {step.name: step for step in layout.steps}
        self._served = frozenset(one.step for one in layout.serve)
        revocations = Revocations.of(layout, self._evidence.of_type(REVOCATION), verifier.now)
        self._authorizer = Authorizer(layout, verifier.now, [revocations])
        self._manifests = Manifests(self._evidence.manifest)
        named = dict.fromkeys(digest for target in targets for digest in self._named(target))
        around = self._evidence.around(named, self._steps.keys())
        self._taken = [one for one in map(self._read, around) if one is not None]

    def of(self, target: Target) -> Mapping[str, SignedClaim]:
        """Return the statement of each step that is the nearest to the target, and of several the newest.

        The order is that of the layout. The target's producers come first, then its consumers, then the producers of what
        else these used, and statements about any of it. Of a step that the layout serves, only producers of the target
        are taken: another statement is about another model.
        """
        found: dict[str, SignedClaim] = {}
        for layer in self._layers(tuple(self._named(target))):
            for one in sorted(layer, key=lambda one: one.age, reverse=True):
                found.setdefault(one.step, one)
        return {name: found[name] for name in self._steps if name in found}

    def _read(self, one: VerifiedStatement) -> SignedClaim | None:
        """Return the statement with its claim, or None if it is not taken."""
        claim = claim_in(one.statement)
        step = self._steps.get(claim.step or "")
        is_taken = (
            step is not None
            and claim.layout in {None, self._authorizer.layout.name}
            and one.statement.predicate_type == step.predicate_type
            and not one.statement.is_old
            and not self._authorizer.is_early(one)
            and self._authorizer.may_speak(step, one)
        )
        return SignedClaim(one, claim, step.name) if step is not None and is_taken else None

    def _named(self, target: Target) -> Iterable[str]:
        return target.digests if self._evidence.has_version_1 else (target.sha256,)

    def _layers(self, target: Sequence[str]) -> Iterator[Sequence[SignedClaim]]:
        """Yield the connected statements, the nearest first."""
        seen: list[SignedClaim] = []
        for layer in self._walk(target, self._makers, lambda one: one.claim.materials, served=True):
            seen += layer
            yield layer
        used: list[str] = []
        for layer in self._walk(target, self._users, lambda one: one.claim.products):
            seen += layer
            used += [value for one in layer for value in self._values(one.claim.materials)]
            yield layer
        for layer in self._walk(used, self._makers, lambda one: one.claim.materials):
            seen += layer
            yield layer
        made = {value for one in seen for value in self._contents(one.claim.products)}
        yield [one for value in made for one in self._topics.get(value, ())]

    def _walk(
        self,
        start: Iterable[str],
        index: _Index,
        onward: Callable[[SignedClaim], _Items],
        *,
        served: bool = False,
    ) -> Iterator[Sequence[SignedClaim]]:
        """Yield the statements that `index` has under the digests of `start`, then those under their `onward` ones.

        Statements of steps that the layout serves are left out unless `served`.
        """
        found, seen, waiting = set[SignedClaim](), set[str](), set(start)
        while waiting:
            seen |= waiting
            near = {one for value in waiting for one in index.get(value, ())} - found
            layer = [one for one in near if served or one.step not in self._served]
            found |= near
            yield layer
            waiting = {value for one in layer for value in self._values(onward(one))} - seen

    @cached_property
    def _makers(self) -> _Index:
        return self._index(lambda one: self._contents(one.claim.products))

    @cached_property
    def _users(self) -> _Index:
        return self._index(lambda one: self._contents(one.claim.materials))

    @cached_property
    def _topics(self) -> _Index:
        return self._index(lambda one: () if one.claim.products else self._values(one.claim.materials))

    def _index(self, values: Callable[[SignedClaim], Iterable[str]]) -> _Index:
        found: defaultdict[str, list[SignedClaim]] = defaultdict(list)
        for one in self._taken:
            for value in dict.fromkeys(values(one)):
                found[value].append(one)
        return found

    def _values(self, items: _Items) -> Iterator[str]:
        """Yield the digests of artifacts."""
        for item in items:
            yield from (value for _, value in self._manifests.artifact(item).digests)

    def _contents(self, items: _Items) -> Iterator[str]:
        """Yield the digests of artifacts and of what their directories contain."""
        for item in items:
            yield from (value for _, value in contents_of(self._manifests.artifact(item), self._manifests)[0])
