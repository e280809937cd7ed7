"""The instance's timestamp authority: RFC 3161 time-stamp tokens over SHA-256 imprints.

A token is CMS SignedData (RFC 5652) over a TSTInfo, with the signed attributes contentType, signingTime,
messageDigest and signingCertificateV2 (RFC 5035). genTime is in whole seconds. The nonce is echoed.
It does NOT keep time itself: the moment is an argument.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from gitchain.errors import MalformedError
from gitchain.instance import der

POLICY_OID = "2.25.316478519342567"  # names this kind of authority; from the arc that needs no registration
_SHA256 = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"))
_ECDSA_SHA256 = der.sequence(der.oid("1.2.840.10045.4.3.2"))
_SIGNED_DATA = der.oid("1.2.840.113549.1.7.2")
_TST_INFO = der.oid("1.2.840.113549.1.9.16.1.4")
_CONTENT_TYPE = der.oid("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST = der.oid("1.2.840.113549.1.9.4")
_SIGNING_TIME = der.oid("1.2.840.113549.1.9.5")
_SIGNING_CERTIFICATE_V2 = der.oid("1.2.840.113549.1.9.16.2.47")
_GRANTED = der.sequence(der.integer(0))
_IMPLICIT_0 = 0xA0


@dataclass(frozen=True, slots=True)
class TimestampRequest:
    """The imprint that a client wants to be timestamped, with its options."""

    imprint: bytes
    nonce: int | None
    certificates: bool


@dataclass(frozen=True, slots=True)
class EmbeddedTimestampAuthority:
    """Stamps imprints with one key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def stamp(self, request: TimestampRequest, now: datetime) -> bytes:
        """Return a granted DER TimeStampResp (RFC 3161 section 2.4.2)."""
        info = _tst_info(request, now)
        certificate = self.certificate.public_bytes(Encoding.DER)
        signed_data = der.sequence(
            der.integer(3),
            der.set_of(_SHA256),
            der.sequence(_TST_INFO, der.explicit(0, der.octets(info))),
            der.set_of(certificate, tag=_IMPLICIT_0) if request.certificates else b"",
            der.set_of(self._signer_info(info, certificate, now)),
        )
        return der.sequence(_GRANTED, der.sequence(_SIGNED_DATA, der.explicit(0, signed_data)))

    def _signer_info(self, info: bytes, certificate: bytes, now: datetime) -> bytes:
        attributes = (
            _attribute(_CONTENT_TYPE, _TST_INFO),
            _attribute(_SIGNING_TIME, der.time(now)),
            _attribute(_MESSAGE_DIGEST, der.octets(sha256(info).digest())),
            _attribute(
                _SIGNING_CERTIFICATE_V2,
                der.sequence(der.sequence(der.sequence(der.octets(sha256(certificate).digest())))),
            ),
        )
        signature = self.key.sign(der.set_of(*attributes), ec.ECDSA(hashes.SHA256()))
        issuer = self.certificate.issuer.public_bytes()
        return der.sequence(
            der.integer(1),
            der.sequence(issuer, der.integer(self.certificate.serial_number)),
            _SHA256,
            der.set_of(*attributes, tag=_IMPLICIT_0),
            _ECDSA_SHA256,
            der.octets(signature),
        )


def checked(algorithm: str, digest: object, nonce: object, *, certificates: bool) -> TimestampRequest:
    """Return a request of checked parts. Raises MalformedError unless it is SHA-256 with a natural nonce."""
    if algorithm != "sha256" or not isinstance(digest, bytes) or len(digest) != 32:
        raise MalformedError(
            "only SHA-256 imprints are stamped", expected="sha256, 32 bytes", got=str(algorithm)[:40]
        )
    if nonce is not None and (not isinstance(nonce, int) or nonce < 0 or nonce.bit_length() > 512):
        raise MalformedError("the nonce of the timestamp request is out of bounds")
    return TimestampRequest(digest, nonce, certificates)


def _tst_info(request: TimestampRequest, now: datetime) -> bytes:
    return der.sequence(
        der.integer(1),
        der.oid(POLICY_OID),
        der.sequence(_SHA256, der.octets(request.imprint)),
        der.integer(secrets.randbits(120)),
        der.generalized_time(now),
        b"" if request.nonce is None else der.integer(request.nonce),
    )


def _attribute(kind: bytes, value: bytes) -> bytes:
    return der.sequence(kind, der.set_of(value))
