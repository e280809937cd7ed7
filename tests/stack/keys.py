"""Keys and certificates of the tests' stack, made anew for each stack and thrown away with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gitchain.evidence.cosignature import ED25519_COSIGNATURE, VerifierKey

PASSWORD = "stack"  # the file CA and the timestamp authority take no key without one
VALID_FOR = timedelta(days=30)
ALREADY = timedelta(minutes=5)

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Authority:
    """A chain, leaf first and root last, and the leaf's key."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]


def write_private(file: Path, key: PrivateKey, *, password: str = "", old_format: bool = False) -> None:
    """Write a key as PKCS #8, or in OpenSSL's older format, which the CT log wants."""
    shape = PrivateFormat.TraditionalOpenSSL if old_format else PrivateFormat.PKCS8
    sealed = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    file.touch(mode=0o600)
    file.write_bytes(key.private_bytes(Encoding.PEM, shape, sealed))


def witness(home: Path, name: str, url: str) -> str:
    """Write the key of a witness of ours where `gitchain monitor --witness` looks; return its line of a policy."""
    key = ed25519.Ed25519PrivateKey.generate()
    home.mkdir(mode=0o700)
    write_private(home / "witness.pem", key)
    verifier = VerifierKey(name, ED25519_COSIGNATURE, key.public_key().public_bytes_raw())
    return f"witness w {verifier} {url}"


def write_public(file: Path, key: PrivateKey) -> None:
    """Write the public half as PEM."""
    file.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def public_der(key: PrivateKey) -> bytes:
    """Return the public half as SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def write_chain(file: Path, chain: tuple[x509.Certificate, ...]) -> None:
    """Write certificates as PEM, in this order."""
    file.write_bytes(b"".join(item.public_bytes(Encoding.PEM) for item in chain))


def certificate_authority() -> Authority:
    """Return a root that signs certificates itself, as a file CA does."""
    key = ec.generate_private_key(ec.SECP384R1())
    return Authority(key, (_root("gitchain test CA", key, path_length=1),))


def timestamp_authority() -> Authority:
    """Return a chain of two: the leaf may sign timestamps and nothing else (RFC 3161 section 2.3)."""
    root_key, key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
    root = _root("gitchain test TSA root", root_key, path_length=0)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    leaf = (
        _builder("gitchain test TSA", key, issuer=root.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        .sign(root_key, hashes.SHA384())
    )
    return Authority(key, (leaf, root))


def _root(name: str, key: ec.EllipticCurvePrivateKey, *, path_length: int) -> x509.Certificate:
    return (
        _builder(name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA384())
    )


def _builder(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name | None = None
) -> x509.CertificateBuilder:
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "gitchain.test")]
    subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - ALREADY)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(**allowed: bool) -> x509.KeyUsage:
    names: tuple[str, ...] = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
    )
    names += ("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**(dict.fromkeys(names, False) | allowed))
