"""The instance's keys and certificates on disk: `keys/<role>.pem` and `keys/certificates.pem`.

Roles: `log` (Ed25519, signs checkpoints), `ca` (issues certificates), `ct` (signs SCTs), `oidc` (signs
tokens), `tsa` (signs timestamps); all but the log's are ECDSA P-256. The root's key signs once at creation
and is not kept.
It does NOT encrypt: the directory's permissions are the protection, as for an ssh key without a passphrase.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gitchain.errors import TrustError
from gitchain.instance.directory import check_private, read_private, sync_directory, write_durable
from gitchain.instance.info import HELP_BROKEN, InstanceInfo
from gitchain.platform.files import make_private

EC_ROLES = ("ca", "ct", "oidc", "tsa")
CERTIFICATES = "certificates.pem"
MAX_FILE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class InstanceKeys:
    """Every private key of an instance and the certificates that its root issued."""

    log: ed25519.Ed25519PrivateKey
    ca: ec.EllipticCurvePrivateKey
    ct: ec.EllipticCurvePrivateKey
    oidc: ec.EllipticCurvePrivateKey
    tsa: ec.EllipticCurvePrivateKey
    root_certificate: x509.Certificate
    ca_certificate: x509.Certificate
    tsa_certificate: x509.Certificate

    @property
    def log_public(self) -> bytes:
        """The log's raw 32-byte public key."""
        return self.log.public_key().public_bytes_raw()


def generate(created: datetime) -> tuple[InstanceKeys, InstanceInfo]:
    """Make all keys of a new instance and name it."""
    log = ed25519.Ed25519PrivateKey.generate()
    info = InstanceInfo.new(log.public_key().public_bytes_raw(), created)
    root, ca, ct, oidc, tsa = (ec.generate_private_key(ec.SECP256R1()) for _ in range(5))
    root_certificate = _authority(info, "root", root, None)
    ca_certificate = _authority(info, "certificate authority", ca, (root, root_certificate))
    tsa_certificate = _timestamper(info, tsa, root, root_certificate)
    return InstanceKeys(log, ca, ct, oidc, tsa, root_certificate, ca_certificate, tsa_certificate), info


def save(keys: InstanceKeys, directory: Path) -> None:
    """Write every key durably, 0600, into a new 0700 directory."""
    make_private(directory)
    for role in ("log", *EC_ROLES):
        pem = getattr(keys, role).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_durable(directory / f"{role}.pem", pem)
    certificates = (keys.root_certificate, keys.ca_certificate, keys.tsa_certificate)
    write_durable(
        directory / CERTIFICATES, b"".join(item.public_bytes(Encoding.PEM) for item in certificates)
    )
    sync_directory(directory)


def load(directory: Path) -> InstanceKeys:
    """Read every key. Raises TrustError if one is missing, readable by others, or unsuitable for its role."""
    check_private(directory)
    try:
        log = load_pem_private_key(read_private(directory / "log.pem", MAX_FILE_BYTES), None)
        others = [
            load_pem_private_key(read_private(directory / f"{role}.pem", MAX_FILE_BYTES), None)
            for role in EC_ROLES
        ]
        chain = x509.load_pem_x509_certificates(read_private(directory / CERTIFICATES, MAX_FILE_BYTES))
        return _checked(log, others, chain)
    except (ValueError, TypeError) as error:
        raise TrustError(
            "a key of the local instance is broken", where=str(directory), help=HELP_BROKEN
        ) from error


def public_der(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    """Return the SubjectPublicKeyInfo."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _checked(log: object, others: Sequence[object], chain: list[x509.Certificate]) -> InstanceKeys:
    if not isinstance(log, ed25519.Ed25519PrivateKey) or len(chain) != 3:
        raise ValueError
    narrowed = [key for key in others if isinstance(key, ec.EllipticCurvePrivateKey)]
    ca, ct, oidc, tsa = narrowed
    keys = InstanceKeys(log, ca, ct, oidc, tsa, *chain)
    pairs = ((ca, keys.ca_certificate), (tsa, keys.tsa_certificate))
    if any(public_der(key.public_key()) != _spki(certificate) for key, certificate in pairs):
        raise ValueError
    return keys


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _builder(
    info: InstanceInfo, role: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate | None
) -> x509.CertificateBuilder:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "gitchain local instance"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{info.origin} {role}"),
        ]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    above = (
        identifier
        if issuer is None
        else issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(info.valid_from)
        .not_valid_after(info.valid_until - timedelta(seconds=1))
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above), critical=False)
    )


def _authority(
    info: InstanceInfo,
    role: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None,
) -> x509.Certificate:
    signer, above = issuer or (key, None)
    return (
        _builder(info, role, key, above)
        .add_extension(
            x509.BasicConstraints(ca=True, path_length=None if above is None else 0), critical=True
        )
        .add_extension(key_usage(certificates=True), critical=True)
        .sign(signer, hashes.SHA256())
    )


def _timestamper(
    info: InstanceInfo,
    key: ec.EllipticCurvePrivateKey,
    root: ec.EllipticCurvePrivateKey,
    above: x509.Certificate,
) -> x509.Certificate:
    return (
        _builder(info, "timestamp authority", key, above)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .sign(root, hashes.SHA256())
    )


def key_usage(*, certificates: bool) -> x509.KeyUsage:
    """Return the KeyUsage of a CA, or of a certificate that signs data."""
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
