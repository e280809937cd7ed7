"""Parse and build cosignatures: a witness's signatures of consistent checkpoints, as lines of the signed note.

    cosignature/v1
    time 1679315147
    example.com/log            <- the checkpoint's body, whole
    …

A witness key is written as `name+<key id in hex>+<base64 of 0x04 and 32 bytes>`; its key id is the start of
SHA-256(name, newline, 0x04, key). The note's signature is the time (u64, big-endian) and an Ed25519 signature.

Spec: https://c2sp.org/tlog-cosignature, keys: https://c2sp.org/signed-note. Does NOT verify signatures.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from gitchain.errors import MalformedError
from gitchain.evidence.checkpoint import KEY_ID_SIZE, Checkpoint, NoteSignature
from gitchain.evidence.fields import decode_base64, encode_base64

ED25519_NOTE, ED25519_COSIGNATURE = 0x01, 0x04
KEY_SIZE = 32
TIME_SIZE, SIGNATURE_SIZE = 8, 64
MAX_KEY_CHARS = 1024
MAX_TIME = 2**63 - 1


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key of a signed note: its name, its kind, its bytes. The constructor raises MalformedError."""

    name: str
    kind: int
    key: bytes

    def __post_init__(self) -> None:
        NoteSignature(self.name, bytes(KEY_ID_SIZE), b"-")  # the name has to be one that a note can carry
        if self.kind in {ED25519_NOTE, ED25519_COSIGNATURE} and len(self.key) != KEY_SIZE:
            raise MalformedError("key has the wrong length", expected="32 bytes", got=str(len(self.key)))

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Return the key that is written so. Raises MalformedError for anything else, a wrong key id among it."""
        parts = text.split("+", 2)
        if len(parts) != 3 or len(text) > MAX_KEY_CHARS:
            raise MalformedError("not a verifier key", expected="name+key id+base64", got=ascii(text[:100]))
        data = decode_base64(parts[2], "verifier key")
        if not data:
            raise MalformedError("verifier key is empty", got=ascii(text[:100]))
        found = cls(parts[0], data[0], data[1:])
        if found.key_id.hex() != parts[1]:
            raise MalformedError(
                "verifier key has another key id", expected=found.key_id.hex(), got=ascii(parts[1][:20])
            )
        return found

    @property
    def key_id(self) -> bytes:
        """Return the 4 bytes that a note's signature line carries."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.key).digest()[
            :KEY_ID_SIZE
        ]

    def __str__(self) -> str:
        """Return the key as text, which `parse` reads."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.kind]) + self.key)}"


def cosigned_bytes(checkpoint: Checkpoint, time: int) -> bytes:
    """Return the bytes that a witness signs at a time (seconds since 1970). Raises MalformedError for an impossible one."""
    if not 0 <= time <= MAX_TIME:
        raise MalformedError("cosignature has an impossible time", got=str(time))
    return b"cosignature/v1\ntime %d\n" % time + checkpoint.body()


def cosignature(key: VerifierKey, time: int, signature: bytes) -> NoteSignature:
    """Return the line of the note for this Ed25519 signature over `cosigned_bytes`."""
    return NoteSignature(key.name, key.key_id, time.to_bytes(TIME_SIZE, "big") + signature)


def time_and_signature(line: NoteSignature) -> tuple[int, bytes]:
    """Return the time and the Ed25519 signature in a cosignature's line. Raises MalformedError if it holds none."""
    if len(line.signature) != TIME_SIZE + SIGNATURE_SIZE:
        raise MalformedError(
            "cosignature has the wrong length",
            expected=f"{TIME_SIZE + SIGNATURE_SIZE} bytes",
            got=str(len(line.signature)),
        )
    return int.from_bytes(line.signature[:TIME_SIZE], "big"), line.signature[TIME_SIZE:]
