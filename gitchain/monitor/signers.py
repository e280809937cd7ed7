"""Signers of a log entry, from the certificate or key that Rekor stores with the signature.

Rekor checks the signature, not the certificate: anyone can log a certificate with any identity. An identity counts
only if the authority of the trusted root issued the certificate.
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
class EntrySigner:
    """Signer in a log entry; `issued` is True for a certificate of the trusted authority, and for a key."""

    identity: Identity
    issued: bool


def signers(body: bytes, trust: Trust) -> Iterator[EntrySigner]:
    """Yield the signers of an entry; none for other kinds of entry and unreadable ones."""
    try:
        spec = strict_json(body, "log entry")
    except GitchainError:
        return
    for raw in _materials(spec):
        found = _signer(raw, trust)
        if found is not None:
            yield found


def _materials(value: Json) -> Iterator[bytes]:
    """Yield the DER or PEM bytes of each certificate or key in a body."""
    spec = _at(value, "spec")
    verifier = _at(spec, "hashedRekordV002", "signature", "verifier")
    yield from _decoded(_at(verifier, "x509Certificate", "rawBytes"))
    yield from _decoded(_at(verifier, "publicKey", "rawBytes"))
    yield from _decoded(_at(spec, "signature", "publicKey", "content"))  # hashedrekord 0.0.1, rekord
    for path in (("signatures",), ("content", "envelope", "signatures")):  # dsse, intoto
        each = _at(spec, *path)
        for record in each[:32] if isinstance(each, list) else ():
            yield from _decoded(_at(record, "verifier"))
            yield from _decoded(_at(record, "publicKey"))


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


def _signer(raw: bytes, trust: Trust) -> EntrySigner | None:
    try:
        der = _der(raw)
        if der is None:
            key = Key.from_pem(raw) if raw.startswith(b"-----BEGIN PUBLIC KEY") else Key.load(raw)
            return EntrySigner(Identity(KEY_ISSUER, f"sha256:{key.digest}"), issued=True)
        identity = identity_of(load_certificate(der))
    except GitchainError:
        return None
    return EntrySigner(identity, _issued(der, trust))


def _der(raw: bytes) -> bytes | None:
    """Return the DER bytes of a certificate, or None for other content."""
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
