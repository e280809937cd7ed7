"""Evidence source: the bundles that refer to an artifact in an OCI registry, and writing them there.

Each bundle is an artifact of the Sigstore bundle's type with the target as its subject, one manifest per bundle, so
that other Sigstore clients find it. Nodes of directory manifests are the layers of separate artifacts. Writing to a
tag that does not exist creates an empty artifact as the subject.

A registry is untrusted: it can hide a revocation, and return a different tag to each client. Its content is verified
like all evidence; a required checkpoint detects hidden evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from gitchain.errors import NoEvidenceError, TransportError, UsageError
from gitchain.evidence.bundle import MAX_BUNDLE_BYTES
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.manifest import MAX_NODE_BYTES, media_type_of
from gitchain.sources.interface import Snapshot, SourceBudget
from gitchain.store import oci
from gitchain.store.oci import Descriptor, ImageReference
from gitchain.store.registry import Registry

MAX_LAYERS = 500  # nodes per artifact: its manifest stays far below the size limits of registries


@dataclass
class Referrers:
    """The evidence that refers to one artifact of a registry."""

    reference: ImageReference
    offline: bool = False
    _resolved: ImageReference | None = field(default=None, repr=False)

    @classmethod
    def of(cls, text: str, *, offline: bool = False) -> Referrers:
        """Return the source `oci://…`. Raises UsageError for a reference without digest or tag."""
        reference = ImageReference.parse(text)
        if reference.digest is None and reference.tag is None:
            raise UsageError("name a digest or a tag", got=text, expected=f"{text}@sha256:… or {text}:TAG")
        return cls(reference, offline)

    @property
    def name(self) -> str:
        """Return the reference, with the digest once it is known."""
        return str(self._resolved or self.reference)

    @property
    def remembers(self) -> bool:
        """Return False: a registry cannot detect removed evidence."""
        return False

    def version(self) -> str:
        """Return the digest of the current list of referrers."""
        registry = self._open()
        subject = self._subject(registry)
        return _version(subject, self._listed(registry, subject))

    def read(self) -> Snapshot:
        """Return every bundle and manifest node that refers to the artifact.

        Raises VerificationError if content does not match its listed digest, TransportError, or LimitError.
        """
        registry = self._open()
        subject = self._subject(registry)
        listed, budget = self._listed(registry, subject), SourceBudget(self.name)
        bundles: dict[str, bytes] = {}
        nodes: dict[str, bytes] = {}
        problems: list[str] = []
        for descriptor in listed:
            _, raw = registry.manifest(f"sha256:{descriptor.digest}", size=descriptor.size)
            where = f"{self.name}: sha256:{descriptor.digest[:12]}"
            manifest = oci.parse_manifest(raw, where)
            if manifest.subject is None or manifest.subject.digest != subject:
                problems.append(f"it is listed here but refers to another artifact, in {where}")
                continue
            for layer in manifest.layers:
                if oci.is_bundle(layer.media_type) or layer.media_type in oci.NODES:
                    is_node = layer.media_type in oci.NODES
                    budget.take(layer.size)
                    data = registry.blob(layer, MAX_NODE_BYTES if is_node else MAX_BUNDLE_BYTES)
                    (nodes if is_node else bundles)[layer.digest] = data
        version = _version(subject, listed)
        return Snapshot(bundles, nodes.get, version, tuple(problems), nodes=frozenset(nodes))

    def check(self, snapshot: Snapshot) -> None:
        """Do nothing: no earlier state is stored."""

    def remember(self, snapshot: Snapshot, now: datetime) -> None:
        """Do nothing: no state is stored."""

    def write(self, bundles: Iterable[bytes], nodes: Iterable[bytes]) -> int:
        """Upload the missing bundles and nodes, and return the number of new manifests."""
        registry = self._open()
        subject = self._anchor(registry)
        there = {descriptor.digest for descriptor in self._listed(registry, subject.digest)}
        made = [
            *_manifests(oci.BUNDLE, bundles, subject, 1),
            *(
                made
                for kind, same in _by_media_type(nodes).items()
                for made in _manifests(kind, same, subject, MAX_LAYERS)
            ),
        ]
        fresh = [(raw, kind, blobs) for raw, kind, blobs in made if sha256_hex(raw) not in there]
        registry.put_blob(oci.EMPTY_BYTES)
        for raw, _, blobs in fresh:
            for blob in blobs:
                registry.put_blob(blob)
            registry.put_manifest(raw, f"sha256:{sha256_hex(raw)}")
        described = [oci.described(raw, oci.MANIFEST, kind) for raw, kind, _ in fresh]
        _list(registry, subject.digest, described)
        return len(fresh)

    def _open(self) -> Registry:
        if self.offline:
            raise TransportError(
                "a registry is read over the network, and --offline sends nothing",
                where=self.name,
                help="run it without --offline, or give the evidence as a directory: --evidence DIR",
            )
        return Registry.of(self.reference)

    def _subject(self, registry: Registry) -> str:
        """Return the digest of the artifact. A tag is resolved on each call."""
        self._resolved = registry.resolve(self.reference)
        return str(self._resolved.digest)

    def _listed(self, registry: Registry, subject: str) -> list[Descriptor]:
        """Return the referrers that may hold evidence, without duplicates, sorted by digest."""
        budget, referrers = SourceBudget(self.name), {}
        for descriptor in registry.referrers(subject):
            if oci.is_bundle(descriptor.artifact_type) or descriptor.artifact_type in oci.NODES:
                budget.take(descriptor.size)
                referrers[descriptor.digest] = descriptor
        return [referrers[digest] for digest in sorted(referrers)]

    def _anchor(self, registry: Registry) -> Descriptor:
        """Return the artifact to refer to. An empty artifact is created for a tag that does not exist."""
        try:
            name = f"sha256:{self.reference.digest}" if self.reference.digest else str(self.reference.tag)
            media_type, raw = registry.manifest(name)
        except NoEvidenceError:
            if self.reference.digest is not None:
                raise
            registry.put_blob(oci.EMPTY_BYTES)
            raw, media_type = oci.render_manifest(oci.ANCHOR, (), None), oci.MANIFEST
            registry.put_manifest(raw, str(self.reference.tag))
        descriptor = oci.described(raw, media_type)
        self._resolved = self.reference.at(descriptor.digest)
        return descriptor


def pin(target: str, *, offline: bool = False) -> str:
    """Return an OCI reference with a digest. A tag is resolved once, here."""
    reference = ImageReference.parse(target)
    if reference.digest is not None:
        return str(reference)
    if reference.tag is None:
        raise UsageError("name a digest or a tag", got=target, expected=f"{target}@sha256:… or {target}:TAG")
    if offline:
        raise TransportError("a tag needs the network", where=target, help="name the digest: …@sha256:…")
    return str(Registry.of(reference).resolve(reference))


def _version(subject: str, listed: Iterable[Descriptor]) -> str:
    return sha256_hex("\n".join([subject, *(descriptor.digest for descriptor in listed)]).encode())


def _manifests(
    kind: str, contents: Iterable[bytes], subject: Descriptor, each: int
) -> Iterator[tuple[bytes, str, list[bytes]]]:
    """Yield one manifest per `each` contents, with its type and its blobs."""
    ordered = sorted(contents, key=sha256_hex)
    for start in range(0, len(ordered), each):
        part = ordered[start : start + each]
        yield oci.render_manifest(kind, [oci.described(blob, kind) for blob in part], subject), kind, part


def _by_media_type(nodes: Iterable[bytes]) -> dict[str, list[bytes]]:
    groups: dict[str, list[bytes]] = {}
    for node in nodes:
        groups.setdefault(media_type_of(node), []).append(node)
    return groups


def _list(registry: Registry, subject: str, fresh: list[Descriptor]) -> None:
    """Add the new manifests to the referrers tag, if the registry does not list them itself.

    Two concurrent writers may overwrite each other's list. Uploading again adds missing entries.
    """
    known = {descriptor.digest for descriptor in registry.referrers(subject)}
    missing = [descriptor for descriptor in fresh if descriptor.digest not in known]
    if missing:
        index = oci.render_index([*registry.tagged(subject), *missing])
        registry.put_manifest(index, f"sha256-{subject}", oci.INDEX)
