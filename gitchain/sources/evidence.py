"""The evidence in all sources: finds the relevant bundles through their indexes, and verifies them.

A source is only a place to read from: a statement counts by its signature alone. Bundles are verified only if digests
connect them to the target, or if they name a step of the layout. A bundle that does not verify is reported and does not
count.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from gitchain.errors import GitchainError
from gitchain.evidence.claim import StepClaim
from gitchain.evidence.digest import DigestSet, Sha256
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import ManifestVersion
from gitchain.layout.artifact import Artifact, Manifests
from gitchain.sources.bundle_facts import Role, artifacts_in, claim_in, digests_of
from gitchain.sources.bundle_index import MAX_REFUSED, BundleIndex
from gitchain.sources.bundles import NO_ID, IndexedBundle, IndexedBundles, RefusedBundle
from gitchain.store.tree_paths import Oid
from gitchain.verify.bundle import verify_bundle, verify_uncosigned
from gitchain.verify.negative_evidence import contents_of
from gitchain.verify.trust import Trust
from gitchain.verify.verified import VerifiedStatement

MAX_OTHERS = 2000
"""Most statements of a step that are verified although nothing connects them to the target: some four seconds."""


@dataclass
class Evidence:
    """All evidence of the sources. Each bundle is verified on demand and at most once.

    `tip` is the commit of the store that was read, `present` has the names of the bundles and manifest nodes,
    `unreadable` the paths of listed bundles that are missing or incomplete. `in_memory` is the index of what is not in
    the repository's store.
    """

    bundles: IndexedBundles
    trust: Trust
    manifest: Callable[[str], bytes | None]
    refused: list[RefusedBundle] = field(default_factory=list)
    keys: Sequence[bytes] = ()
    tip: Oid | None = None
    unreadable: frozenset[str] = frozenset()
    present: Container[str] = ()
    in_memory: BundleIndex | None = None
    _verified: dict[str, VerifiedStatement | None] = field(default_factory=dict)
    _files: dict[tuple[ManifestVersion, str], tuple[str, ...] | None] = field(default_factory=dict)
    _upgraded: dict[str, str | None] = field(default_factory=dict)
    _cut: set[str] = field(default_factory=set)

    @property
    def candidates(self) -> Iterator[IndexedBundle]:
        """Yield all bundles, unverified: the cost grows with the store."""
        return self.bundles.everything()

    def verified(self, candidates: Iterable[IndexedBundle]) -> tuple[VerifiedStatement, ...]:
        """Verify the candidates and return those that pass. The others are added to `refused`."""
        found = (self._verify(candidate) for candidate in candidates)
        return tuple(statement for statement in found if statement is not None)

    def around(self, digests: Iterable[str], steps: AbstractSet[str] | None) -> tuple[VerifiedStatement, ...]:
        """Return the verified statements on the chain of a target with these digests.

        Follows consumers forward from the target, then producers back from all of these to the raw data. Adds every
        other statement about artifacts on the way, because it may be negative evidence. `steps` limits the result to
        these steps; None allows all steps.
        """
        named = tuple(digests)
        forward = self._walk(named, Role.MATERIAL, Role.PRODUCT, {}, steps)
        used = (
            digest
            for candidate in forward.values()
            for digest in self._named(candidate, candidate.artifacts(Role.MATERIAL))
        )
        back = self._walk((*named, *used), Role.PRODUCT, Role.MATERIAL, forward, steps)
        made = {
            digest
            for candidate in back.values()
            for digest in self._opened(candidate, candidate.artifacts(Role.PRODUCT))
        }
        beside = {
            candidate.name: candidate
            for candidate in self._about(made, lambda one: steps is None or one.step in steps)
        }
        return self.verified((back | beside).values())

    def _walk(
        self,
        start: Iterable[str],
        role: Role,
        onward: Role,
        known: Mapping[str, IndexedBundle],
        steps: AbstractSet[str] | None,
    ) -> dict[str, IndexedBundle]:
        """Return the candidates by name that have an artifact of `start` in a role, and so on from the other role's."""
        found, waiting, seen = dict(known), set(start), set[str]()

        def wanted(one: IndexedBundle) -> bool:
            return (steps is None or one.step in steps) and one.name not in found

        while waiting:
            seen |= waiting
            fresh = list(self._with(role, waiting, wanted))
            found.update((candidate.name, candidate) for candidate in fresh)
            waiting = {
                digest
                for candidate in fresh
                for digest in self._named(candidate, candidate.artifacts(onward))
            } - seen
        return found

    def against(
        self, chain: Iterable[Statement], steps: AbstractSet[str] | None
    ) -> tuple[VerifiedStatement, ...]:
        """Return the verified statements about any artifact of the chain.

        `steps` limits the result to these steps; None allows all steps. If the manifest of a directory in the chain
        is not available, every statement is returned: it may be about a file in that directory.
        """

        def wanted(one: IndexedBundle) -> bool:
            return steps is None or one.step in steps or one.unreadable

        items = [item for statement in chain for item in artifacts_in(statement)]
        if any(self._is_closed(item) for item in items):
            return self.verified(filter(wanted, self.candidates))
        digests = {digest for item in items for digest in self._with_files([item])}
        return self.verified(self._about(digests, wanted))

    def of_steps(self, steps: AbstractSet[str] | None, *types: str) -> tuple[VerifiedStatement, ...]:
        """Return the verified statements that claim one of these steps or have one of these types; any if `steps` is None.

        At most MAX_OTHERS for each step and type: `refused` has a line if there are more.
        """
        found: dict[str, IndexedBundle] = {}
        parts = [(f" of step {step}", step, self.bundles.of_step(step)) for step in sorted(steps or ())]
        parts += [(f" of type {kind}", "", self.bundles.of_type(kind)) for kind in sorted(types)]
        for of, step, some in parts if steps is not None else [("", "", self.candidates)]:
            found |= {candidate.name: candidate for candidate in islice(some, MAX_OTHERS)}
            if (more := sum(1 for _ in some)) and of not in self._cut:
                self._cut.add(of)
                reason = f"{more} more statements{of}: only those that share an artifact with the target's chain count"
                self.refused.append(RefusedBundle(step or None, NO_ID, reason))
        return self.verified(found.values())

    def of_type(self, *types: str) -> tuple[VerifiedStatement, ...]:
        """Return every verified statement of these predicate types."""
        return self.verified(self.candidates_of(*types))

    def claim(self, candidate: IndexedBundle) -> StepClaim:
        """Return the claim of a candidate; of one that is verified already, its bytes are not parsed again."""
        known = self._verified.get(candidate.name)
        return candidate.claim if known is None else claim_in(known.statement)

    def candidates_of(self, *types: str) -> tuple[IndexedBundle, ...]:
        """Return the candidates of these predicate types, unverified."""
        return tuple(candidate for kind in types for candidate in self.bundles.of_type(kind))

    def naming(self, digests: Iterable[str], name: str | None) -> tuple[IndexedBundle, ...]:
        """Return the candidates that may name an artifact with one of these digests, or of this name, unverified."""
        wanted = tuple(digests)
        found = [*self.bundles.near(Role.MATERIAL, wanted), *self.bundles.near(Role.PRODUCT, wanted)]
        found += self.bundles.called(name) if name is not None else ()
        return tuple({candidate.name: candidate for candidate in found}.values())

    def made_of(self, sha256: Sha256) -> tuple[VerifiedStatement, ...]:
        """Return the verified statements about artifacts derived from this one, directly or indirectly."""
        found: dict[str, VerifiedStatement] = {}
        waiting, seen = set[str]({sha256}), set[str]()
        while waiting:
            seen |= waiting
            derived = set[str]()
            for candidate in self._with(Role.MATERIAL, waiting, lambda one: one.name not in found):
                products = candidate.artifacts(Role.PRODUCT)
                if products and (verified := self._verify(candidate)):
                    found[candidate.name] = verified
                    derived.update(self._with_files(products))
            waiting = derived - seen
        return tuple(found.values())

    @cached_property
    def has_version_1(self) -> bool:
        """Return True if any statement contains a directory digest of manifest version 1."""
        return self.bundles.has_version(1)

    def about(self, sha256: Sha256) -> tuple[IndexedBundle, ...]:
        """Return the candidates that have this digest as a subject."""
        return tuple(
            candidate
            for candidate in self._near(Role.SUBJECT, {sha256})
            if sha256 in self._named(candidate, candidate.artifacts(Role.SUBJECT))
        )

    def _about(
        self, digests: AbstractSet[str], wanted: Callable[[IndexedBundle], bool]
    ) -> Iterator[IndexedBundle]:
        """Yield the candidates with one of these artifacts as a product or as a topic."""
        yield from self._with(Role.PRODUCT, digests, wanted)
        yield from self._with(Role.TOPIC, digests, wanted)

    def _with(
        self, role: Role, digests: AbstractSet[str], wanted: Callable[[IndexedBundle], bool]
    ) -> Iterator[IndexedBundle]:
        """Yield the wanted candidates with one of these artifacts, or a directory of one, in a role; others are not read."""
        for candidate in filter(wanted, self._near(role, digests)):
            items = candidate.artifacts(role)
            if not digests.isdisjoint(digests_of(items)) or (
                self._may_open(candidate, items) and not digests.isdisjoint(self._with_files(items))
            ):
                yield candidate

    def _near(self, role: Role, digests: AbstractSet[str]) -> Iterator[IndexedBundle]:
        """Yield the candidates that `digests` may be in, as far as the index knows, and those that it has not opened."""
        found = {candidate.name: candidate for candidate in self.bundles.near(role, digests)}
        found |= {candidate.name: candidate for candidate in self._unopened}
        yield from found.values()

    @cached_property
    def _unopened(self) -> tuple[IndexedBundle, ...]:
        return tuple(self.bundles.unopened())

    def _opened(self, candidate: IndexedBundle, items: Sequence[ResourceDescriptor]) -> Iterable[str]:
        """Return the digests of a candidate's artifacts and of the files in its directories."""
        return self._with_files(items) if self._may_open(candidate, items) else digests_of(items)

    def _named(self, candidate: IndexedBundle, items: Sequence[ResourceDescriptor]) -> tuple[str, ...]:
        """Return the digests of a candidate's artifacts."""
        return self._digests(items) if self._may_open(candidate, items) else digests_of(items)

    def _may_open(self, candidate: IndexedBundle, items: Sequence[ResourceDescriptor]) -> bool:
        """Return True if manifests may be read for a candidate. Only signed candidates may cost that much."""
        return all(item.manifest_version is None for item in items) or self._verify(candidate) is not None

    def _with_files(self, items: Sequence[ResourceDescriptor]) -> Iterable[str]:
        """Return digests of artifacts and of the files in directories, since a step may use a single file."""
        for item in items:
            yield from self._digests([item])
            if (version := item.manifest_version) is not None:
                yield from self._inside(item.digest.get("sha256", ""), version) or ()

    def _digests(self, items: Iterable[ResourceDescriptor]) -> tuple[str, ...]:
        """Return the artifacts' digests. A directory of manifest version 1 also gets its version 2 digest."""
        return tuple(digest for item in items for digest in self._names(item))

    def _names(self, item: ResourceDescriptor) -> Iterator[str]:
        yield from (value for _, value in item.digest.accepted)
        sha256 = item.digest.sha256
        if sha256 and item.manifest_version == 1 and (newer := self._upgrade(sha256)) is not None:
            yield newer

    def _upgrade(self, sha256: Sha256) -> str | None:
        from gitchain.evidence.manifest import to_version_2

        if sha256 not in self._upgraded:
            try:
                self._upgraded[sha256] = to_version_2(sha256, self.manifest)
            except GitchainError:
                self._upgraded[sha256] = None
        return self._upgraded[sha256]

    def _is_closed(self, item: ResourceDescriptor) -> bool:
        version = item.manifest_version
        return version is not None and self._inside(item.digest.get("sha256", ""), version) is None

    def _inside(self, digest: str, version: ManifestVersion) -> tuple[str, ...] | None:
        """Return the digests of everything in a directory, or None if a manifest is not available."""
        key = version, digest
        if key not in self._files:
            top = Artifact(DigestSet({"sha256": digest} if digest else {}), True, version)
            found, closed = contents_of(top, Manifests(self.manifest))
            self._files[key] = None if closed else tuple(value for _, value in found)
        return self._files[key]

    def _verify(self, candidate: IndexedBundle) -> VerifiedStatement | None:
        key = candidate.name  # not the attestation id: two signers may sign the same statement
        if key not in self._verified:
            raw = candidate.raw
            try:
                self._verified[key] = verify_bundle(raw, self.trust, self.keys)
            except GitchainError as error:
                self._verified[key] = self._uncosigned(raw)
                if len(self.refused) < MAX_REFUSED:
                    self.refused.append(RefusedBundle(candidate.step, candidate.attestation_id, str(error)))
        return self._verified[key]

    def _uncosigned(self, raw: bytes) -> VerifiedStatement | None:
        """Return a negative statement whose bundle lacks nothing but witness cosignatures, or None."""
        if self.trust.witnesses is not None:
            with suppress(GitchainError):
                return verify_uncosigned(raw, self.trust, self.keys)
        return None
