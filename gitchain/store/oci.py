"""OCI references, and the documents of a registry that hold evidence: image manifests and indexes.

Spec: https://github.com/opencontainers/distribution-spec and https://github.com/opencontainers/image-spec, both 1.1.
Bundles are artifacts of the Sigstore bundle's type with a subject, as written by cosign. Nodes of directory manifests
are layers of separate artifacts. Pure: no network access.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gitchain.errors import MalformedError, UsageError
from gitchain.evidence.canonical import Json, canonical_json, strict_json
from gitchain.evidence.digest import Sha256, check_hex, sha256_hex
from gitchain.evidence.fields import (
    Object,
    as_object,
    find_array,
    find_object,
    find_string,
    get_array,
    get_integer,
    get_string,
)
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLES = re.compile(r"application/vnd\.dev\.sigstore\.bundle(\.v0\.\d+)?\+json(;version=0\.\d+)?")
NODES = frozenset(MANIFEST_MEDIA_TYPES.values())
ANCHOR = "application/vnd.gitchain.evidence.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY_BYTES = b"{}"
MAX_MANIFEST_BYTES = 4 << 20  # size limit of registries
MAX_DESCRIPTORS = 10_000
SCHEME = "oci://"

_REFERENCE = re.compile(
    r"oci://(?P<host>[A-Za-z0-9.-]+(?::\d{1,5})?|\[[0-9a-fA-F:.]+\](?::\d{1,5})?)"
    r"/(?P<name>[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@sha256:(?P<digest>[0-9a-f]{64}))?",
    re.ASCII,
)
_MAX_REFERENCE = 1024


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A repository of a registry, with an optional digest (SHA-256) or tag."""

    host: str
    name: str
    tag: str | None = None
    digest: Sha256 | None = None

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Return the parsed reference `oci://HOST/NAME[:TAG][@sha256:…]`. A digest overrides a tag. Raises UsageError."""
        found = _REFERENCE.fullmatch(text) if len(text) <= _MAX_REFERENCE else None
        if found is None:
            raise UsageError(
                "not an OCI reference",
                got=ascii(text[:200]),
                expected="oci://HOST/NAME@sha256:… or :TAG",
                help="give a digest of 64 hexadecimal digits, or a tag",
            )
        if (digest := found["digest"]) is None:
            return cls(found["host"], found["name"], found["tag"])
        return cls(found["host"], found["name"], None, Sha256(digest))

    def at(self, digest: Sha256) -> ImageReference:
        """Return the reference to this digest in the same repository."""
        return ImageReference(self.host, self.name, None, digest)

    def __str__(self) -> str:
        end = f"@sha256:{self.digest}" if self.digest else f":{self.tag}" if self.tag else ""
        return f"{SCHEME}{self.host}/{self.name}{end}"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Descriptor of other content in the registry. It is untrusted until the bytes are compared."""

    media_type: str
    digest: Sha256
    size: int
    artifact_type: str | None = None
    title: str | None = None

    @classmethod
    def parse(cls, value: Json, where: str) -> Descriptor:
        """Return the parsed descriptor. Raises MalformedError, also for digests other than SHA-256."""
        source = as_object(value, where)
        digest = get_string(source, "digest", where)
        hexadecimal = Sha256(check_hex(digest.removeprefix("sha256:"), (64,), f"{where}.digest"))
        if not digest.startswith("sha256:"):
            raise MalformedError("digest of another kind", where=where, expected="sha256:…", got=digest[:80])
        notes = find_object(source, "annotations", where) or {}
        return cls(
            get_string(source, "mediaType", where),
            hexadecimal,
            get_integer(source, "size", where),
            find_string(source, "artifactType", where),
            find_string(notes, "org.opencontainers.image.title", f"{where}.annotations"),
        )

    def to_json(self) -> dict[str, Json]:
        """Return the descriptor as JSON."""
        value: dict[str, Json] = {
            "mediaType": self.media_type,
            "digest": f"sha256:{self.digest}",
            "size": self.size,
        }
        return value | ({"artifactType": self.artifact_type} if self.artifact_type else {})


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """An image manifest, reduced to the fields that evidence needs."""

    artifact_type: str
    layers: Sequence[Descriptor]
    subject: Descriptor | None


def parse_manifest(data: bytes, where: str) -> ImageManifest:
    """Return the image manifest in these bytes. Raises MalformedError or LimitError."""
    source = _document(data, where)
    if find_string(source, "mediaType", where) not in {None, MANIFEST, DOCKER_MANIFEST}:
        raise MalformedError("not an image manifest", where=where, expected=MANIFEST)
    layers = get_array(source, "layers", where, limit=MAX_DESCRIPTORS)
    subject = source.get("subject")
    config = find_object(source, "config", where) or {}
    kind = find_string(source, "artifactType", where) or find_string(config, "mediaType", f"{where}.config")
    return ImageManifest(
        kind or "",
        tuple(Descriptor.parse(layer, f"{where}.layers") for layer in layers),
        None if subject is None else Descriptor.parse(subject, f"{where}.subject"),
    )


def parse_index(data: bytes, where: str) -> tuple[Descriptor, ...]:
    """Return the descriptors in an index. Raises MalformedError or LimitError."""
    source = _document(data, where)
    if find_string(source, "mediaType", where) not in {None, INDEX}:
        raise MalformedError("not an index", where=where, expected=INDEX)
    items = find_array(source, "manifests", where, limit=MAX_DESCRIPTORS)
    return tuple(Descriptor.parse(item, f"{where}.manifests") for item in items)


def is_bundle(media_type: str | None) -> bool:
    """Return True if a media type is one of a Sigstore bundle."""
    return media_type is not None and BUNDLES.fullmatch(media_type) is not None


def described(data: bytes, media_type: str, artifact_type: str | None = None) -> Descriptor:
    """Return the descriptor of these bytes."""
    return Descriptor(media_type, sha256_hex(data), len(data), artifact_type)


def render_manifest(kind: str, layers: Sequence[Descriptor], subject: Descriptor | None) -> bytes:
    """Return an artifact's manifest: no configuration, these layers, and its subject."""
    empty = described(EMPTY_BYTES, EMPTY)
    value: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": empty.to_json(),
        "layers": [layer.to_json() for layer in layers or (empty,)],
    }
    return canonical_json(value | ({} if subject is None else {"subject": subject.to_json()}))


def render_index(items: Sequence[Descriptor]) -> bytes:
    """Return an index of these descriptors."""
    return canonical_json(
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": [item.to_json() for item in items]}
    )


def _document(data: bytes, where: str) -> Object:
    source = as_object(strict_json(data, where, max_bytes=MAX_MANIFEST_BYTES), where)
    if source.get("schemaVersion") != 2:
        raise MalformedError("unknown version of a manifest", where=where, expected="schemaVersion 2")
    return source
