"""Create CMS signatures of commits and tags like gitsign: with the certificate, the log entry and timestamps.

The signature is over the signed attributes, which contain the digest of the commit or tag. sigstore-python signs them
like a file, and its bundle is converted to the CMS structure. The signatures verify offline.

Verification is in `gitchain.verify.gitsigned`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from rfc3161_client import decode_timestamp_response
from sigstore.sign import Signer as SigstoreSigner

from gitchain.errors import TransportError
from gitchain.evidence.bundle import Bundle, CertificateSigner
from gitchain.evidence.dsse import MessageSignature
from gitchain.evidence.fields import encode_base64
from gitchain.evidence.logproto import entry_bytes
from gitchain.sign.failures import translated
from gitchain.sign.token import parse_token
from gitchain.verify import cms

if TYPE_CHECKING:
    from sigstore.models import Bundle as SigstoreBundle
    from sigstore.sign import SigningContext

LINE = 64
"""Characters of base64 in a line (RFC 7468 section 2)."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A key and the short-lived certificate for it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


class _GitCmsSigner(SigstoreSigner):
    """sigstore-python's signer, with a credential that is there already."""

    def __init__(self, context: SigningContext, credential: Credential) -> None:
        self._signing_ctx = context
        self._credential = credential

    @property
    def _private_key(self) -> ec.EllipticCurvePrivateKey:
        return self._credential.key

    def _signing_cert(self) -> x509.Certificate:
        return self._credential.certificate


def new_credential(context: SigningContext, token: str) -> Credential:
    """Return a fresh key with a certificate for the token's identity.

    AuthenticationError if the token is refused or expired. Raises TransportError if the authority fails or does not answer.
    """
    parsed = parse_token(token)
    with translated("the certificate authority"):
        signer = SigstoreSigner(parsed, context, cache=True)
        return Credential(signer._private_key, signer._signing_cert())  # noqa: SLF001 - no public way to keep them


def sign_payload(context: SigningContext, credential: Credential, payload: bytes, now: datetime) -> bytes:
    """Return the armored signature of these bytes, logged and timestamped. Raises TransportError if a service fails."""
    attributes = _signed_attributes(payload, now)
    signed = asn1.encode_der(attributes)
    with translated("signing"):
        bundle = _GitCmsSigner(context, credential).sign_artifact(signed)
    return armored(_assemble(attributes, bundle))


def armored(der: bytes) -> bytes:
    """Return a CMS signature as Git keeps it."""
    text = encode_base64(der)
    lines = [text[at : at + LINE] for at in range(0, len(text), LINE)]
    return "\n".join(["-----BEGIN SIGNED MESSAGE-----", *lines, "-----END SIGNED MESSAGE-----", ""]).encode()


def _signed_attributes(payload: bytes, now: datetime) -> asn1.SetOf[cms.Attribute]:
    """Return contentType, signingTime and messageDigest; as a set they are encoded in DER's order."""
    time = now.replace(microsecond=0)
    return asn1.SetOf(
        [
            _attribute(cms.CONTENT_TYPE, cms.DATA),
            _attribute(cms.SIGNING_TIME, asn1.UTCTime(time)),
            _attribute(cms.MESSAGE_DIGEST, hashlib.sha256(payload).digest()),
        ]
    )


def _assemble(attributes: asn1.SetOf[cms.Attribute], source: SigstoreBundle) -> bytes:
    bundle = Bundle.parse_any(source.to_json().encode())
    if not isinstance(bundle.content, MessageSignature) or not isinstance(bundle.signer, CertificateSigner):
        raise TransportError("the services' answers make no signature of a file", help="try again")
    certificate = x509.load_der_x509_certificate(bundle.signer.leaf)
    unsigned = [_attribute(cms.LOG_ENTRY, entry_bytes(bundle.entry))]
    if (
        bundle.timestamps and bundle.entry.promise is None
    ):  # gitsign 0.17.1 takes no timestamp beside a promise
        unsigned.append(
            cms.Attribute(type=cms.TIMESTAMP, values=asn1.SetOf([*map(_token, bundle.timestamps)]))
        )
    sid = cms.IssuerAndSerial(
        issuer=asn1.decode_der(asn1.TLV, certificate.issuer.public_bytes()), serial=certificate.serial_number
    )
    signer = cms.SignerInfo(
        version=1,
        sid=sid,
        digest=cms.AlgorithmIdentifier(algorithm=cms.SHA256, parameters=None),
        signed=attributes,
        algorithm=cms.AlgorithmIdentifier(algorithm=cms.ECDSA_SHA256, parameters=None),
        signature=bundle.content.signature,
        unsigned=asn1.SetOf(unsigned),
    )
    data = cms.SignedData(
        version=1,
        digests=asn1.SetOf([cms.AlgorithmIdentifier(algorithm=cms.SHA256, parameters=None)]),
        content=cms.EncapsulatedContentInfo(type=cms.DATA),
        certificates=asn1.SetOf([asn1.decode_der(asn1.TLV, certificate.public_bytes(Encoding.DER))]),
        signers=asn1.SetOf([signer]),
    )
    return asn1.encode_der(cms.ContentInfo(type=cms.SIGNED_DATA, content=data))


def _token(response: bytes) -> asn1.TLV:
    """Return the token in a timestamp response: CMS keeps that alone."""
    return asn1.decode_der(asn1.TLV, decode_timestamp_response(response).time_stamp_token())


def _attribute(kind: x509.ObjectIdentifier, value: object) -> cms.Attribute:
    return cms.Attribute(type=kind, values=asn1.SetOf([asn1.decode_der(asn1.TLV, asn1.encode_der(value))]))
