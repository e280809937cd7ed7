"""The instance's certificate authority: Fulcio's certificate profile for one identity token and one key.

A leaf has an empty subject, the identity as its critical SAN, the issuer in Fulcio's OIDs .1.1 and .1.8, the
code-signing EKU, one embedded SCT, and lives ten minutes
(https://github.com/sigstore/fulcio/blob/main/docs/certificate-specification.md).
It does NOT issue CAs, renew, or revoke.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from gitchain.errors import MalformedError, SignatureError
from gitchain.instance import ct, der
from gitchain.instance.info import InstanceInfo, is_email
from gitchain.instance.keys import InstanceKeys, key_usage

CERTIFICATE_LIFETIME = timedelta(minutes=10)
ISSUER_V1_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")  # raw text
ISSUER_V2_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")  # DER UTF8String
SCT_OID = x509.ObjectIdentifier(ct.SCT_EXTENSION_OID)


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """Issues certificates of one instance."""

    info: InstanceInfo
    keys: InstanceKeys

    @property
    def chain(self) -> tuple[x509.Certificate, x509.Certificate]:
        """The issuing certificate, then the root."""
        return self.keys.ca_certificate, self.keys.root_certificate

    def issue(self, identity: str, key: ec.EllipticCurvePublicKey, now: datetime) -> x509.Certificate:
        """Return a certificate for `identity` and `key`, valid from `now`, with one SCT."""
        builder = self._leaf(identity, key, now)
        bare = builder.sign(self.keys.ca, hashes.SHA256()).tbs_certificate_bytes
        issuer = self.keys.ca.public_key()
        sct = x509.UnrecognizedExtension(SCT_OID, ct.sct_extension(self.keys.ct, issuer, bare, now))
        return builder.add_extension(sct, critical=False).sign(self.keys.ca, hashes.SHA256())

    def _leaf(self, identity: str, key: ec.EllipticCurvePublicKey, now: datetime) -> x509.CertificateBuilder:
        start = now.replace(microsecond=0)
        name = x509.RFC822Name(identity) if is_email(identity) else x509.UniformResourceIdentifier(identity)
        above = self.keys.ca_certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        issuer = self.info.issuer
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.keys.ca_certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + CERTIFICATE_LIFETIME)
            .add_extension(key_usage(certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above), critical=False
            )
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.UnrecognizedExtension(ISSUER_V1_OID, issuer.encode()), critical=False)
            .add_extension(x509.UnrecognizedExtension(ISSUER_V2_OID, der.utf8(issuer)), critical=False)
        )


def key_of_request(request: x509.CertificateSigningRequest) -> ec.EllipticCurvePublicKey:
    """Return the P-256 key that signed a certificate signing request. Raises SignatureError if it did not."""
    try:
        valid = request.is_signature_valid
        key = _p256(request.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedError("the key of the certificate request is not supported") from error
    if not valid:
        raise SignatureError("the certificate request is not signed by its own key")
    return key


def parse_request(pem: bytes) -> x509.CertificateSigningRequest:
    """Read a PEM certificate signing request; MalformedError otherwise."""
    try:
        return x509.load_pem_x509_csr(pem)
    except (ValueError, TypeError) as error:
        raise MalformedError("the certificate request is not PEM PKCS#10") from error


def key_with_proof(pem: bytes, proof: bytes, identity: str) -> ec.EllipticCurvePublicKey:
    """Return a PEM P-256 key whose holder signed `identity`. Raises SignatureError if it did not."""
    try:
        key = _p256(load_pem_public_key(pem))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedError("the public key is not a PEM P-256 key") from error
    try:
        key.verify(proof, identity.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise SignatureError("the holder of the public key did not sign the token's identity") from error
    return key


def _p256(key: object) -> ec.EllipticCurvePublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise MalformedError("the key of the certificate request is not supported", expected="ECDSA P-256")
