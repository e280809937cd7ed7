"""Where evidence comes from: a source is only a place to look, what it says counts by signature alone.

Bundles are read and parsed first, and verified only when they could matter: those connected to the target by digests,
or those that name a step of the layout. What does not verify is reported and does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from gitchain.errors import GitchainError, LimitError, StoreError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.manifest import Version
from gitchain.evidence.predicates import Claim, claim_of
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import CHECKPOINT, REVOCATION
from gitchain.layout.artifact import Artifact, Manifests
from gitchain.pipeline.project import Project
from gitchain.pipeline.snapshots import Snapshot, together
from gitchain.store.shape import ATTESTATIONS, MANIFESTS
from gitchain.store.trees import Problem
from gitchain.verify.bundle import verify_bundle, verify_uncosigned
from gitchain.verify.negative_evidence import contents_of
from gitchain.verify.trust import Trust
from gitchain.verify.verified import VerifiedStatement

NEGATIVE = frozenset({REVOCATION, CHECKPOINT})
"""Predicate types that take away: always gathered, whatever the target."""


MAX_ARTIFACTS = 150_000  # named by all statements together; each costs about a kilobyte
MAX_REFUSED = 200  # reasons that are kept one by one


@dataclass(frozen=True, slots=True, eq=False)
class Unverified:
    """What is kept of a parsed bundle, of which nothing is believed yet; the rest is read again when it is needed.

    `name` is the SHA-256 of its bytes. Of the artifacts only digests and media types are kept.
    """

    name: str
    attestation_id: str
    predicate_type: str
    step: str | None
    kind: str | None
    subject: tuple[ResourceDescriptor, ...]
    materials: tuple[ResourceDescriptor, ...]
    products: tuple[ResourceDescriptor, ...]
    load: Callable[[str], bytes]
    unreadable: bool = False
    """Whether its claim cannot be read: then it may be about any step."""

    @property
    def raw(self) -> bytes:
        """Read the bundle's bytes; StoreError, NoEvidenceError if they are not at hand any more."""
        return self.load(self.name)

    @property
    def statement(self) -> Statement:
        """Read the statement; raises as `raw`."""
        return Bundle.parse(self.raw).statement()

    @property
    def claim(self) -> Claim:
        """Read what the statement claims, names included; raises as `raw`."""
        return claim_in(self.statement)


Index: TypeAlias = Mapping[str, Sequence[Unverified]]


@dataclass(frozen=True, slots=True)
class Refused:
    """A bundle that could not be used, and why."""

    step: str | None
    attestation_id: str
    reason: str


@dataclass
class Evidence:
    """Everything a repository holds, verified on demand and once.

    `tip` is the store's commit that was read, `present` the names of the bundles and manifest nodes, `unreadable` the paths
    of bundles that it lists and does not hold whole.
    """

    candidates: tuple[Unverified, ...]
    trust: Trust
    manifest: Callable[[str], bytes | None]
    refused: list[Refused] = field(default_factory=list)
    keys: Sequence[bytes] = ()
    tip: str | None = None
    present: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()
    _verified: dict[str, VerifiedStatement | None] = field(default_factory=dict)
    _files: dict[tuple[Version, str], tuple[str, ...] | None] = field(default_factory=dict)
    _upgraded: dict[str, str | None] = field(default_factory=dict)

    def verified(self, candidates: Iterable[Unverified]) -> tuple[VerifiedStatement, ...]:
        """Verify the candidates; those that fail go to `refused`."""
        found = (self._verify(candidate) for candidate in candidates)
        return tuple(statement for statement in found if statement is not None)

    def around(self, digests: Iterable[str], steps: AbstractSet[str] | None) -> tuple[VerifiedStatement, ...]:
        """Return the verified statements on the chain of a target with these digests.

        Forward from the target along what consumed it, then back from all of these to the raw data; then whatever
        else claims to have made, or speaks of, what was made on the way: it may be what counts against it. Only the
        named steps, or all when `steps` is None.
        """
        forward: dict[int, Unverified] = {}
        named = tuple(digests)
        _walk(named, self._by_material, forward, lambda one: self._named(one, one.products), steps)
        back: dict[int, Unverified] = dict(forward)
        start = [
            *named,
            *(digest for one in forward.values() for digest in self._named(one, one.materials)),
        ]
        _walk(start, self._by_product, back, lambda one: self._named(one, one.materials), steps)
        made = {digest for one in back.values() for digest in self._opened(one, one.products)}
        beside = {
            id(one): one
            for digest in made
            for one in (*self._by_product.get(digest, ()), *self._speaking.get(digest, ()))
            if steps is None or one.step in steps
        }
        return self.verified((back | beside).values())

    def against(
        self, chain: Iterable[Statement], steps: AbstractSet[str] | None
    ) -> tuple[VerifiedStatement, ...]:
        """Return the verified statements about any artifact of the chain, for the named steps, or all when `steps` is None.

        Where the chain has a directory whose manifest is not at hand, every statement may be about something in it.
        """
        items = [item for one in chain for item in artifacts_in(one)]
        if any(self._is_closed(item) for item in items):
            found: Iterable[Unverified] = self.candidates
        else:
            digests = dict.fromkeys(digest for item in items for digest in self._with_files([item]))
            found = (
                one
                for digest in digests
                for one in (*self._by_product.get(digest, ()), *self._speaking.get(digest, ()))
            )
        return self.verified(
            {id(one): one for one in found if steps is None or one.step in steps or one.unreadable}.values()
        )

    def of_steps(self, steps: AbstractSet[str] | None) -> tuple[VerifiedStatement, ...]:
        """Return every verified statement that claims one of these steps, or everything when `steps` is None."""
        if steps is None:
            return self.verified(self.candidates)
        return self.verified(one for step in sorted(steps) for one in self._by_step.get(step, ()))

    def of_type(self, *types: str) -> tuple[VerifiedStatement, ...]:
        """Return every verified statement of these predicate types, whatever it is about."""
        return self.verified(self.candidates_of(*types))

    def candidates_of(self, *types: str) -> tuple[Unverified, ...]:
        """Return the candidates of these predicate types."""
        return tuple(one for kind in types for one in self._by_type.get(kind, ()))

    def made_of(self, sha256: str) -> tuple[VerifiedStatement, ...]:
        """Return the verified statements that claim to have made something of an artifact, directly or not."""
        found: dict[int, VerifiedStatement] = {}
        waiting, seen = [sha256], set()
        while waiting:
            digest = waiting.pop()
            if digest in seen:
                continue
            seen.add(digest)
            for one in self._by_material.get(digest, ()):
                if id(one) not in found and one.products and (verified := self._verify(one)):
                    found[id(one)] = verified
                    waiting.extend(self._with_files(one.products))
        return tuple(found.values())

    @cached_property
    def has_version_1(self) -> bool:
        """Tell whether any statement names a directory under version 1 of the manifest."""
        return any(
            item.manifest_version == 1
            for one in self.candidates
            for item in (*one.subject, *one.materials, *one.products)
        )

    def about(self, sha256: str) -> tuple[Unverified, ...]:
        """Return the candidates that have this digest as subject."""
        return tuple(self._by_subject.get(sha256, ()))

    @cached_property
    def _by_product(self) -> Index:
        return _index((one, self._opened(one, one.products)) for one in self.candidates)

    @cached_property
    def _by_material(self) -> Index:
        return _index((one, self._opened(one, one.materials)) for one in self.candidates)

    @cached_property
    def _speaking(self) -> Index:
        """Index what only informs, by what it speaks of."""
        return _index(
            (one, self._opened(one, one.materials)) for one in self.candidates if one.kind == "informational"
        )

    @cached_property
    def _by_subject(self) -> Index:
        return _index((one, self._named(one, one.subject)) for one in self.candidates)

    @cached_property
    def _by_step(self) -> Index:
        return _index((one, (one.step,)) for one in self.candidates if one.step is not None)

    @cached_property
    def _by_type(self) -> Index:
        return _index((one, (one.predicate_type,)) for one in self.candidates)

    def _opened(self, one: Unverified, items: Sequence[ResourceDescriptor]) -> Iterable[str]:
        """Return the digests of a candidate's artifacts and of the files inside its directories."""
        return self._with_files(items) if self._may_open(one, items) else _plain(items)

    def _named(self, one: Unverified, items: Sequence[ResourceDescriptor]) -> tuple[str, ...]:
        """Return the digests of a candidate's artifacts."""
        return self._digests(items) if self._may_open(one, items) else _plain(items)

    def _may_open(self, one: Unverified, items: Sequence[ResourceDescriptor]) -> bool:
        """Tell whether manifests may be read for a candidate: only its signature bounds what they cost."""
        return all(item.manifest_version is None for item in items) or self._verify(one) is not None

    def _with_files(self, items: Sequence[ResourceDescriptor]) -> Iterable[str]:
        """Digests of artifacts, and of the files inside directory artifacts: a step may consume one file of a directory."""
        for item in items:
            yield from self._digests([item])
            if (version := item.manifest_version) is not None:
                yield from self._inside(item.digest.get("sha256", ""), version) or ()

    def _digests(self, items: Iterable[ResourceDescriptor]) -> tuple[str, ...]:
        """Return the artifacts' digests; of a directory under manifest version 1, that under version 2 as well."""
        return tuple(digest for item in items for digest in self._names(item))

    def _names(self, item: ResourceDescriptor) -> Iterator[str]:
        yield from (value for _, value in item.digest.accepted)
        sha256 = item.digest.get("sha256")
        if sha256 and item.manifest_version == 1 and (newer := self._upgrade(sha256)) is not None:
            yield newer

    def _upgrade(self, sha256: str) -> str | None:
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

    def _inside(self, digest: str, version: Version) -> tuple[str, ...] | None:
        """Return the digests of all below a directory, None where a manifest is not at hand."""
        key = version, digest
        if key not in self._files:
            top = Artifact(DigestSet({"sha256": digest} if digest else {}), True, version)
            found, closed = contents_of(top, Manifests(self.manifest))
            self._files[key] = None if closed else tuple(value for _, value in found)
        return self._files[key]

    def _verify(self, candidate: Unverified) -> VerifiedStatement | None:
        key = candidate.name  # not the attestation id: two people may sign the same statement
        if key not in self._verified:
            raw = candidate.raw
            try:
                self._verified[key] = verify_bundle(raw, self.trust, self.keys)
            except GitchainError as error:
                self._verified[key] = self._uncosigned(raw)
                if len(self.refused) < MAX_REFUSED:
                    self.refused.append(Refused(candidate.step, candidate.attestation_id, str(error)))
        return self._verified[key]

    def _uncosigned(self, raw: bytes) -> VerifiedStatement | None:
        """Return what a bundle says against something where all that it lacks are the witnesses' cosignatures."""
        if self.trust.witnesses is None:
            return None
        try:
            return verify_uncosigned(raw, self.trust, self.keys)
        except GitchainError:
            return None


def _plain(items: Iterable[ResourceDescriptor]) -> tuple[str, ...]:
    return tuple(value for item in items for _, value in item.digest.accepted)


def artifacts_in(statement: Statement) -> tuple[ResourceDescriptor, ...]:
    """Return the materials and products of a statement, or its subjects where its claim cannot be read."""
    claim = claim_in(statement)
    return (*claim.materials, *claim.products)


def _index(items: Iterable[tuple[Unverified, Iterable[str]]]) -> Index:
    found: dict[str, list[Unverified]] = {}
    for one, keys in items:
        for key in dict.fromkeys(keys):
            found.setdefault(key, []).append(one)
    return found


def _walk(
    start: Iterable[str],
    index: Index,
    found: dict[int, Unverified],
    onward: Callable[[Unverified], tuple[str, ...]],
    steps: AbstractSet[str] | None,
) -> None:
    waiting, seen = list(start), set()
    while waiting:
        digest = waiting.pop()
        if digest in seen:
            continue
        seen.add(digest)
        for one in index.get(digest, ()):
            if (steps is None or one.step in steps) and id(one) not in found:
                found[id(one)] = one
                waiting.extend(onward(one))


def gather(
    project: Project | None,
    trust: Trust,
    extra: Iterable[bytes] = (),
    keys: Sequence[bytes] = (),
    snapshots: Sequence[Snapshot] = (),
) -> Evidence:
    """Read every bundle of the repository's store, the snapshots' and `extra` ones; what does not parse is refused.

    `keys` are those that the policy names: a key never comes from a bundle.
    """
    found = _Gathered()
    tip = project.store.tip() if project else None
    held = {name: raw for snapshot in snapshots for name, raw in snapshot.bundles.items()}
    held |= {sha256_hex(raw): raw for raw in extra}

    def load(name: str) -> bytes:
        raw = held.get(name) or (project.store.get(name, tip) if project and tip else None)
        if raw is None:
            raise StoreError("an attestation is not in the store any more", where=name, help="run it again")
        return raw

    if project is not None:
        for name, raw in project.store.items(tip, found.report):
            found.add(name, raw, load)
    for snapshot in snapshots:
        for problem in snapshot.problems:
            found.refuse(problem)
    for name, raw in held.items():
        found.add(name, raw, load)
    lookups: list[Callable[[str], bytes | None]] = [project.store.manifest] if project else []
    lookups += [snapshot.manifest for snapshot in snapshots]
    manifest = lookups[0] if len(lookups) == 1 else together(lookups)
    nodes = frozenset(project.store.names(room=MANIFESTS)) if project else frozenset()
    present = nodes.union(found.names, *(snapshot.nodes for snapshot in snapshots))
    return Evidence(
        tuple(found.candidates),
        trust,
        manifest,
        found.reasons(),
        keys,
        tip,
        present,
        frozenset(found.unreadable),
    )


def _id_of(raw: bytes) -> str:
    """Return the id of an attestation whose statement cannot be read, empty for what is no bundle."""
    try:
        return Bundle.parse(raw).attestation_id
    except GitchainError:
        return ""


class _Gathered:
    """Collects bundles one by one; nothing is kept of one but what `Unverified` has."""

    def __init__(self) -> None:
        self.candidates: list[Unverified] = []
        self.names: set[str] = set()
        self.unreadable: set[str] = set()
        self._refused: list[Refused] = []
        self._more = 0
        self._count = 0
        self._artifacts: dict[ResourceDescriptor, ResourceDescriptor] = {}

    def report(self, problem: Problem) -> None:
        self.refuse(f"{problem.message}, in {problem.path}")
        if problem.path.split("/")[0] == ATTESTATIONS:
            self.unreadable.add(problem.path)

    def refuse(self, reason: str, attestation_id: str = "") -> None:
        if len(self._refused) < MAX_REFUSED:
            self._refused.append(Refused(None, attestation_id, reason))
        else:
            self._more += 1

    def reasons(self) -> list[Refused]:
        """Return why what does not count does not, the last one a number if there are many."""
        more = (
            [Refused(None, "", f"{self._more} more stored objects that do not count")] if self._more else []
        )
        return [*self._refused, *more]

    def add(self, name: str, raw: bytes, load: Callable[[str], bytes]) -> None:
        """Parse a bundle and keep what is needed of it; LimitError if that is too much with those before."""
        if name in self.names:
            return
        self.names.add(name)
        try:
            statement = Bundle.parse(raw).statement()
            problem, claim = claim_problem(statement), claim_in(statement)
        except GitchainError as error:
            self.refuse(str(error), _id_of(raw))
            return
        if problem and statement.predicate_type not in NEGATIVE:
            self.refuse(problem, statement.attestation_id)
        self.candidates.append(
            Unverified(
                name,
                statement.attestation_id,
                statement.predicate_type,
                claim.step,
                claim.kind,
                self._kept(statement.subject),
                self._kept(claim.materials),
                self._kept(claim.products),
                load,
                bool(problem),
            )
        )

    def _kept(self, items: Sequence[ResourceDescriptor]) -> tuple[ResourceDescriptor, ...]:
        bare = (ResourceDescriptor(None, one.digest, media_type=one.media_type) for one in items)
        kept = tuple(dict.fromkeys(self._artifacts.setdefault(one, one) for one in bare))
        self._count += len(kept)
        if self._count > MAX_ARTIFACTS:
            raise LimitError(
                "the attestations name more artifacts than can be looked at",
                expected=f"at most {MAX_ARTIFACTS}",
                help="gitchain sync --prune-junk   removes what is no attestation",
            )
        return kept


def claim_problem(statement: Statement) -> str:
    """Return why a statement's claim cannot be read, nothing if it can."""
    try:
        claim_of(statement)
    except GitchainError as error:
        return str(error)
    return ""


def claim_in(statement: Statement) -> Claim:
    """Return what a statement claims; one whose claim cannot be read may still count against its subjects."""
    try:
        return claim_of(statement)
    except GitchainError:
        return Claim(None, None, None, None, statement.subject, (), "informational")
