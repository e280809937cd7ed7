"""C2SP witness: cosigns checkpoints of append-only logs, and never two histories of the same log.

POST /add-checkpoint     old <size>, a consistency proof, an empty line, the checkpoint

The state is written to disk before the cosignature is returned. A lock covers check and write, so that of two
concurrent requests only one succeeds and a crash cannot roll the witness back. One file for each log in the user's
directory, `witness/<SHA-256 of the origin>.json`: a log that changes its key is the same log. Beside the key, an empty file
`witness-<the same>.begun` is written before the first cosignature: if the state is lost and the key is not, the witness
refuses that log.

Spec: https://c2sp.org/tlog-witness, https://c2sp.org/tlog-cosignature. TLS is left to a proxy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gitchain.errors import InclusionError, LimitError, MalformedError, TrustError, reason
from gitchain.evidence.canonical import Json
from gitchain.evidence.checkpoint import Checkpoint, SignedCheckpoint
from gitchain.evidence.cosignature import ED25519_COSIGNATURE, VerifierKey, cosignature, cosigned_bytes
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.fields import decimal, decode_base64, encode_base64
from gitchain.evidence.merkle import EMPTY_ROOT, verify_consistency
from gitchain.platform.files import make_directory, read_regular, write_durably
from gitchain.verify.log_inclusion import signed_checkpoint
from gitchain.verify.trust import LogKey, Trust
from gitchain.workspace.user_directory import home_lock, read_state, user_directory, write_state

SCHEMA = "https://gitchain.dev/witness-state/v2"
SCHEMA_OF_LOG_ID = "https://gitchain.dev/witness-state/v1"
"""Schema of the states of older versions, which had one for each key of a log."""

MAX_BODY_BYTES = 1 << 18
MAX_PROOF = 63
MAX_STATE_BYTES = 4096
SIZE_TYPE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class WitnessReply:
    """HTTP response to a request."""

    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness of the logs of a trusted root. `clock` returns seconds since 1970."""

    name: str
    key: Ed25519PrivateKey
    trust: Trust
    clock: Callable[[], int]

    @property
    def verifier_key(self) -> VerifierKey:
        """Return the key by which a witness policy identifies this witness."""
        return VerifierKey(self.name, ED25519_COSIGNATURE, self.key.public_key().public_bytes_raw())

    def add_checkpoint(self, body: bytes) -> WitnessReply:
        """Handle an add-checkpoint request as specified. Raises StoreError or TrustError if the state cannot be stored."""
        try:
            old, proof, note = _read(body)
        except (MalformedError, LimitError) as error:
            return WitnessReply(400, f"{error}\n".encode())
        log = next(
            (candidate for candidate in self.trust.logs if candidate.host == note.checkpoint.origin), None
        )
        if log is None:
            return WitnessReply(404, b"unknown log\n")
        try:
            signed_checkpoint(note.text, log, self.trust, v2=True)
        except (InclusionError, MalformedError):
            return WitnessReply(403, b"not signed by the log\n")
        if old > note.checkpoint.size:
            return WitnessReply(400, b"the old size is larger than the checkpoint's\n")
        with home_lock():
            refused = self._refused(log, old, proof, note.checkpoint)
            if refused is None:
                _remember(log, note.checkpoint)
        return refused or WitnessReply(200, self._cosign(note.checkpoint))

    def _refused(
        self, log: LogKey, old: int, proof: tuple[bytes, ...], new: Checkpoint
    ) -> WitnessReply | None:
        size, root = _recall(log)
        if old != size or (old == new.size and root != new.root):
            return WitnessReply(409, b"%d\n" % size, SIZE_TYPE)
        try:
            verify_consistency(old_size=old, new_size=new.size, old_root=root, new_root=new.root, proof=proof)
        except InclusionError as error:
            return WitnessReply(422, f"{error}\n".encode())
        return None

    def _cosign(self, checkpoint: Checkpoint) -> bytes:
        time = self.clock()
        line = cosignature(self.verifier_key, time, self.key.sign(cosigned_bytes(checkpoint, time)))
        return f"{line.line()}\n".encode()


def load_key(path: Path) -> Ed25519PrivateKey:
    """Return the witness key, created at the first call with mode 0600. Raises TrustError for a file without a key."""
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
                write_durably(path, pem)
        if path.stat().st_mode & 0o077:
            raise TrustError("others can read the witness' key", where=str(path), help=f"chmod 600 {path}")
        key = serialization.load_pem_private_key(read_regular(path, MAX_STATE_BYTES), None)
    except (OSError, LimitError, ValueError, TypeError) as error:
        raise TrustError("the witness' key cannot be read", where=str(path), got=reason(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise TrustError("the witness' key is of another kind", where=str(path), expected="Ed25519")
    return key


def place(log: LogKey) -> Path:
    """Return the path of the file with the last cosigned checkpoint of a log."""
    return user_directory() / "witness" / f"{sha256_hex(log.host.encode())}.json"


def _place_of_log_id(log: LogKey) -> Path:
    return user_directory() / "witness" / f"{sha256_hex(log.log_id)}.json"


def _begun(log: LogKey) -> Path:
    """Return the path of the empty file that is there once a checkpoint of the log was cosigned with the key beside it."""
    return user_directory() / f"witness-{sha256_hex(log.host.encode())}.begun"


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
    """Return size and root of the last cosigned checkpoint; those of the empty tree for a log that is new.

    Raises TrustError if the state is lost: the witness would cosign a second history of the log.
    """
    what = "the stored state of the witness"
    found = read_state(place(log), SCHEMA, lambda value: _parse(value, log, "origin", log.host), what)
    if found is None:
        old, log_id = _place_of_log_id(log), log.log_id.hex()
        found = read_state(old, SCHEMA_OF_LOG_ID, lambda value: _parse(value, log, "logId", log_id), what)
    if found is None and _begun(log).exists():
        raise TrustError(
            "the witness' state of this log is lost",
            where=str(place(log)),
            expected="the last checkpoint that was cosigned with this key",
            help="restore the file, or move witness.pem and witness-*.begun away and use another name and key",
        )
    return found or (0, EMPTY_ROOT)


def _parse(value: dict[str, Any], log: LogKey, field: str, name: str) -> tuple[int, bytes]:
    if value[field] != name:
        raise MalformedError("not what this witness wrote", expected=name)
    size, root = value["size"], value["root"]
    if not isinstance(size, int) or isinstance(size, bool) or not isinstance(root, str):
        raise MalformedError("a field has the wrong type", where="witness")
    found = Checkpoint(log.host, size, decode_base64(root, "root"))
    return found.size, found.root


def _remember(log: LogKey, checkpoint: Checkpoint) -> None:
    """Store what is about to be cosigned. After a failure at any point the witness can continue."""
    if not _begun(log).exists():
        size, root = _recall(log)
        _write(log, size, root)
        write_durably(_begun(log), b"")
    _write(log, checkpoint.size, checkpoint.root)


def _write(log: LogKey, size: int, root: bytes) -> None:
    state: dict[str, Json] = {"origin": log.host, "size": size, "root": encode_base64(root)}
    write_state(place(log), SCHEMA, state)
