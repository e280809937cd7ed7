"""What the instance's tests share: a signed request, a C2SP reader of its own, and a log with a fixed key."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from gitchain.evidence.checkpoint import SignedCheckpoint
from gitchain.evidence.merkle import consistency_proof, verify_consistency, verify_inclusion
from gitchain.evidence.tile import tile_reader
from gitchain.instance import Instance
from gitchain.instance.entry import request_of
from gitchain.instance.log import LoggedEntry, TransparencyLog

ADA = "ada@example.com"
ORIGIN = "local-test.gitchain.invalid"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

Fetch = Callable[[str], bytes | None]


def new_log(directory: Path) -> TransparencyLog:
    """Return a log that holds only its genesis entry."""
    return TransparencyLog.create(directory, ORIGIN, KEY, b"genesis")


def open_log(directory: Path) -> TransparencyLog:
    """Return another view of a log on disk, with nothing cached."""
    return TransparencyLog(directory, ORIGIN, KEY)


def signing_request(key: ec.EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    """Return a request as sigstore-python makes it."""
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())


def entry_request(
    instance: Instance, message: bytes = b"message", *, signed: bytes | None = None
) -> dict[str, Any]:
    """Return a log request for a signature over `message`; over `signed` instead where that is given."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = instance.issue(instance.token(ADA), signing_request(key))
    signature = key.sign(message if signed is None else signed, ec.ECDSA(hashes.SHA256()))
    return dict(
        request_of(hashlib.sha256(message).digest(), signature, certificate.public_bytes(Encoding.DER))
    )


def check_entry(entry: LoggedEntry) -> None:
    """Raise unless the entry's proof leads to the root that its signed checkpoint names."""
    note = read_checkpoint(entry.checkpoint)
    assert (note.size, note.root) == (entry.size, entry.root)
    leaf = hashlib.sha256(b"\x00" + entry.body).digest()
    verify_inclusion(index=entry.index, size=entry.size, leaf=leaf, proof=entry.hashes, root=entry.root)


class Note:
    """A checkpoint read by hand: three lines, a blank one, one signature."""

    def __init__(self, text: str, origin: str = ORIGIN) -> None:
        body, signature = text.split("\n\n")
        found_origin, size, root = body.split("\n")
        dash, name, encoded = signature.rstrip("\n").split(" ")
        assert (found_origin, dash, name) == (origin, "\u2014", origin)
        self.size, self.root = int(size), base64.b64decode(root)
        self.signed, self.signature = body.encode() + b"\n", base64.b64decode(encoded)


def read_checkpoint(text: str) -> Note:
    """Return the checkpoint, its signature verified with the test's key."""
    note = Note(text)
    raw = KEY.public_key().public_bytes_raw()
    assert note.signature[:4] == hashlib.sha256(ORIGIN.encode() + b"\n\x01" + raw).digest()[:4]
    KEY.public_key().verify(note.signature[4:], note.signed)
    return note


def on_disk(directory: Path) -> Fetch:
    """Return a reader of the files of a log."""

    def fetch(path: str) -> bytes | None:
        file = directory / path
        return file.read_bytes() if file.is_file() else None

    return fetch


def position(index: int) -> str:
    """Return a tile's position as C2SP writes it."""
    digits = f"{index:03}" if index < 1000 else f"x{index // 1000:03}/{index % 1000:03}"
    assert index < 1_000_000
    return digits


def read_rows(fetch: Fetch, size: int) -> list[list[bytes]]:
    """Return every row of hashes of the tree, read tile by tile at the width that the size demands."""
    rows = []
    for level in range(8):
        count = size >> (8 * level)
        row: list[bytes] = []
        for index in range((count + 255) // 256):
            width = min(256, count - index * 256)
            data = fetch(f"tile/{level}/{position(index)}" + ("" if width == 256 else f".p/{width}"))
            assert data is not None, (level, index, width)
            assert len(data) == 32 * width
            row += [data[at : at + 32] for at in range(0, len(data), 32)]
        rows.append(row)
    return [row for row in rows if row]


def read_bodies(fetch: Fetch, size: int) -> list[bytes]:
    """Return every entry of the log, read bundle by bundle."""
    bodies: list[bytes] = []
    for index in range((size + 255) // 256):
        width = min(256, size - index * 256)
        data = fetch(f"tile/entries/{position(index)}" + ("" if width == 256 else f".p/{width}"))
        assert data is not None, (index, width)
        while data:
            length = int.from_bytes(data[:2], "big")
            bodies.append(data[2 : 2 + length])
            data = data[2 + length :]
    assert len(bodies) == size
    return bodies


def naive_root(leaves: list[bytes]) -> bytes:
    """Return the RFC 6962 root by its definition."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


def check_log(fetch: Fetch, checkpoint: str) -> list[bytes]:
    """Read the whole log as a C2SP client and raise unless entries, tiles and checkpoint agree; return the entries."""
    note = read_checkpoint(checkpoint)
    bodies = read_bodies(fetch, note.size)
    leaves = [hashlib.sha256(b"\x00" + body).digest() for body in bodies]
    rows = read_rows(fetch, note.size)
    assert rows[0] == leaves
    for level, row in enumerate(rows[1:], 1):
        below = rows[level - 1]
        assert row == [naive_root(below[at : at + 256]) for at in range(0, len(row) * 256, 256)]
    assert naive_root(leaves) == note.root
    return bodies


def check_history(log: TransparencyLog, checkpoints: list[str]) -> None:
    """Raise unless every checkpoint is a prefix of the log as it is now."""
    now = SignedCheckpoint.parse(log.checkpoint()).checkpoint
    read = tile_reader(now.size, lambda tile: log.tile(tile) or b"")
    for text in checkpoints:
        old = read_checkpoint(text)
        proof = consistency_proof(old.size, now.size, read)
        verify_consistency(
            old_size=old.size, new_size=now.size, old_root=old.root, new_root=now.root, proof=proof
        )
