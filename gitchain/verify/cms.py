"""Parse CMS signatures in the profile of gitsign, in DER. Everything else is refused.

    ContentInfo { signedData, SignedData { 1, {sha256}, {data, absent}, [0] {leaf}, {SignerInfo} } }
    SignerInfo { 1, {issuer, serial}, sha256, [0] signed, ecdsa-with-SHA256, signature, [1] unsigned }

The signed attributes are contentType (data), messageDigest and at most signingTime, which is an unproven
time and is not used. The signature is over their DER as a SET (tag 0x31). Unsigned attributes are the log entry
(1.3.6.1.4.1.57264.3.1) and RFC 3161 timestamps (1.2.840.113549.1.9.16.2.14). One signer, one certificate, no content.

Format: https://www.rfc-editor.org/rfc/rfc5652, https://github.com/sigstore/gitsign. Does NOT verify anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from cryptography import x509
from cryptography.hazmat import asn1

from gitchain.errors import MalformedError, SignatureError
from gitchain.verify.certificate import load_certificate

T = TypeVar("T")

MAX_TIMESTAMPS = 32
"""Most timestamps, as in bundles; one is usual."""


def _oid(text: str) -> x509.ObjectIdentifier:
    return x509.ObjectIdentifier(text)


SIGNED_DATA, DATA = _oid("1.2.840.113549.1.7.2"), _oid("1.2.840.113549.1.7.1")
SHA256, ECDSA_SHA256 = _oid("2.16.840.1.101.3.4.2.1"), _oid("1.2.840.10045.4.3.2")
CONTENT_TYPE, MESSAGE_DIGEST = _oid("1.2.840.113549.1.9.3"), _oid("1.2.840.113549.1.9.4")
SIGNING_TIME = _oid("1.2.840.113549.1.9.5")
LOG_ENTRY, TIMESTAMP = _oid("1.3.6.1.4.1.57264.3.1"), _oid("1.2.840.113549.1.9.16.2.14")


@asn1.sequence
class AlgorithmIdentifier:
    """AlgorithmIdentifier without parameters, or with NULL."""

    algorithm: x509.ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class Attribute:
    """Attribute: a type and its values."""

    type: x509.ObjectIdentifier
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class IssuerAndSerial:
    """IssuerAndSerialNumber of the signer's certificate."""

    issuer: asn1.TLV
    serial: int


@asn1.sequence
class SignerInfo:
    """SignerInfo."""

    version: int
    sid: IssuerAndSerial
    digest: AlgorithmIdentifier
    signed: Annotated[asn1.SetOf[Attribute], asn1.Implicit(0)]
    algorithm: AlgorithmIdentifier
    signature: bytes
    unsigned: Annotated[asn1.SetOf[Attribute] | None, asn1.Implicit(1)]


@asn1.sequence
class EncapsulatedContentInfo:
    """EncapsulatedContentInfo without content: the signature is detached."""

    type: x509.ObjectIdentifier


@asn1.sequence
class SignedData:
    """SignedData without revocation lists."""

    version: int
    digests: asn1.SetOf[AlgorithmIdentifier]
    content: EncapsulatedContentInfo
    certificates: Annotated[asn1.SetOf[asn1.TLV], asn1.Implicit(0)]
    signers: asn1.SetOf[SignerInfo]


@asn1.sequence
class ContentInfo:
    """ContentInfo with SignedData."""

    type: x509.ObjectIdentifier
    content: Annotated[SignedData, asn1.Explicit(0)]


@asn1.sequence
class _PkiStatus:
    """PKIStatusInfo: status 0 (granted), without optional fields."""

    status: int


@asn1.sequence
class _TimestampResponse:
    """TimeStampResp with a token."""

    status: _PkiStatus
    token: asn1.TLV


@dataclass(frozen=True, slots=True)
class CmsSignature:
    """A parsed signature: leaf certificate, signed bytes, and the content digest among them.

    `entry` is the log entry in protobuf, None if there is none; `timestamps` are whole RFC 3161 responses.
    """

    certificate: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    message_digest: bytes
    signature: bytes = field(repr=False)
    entry: bytes | None = field(repr=False)
    timestamps: tuple[bytes, ...] = field(repr=False)


def parse_cms(der: bytes) -> CmsSignature:
    """Return the parsed signature. Raises MalformedError or SignatureError outside of the profile above."""
    try:
        info = asn1.decode_der(ContentInfo, der)
    except ValueError as error:
        raise MalformedError("not a CMS signature as gitsign makes them", got=str(error)[:200]) from error
    data = info.content
    signer = _only(data.signers.as_list(), "signers")
    _check_profile(info, signer)
    certificate = asn1.encode_der(_only(data.certificates.as_list(), "certificates"))
    _check_signer(certificate, signer.sid)
    signed = _attributes(signer.signed)
    if not signed.keys() <= {CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME}:
        raise SignatureError("unknown signed attribute", got=_names(signed))
    if _value(signed, CONTENT_TYPE, x509.ObjectIdentifier) != DATA:
        raise SignatureError("signature is over another type of content", expected=DATA.dotted_string)
    unsigned = {} if signer.unsigned is None else _attributes(signer.unsigned)
    if not unsigned.keys() <= {LOG_ENTRY, TIMESTAMP}:
        raise SignatureError("unknown unsigned attribute", got=_names(unsigned))
    return CmsSignature(
        certificate,
        asn1.encode_der(signer.signed),
        _value(signed, MESSAGE_DIGEST, bytes),
        signer.signature,
        _value(unsigned, LOG_ENTRY, bytes) if LOG_ENTRY in unsigned else None,
        tuple(
            asn1.encode_der(_TimestampResponse(status=_PkiStatus(status=0), token=one))
            for one in _stamps(unsigned)
        ),
    )


def _check_profile(info: ContentInfo, signer: SignerInfo) -> None:
    """Check that versions, types and algorithms are those that gitsign writes."""
    data = info.content
    digests = [one.algorithm for one in data.digests.as_list()]
    found = (info.type, data.version, digests, data.content.type, signer.version, signer.digest.algorithm)
    if found != (SIGNED_DATA, 1, [SHA256], DATA, 1, SHA256):
        raise SignatureError(
            "CMS signature is of another version, type or digest", expected="SignedData of data with SHA-256"
        )
    if signer.algorithm.algorithm != ECDSA_SHA256:
        got = signer.algorithm.algorithm.dotted_string
        raise SignatureError("signature is of an unknown algorithm", expected="ecdsa-with-SHA256", got=got)


def _check_signer(certificate: bytes, sid: IssuerAndSerial) -> None:
    """Check that the certificate is the one that SignerInfo names."""
    found = load_certificate(certificate)
    if (found.issuer.public_bytes(), found.serial_number) != (asn1.encode_der(sid.issuer), sid.serial):
        raise SignatureError("signer names another certificate", got=f"serial number {sid.serial}")


_Attributes = Mapping[x509.ObjectIdentifier, Sequence[asn1.TLV]]


def _attributes(source: asn1.SetOf[Attribute]) -> _Attributes:
    found = source.as_list()
    values = {one.type: one.values.as_list() for one in found}
    if len(values) != len(found):
        raise SignatureError("attribute occurs twice")
    return values


def _value(source: _Attributes, oid: x509.ObjectIdentifier, kind: type[T]) -> T:
    """Return the single value of an attribute. Raises SignatureError or MalformedError."""
    one = _only(source.get(oid, ()), f"values of attribute {oid.dotted_string}")
    try:
        value: T = one.parse(kind)
    except ValueError as error:
        raise MalformedError(
            "attribute is malformed", where=oid.dotted_string, got=str(error)[:100]
        ) from error
    return value


def _stamps(source: _Attributes) -> Sequence[asn1.TLV]:
    found = source.get(TIMESTAMP, ())
    if len(found) > MAX_TIMESTAMPS:
        raise SignatureError("too many timestamps", expected=f"at most {MAX_TIMESTAMPS}", got=str(len(found)))
    return found


def _names(source: _Attributes) -> str:
    return " ".join(sorted(one.dotted_string for one in source))


def _only(items: Sequence[T], what: str) -> T:
    if len(items) != 1:
        raise SignatureError(f"there must be one of the {what}", expected="1", got=str(len(items)))
    return items[0]
