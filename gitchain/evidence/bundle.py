"""Sigstore bundles v0.3 with a DSSE envelope: parsed, not yet verified.

    {"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{…},
     "verificationMaterial":{"certificate":{"rawBytes":"…"},"tlogEntries":[{…}],
                             "timestampVerificationData":{"rfc3161Timestamps":[{"signedTimestamp":"…"}]}}}

One certificate, one log entry, one signature. Keys and certificate chains are refused: nothing that
travels with evidence may vouch for it. Unknown fields are ignored here (sigstore-python refuses them).

Format: https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
Does NOT verify anything: `gitchain.verify` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.canonical import MAX_JSON_BYTES, Json, strict_json
from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope, attestation_id
from gitchain.evidence.fields import (
    Object,
    as_object,
    decode_base64,
    find_array,
    find_object,
    get_array,
    get_bytes,
    get_object,
    get_string,
    get_uint64,
)
from gitchain.evidence.merkle import HASH_SIZE
from gitchain.evidence.statement import Statement

BUNDLE_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"

MAX_BUNDLE_BYTES = MAX_JSON_BYTES * 3 // 2
"""Largest bundle: the largest payload in base64 (4/3 of it) and the verification material."""

MAX_ENTRIES = 32
"""Most log entries that are counted: one is allowed, and a few more are told apart from a flood."""

MAX_TIMESTAMPS = 32
"""Most timestamps: the limit of other Sigstore clients; one or two are usual."""

MAX_PROOF_HASHES = 64
"""Longest inclusion proof: a tree has fewer than 2^63 leaves."""

MAX_BODY_BYTES = 1024 * 1024
"""Largest log entry body: it holds digests, a signature and a certificate; about 3 kB."""

MAX_DER_BYTES = 64 * 1024
"""Largest certificate, timestamp, key id or promise: real ones are below 8 kB."""

MAX_KIND_CHARS = 64
"""Longest kind or version of a log entry, such as `hashedrekord` and `0.0.2`."""


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That an entry is in a log, as the log says: position, size, root, path, signed checkpoint."""

    index: int
    tree_size: int
    root: bytes
    hashes: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A log entry. `integrated_time` is 0 and `promise` None where the log gives none (Rekor v2)."""

    log_index: int
    key_id: bytes
    kind: str
    version: str
    integrated_time: int
    body: bytes = field(repr=False)
    proof: InclusionProof | None
    promise: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bundle:
    """One signed attestation with what is needed to verify it. Make it with parse()."""

    media_type: str
    envelope: Envelope
    certificate: bytes = field(repr=False)
    entry: LogEntry
    timestamps: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> Bundle:
        """Return the bundle that these bytes hold.

        Raises MalformedError for anything but a v0.3 bundle with an in-toto envelope, one certificate and one
        log entry, LimitError beyond the limits above.
        """
        source = as_object(strict_json(data, "bundle", max_bytes=MAX_BUNDLE_BYTES), "bundle")
        media_type = get_string(source, "mediaType", "bundle")
        if media_type != BUNDLE_MEDIA_TYPE:
            raise MalformedError(
                "bundle has another media type", expected=BUNDLE_MEDIA_TYPE, got=ascii(media_type[:100])
            )
        _refuse(source, "messageSignature", "bundle", "a dsseEnvelope")
        envelope = Envelope.parse(source.get("dsseEnvelope"))
        if envelope.payload_type != IN_TOTO_PAYLOAD_TYPE:
            raise MalformedError(
                "payload is not an in-toto statement",
                expected=IN_TOTO_PAYLOAD_TYPE,
                got=ascii(envelope.payload_type[:100]),
            )
        material = get_object(source, "verificationMaterial", "bundle")
        return cls(media_type, envelope, _certificate(material), _entry(material), _timestamps(material))

    def statement(self) -> Statement:
        """Return the statement inside, unverified; raises MalformedError or LimitError if it is none."""
        return Statement.parse(self.envelope.payload)

    @property
    def attestation_id(self) -> str:
        """Return the id of the attestation: SHA-256 over what was signed, in hex."""
        return attestation_id(self.envelope.payload)


def _refuse(source: Object, key: str, where: str, expected: str) -> None:
    if source.get(key) is not None:
        raise MalformedError(f"bundle carries a {key}", where=where, expected=expected)


def _bounded(data: bytes, where: str, *, limit: int = MAX_DER_BYTES) -> bytes:
    if len(data) > limit:
        raise LimitError(
            "field is too large", where=where, expected=f"at most {limit} bytes", got=str(len(data))
        )
    if not data:
        raise MalformedError("field is empty", where=where)
    return data


def _certificate(material: Object) -> bytes:
    where = "verificationMaterial"
    _refuse(material, "publicKey", where, "a certificate")
    _refuse(material, "x509CertificateChain", where, "one certificate")
    certificate = get_object(material, "certificate", where)
    return _bounded(get_bytes(certificate, "rawBytes", "certificate"), "certificate")


def _timestamps(material: Object) -> tuple[bytes, ...]:
    data = find_object(material, "timestampVerificationData", "verificationMaterial") or {}
    items = find_array(data, "rfc3161Timestamps", "timestampVerificationData", limit=MAX_TIMESTAMPS)
    where = "rfc3161Timestamps"
    return tuple(
        _bounded(get_bytes(as_object(item, where), "signedTimestamp", where), where) for item in items
    )


def _entry(material: Object) -> LogEntry:
    items = get_array(material, "tlogEntries", "verificationMaterial", limit=MAX_ENTRIES)
    if len(items) != 1:
        raise MalformedError("bundle must hold one log entry", expected="1", got=str(len(items)))
    where = "tlogEntries[0]"
    source = as_object(items[0], where)
    version = get_object(source, "kindVersion", where)
    promise = find_object(source, "inclusionPromise", where)
    promised = None if promise is None else get_bytes(promise, "signedEntryTimestamp", "inclusionPromise")
    return LogEntry(
        get_uint64(source, "logIndex", where),
        _bounded(get_bytes(get_object(source, "logId", where), "keyId", "logId"), "logId"),
        _word(version, "kind"),
        _word(version, "version"),
        get_uint64(source, "integratedTime", where) if source.get("integratedTime") is not None else 0,
        _bounded(get_bytes(source, "canonicalizedBody", where), "canonicalizedBody", limit=MAX_BODY_BYTES),
        _proof(find_object(source, "inclusionProof", where)),
        None if promised is None else _bounded(promised, "inclusionPromise"),
    )


def _word(version: Object, key: str) -> str:
    text = get_string(version, key, "kindVersion")
    if not 1 <= len(text) <= MAX_KIND_CHARS or not (text.isascii() and text.isprintable()):
        raise MalformedError("log entry kind is malformed", where=f"kindVersion.{key}", got=ascii(text[:100]))
    return text


def _proof(source: Object | None) -> InclusionProof | None:
    if source is None:
        return None
    where = "inclusionProof"
    index, size = get_uint64(source, "logIndex", where), get_uint64(source, "treeSize", where)
    if index >= size:
        raise MalformedError(
            "log entry lies outside its tree", where=where, expected=f"below {size}", got=str(index)
        )
    hashes = get_array(source, "hashes", where, limit=MAX_PROOF_HASHES)
    return InclusionProof(
        index,
        size,
        _hash(source.get("rootHash"), "rootHash"),
        tuple(_hash(item, "hashes") for item in hashes),
        get_string(get_object(source, "checkpoint", where), "envelope", "checkpoint"),
    )


def _hash(value: Json, where: str) -> bytes:
    data = decode_base64(value, where) if isinstance(value, str) else b""
    if len(data) != HASH_SIZE:
        raise MalformedError(
            "hash has the wrong length", where=f"inclusionProof.{where}", expected="32 bytes"
        )
    return data
