"""The bundles of all sources: found through their indexes, read and parsed when they are needed; and those refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.claim import StepClaim
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.sources.bundle_facts import BundleFacts, Role, claim_or_problem, key_of, key_of_name
from gitchain.sources.bundle_index import MAX_REFUSED, BundleIndex
from gitchain.store.tree_paths import is_sha256

if TYPE_CHECKING:
    from gitchain.evidence.subjects import Subject

Load = Callable[[BundleFacts], bytes]
"""Returns the bytes of a bundle. Raises StoreError or NoEvidenceError if they are no longer available."""


@dataclass(eq=False)
class IndexedBundle:
    """A bundle that is not verified: the facts in the index, and its bytes, which are read when needed."""

    facts: BundleFacts
    load: Load

    @property
    def name(self) -> str:
        """Return the SHA-256 of the bytes."""
        return self.facts.name

    @property
    def attestation_id(self) -> AttestationId:
        """Return the attestation id: the SHA-256 of the signed bytes."""
        return self.facts.attestation_id

    @property
    def predicate_type(self) -> str:
        """Return the statement's predicate type."""
        return str(self.facts.predicate_type)

    @property
    def step(self) -> str | None:
        """Return the step that the statement claims."""
        return self.facts.step

    @property
    def unreadable(self) -> bool:
        """Return True if the claim cannot be parsed. The statement may then be about any step."""
        return self.facts.unreadable

    @property
    def raw(self) -> bytes:
        """Read the bundle's bytes. Raises StoreError or NoEvidenceError if they are no longer available."""
        return self.load(self.facts)

    @property
    def statement(self) -> Statement:
        """Read the statement. Raises the errors of `raw`."""
        return Bundle.parse(self.raw).statement()

    @property
    def claim(self) -> StepClaim:
        """Read the statement's claim, names included. Raises the errors of `raw`."""
        return claim_or_problem(self.statement)[0]

    @cached_property
    def _artifacts(self) -> dict[Role, tuple[ResourceDescriptor, ...]]:
        statement = self.statement
        claim = claim_or_problem(statement)[0]
        return {
            Role.SUBJECT: _bare(statement.subject),
            Role.MATERIAL: _bare(claim.materials),
            Role.TOPIC: _bare(claim.materials) if claim.kind == "informational" else (),
            Role.PRODUCT: _bare(claim.products),
        }

    def artifacts(self, role: Role) -> tuple[ResourceDescriptor, ...]:
        """Return digests and media types of the different artifacts with a role. Raises the errors of `raw`."""
        return self._artifacts[role]


def _bare(items: Iterable[ResourceDescriptor]) -> tuple[ResourceDescriptor, ...]:
    return tuple(
        dict.fromkeys(ResourceDescriptor(None, one.digest, media_type=one.media_type) for one in items)
    )


@dataclass
class IndexedBundles:
    """The attestations in several indexes, each with the way to its bytes. A bundle in two of them counts once."""

    indexes: Sequence[tuple[BundleIndex, Load]]
    _known: dict[str, IndexedBundle] = field(default_factory=dict)

    def everything(self) -> Iterator[IndexedBundle]:
        """Yield all attestations."""
        return self._of(lambda index: index.everything())

    def of_type(self, kind: str) -> Iterator[IndexedBundle]:
        """Yield the attestations of a predicate type."""
        return self._of(lambda index: index.of_type(kind))

    def of_step(self, step: str) -> Iterator[IndexedBundle]:
        """Yield the attestations that claim a step."""
        return self._of(lambda index: index.of_step(step))

    def with_id(self, prefix: str) -> Iterator[IndexedBundle]:
        """Yield the attestations whose id starts with these hex digits."""
        return self._of(lambda index: index.with_id(prefix))

    def unopened(self) -> Iterator[IndexedBundle]:
        """Yield the attestations that mention a stored directory whose content is not indexed."""
        closed = {digest for index, _ in self.indexes for digest, _ in index.closed_directories()}
        stored = [digest for digest in closed if any(index.has_node(digest) for index, _ in self.indexes)]
        return self._of(lambda index: index.with_directories(stored)) if stored else iter(())

    def near(self, role: Role, digests: Iterable[str]) -> Iterator[IndexedBundle]:
        """Yield the attestations whose artifacts with a role may include one of these, or a directory that holds one.

        Only part of each digest is compared.
        """
        keys = set(map(key_of, digests))
        above: set[bytes] = set()
        while not keys <= above:
            above |= keys
            for index, _ in self.indexes:
                keys |= index.above(keys)
        return self._of(lambda index: index.mentioning(role, keys))

    def called(self, name: str) -> Iterator[IndexedBundle]:
        """Yield the attestations that may have a material or product with this name."""
        return self._of(lambda index: index.mentioning(Role.NAME, [key_of_name(name)]))

    def has_version(self, version: int) -> bool:
        """Return True if a statement mentions a directory of this manifest version."""
        return any(index.has_version(version) for index, _ in self.indexes)

    def __contains__(self, name: object) -> bool:
        """Return True if a bundle or manifest node with this name is there."""
        return (
            isinstance(name, str)
            and is_sha256(name)
            and any(index.has_bundle(name) or index.has_node(name) for index, _ in self.indexes)
        )

    def _of(self, find: Callable[[BundleIndex], Iterable[BundleFacts]]) -> Iterator[IndexedBundle]:
        seen: set[str] = set()
        for index, load in self.indexes:
            for facts in find(index):
                if facts.name not in seen:
                    seen.add(facts.name)
                    yield self._known.setdefault(facts.name, IndexedBundle(facts, load))


NO_ID = AttestationId("")
"""The id of bytes that are no attestation, and of several bundles together."""


@dataclass(frozen=True, slots=True)
class RefusedBundle:
    """A bundle that was refused, and the reason."""

    step: str | None
    attestation_id: AttestationId
    reason: str
    load: Callable[[], bytes] | None = field(default=None, compare=False)
    """Reads the bundle again if its statement or its claim cannot be parsed."""

    @property
    def unread_subjects(self) -> tuple[Subject, ...]:
        """Return the subjects of a statement that cannot be parsed as evidence; empty if the subjects cannot be parsed."""
        if self.load is None:
            return ()
        from gitchain.evidence.subjects import read_subjects

        try:
            return read_subjects(Bundle.parse(self.load()).envelope.payload)
        except GitchainError:
            return ()


@dataclass
class RefusedBundles:
    """Why bundles do not count: the first reasons, and the number of the others."""

    found: list[RefusedBundle] = field(default_factory=list)
    more: int = 0

    def add_all(self, reasons: Iterable[str]) -> None:
        """Add reasons that are about no bundle."""
        for reason in reasons:
            self._add(RefusedBundle(None, NO_ID, reason))

    def add_bundles(self, index: BundleIndex, load: Load) -> None:
        """Add the bundles that an index refused."""
        refused, more = index.refused()
        for facts in refused:
            self._add(RefusedBundle(None, facts.attestation_id, facts.reason, partial(load, facts)))
        self.more += more

    def _add(self, refused: RefusedBundle) -> None:
        if len(self.found) < MAX_REFUSED:
            self.found.append(refused)
        else:
            self.more += 1

    def reasons(self) -> list[RefusedBundle]:
        """Return the reasons. The last one is a count if there are too many."""
        more = f"{self.more} more stored objects that do not count"
        return [*self.found, *([RefusedBundle(None, NO_ID, more)] if self.more else [])]
