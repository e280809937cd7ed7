"""Who signed a log entry, as far as its body tells: the certificate or key that Rekor keeps beside the signature.

Rekor checks the signature and not the certificate: anyone can log one that names anybody. So a match is one only when
the authority of the trusted root issued the certificate; else somebody pretends.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gitchain.errors import GitchainError, SignatureError
from gitchain.evidence.bundle import CertificateSigner
from gitchain.evidence.canonical import Json, strict_json
from gitchain.layout.model import KEY_ISSUER, Identity
from gitchain.verify.certificate import check_certificate, leaf_of, load_certificate
from gitchain.verify.identity import identity_of
from gitchain.verify.keys import Key
from gitchain.verify.trust import Trust


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody whom an entry names; `issued` says that the trusted authority vouched for the name, or that it is a key."""

    identity: Identity
    issued: bool


def signers(body: bytes, trust: Trust) -> Iterator[Signer]:
    """Yield whom an entry names; nothing for entries of other kinds, or ones that cannot be read."""
    try:
        spec = strict_json(body, "log entry")
    except GitchainError:
        return
    for raw in _materials(spec):
        found = _signer(raw, trust)
        if found is not None:
            yield found


def _materials(value: Json) -> Iterator[bytes]:
    """Yield the DER or PEM of each certificate or key in a body."""
    spec = _at(value, "spec")
    verifier = _at(spec, "hashedRekordV002", "signature", "verifier")
    yield from _decoded(_at(verifier, "x509Certificate", "rawBytes"))
    yield from _decoded(_at(verifier, "publicKey", "rawBytes"))
    yield from _decoded(_at(spec, "signature", "publicKey", "content"))  # hashedrekord 0.0.1, rekord
    for path in (("signatures",), ("content", "envelope", "signatures")):  # dsse, intoto
        each = _at(spec, *path)
        for one in each[:32] if isinstance(each, list) else ():
            yield from _decoded(_at(one, "verifier"))
            yield from _decoded(_at(one, "publicKey"))


def _at(value: Json, *path: str) -> Json:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _decoded(value: Json) -> Iterator[bytes]:
    if isinstance(value, str):
        try:
            yield b64decode(value, validate=True)
        except ValueError:
            return


def _signer(raw: bytes, trust: Trust) -> Signer | None:
    try:
        der = _der(raw)
        if der is None:
            key = Key.from_pem(raw) if raw.startswith(b"-----BEGIN PUBLIC KEY") else Key.load(raw)
            return Signer(Identity(KEY_ISSUER, f"sha256:{key.digest}"), issued=True)
        identity = identity_of(load_certificate(der))
    except GitchainError:
        return None
    return Signer(identity, _issued(der, trust))


def _der(raw: bytes) -> bytes | None:
    """Return the DER of a certificate, None for what is no certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        if raw.startswith(b"-----BEGIN CERTIFICATE"):
            return x509.load_pem_x509_certificate(raw).public_bytes(Encoding.DER)
        if raw.startswith(b"-----"):
            return None
        x509.load_der_x509_certificate(raw)
    except ValueError:
        return None
    return raw


def _issued(der: bytes, trust: Trust) -> bool:
    try:
        leaf = leaf_of(CertificateSigner(der, ()), trust)
        check_certificate(leaf, trust, [leaf.certificate.not_valid_before_utc])
    except SignatureError:
        return False
    return True
