"""OpenPGP keys and signatures made by hand, honest unless told otherwise; and what there is to run gpg with."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.evidence.openpgp import PUBLIC_KEY, armored
from gitchain.layout.identities import OpenPgpMember

needs_gpg = pytest.mark.skipif(
    shutil.which("gpg") is None, reason="NOT RUN: OpenPGP signatures need gpg (apt-get install gnupg)"
)
CREATED = 1_700_000_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)
HASHES: dict[int, hashes.HashAlgorithm] = {
    2: hashes.SHA1(),
    8: hashes.SHA256(),
    9: hashes.SHA384(),
    10: hashes.SHA512(),
    11: hashes.SHA224(),
}
ED25519 = bytes.fromhex("2b06010401da470f01")
CURVES = {
    "secp256r1": bytes.fromhex("2a8648ce3d030107"),
    "secp384r1": bytes.fromhex("2b81040022"),
    "secp521r1": bytes.fromhex("2b81040023"),
}
Private = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def packet(tag: int, body: bytes) -> bytes:
    """In the new format, with a length of five bytes."""
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4) + body


def integer(value: int) -> bytes:
    return value.bit_length().to_bytes(2) + value.to_bytes((value.bit_length() + 7) // 8)


def sub(kind: int, data: bytes) -> bytes:
    """A subpacket."""
    size = len(data) + 1
    length = bytes([size]) if size < 192 else b"\xff" + size.to_bytes(4)
    return length + bytes([kind]) + data


@dataclass(frozen=True)
class Pgp:
    """One key, primary or not."""

    private: Private = field(default_factory=lambda: ed25519.Ed25519PrivateKey.from_private_bytes(b"p" * 32))
    created: int = CREATED

    @property
    def algorithm(self) -> int:
        return {"Ed": 22, "RS": 1}.get(type(self.private).__name__[:2], 19)

    @property
    def body(self) -> bytes:
        return bytes([4]) + self.created.to_bytes(4) + bytes([self.algorithm]) + self._numbers()

    def _numbers(self) -> bytes:
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            point = b"\x40" + self.private.public_key().public_bytes_raw()
            return bytes([len(ED25519)]) + ED25519 + integer(int.from_bytes(point))
        if isinstance(self.private, rsa.RSAPrivateKey):
            numbers = self.private.public_key().public_numbers()
            return integer(numbers.n) + integer(numbers.e)
        point = self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        curve = CURVES[self.private.curve.name]
        return bytes([len(curve)]) + curve + integer(int.from_bytes(point))

    @property
    def hashed(self) -> bytes:
        """The key as signatures over it see it."""
        return b"\x99" + len(self.body).to_bytes(2) + self.body

    @property
    def fingerprint(self) -> str:
        return hashlib.sha1(self.hashed, usedforsecurity=False).hexdigest().upper()

    @property
    def issuers(self) -> bytes:
        """The two subpackets that name this key."""
        return sub(33, b"\x04" + bytes.fromhex(self.fingerprint)) + sub(
            16, bytes.fromhex(self.fingerprint[-16:])
        )

    def sign(
        self,
        data: bytes,
        *,
        kind: int = 0,
        more: bytes = b"",
        unhashed: bytes | None = None,
        hashed: int = 8,
        at: int = CREATED + 60,
        version: int = 4,
    ) -> bytes:
        """A signature packet."""
        first = sub(2, at.to_bytes(4)) + more
        head = bytes([version, kind, self.algorithm, hashed]) + len(first).to_bytes(2) + first
        algorithm = HASHES[hashed]
        state = hashes.Hash(algorithm)
        state.update(data + head + b"\x04\xff" + len(head).to_bytes(4))
        digest = state.finalize()
        second = self.issuers if unhashed is None else unhashed
        return packet(
            2, head + len(second).to_bytes(2) + second + digest[:2] + self._signature(digest, algorithm)
        )

    def _signature(self, digest: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            made = self.private.sign(digest)
            return integer(int.from_bytes(made[:32])) + integer(int.from_bytes(made[32:]))
        if isinstance(self.private, rsa.RSAPrivateKey):
            made = self.private.sign(digest, padding.PKCS1v15(), Prehashed(algorithm))
            return integer(int.from_bytes(made))
        pair = decode_dss_signature(self.private.sign(digest, ec.ECDSA(Prehashed(algorithm))))
        return b"".join(map(integer, pair))


def whole(
    primary: Pgp,
    subkeys: Sequence[Pgp] = (),
    *,
    lasts: int = 0,
    revoked: bool = False,
    revoked_subkeys: bool = False,
    back: bool = True,
    hashed: int = 8,
    user: bytes = b"Pat <pat@example.com>",
) -> bytes:
    """A public key as it is exported: with a name, bound subkeys that sign, and an end `lasts` seconds after its start."""
    ends = sub(9, lasts.to_bytes(4)) if lasts else b""
    parts = [packet(6, primary.body)]
    if revoked:
        parts.append(primary.sign(primary.hashed, kind=0x20, more=sub(29, b"\x02stolen")))
    named = primary.hashed + b"\xb4" + len(user).to_bytes(4) + user
    parts += [
        packet(13, user),
        primary.sign(named, kind=0x13, more=ends + sub(27, b"\x03"), hashed=hashed),
    ]
    for one in subkeys:
        both = primary.hashed + one.hashed
        proof = sub(32, one.sign(both, kind=0x19)[6:]) if back else b""
        parts += [
            packet(14, one.body),
            primary.sign(both, kind=0x18, more=sub(27, b"\x02") + proof),
        ]
        if revoked_subkeys:
            parts.append(primary.sign(both, kind=0x28, more=sub(29, b"\x02stolen")))
    return b"".join(parts)


def member(key: bytes, primary: Pgp) -> OpenPgpMember:
    return OpenPgpMember(key, primary.fingerprint)


def block(data: bytes, label: str = "PGP SIGNATURE") -> bytes:
    """An armored block without its last line's end."""
    return armored(data, label).encode().rstrip(b"\n")


def public_block(data: bytes) -> str:
    return armored(data, PUBLIC_KEY)


@dataclass(frozen=True)
class Home:
    """A home of gpg with secret keys that have no passphrase."""

    path: Path

    def gpg(self, *arguments: str, given: bytes = b"") -> bytes:
        done = subprocess.run(
            ["gpg", "--homedir", str(self.path), "--batch", "--quiet", "--passphrase", "", *arguments],
            capture_output=True,
            input=given,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def new(self, name: str, algorithm: str, use: str = "sign") -> str:
        """Make a key and return its fingerprint."""
        self.gpg("--quick-gen-key", f"{name} <{name}@example.com>", algorithm, use, "never")
        listed = self.gpg("--list-secret-keys", "--with-colons", f"{name}@example.com").decode()
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))

    def public(self, fingerprint: str) -> str:
        return self.gpg("--armor", "--export-options", "export-minimal", "--export", fingerprint).decode()


@contextmanager
def gpg_home() -> Iterator[Home]:
    """A home with a short path, as its agent's socket needs; the agent ends with it."""
    with tempfile.TemporaryDirectory(prefix="pgp-", ignore_cleanup_errors=True) as name:
        try:
            yield Home(Path(name))
        finally:
            subprocess.run(["gpgconf", "--homedir", name, "--kill", "all"], capture_output=True, check=False)
