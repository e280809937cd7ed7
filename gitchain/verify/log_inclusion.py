"""Check that a log of the trusted root contains the entry. Each check has a number.

 L1 the log id is in the trusted root            L2 proof and checkpoint are about one tree size
 L3 the checkpoint carries one signature of it   L4 origin and signature name are the log's
 L5 the log's own key signed the checkpoint      L6 the index is the proven one (Rekor v2)
 L7 the body is canonical JSON (Rekor v2)        L8 the log's key was in use at the proven time
 L9 the path leads from the entry to the root    L10 that root is the checkpoint's
 L11 the signed entry timestamp (SET) is the log's, over this body, index and time; each Rekor v1 entry has one
 L12 the entry is about this signature (`gitchain.verify.rekor_entry`, with L7)
 L13 enough witnesses cosigned the checkpoint, if the trust configuration requires it (`gitchain.verify.witnesses`)

The cache holds that a log signed a checkpoint.

Spec: https://c2sp.org/tlog-checkpoint, https://github.com/sigstore/rekor-tiles/blob/main/CLIENTS.md
Does NOT check consistency between checkpoints: `gitchain.monitor` does.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from datetime import UTC, datetime

from gitchain.errors import InclusionError, SignatureError
from gitchain.evidence.checkpoint import KEY_ID_SIZE, NoteSignature, SignedCheckpoint
from gitchain.evidence.entry import InclusionProof, LogEntry
from gitchain.evidence.merkle import leaf_hash, verify_inclusion
from gitchain.verify.keys import Key, load_log_key
from gitchain.verify.rekor_entry import is_v2
from gitchain.verify.trust import LogKey, Trust
from gitchain.verify.verified import LogRef


def known_log(entry: LogEntry, trust: Trust) -> LogKey:
    """L1: return the entry's log. Raises InclusionError unless its id is in the trusted root."""
    log = trust.log(entry.key_id)
    if log is None:
        known = ", ".join(one.host for one in trust.logs)
        raise InclusionError(
            "log is not in the trusted root",
            expected=known,
            got=f"log id {entry.key_id.hex()}",
            help="verify under the trust of the instance that signed: --trust local for this machine's own, "
            "--trust FILE for another's",
        )
    return log


def promised_time(entry: LogEntry, log: LogKey, trust: Trust) -> datetime | None:
    """L11: return the time of the signed entry timestamp, None for Rekor v2, which has none.

    Raises InclusionError if another key signed it, or if it is missing in an entry of Rekor v1.
    """
    if is_v2(entry):
        if entry.promise is not None:
            raise InclusionError("this kind of entry has no promise", got=f"{entry.kind} {entry.version}")
        return None
    from gitchain.verify.witnesses import MAX_TIME

    if entry.promise is None or not 0 < entry.integrated_time <= MAX_TIME:
        raise InclusionError("log entry has no promise with a time", where="tlogEntries[0]")
    promised = b'{"body":"%b","integratedTime":%d,"logID":"%b","logIndex":%d}' % (  # RFC 8785
        b64encode(entry.body),
        entry.integrated_time,
        entry.key_id.hex().encode(),
        entry.log_index,
    )
    _verify(log, trust, entry.promise, promised, "promise is not signed by its log")
    return datetime.fromtimestamp(entry.integrated_time, UTC)


def check_logged(entry: LogEntry, log: LogKey, trust: Trust, time: datetime) -> LogRef:
    """Return the log entry's reference. Raises InclusionError unless L2 to L6 and L8 to L10 pass."""
    proof = _proof(entry)
    note, cosigned = _checkpoint(entry, log, trust, proof)  # L3, L4, L5, L13
    _check_size(proof, note)  # L2
    if is_v2(entry):
        _check_index(entry, proof)  # L6
    _check_window(log, time)  # L8
    _check_path(entry, proof)  # L9
    _check_root(proof, note)  # L10
    return LogRef(note.checkpoint.origin, entry.log_index, cosigned)


def _proof(entry: LogEntry) -> InclusionProof:
    if entry.proof is None:
        raise InclusionError("log entry has no inclusion proof", where="tlogEntries[0]")
    if not entry.proof.checkpoint:
        raise InclusionError("inclusion proof has no checkpoint", where="tlogEntries[0].inclusionProof")
    return entry.proof


def _checkpoint(
    entry: LogEntry, log: LogKey, trust: Trust, proof: InclusionProof
) -> tuple[SignedCheckpoint, datetime | None]:
    text = hashlib.sha256(proof.checkpoint.encode("utf-8", "surrogatepass")).digest()
    key = (log.log_id, is_v2(entry), text)
    v2 = is_v2(entry)
    return trust.memory.once("checkpoint", key, lambda: _witnessed(proof.checkpoint, log, trust, v2=v2))


def _witnessed(text: str, log: LogKey, trust: Trust, *, v2: bool) -> tuple[SignedCheckpoint, datetime | None]:
    """Return the checkpoint, and when the witnesses' quorum had cosigned it: None if none is required."""
    note = signed_checkpoint(text, log, trust, v2=v2)
    return note, None if trust.witnesses is None else trust.witnesses.check(note)  # L13


def signed_checkpoint(text: str, log: LogKey, trust: Trust, *, v2: bool) -> SignedCheckpoint:
    """Return a checkpoint that the log signed. Raises InclusionError unless L3 to L5 pass. Rekor v1 has other names in it.

    Raises MalformedError or LimitError for a malformed checkpoint.
    """
    note = SignedCheckpoint.parse(text)
    signature = _own_signature(log, note)  # L3
    _check_names(log, note, signature, v2=v2)  # L4
    _verify(log, trust, signature.signature, note.body(), "checkpoint is not signed by its log")  # L5
    return note


def _check_size(proof: InclusionProof, note: SignedCheckpoint) -> None:
    """L2: check that the tree size of the proof is the signed one; this authenticates the index."""
    if proof.tree_size != note.checkpoint.size:
        raise InclusionError(
            "proof and checkpoint are about trees of different size",
            expected=str(note.checkpoint.size),
            got=str(proof.tree_size),
        )


def _own_signature(log: LogKey, note: SignedCheckpoint) -> NoteSignature:
    """L3: return the one signature with the log's key id. Other lines are witnesses'."""
    own = [one for one in note.signatures if one.key_id == log.log_id[:KEY_ID_SIZE]]
    if len(own) != 1:
        raise InclusionError(
            "checkpoint must carry one signature of its log", expected="1", got=str(len(own))
        )
    return own[0]


def _check_names(log: LogKey, note: SignedCheckpoint, signature: NoteSignature, *, v2: bool) -> None:
    """L4: check that origin and signature name are the log's. A Rekor v1 origin is `host - tree id`, its name the host."""
    origin = note.checkpoint.origin
    host = origin if v2 else origin.partition(" - ")[0]
    if host != log.host or signature.name != log.host:
        raise InclusionError(
            "checkpoint is of another log", expected=log.host, got=f"{origin}, signed as {signature.name}"
        )


def _check_index(entry: LogEntry, proof: InclusionProof) -> None:
    """L6: check that the entry's index is the proven one. In Rekor v1 it counts across shards, so it may differ."""
    if entry.log_index != proof.index:
        raise InclusionError(
            "log entry claims another index than its proof",
            expected=str(proof.index),
            got=str(entry.log_index),
        )


def _check_window(log: LogKey, time: datetime) -> None:
    """L8: check that the log's key was in use at the proven time."""
    if not log.window.contains(time):
        raise InclusionError(
            "log key was not in use at that time",
            where=log.host,
            expected=str(log.window),
            got=time.isoformat(),
        )


def _check_path(entry: LogEntry, proof: InclusionProof) -> None:
    """L9: check that the entry is at its index in the tree with the proof's root."""
    verify_inclusion(
        index=proof.index,
        size=proof.tree_size,
        leaf=leaf_hash(entry.body),
        proof=proof.hashes,
        root=proof.root,
    )


def _check_root(proof: InclusionProof, note: SignedCheckpoint) -> None:
    """L10: check that the proof's root is the signed one."""
    if proof.root != note.checkpoint.root:
        raise InclusionError(
            "proof leads to another root than the log signed",
            expected=note.checkpoint.root.hex(),
            got=proof.root.hex(),
        )


def _verify(log: LogKey, trust: Trust, signature: bytes, data: bytes, problem: str) -> None:
    try:
        _key(log, trust).verify(signature, data)
    except SignatureError as error:
        raise InclusionError(problem, where=log.host, got=error.what) from error


def _key(log: LogKey, trust: Trust) -> Key:
    return trust.memory.once("log", log.log_id, lambda: load_log_key(log.public_key, log.details))
