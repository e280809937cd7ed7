"""Verify SSH signatures of commits and tags with the key inside of them; a layout maps the key to a functionary.

    "SSHSIG" uint32 1, string key, string "git", string "", string hash, string signature
    signed:  "SSHSIG" string "git", string "", string hash, string H(payload)

The namespace is Git's, so a signature for another purpose does not count. Keys: Ed25519, ECDSA on P-256,
P-384 and P-521, RSA from 2048 bits with SHA-2. Certificates, DSA, RSA with SHA-1 and security keys (`sk-…`, whose
signatures record whether the key was touched) are refused: layouts cannot express them.

Format: https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig, RFC 4253, RFC 5656, RFC 8332, RFC 8709.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gitchain.errors import LayoutError, MalformedError, SignatureError
from gitchain.evidence.fields import encode_base64
from gitchain.evidence.gitobject import GitSignature, unarmored
from gitchain.layout.identities import SSH_ISSUER, Identity
from gitchain.layout.keys import fingerprint, spki_of_ssh
from gitchain.verify.keys import Key

MAGIC = b"SSHSIG"
VERSION = 1
NAMESPACE = b"git"
HASHES = frozenset({b"sha256", b"sha512"})
_RSA: dict[bytes, hashes.HashAlgorithm] = {b"rsa-sha2-256": hashes.SHA256(), b"rsa-sha2-512": hashes.SHA512()}


def verify_ssh(signature: GitSignature, payload: bytes) -> Identity:
    """Return the key that signed the payload. Raises SignatureError unless the signature verifies, MalformedError."""
    source = _WireReader(unarmored(signature))
    if source.take(len(MAGIC)) != MAGIC or source.number() != VERSION:
        raise MalformedError("not an SSH signature of version 1")
    blob, namespace, reserved, name = source.text(), source.text(), source.text(), source.text()
    inner = _WireReader(source.text())
    source.end()
    if namespace != NAMESPACE:
        raise SignatureError(
            "signature has another namespace than Git's", expected="git", got=ascii(namespace[:40])
        )
    if reserved or name not in HASHES:
        raise SignatureError(
            "signature hashes in an unknown way", expected="sha256 or sha512", got=ascii(name[:40])
        )
    key, identity = _key(blob)
    digest = hashlib.new(name.decode(), payload).digest()
    signed = MAGIC + b"".join(map(_string, (namespace, reserved, name, digest)))
    _verify(key, inner, signed)
    return identity


def _key(blob: bytes) -> tuple[Key, Identity]:
    kind = _WireReader(blob).text()
    text = f"{kind.decode('ascii', 'replace')} {encode_base64(blob)}"
    try:
        return Key.load(spki_of_ssh(text)), Identity(SSH_ISSUER, fingerprint(text))
    except LayoutError as error:
        raise SignatureError(
            "SSH key is of a kind or size that is not accepted",
            expected=error.expected,
            got=ascii(kind[:60].decode("ascii", "replace"))[1:-1],
        ) from error


def _verify(key: Key, source: _WireReader, signed: bytes) -> None:
    """Check the signature, with an algorithm of the key's type only."""
    algorithm, blob = source.text(), source.text()
    source.end()
    if isinstance(key.public, rsa.RSAPublicKey) and algorithm in _RSA:
        try:
            key.public.verify(blob, signed, padding.PKCS1v15(), _RSA[algorithm])
        except InvalidSignature as error:
            raise SignatureError("signature does not verify", got=key.details) from error
    elif isinstance(key.public, ec.EllipticCurvePublicKey) and algorithm == _ecdsa(key.public):
        key.verify(_dss(blob), signed)
    elif not key.algorithm and algorithm == b"ssh-ed25519":
        key.verify(blob, signed)
    else:
        raise SignatureError("signature is of an unknown algorithm for its key", got=ascii(algorithm[:40]))


def _ecdsa(public: ec.EllipticCurvePublicKey) -> bytes:
    return f"ecdsa-sha2-nistp{public.curve.key_size}".encode()


def _dss(blob: bytes) -> bytes:
    """Return an ECDSA signature in DER."""
    source = _WireReader(blob)
    numbers = [source.text(), source.text()]
    source.end()
    for one in numbers:  # RFC 4251 section 5: positive, and no longer than need be
        if not one or one[0] & 0x80 or (one[0] == 0 and not (len(one) > 1 and one[1] & 0x80)):
            raise MalformedError("number of a signature is malformed")
    return encode_dss_signature(*(int.from_bytes(one) for one in numbers))


@dataclass(slots=True)
class _WireReader:
    """Reads SSH's wire format (RFC 4251 section 5). Raises MalformedError for missing or extra bytes."""

    data: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        found = self.data[self.at : self.at + count]
        if len(found) != count:
            raise MalformedError("SSH signature ends early")
        self.at += count
        return found

    def number(self) -> int:
        """Return the next uint32."""
        found: int = struct.unpack(">I", self.take(4))[0]
        return found

    def text(self) -> bytes:
        """Return the next string."""
        return self.take(self.number())

    def end(self) -> None:
        """Raise MalformedError if bytes are left."""
        if self.at != len(self.data):
            raise MalformedError("SSH signature holds more than it should")


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
