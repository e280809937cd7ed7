"""What sigstore-python does not check about the log entry of a bundle that it has verified.

It verifies the inclusion proof and some signature on the checkpoint, by any key of the trusted root. Here the
entry is bound to one log, and its position to what that log signed. Each check has its number; docs and tests
name them by it.

Spec: https://c2sp.org/tlog-checkpoint, https://github.com/sigstore/rekor-tiles/blob/main/CLIENTS.md
Does NOT verify the Merkle path or the entry's content: sigstore-python does, before.
"""

from __future__ import annotations

from datetime import datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gitchain.errors import GitchainError, InclusionError
from gitchain.evidence.bundle import InclusionProof, LogEntry
from gitchain.evidence.canonical import canonical_json, strict_json
from gitchain.evidence.checkpoint import KEY_ID_SIZE, NoteSignature, SignedCheckpoint
from gitchain.verify.trust import LogKey, Trust
from gitchain.verify.verified import LogRef

REKOR_V2 = "0.0.2"  # the version of every entry kind of Rekor v2; Rekor v1 has 0.0.1


def check_entry(entry: LogEntry, trust: Trust, time: datetime) -> LogRef:
    """Return where the entry is logged; InclusionError unless every check passes."""
    log = _known_log(entry, trust)  # L1
    proof = _proof(entry)
    note = SignedCheckpoint.parse(proof.checkpoint)
    _check_size(proof, note)  # L2
    signature = _own_signature(entry, note)  # L3
    _check_names(entry, log, note, signature)  # L4
    _check_signature(log, note, signature)  # L5
    if entry.version == REKOR_V2:
        _check_index(entry, proof)  # L6
        _check_body(entry)  # L7
    _check_window(log, time)  # L8
    return LogRef(note.checkpoint.origin, entry.log_index)


def _known_log(entry: LogEntry, trust: Trust) -> LogKey:
    """L1: the log id is in the trusted root. sigstore-python tries every key when it knows none by that id."""
    log = trust.log(entry.key_id)
    if log is None:
        known = ", ".join(one.host for one in trust.logs)
        raise InclusionError(
            "log is not in the trusted root", expected=known, got=f"log id {entry.key_id.hex()}"
        )
    return log


def _proof(entry: LogEntry) -> InclusionProof:
    if entry.proof is None:
        raise InclusionError("log entry has no inclusion proof", where="tlogEntries[0]")
    return entry.proof


def _check_size(proof: InclusionProof, note: SignedCheckpoint) -> None:
    """L2: the tree size of the proof is the one that the log signed; with it the index is authenticated."""
    if proof.tree_size != note.checkpoint.size:
        raise InclusionError(
            "proof and checkpoint are about trees of different size",
            expected=str(note.checkpoint.size),
            got=str(proof.tree_size),
        )


def _own_signature(entry: LogEntry, note: SignedCheckpoint) -> NoteSignature:
    """L3: one line of the checkpoint carries the log's own key id. Other lines are witnesses'."""
    own = [one for one in note.signatures if one.key_id == entry.key_id[:KEY_ID_SIZE]]
    if len(own) != 1:
        raise InclusionError(
            "checkpoint must carry one signature of its log", expected="1", got=str(len(own))
        )
    return own[0]


def _check_names(entry: LogEntry, log: LogKey, note: SignedCheckpoint, signature: NoteSignature) -> None:
    """L4: origin and signature name are the log's. A Rekor v1 origin is `host - tree id`, its name the host."""
    origin = note.checkpoint.origin
    host = origin if entry.version == REKOR_V2 else origin.partition(" - ")[0]
    if host != log.host or signature.name != log.host:
        raise InclusionError(
            "checkpoint is of another log", expected=log.host, got=f"{origin}, signed as {signature.name}"
        )


def _check_signature(log: LogKey, note: SignedCheckpoint, signature: NoteSignature) -> None:
    """L5: the checkpoint is signed by this log's key, not by just any key of the trusted root."""
    try:
        key = load_der_public_key(log.public_key)
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature.signature, note.body())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature.signature, note.body(), ec.ECDSA(_hash_of(key)))
        else:
            raise InclusionError("log key is of an unknown kind", where=log.host, got=type(key).__name__)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
        raise InclusionError("checkpoint is not signed by its log", where=log.host) from error


def _hash_of(key: ec.EllipticCurvePublicKey) -> hashes.HashAlgorithm:
    return {256: hashes.SHA256(), 384: hashes.SHA384()}.get(key.key_size, hashes.SHA512())


def _check_index(entry: LogEntry, proof: InclusionProof) -> None:
    """L6: the entry's index is the proven one. In Rekor v1 it counts across shards and differs rightly."""
    if entry.log_index != proof.index:
        raise InclusionError(
            "log entry claims another index than its proof",
            expected=str(proof.index),
            got=str(entry.log_index),
        )


def _check_body(entry: LogEntry) -> None:
    """L7: the body is canonical JSON, so that one entry has one leaf hash."""
    try:
        canonical = canonical_json(strict_json(entry.body, "log entry"))
    except GitchainError as error:
        raise InclusionError("log entry body cannot be read", got=str(error)) from error
    if canonical != entry.body:
        raise InclusionError("log entry body is not canonical JSON", where="canonicalizedBody")


def _check_window(log: LogKey, time: datetime) -> None:
    """L8: the log's key was in use at the proven time."""
    if not log.window.contains(time):
        raise InclusionError(
            "log key was not in use at that time",
            where=log.host,
            expected=str(log.window),
            got=time.isoformat(),
        )
