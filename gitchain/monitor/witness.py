"""A C2SP witness: cosigns the checkpoints of logs that only grew, and never two histories of one.

    POST /add-checkpoint     old <size>, a consistency proof, an empty line, the checkpoint

What was cosigned last is on disk before the cosignature leaves, under a lock that spans check and write: of two requests
at a time one wins, and no crash lets the witness go back. One file for each log in the user's own directory,
`witness/<SHA-256 of the log's id>.json`.

Spec: https://c2sp.org/tlog-witness, https://c2sp.org/tlog-cosignature. Does NOT speak TLS: a front in a DMZ does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gitchain.errors import GitchainError, InclusionError, LimitError, MalformedError, TrustError
from gitchain.evidence.canonical import Json, canonical_json, strict_json
from gitchain.evidence.checkpoint import Checkpoint, SignedCheckpoint
from gitchain.evidence.cosignature import ED25519_COSIGNATURE, VerifierKey, cosignature, cosigned_bytes
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.fields import decimal, decode_base64
from gitchain.evidence.merkle import EMPTY_ROOT, verify_consistency
from gitchain.pipeline.home import home_lock, make_directory, user_directory, write_atomically
from gitchain.verify.logged import signed_checkpoint
from gitchain.verify.trust import LogKey, Trust

SCHEMA = "https://gitchain.dev/witness-state/v1"
MAX_BODY_BYTES = 1 << 18
MAX_PROOF = 63
MAX_STATE_BYTES = 4096
SIZE_TYPE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request is answered with."""

    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness of the logs of a trusted root. `clock` gives seconds since 1970."""

    name: str
    key: Ed25519PrivateKey
    trust: Trust
    clock: Callable[[], int]

    @property
    def verifier_key(self) -> VerifierKey:
        """Return what a witness policy names this witness by."""
        return VerifierKey(self.name, ED25519_COSIGNATURE, self.key.public_key().public_bytes_raw())

    def add_checkpoint(self, body: bytes) -> Reply:
        """Answer a request as the specification says; StoreError or TrustError if what was cosigned cannot be kept."""
        try:
            old, proof, note = _read(body)
        except (MalformedError, LimitError) as error:
            return Reply(400, f"{error}\n".encode())
        log = next((one for one in self.trust.logs if one.host == note.checkpoint.origin), None)
        if log is None:
            return Reply(404, b"unknown log\n")
        try:
            signed_checkpoint(note.text, log, self.trust, v2=True)
        except (InclusionError, MalformedError):
            return Reply(403, b"not signed by the log\n")
        if old > note.checkpoint.size:
            return Reply(400, b"the old size is larger than the checkpoint's\n")
        with home_lock():
            refused = self._refused(log, old, proof, note.checkpoint)
            if refused is None:
                _remember(log, note.checkpoint)
        return refused or Reply(200, self._cosign(note.checkpoint))

    def _refused(self, log: LogKey, old: int, proof: tuple[bytes, ...], new: Checkpoint) -> Reply | None:
        size, root = _recall(log)
        if old != size or (old == new.size and root != new.root):
            return Reply(409, b"%d\n" % size, SIZE_TYPE)
        try:
            verify_consistency(old_size=old, new_size=new.size, old_root=root, new_root=new.root, proof=proof)
        except InclusionError as error:
            return Reply(422, f"{error}\n".encode())
        return None

    def _cosign(self, checkpoint: Checkpoint) -> bytes:
        time = self.clock()
        line = cosignature(self.verifier_key, time, self.key.sign(cosigned_bytes(checkpoint, time)))
        return f"{line.line()}\n".encode()


def load_key(path: Path) -> Ed25519PrivateKey:
    """Return the witness' key, made at the first call with mode 0600; TrustError for a file that holds none."""
    from cryptography.hazmat.primitives import serialization

    try:
        with home_lock():
            if not path.exists():
                pem = Ed25519PrivateKey.generate().private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
                make_directory(path.parent)
                write_atomically(path, pem, mode=0o600)
        if path.stat().st_mode & 0o077:
            raise TrustError("others can read the witness' key", where=str(path), help=f"chmod 600 {path}")
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise TrustError("the witness' key cannot be read", where=str(path), got=str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise TrustError("the witness' key is of another kind", where=str(path), expected="Ed25519")
    return key


def place(log: LogKey) -> Path:
    """Return the file that says what was cosigned of a log."""
    return user_directory() / "witness" / f"{sha256_hex(log.log_id)}.json"


def _read(body: bytes) -> tuple[int, tuple[bytes, ...], SignedCheckpoint]:
    if len(body) > MAX_BODY_BYTES:
        raise LimitError("the request is too large", expected=f"at most {MAX_BODY_BYTES} bytes")
    try:
        head, blank, text = body.decode("utf-8").partition("\n\n")
    except UnicodeDecodeError as error:
        raise MalformedError("the request is not UTF-8", got=str(error)) from error
    first, *lines = head.split("\n")
    if not blank or not first.startswith("old "):
        raise MalformedError(
            "not a request to cosign", expected="old <size>, a proof, an empty line, a checkpoint"
        )
    if len(lines) > MAX_PROOF:
        raise LimitError("the proof is too long", expected=f"at most {MAX_PROOF} hashes")
    old = decimal(first.removeprefix("old "), "old size")
    return old, tuple(decode_base64(line, "proof") for line in lines), SignedCheckpoint.parse(text)


def _recall(log: LogKey) -> tuple[int, bytes]:
    """Return size and root that were cosigned last; those of the empty tree if none was."""
    path = place(log)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0, EMPTY_ROOT
    except OSError as error:
        raise TrustError("cannot read what was cosigned", where=str(path), got=str(error.strerror)) from error
    try:
        value = strict_json(data, "witness", max_bytes=MAX_STATE_BYTES)
        return _parse(value, log)
    except (GitchainError, KeyError, TypeError) as error:
        raise TrustError("the memory of the witness is damaged", where=str(path), got=str(error)) from error


def _parse(value: Json, log: LogKey) -> tuple[int, bytes]:
    if not isinstance(value, dict) or value["schema"] != SCHEMA or value["logId"] != log.log_id.hex():
        raise MalformedError("not what this witness wrote", expected=SCHEMA)
    size, root = value["size"], value["root"]
    if not isinstance(size, int) or isinstance(size, bool) or not isinstance(root, str):
        raise MalformedError("a field has the wrong type", where="witness")
    found = Checkpoint(log.host, size, decode_base64(root, "root"))
    return found.size, found.root


def _remember(log: LogKey, checkpoint: Checkpoint) -> None:
    import base64

    state: dict[str, Json] = {
        "schema": SCHEMA,
        "logId": log.log_id.hex(),
        "size": checkpoint.size,
        "root": base64.b64encode(checkpoint.root).decode(),
    }
    make_directory(place(log).parent)
    write_atomically(place(log), canonical_json(state), mode=0o600)
