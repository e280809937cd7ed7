"""The bundles that lie beside an artifact in an OCI registry: read as a source, and put there.

A bundle is an artifact of the Sigstore bundle's type that refers to the subject, one manifest a bundle, so that other
Sigstore clients find it. The nodes of directory manifests are the layers of artifacts of their own. A tag that names
nothing is made when something is put there: an empty artifact, for the bundles to refer to.

A registry shows what it likes: it can hide a revocation, and give another tag to everyone who asks. What it shows is
checked like any evidence; a demanded checkpoint shows what it hides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from gitchain.errors import NoEvidenceError, TransportError, UsageError
from gitchain.evidence.bundle import MAX_BUNDLE_BYTES
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.manifest import MAX_NODE_BYTES, media_type_of
from gitchain.pipeline.snapshots import Budget, Snapshot
from gitchain.store import oci
from gitchain.store.oci import Descriptor, Reference
from gitchain.store.registry import Registry

MAX_LAYERS = 500  # of one artifact with manifest nodes: its manifest stays far below what registries take


@dataclass
class Referrers:
    """What refers to one artifact of a registry."""

    reference: Reference
    offline: bool = False
    _resolved: Reference | None = field(default=None, repr=False)

    @classmethod
    def of(cls, text: str, *, offline: bool = False) -> Referrers:
        """Return the source `oci://…`; UsageError for a reference without digest or tag."""
        reference = Reference.parse(text)
        if reference.digest is None and reference.tag is None:
            raise UsageError("name a digest or a tag", got=text, expected=f"{text}@sha256:… or {text}:TAG")
        return cls(reference, offline)

    @property
    def name(self) -> str:
        """The reference, by digest once it is known."""
        return str(self._resolved or self.reference)

    @property
    def remembers(self) -> bool:
        """A registry forgets: nothing says what it held before."""
        return False

    def version(self) -> str:
        """Return the digest of the list of what refers to the artifact now."""
        registry = self._open()
        subject = self._subject(registry)
        return _version(subject, self._listed(registry, subject))

    def read(self) -> Snapshot:
        """Return every bundle and manifest node that refers to the artifact.

        VerificationError where the registry gives other bytes than it lists; TransportError; LimitError.
        """
        registry = self._open()
        subject = self._subject(registry)
        listed, budget = self._listed(registry, subject), Budget(self.name)
        bundles: dict[str, bytes] = {}
        nodes: dict[str, bytes] = {}
        problems: list[str] = []
        for one in listed:
            _, raw = registry.manifest(f"sha256:{one.digest}", size=one.size)
            where = f"{self.name}: sha256:{one.digest[:12]}"
            found = oci.parse_manifest(raw, where)
            if found.subject is None or found.subject.digest != subject:
                problems.append(f"it is listed here and refers to something else, in {where}")
                continue
            for layer in found.layers:
                if oci.is_bundle(layer.media_type) or layer.media_type in oci.NODES:
                    is_node = layer.media_type in oci.NODES
                    budget.take(layer.size)
                    data = registry.blob(layer, MAX_NODE_BYTES if is_node else MAX_BUNDLE_BYTES)
                    (nodes if is_node else bundles)[layer.digest] = data
        version = _version(subject, listed)
        return Snapshot(bundles, nodes.get, version, tuple(problems), nodes=frozenset(nodes))

    def check(self, found: Snapshot) -> None:
        """Say nothing: there is nothing to compare with."""

    def remember(self, found: Snapshot, now: datetime) -> None:
        """Remember nothing."""

    def write(self, bundles: Iterable[bytes], nodes: Iterable[bytes]) -> int:
        """Put what is not there yet beside the artifact, and return how many manifests that were."""
        registry = self._open()
        subject = self._anchor(registry)
        there = {one.digest for one in self._listed(registry, subject.digest)}
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
            raise TransportError("this needs the network", where=self.name, help="run it without --offline")
        return Registry.of(self.reference)

    def _subject(self, registry: Registry) -> str:
        """Return the digest of the artifact; a tag is asked for each time."""
        self._resolved = registry.resolve(self.reference)
        return str(self._resolved.digest)

    def _listed(self, registry: Registry, subject: str) -> list[Descriptor]:
        """Return what refers to the artifact and may hold evidence, each once, in order of the digests."""
        budget, found = Budget(self.name), {}
        for one in registry.referrers(subject):
            if oci.is_bundle(one.artifact_type) or one.artifact_type in oci.NODES:
                budget.take(one.size)
                found[one.digest] = one
        return [found[digest] for digest in sorted(found)]

    def _anchor(self, registry: Registry) -> Descriptor:
        """Return the artifact to refer to; for a tag that names nothing an empty one is made."""
        try:
            name = f"sha256:{self.reference.digest}" if self.reference.digest else str(self.reference.tag)
            media_type, raw = registry.manifest(name)
        except NoEvidenceError:
            if self.reference.digest is not None:
                raise
            registry.put_blob(oci.EMPTY_BYTES)
            raw, media_type = oci.render_manifest(oci.ANCHOR, (), None), oci.MANIFEST
            registry.put_manifest(raw, str(self.reference.tag))
        found = oci.described(raw, media_type)
        self._resolved = self.reference.at(found.digest)
        return found


def pin(target: str, *, offline: bool = False) -> str:
    """Return an OCI reference by digest; a tag is asked for once, and what it names then is what is meant."""
    reference = Reference.parse(target)
    if reference.digest is not None:
        return str(reference)
    if reference.tag is None:
        raise UsageError("name a digest or a tag", got=target, expected=f"{target}@sha256:… or {target}:TAG")
    if offline:
        raise TransportError("a tag needs the network", where=target, help="name the digest: …@sha256:…")
    return str(Registry.of(reference).resolve(reference))


def _version(subject: str, listed: Iterable[Descriptor]) -> str:
    return sha256_hex("\n".join([subject, *(one.digest for one in listed)]).encode())


def _manifests(
    kind: str, contents: Iterable[bytes], subject: Descriptor, each: int
) -> Iterator[tuple[bytes, str, list[bytes]]]:
    """Yield the manifest of an artifact for every `each` contents, its type and its blobs."""
    ordered = sorted(contents, key=sha256_hex)
    for start in range(0, len(ordered), each):
        part = ordered[start : start + each]
        yield oci.render_manifest(kind, [oci.described(blob, kind) for blob in part], subject), kind, part


def _by_media_type(nodes: Iterable[bytes]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for node in nodes:
        found.setdefault(media_type_of(node), []).append(node)
    return found


def _list(registry: Registry, subject: str, fresh: list[Descriptor]) -> None:
    """List what was put there under the tag that stands in for referrers, where the registry does not list it itself.

    Two who do this at once may overwrite each other's list: what is missing is listed when it is put there again.
    """
    known = {one.digest for one in registry.referrers(subject)}
    missing = [one for one in fresh if one.digest not in known]
    if missing:
        index = oci.render_index([*registry.tagged(subject), *missing])
        registry.put_manifest(index, f"sha256-{subject}", oci.INDEX)
