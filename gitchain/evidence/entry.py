"""Parse the log entry of a bundle: body, log, position and inclusion proof. Not yet verified.

    {"logIndex":"7","logId":{"keyId":"…"},"kindVersion":{"kind":"hashedrekord","version":"0.0.2"},
     "integratedTime":"0","inclusionPromise":{"signedEntryTimestamp":"…"},
     "inclusionProof":{"logIndex":"7","treeSize":"9","rootHash":"…","hashes":[…],"checkpoint":{"envelope":"…"}},
     "canonicalizedBody":"…"}

Format: https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_rekor.proto
Does NOT read the body and verifies nothing: `gitchain.verify` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.fields import (
    Object,
    as_object,
    as_string,
    decode_proto_base64,
    find_array,
    find_object,
    find_string,
    get_bytes,
    get_object,
    get_string,
    get_uint64,
)
from gitchain.evidence.merkle import HASH_SIZE

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
    """A log's proof that an entry is in it, unverified: position, size, root, path, signed checkpoint.

    `checkpoint` is empty in a bundle v0.1 without one.
    """

    index: int
    tree_size: int
    root: bytes
    hashes: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A log entry. `integrated_time` is 0 and `promise` None if the log gives none (Rekor v2)."""

    log_index: int
    key_id: bytes
    kind: str
    version: str
    integrated_time: int
    body: bytes = field(repr=False)
    proof: InclusionProof | None
    promise: bytes | None = field(repr=False)

    @classmethod
    def parse(cls, value: Json, where: str) -> LogEntry:
        """Return the log entry that this JSON holds, or raise MalformedError or LimitError."""
        source = as_object(value, where)
        version = get_object(source, "kindVersion", where)
        return cls(
            get_uint64(source, "logIndex", where),
            bounded(get_bytes(get_object(source, "logId", where), "keyId", "logId"), "logId"),
            _word(version, "kind"),
            _word(version, "version"),
            get_uint64(source, "integratedTime", where),
            bounded(get_bytes(source, "canonicalizedBody", where), "canonicalizedBody", limit=MAX_BODY_BYTES),
            _proof(find_object(source, "inclusionProof", where)),
            _promise(find_object(source, "inclusionPromise", where)),
        )


def bounded(data: bytes, where: str, *, limit: int = MAX_DER_BYTES) -> bytes:
    """Return the bytes. Raises MalformedError if there are none, LimitError if there are more than `limit`."""
    if len(data) > limit:
        raise LimitError(
            "field is too large", where=where, expected=f"at most {limit} bytes", got=str(len(data))
        )
    if not data:
        raise MalformedError("field is empty", where=where)
    return data


def _word(version: Object, key: str) -> str:
    text = get_string(version, key, "kindVersion")
    if not 1 <= len(text) <= MAX_KIND_CHARS or not (text.isascii() and text.isprintable()):
        raise MalformedError("log entry kind is malformed", where=f"kindVersion.{key}", got=ascii(text[:100]))
    return text


def _promise(source: Object | None) -> bytes | None:
    where = "inclusionPromise"
    if source is None or source.get("signedEntryTimestamp") is None:
        return None
    return bounded(get_bytes(source, "signedEntryTimestamp", where), where)


def _proof(source: Object | None) -> InclusionProof | None:
    if source is None:
        return None
    where = "inclusionProof"
    index, size = get_uint64(source, "logIndex", where), get_uint64(source, "treeSize", where)
    if index >= size:
        raise MalformedError(
            "log entry is outside its tree", where=where, expected=f"below {size}", got=str(index)
        )
    hashes = find_array(source, "hashes", where, limit=MAX_PROOF_HASHES)
    return InclusionProof(
        index,
        size,
        _hash(source.get("rootHash"), "rootHash"),
        tuple(_hash(item, "hashes") for item in hashes),
        find_string(find_object(source, "checkpoint", where) or {}, "envelope", "checkpoint") or "",
    )


def _hash(value: Json, key: str) -> bytes:
    where = f"inclusionProof.{key}"
    data = decode_proto_base64(as_string(value, where), where)
    if len(data) != HASH_SIZE:
        raise MalformedError("hash has the wrong length", where=where, expected="32 bytes")
    return data
