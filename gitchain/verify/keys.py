"""Public keys of attestations and logs. The key alone defines the algorithm; a bundle cannot choose it.

| key | algorithm | log entry |
|---|---|---|
| ECDSA P-256, P-384, P-521 | SHA-256, SHA-384, SHA-512 | by digest |
| RSA, 2048 to 8192 bits | PKCS #1 v1.5, SHA-256 | by digest |
| Ed25519 | the bytes themselves | of kind `dsse` only |

Spec: https://github.com/sigstore/architecture-docs/blob/main/algorithm-registry.md
Does NOT decide which keys are trusted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from gitchain.errors import AlgorithmError, SignatureError

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192  # larger ones take too long to check
_PKCS1 = "PKCS1_RSA_PKCS1V5"  # the oldest CT logs' key is not even in SPKI

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
SHA2 = tuple(_HASHES)
_CURVES = {"secp256r1": "sha256", "secp384r1": "sha384", "secp521r1": "sha512"}
_CURVE_DETAILS = {
    "secp256r1": "PKIX_ECDSA_P256_SHA_256",
    "secp384r1": "PKIX_ECDSA_P384_SHA_384",
    "secp521r1": "PKIX_ECDSA_P521_SHA_512",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A public key with its algorithm. Made by of() or load().

    `algorithm` is hashlib's name of the signed digest; empty for Ed25519, which signs the bytes themselves.
    """

    spki: bytes = field(repr=False)
    details: str
    algorithm: str
    public: PublicKey = field(repr=False, compare=False)

    @classmethod
    def of(cls, public: object) -> Key:
        """Return the key with its algorithm. Raises SignatureError for an unsupported type or size."""
        if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
            name = public.curve.name
            return cls(_spki(public), _CURVE_DETAILS[name], _CURVES[name], public)
        if isinstance(public, rsa.RSAPublicKey) and MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
            return cls(_spki(public), f"PKIX_RSA_PKCS1V15_{public.key_size}_SHA256", "sha256", public)
        if isinstance(public, ed25519.Ed25519PublicKey):
            return cls(_spki(public), "PKIX_ED25519", "", public)
        raise SignatureError(
            "key is of a kind that is not accepted",
            expected="ECDSA P-256, P-384 or P-521, Ed25519, or RSA with 2048 to 8192 bits",
            got=_kind(public),
        )

    @classmethod
    def load(cls, spki: bytes) -> Key:
        """Return the key in this DER SubjectPublicKeyInfo. Raises SignatureError for an unsupported key."""
        try:
            key = cls.of(load_der_public_key(spki))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SignatureError("not a public key", got=str(error)[:200]) from error
        if key.spki != spki:  # so that one key has one name
            raise SignatureError(
                "public key is not in its canonical form", expected="DER SubjectPublicKeyInfo"
            )
        return key

    @classmethod
    def from_pem(cls, data: bytes) -> Key:
        """Return the one key in this PEM. Raises SignatureError for an unsupported key, or more than one."""
        try:
            key = cls.of(load_pem_public_key(data))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SignatureError("not a public key", got=str(error)[:200]) from error
        if data.count(b"-----BEGIN") != 1:
            raise SignatureError("more than one key", expected="one PEM block")
        return key

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the key in hex, which identifies it as a signer."""
        return hashlib.sha256(self.spki).hexdigest()

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check the signature over these bytes. Raises SignatureError."""
        if isinstance(self.public, ed25519.Ed25519PublicKey):
            try:
                self.public.verify(signature, data)
            except InvalidSignature as error:
                raise SignatureError("signature does not verify", got=self.details) from error
        else:
            self.verify_digest(signature, hashlib.new(self.algorithm, data).digest())

    def verify_digest(self, signature: bytes, digest: bytes) -> None:
        """Check the signature over bytes with this digest. Raises SignatureError."""
        try:
            self._check(signature, digest)
        except (InvalidSignature, ValueError) as error:
            raise SignatureError("signature does not verify", got=self.details) from error

    def _check(self, signature: bytes, digest: bytes) -> None:
        if isinstance(self.public, ec.EllipticCurvePublicKey):
            self.public.verify(signature, digest, ec.ECDSA(Prehashed(_HASHES[self.algorithm])))
        elif isinstance(self.public, rsa.RSAPublicKey):
            self.public.verify(signature, digest, padding.PKCS1v15(), Prehashed(_HASHES[self.algorithm]))
        else:
            raise SignatureError("this kind of key signs bytes, not digests", got=self.details)


def verify_message(key: Key, signature: bytes, message: bytes) -> None:
    """Check the key's signature over these bytes. Raises SignatureError, and the errors of check_algorithm()."""
    try:
        key.verify(signature, message)
    except SignatureError:
        check_algorithm(key, signature, {name: hashlib.new(name, message).digest() for name in SHA2})
        raise


def check_algorithm(key: Key, signature: bytes, digests: Mapping[str, bytes]) -> None:
    """Raise AlgorithmError if the signature verifies over one of the digests with another algorithm than the key's own.

    For diagnosis only: such a signature never counts. `digests` are those of the signed bytes, by hashlib's names.
    """
    tried = key.algorithm if isinstance(key.public, ec.EllipticCurvePublicKey) else ""
    for name in SHA2:
        if name != tried and name in digests and (used := _used(key.public, signature, digests[name], name)):
            raise AlgorithmError("signature algorithm is not supported", expected=key.details, got=used)


def _used(public: PublicKey, signature: bytes, digest: bytes, name: str) -> str | None:
    """Return the algorithm if the signature verifies with this digest, None otherwise."""
    prehashed, hash_ = Prehashed(_HASHES[name]), name.upper()
    try:
        if isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, digest, ec.ECDSA(prehashed))
            return f"ECDSA {public.curve.name} with {hash_}"
    except InvalidSignature:
        return None
    if not isinstance(public, rsa.RSAPublicKey):
        return None
    pss = padding.PSS(padding.MGF1(_HASHES[name]), padding.PSS.AUTO)
    for scheme, what in ((padding.PKCS1v15(), "PKCS #1 v1.5"), (pss, "PSS")):
        try:
            public.verify(signature, digest, scheme, prehashed)
        except InvalidSignature:
            continue
        return f"RSA {what} with {hash_}"
    return None


def load_log_key(raw: bytes, details: str) -> Key:
    """Return a log's key. Raises SignatureError if it is of another type than the trusted root states."""
    try:
        key = Key.of(load_der_public_key(raw))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError("log key cannot be read", got=str(error)[:200]) from error
    if key.details != details and not (details == _PKCS1 and isinstance(key.public, rsa.RSAPublicKey)):
        raise SignatureError("log key is of another kind", expected=details, got=key.details)
    return key


def _kind(public: object) -> str:
    """Return the type of the key, for messages."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        return f"ECDSA {public.curve.name}"
    if isinstance(public, rsa.RSAPublicKey):
        return f"RSA with {public.key_size} bits"
    return type(public).__name__


def _spki(public: PublicKey) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
