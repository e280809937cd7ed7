"""Parse Sigstore bundles v0.1 to v0.3: one signature with what is needed to verify it. Not yet verified.

    {"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{…},
     "verificationMaterial":{"certificate":{"rawBytes":"…"},"tlogEntries":[{…}],
                             "timestampVerificationData":{"rfc3161Timestamps":[{"signedTimestamp":"…"}]}}}

The signature covers a DSSE envelope, or a file that is not in the bundle (`messageSignature`). A certificate (v0.3), a
chain of them with the leaf first (before v0.3), or the hint of a key names the signer. The verifier must already have
the key, because evidence cannot vouch for itself. A bundle has one log entry and one signature.
Unknown fields are ignored here (sigstore-python refuses them).

Format: https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
Does NOT verify anything: `gitchain.verify` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gitchain.errors import MalformedError
from gitchain.evidence.canonical import MAX_JSON_BYTES, strict_json
from gitchain.evidence.dsse import (
    IN_TOTO_PAYLOAD_TYPE,
    AttestationId,
    Envelope,
    MessageSignature,
    attestation_id,
)
from gitchain.evidence.entry import InclusionProof, LogEntry, bounded
from gitchain.evidence.fields import (
    Object,
    as_object,
    find_array,
    find_object,
    find_string,
    get_array,
    get_bytes,
    get_object,
    get_string,
    proto_names,
)
from gitchain.evidence.statement import Statement

__all__ = [
    "BUNDLE_MEDIA_TYPE",
    "MAX_BUNDLE_BYTES",
    "Bundle",
    "CertificateSigner",
    "InclusionProof",
    "KeyHint",
    "LogEntry",
    "Unlogged",
]

BUNDLE_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_V01 = "application/vnd.dev.sigstore.bundle+json;version=0.1"
_WITH_CHAIN = frozenset({_V01, "application/vnd.dev.sigstore.bundle+json;version=0.2"})
_WITH_LEAF = frozenset({BUNDLE_MEDIA_TYPE, "application/vnd.dev.sigstore.bundle+json;version=0.3"})

MAX_BUNDLE_BYTES = MAX_JSON_BYTES * 3 // 2
"""Largest bundle: the largest payload in base64 (4/3 of it) and the verification material."""

MAX_ENTRIES = 32
"""Most log entries that are counted. One is allowed; beyond the limit, the error is a LimitError."""

MAX_TIMESTAMPS = 32
"""Most timestamps: the limit of other Sigstore clients; one or two are usual."""

MAX_CHAIN = 10
"""Most certificates of a chain: real ones have a leaf and an intermediate."""

MAX_HINT_CHARS = 1024
"""Longest hint at a key, which is unauthenticated and never decides anything."""


@dataclass(frozen=True, slots=True)
class CertificateSigner:
    """The signer's certificate, and the other certificates of an old bundle, which are never used to verify."""

    leaf: bytes = field(repr=False)
    others: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class KeyHint:
    """A key that the verifier must have; the hint is the signer's unverified name for it."""

    hint: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """One signature with what is needed to verify it. Make it with parse() or parse_any()."""

    media_type: str
    content: Envelope | MessageSignature
    signer: CertificateSigner | KeyHint
    entry: LogEntry
    timestamps: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> Bundle:
        """Return the bundle that these bytes hold, which must be about an in-toto statement.

        Raises MalformedError for anything but a bundle with an in-toto envelope, one signer and one log entry,
        LimitError beyond the limits above.
        """
        bundle = cls.parse_any(data)
        if bundle.envelope.payload_type != IN_TOTO_PAYLOAD_TYPE:
            raise MalformedError(
                "payload is not an in-toto statement",
                expected=IN_TOTO_PAYLOAD_TYPE,
                got=ascii(bundle.envelope.payload_type[:100]),
            )
        return bundle

    @classmethod
    def parse_any(cls, data: bytes) -> Bundle:
        """Return the bundle in these bytes, with an envelope or a message signature. Raises the errors of parse()."""
        source = _message(data)
        media_type = get_string(source, "mediaType", "bundle")
        if media_type not in _WITH_CHAIN | _WITH_LEAF:
            raise MalformedError(
                "bundle has another media type", expected=BUNDLE_MEDIA_TYPE, got=ascii(media_type[:100])
            )
        material = get_object(source, "verificationMaterial", "bundle")
        signer = _signer(material, chain=media_type in _WITH_CHAIN)
        entry = _entry(material)
        if media_type == _V01 and entry.promise is None:
            raise MalformedError("log entry has no promise", where="tlogEntries[0]", expected="one in v0.1")
        return cls(media_type, _content(source), signer, entry, _timestamps(material))

    @property
    def envelope(self) -> Envelope:
        """Return the envelope. Raises MalformedError if the bundle signs a file instead."""
        if not isinstance(self.content, Envelope):
            raise MalformedError("bundle carries a messageSignature", expected="a dsseEnvelope")
        return self.content

    def statement(self) -> Statement:
        """Return the statement inside, unverified. Raises MalformedError or LimitError for any other payload."""
        return Statement.parse(self.envelope.payload)

    @property
    def attestation_id(self) -> AttestationId:
        """Return the id of the attestation: SHA-256 over the signed bytes, in hex."""
        return attestation_id(self.envelope.payload)


@dataclass(frozen=True, slots=True)
class Unlogged:
    """A bundle as model signatures have it, which may lack a log entry. Make it with parse().

    Nothing of it is evidence under a layout: `Bundle` is.
    """

    envelope: Envelope
    signer: CertificateSigner | KeyHint
    has_entry: bool

    @classmethod
    def parse(cls, data: bytes) -> Unlogged:
        """Return the bundle v0.3 with an in-toto envelope that these bytes hold.

        Raises MalformedError for anything else, LimitError beyond the limits above.
        """
        source = _message(data)
        media_type = get_string(source, "mediaType", "bundle")
        if media_type != BUNDLE_MEDIA_TYPE:
            raise MalformedError(
                "bundle has another media type", expected=BUNDLE_MEDIA_TYPE, got=ascii(media_type[:100])
            )
        envelope = Envelope.parse(source.get("dsseEnvelope"))
        if envelope.payload_type != IN_TOTO_PAYLOAD_TYPE:
            raise MalformedError("payload is not an in-toto statement", expected=IN_TOTO_PAYLOAD_TYPE)
        material = get_object(source, "verificationMaterial", "bundle")
        chain = material.get("x509CertificateChain") is not None
        entries = find_array(material, "tlogEntries", "verificationMaterial", limit=MAX_ENTRIES)
        return cls(envelope, _signer(material, chain=chain), bool(entries))


def _message(data: bytes) -> Object:
    value = strict_json(data, "bundle", max_bytes=MAX_BUNDLE_BYTES)
    if b"_" in data or b"\\u005" in data:  # without an underscore, every name is in lowerCamelCase already
        value = proto_names(value)
    return as_object(value, "bundle")


def _one_of(source: Object, where: str, *keys: str) -> str:
    """Return which of these fields is there: a oneof of the format."""
    found = [key for key in keys if source.get(key) is not None]
    if len(found) != 1:
        raise MalformedError(
            "bundle must carry one of several fields",
            where=where,
            expected=" or ".join(keys),
            got=" and ".join(found) or "none",
        )
    return found[0]


def _content(source: Object) -> Envelope | MessageSignature:
    if _one_of(source, "bundle", "dsseEnvelope", "messageSignature") == "dsseEnvelope":
        return Envelope.parse(source["dsseEnvelope"])
    return MessageSignature.parse(source["messageSignature"])


def _signer(material: Object, *, chain: bool) -> CertificateSigner | KeyHint:
    where = "verificationMaterial"
    kind = _one_of(material, where, "certificate", "x509CertificateChain", "publicKey")
    if kind == "publicKey":
        hint = find_string(get_object(material, kind, where), "hint", kind) or ""
        if len(hint) > MAX_HINT_CHARS:
            raise MalformedError("hint at a key is too long", where=kind, got=str(len(hint)))
        return KeyHint(hint)
    if kind != ("x509CertificateChain" if chain else "certificate"):
        raise MalformedError("this version of the format has another field", where=where, got=kind)
    if not chain:
        return CertificateSigner(_certificate(get_object(material, kind, where)))
    items = get_array(get_object(material, kind, where), "certificates", kind, limit=MAX_CHAIN)
    if not items:
        raise MalformedError("certificate chain is empty", where=kind)
    leaf, *others = (_certificate(as_object(item, kind)) for item in items)
    return CertificateSigner(leaf, tuple(others))


def _certificate(source: Object) -> bytes:
    return bounded(get_bytes(source, "rawBytes", "certificate"), "certificate")


def _timestamps(material: Object) -> tuple[bytes, ...]:
    data = find_object(material, "timestampVerificationData", "verificationMaterial") or {}
    items = find_array(data, "rfc3161Timestamps", "timestampVerificationData", limit=MAX_TIMESTAMPS)
    where = "rfc3161Timestamps"
    return tuple(
        bounded(get_bytes(as_object(item, where), "signedTimestamp", where), where) for item in items
    )


def _entry(material: Object) -> LogEntry:
    items = find_array(material, "tlogEntries", "verificationMaterial", limit=MAX_ENTRIES)
    if len(items) != 1:
        raise MalformedError("bundle must hold one log entry", expected="1", got=str(len(items)))
    return LogEntry.parse(items[0], "tlogEntries[0]")
