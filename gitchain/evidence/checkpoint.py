"""Checkpoints: the signed tree heads of a transparency log, as C2SP signed notes.

    example.com/log            <- origin
    42                         <- tree size
    qINS1GRFhWHwdkUeqLEoP4yEMkTBBzxBkGwGQlVlVcs=   <- root hash

    — example.com/log Ab1CdE…  <- signature lines: em dash, name, base64(key id (4 bytes) || signature)

The signature covers the text up to and including the newline before the blank line. Lines after the root are
extensions. Parsing is strict: what is read renders back to the same text.

Spec: https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note.
Does NOT verify signatures and does not decide which names and keys count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.fields import decimal, decode_base64, encode_base64
from gitchain.evidence.merkle import EMPTY_ROOT, HASH_SIZE, MAX_TREE_SIZE

MAX_CHECKPOINT_CHARS = 1_000_000
"""Longest checkpoint: the limit of the reference implementation of signed notes."""

MAX_SIGNATURES = 100
"""Most signature lines: the limit of the reference implementation; a log and its witnesses need a dozen."""

MAX_EXTENSIONS = 16
"""Most extension lines: Rekor v1 writes one, everyone else none."""

KEY_ID_SIZE = 4
_ED25519 = b"\x01"
_DASH = "\N{EM DASH} "


def ed25519_key_id(origin: str, public_key: bytes) -> bytes:
    """Return the 32-byte key id of an Ed25519 log key (32 raw bytes); a note carries its first 4 bytes."""
    return hashlib.sha256(origin.encode() + b"\n" + _ED25519 + public_key).digest()


def _is_line(text: str) -> bool:
    """Return whether the text may be a line of a note: not empty, no control character, encodable as UTF-8."""
    return bool(text) and not any(ord(char) < 0x20 or 0xD800 <= ord(char) <= 0xDFFF for char in text)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: which log, how many entries, which root. The constructor raises MalformedError."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(_is_line(line) for line in (self.origin, *self.extensions)):
            raise MalformedError("checkpoint line is empty or holds a control character", where="checkpoint")
        if len(self.extensions) > MAX_EXTENSIONS:
            raise LimitError("checkpoint has too many extensions", expected=f"at most {MAX_EXTENSIONS}")
        if not 0 <= self.size <= MAX_TREE_SIZE:
            raise MalformedError("checkpoint size is impossible", got=str(self.size))
        if len(self.root) != HASH_SIZE:
            raise MalformedError(
                "checkpoint root has the wrong length", expected="32 bytes", got=str(len(self.root))
            )
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise MalformedError("checkpoint of an empty log has a root that is not the empty one")

    def body(self) -> bytes:
        """Return the bytes that signatures cover."""
        root = encode_base64(self.root)
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions)).encode()


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line, unverified: the claimed name, the first 4 bytes of the key id, the signature."""

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        if not _is_line(self.name) or "+" in self.name or any(char.isspace() for char in self.name):
            raise MalformedError(
                "signature name is malformed", where="checkpoint", got=ascii(self.name[:100])
            )
        if len(self.key_id) != KEY_ID_SIZE or not self.signature:
            raise MalformedError("checkpoint signature is too short", where=ascii(self.name[:100]))

    def line(self) -> str:
        """Return the signature as a line of the note, without its newline."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint, its unverified signatures, and the text of both. Make it with parse()."""

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...]
    text: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> SignedCheckpoint:
        """Return the checkpoint that this note holds.

        Raises MalformedError for anything that render() would write otherwise, LimitError beyond the limits.
        """
        if len(text) > MAX_CHECKPOINT_CHARS:
            raise LimitError("checkpoint is too long", expected=f"at most {MAX_CHECKPOINT_CHARS} characters")
        head, _, tail = text.partition("\n\n")
        if not tail.endswith("\n"):
            raise MalformedError("checkpoint is not a signed note", expected="text, a blank line, signatures")
        lines = head.split("\n")
        if len(lines) < 3:
            raise MalformedError("checkpoint is too short", expected="origin, size and root lines")
        size, root = decimal(lines[1], "checkpoint size"), decode_base64(lines[2], "checkpoint root")
        checkpoint = Checkpoint(lines[0], size, root, tuple(lines[3:]))
        signed = tail[:-1].split("\n")
        if len(signed) > MAX_SIGNATURES:
            raise LimitError("checkpoint has too many signatures", expected=f"at most {MAX_SIGNATURES}")
        signatures = tuple(_parse_signature(line) for line in signed)
        if render(checkpoint, signatures) != text:
            raise MalformedError("checkpoint is not in canonical form")
        return cls(checkpoint, signatures, text)

    def body(self) -> bytes:
        """Return the bytes that the signatures cover."""
        return self.checkpoint.body()


def _parse_signature(line: str) -> NoteSignature:
    name, _, encoded = line.removeprefix(_DASH).rpartition(
        " "
    )  # without the dash, `render` writes another line
    data = decode_base64(encoded, "checkpoint signature")
    return NoteSignature(name, data[:KEY_ID_SIZE], data[KEY_ID_SIZE:])


def render(checkpoint: Checkpoint, signatures: Sequence[NoteSignature]) -> str:
    """Return the signed note. Raises MalformedError without a signature."""
    if not signatures:
        raise MalformedError("checkpoint has no signature")
    lines = "".join(f"{signature.line()}\n" for signature in signatures)
    return f"{checkpoint.body().decode()}\n{lines}"
