"""Parse public keys of a layout (PEM or OpenSSH) into one canonical encoding, and compute their digests.

Accepted are EC keys on P-256, P-384 and P-521, Ed25519, and RSA of 2048 to 8192 bits. A key has one encoding:
SubjectPublicKeyInfo that differs from the canonical one (compressed points, unusual parameters) is refused.

Formats: RFC 5280 section 4.1.2.7, RFC 7468 section 13, RFC 4253 section 6.6. Does NOT verify signatures.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from gitchain.errors import LayoutError
from gitchain.evidence.fields import encode_base64

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.hazmat.primitives.serialization.ssh import SSHPublicKeyTypes

    Accepted: TypeAlias = EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192  # below is weak, above costs every verifier too much
MAX_KEY_CHARS = 8192
CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_PEM = re.compile(
    r"-----BEGIN PUBLIC KEY-----\r?\n((?:[A-Za-z0-9+/=]{1,76}\r?\n)+)-----END PUBLIC KEY-----(?:\r?\n)?"
)
_HELP = "EC P-256/384/521, Ed25519 or RSA of 2048 to 8192 bits"


def spki_of_pem(text: str) -> bytes:
    """Return the DER in a PEM block of a public key. Raises LayoutError for anything else."""
    match = _PEM.fullmatch(text) if len(text) <= MAX_KEY_CHARS else None
    if match is None:
        raise LayoutError(
            "not one PEM block of a public key",
            where="key",
            expected="-----BEGIN PUBLIC KEY----- …",
            got=ascii(text[:40]),
        )
    try:
        return base64.b64decode("".join(match[1].split()), validate=True)
    except binascii.Error as error:
        raise LayoutError("not base64", where="key", got=str(error)) from error


def pem_of(spki: bytes) -> str:
    """Return the PEM block of a public key's DER."""
    text = encode_base64(spki)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(("-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""))


@lru_cache(maxsize=1024)
def spki_digest(spki: bytes) -> str:
    """Return the SHA-256 of a public key's DER in hex. Raises LayoutError unless it is an accepted key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = _check(load_der_public_key(spki), "key")
    except (ValueError, UnsupportedAlgorithm) as error:
        raise LayoutError("not a public key", where="key", expected=_HELP, got=_one_line(error)) from error
    if _spki(key) != spki:
        raise LayoutError("public key is not in its canonical encoding", where="key")
    return hashlib.sha256(spki).hexdigest()


def ssh_text(line: str) -> str:
    """Return type and base64 of an OpenSSH public key without its comment. Raises LayoutError for no such line."""
    if len(line) > MAX_KEY_CHARS:
        raise LayoutError("key is too long", where="ssh", expected=f"at most {MAX_KEY_CHARS} characters")
    text = " ".join(line.split(" ")[:2])
    spki_of_ssh(text)
    return text


@lru_cache(maxsize=1024)
def spki_of_ssh(text: str) -> bytes:
    """Return the DER of the key in `type base64`. Raises LayoutError unless it is an accepted key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

    try:
        key = _check(load_ssh_public_key(text.encode()), "ssh")
    except (ValueError, UnsupportedAlgorithm) as error:
        raise LayoutError(
            "not an SSH public key", where="ssh", expected=_HELP, got=_one_line(error)
        ) from error
    if key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() != text:
        raise LayoutError(
            "not a plain SSH public key", where="ssh", expected="ssh-ed25519 AAAA…", got=text[:40]
        )
    return _spki(key)


def fingerprint(text: str) -> str:
    """Return an OpenSSH key's fingerprint as `ssh-keygen -l` prints it."""
    blob = base64.b64decode(text.split(" ")[1])
    return f"SHA256:{encode_base64(hashlib.sha256(blob).digest()).rstrip('=')}"


def _spki(key: Accepted) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check(key: PublicKeyTypes | SSHPublicKeyTypes, where: str) -> Accepted:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return key
    if isinstance(key, rsa.RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise LayoutError("key is of a kind or size that is not accepted", where=where, expected=_HELP)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
