"""Certificates with any certificate timestamps, and authorities of our own above the instance's issuing key."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from gitchain.instance import Instance, ca, ct, der
from gitchain.instance.keys import key_usage, public_der
from gitchain.instance.tsa import EmbeddedTimestampAuthority, TimestampRequest
from tests.support.forged_bundles import Forge, b64

Sct = Callable[[bytes], bytes]
ROOT_KEY = ec.derive_private_key(21, ec.SECP256R1())


def sct(
    key: ec.EllipticCurvePrivateKey,
    issuer: ec.EllipticCurvePublicKey,
    *,
    extensions: bytes = b"",
    log_id: bytes | None = None,
    digest: int = 4,
    spoil: bool = False,
    moment: int | None = None,
) -> Sct:
    """Return what signs a precertificate as a CT log does; `digest` is RFC 5246's number of the hash."""

    def make(precertificate: bytes) -> bytes:
        time = int(datetime.now(UTC).timestamp() * 1000) if moment is None else moment
        head = struct.pack(">BBQH", 0, 0, time, 1) + hashlib.sha256(public_der(issuer)).digest()
        tail = struct.pack(">H", len(extensions)) + extensions
        data = head + len(precertificate).to_bytes(3, "big") + precertificate + tail
        algorithm = {5: hashes.SHA384()}.get(digest, hashes.SHA256())
        signature = key.sign(data + b"x" * spoil, ec.ECDSA(algorithm))
        known = ct.log_id(key.public_key()) if log_id is None else log_id
        signed = bytes([digest, 3]) + struct.pack(">H", len(signature)) + signature
        return struct.pack(">B32sQ", 0, known, time) + tail + signed

    return make


@dataclass
class SctForge(Forge):
    """A signer whose certificates hold these certificate timestamps, none if there are none."""

    scts: Sequence[Sct] = ()

    def certificate(self) -> x509.Certificate:
        keys = self.instance.keys
        builder = ca.CertificateAuthority(self.instance.info, keys)._leaf(
            self.identity, self.key.public_key(), datetime.now(UTC)
        )
        builder._extensions = self.extensions(list(builder._extensions))
        bare = builder.sign(keys.ca, hashes.SHA256()).tbs_certificate_bytes
        if self.scts:
            made = [one(bare) for one in self.scts]
            items = b"".join(struct.pack(">H", len(one)) + one for one in made)
            value = der.octets(struct.pack(">H", len(items)) + items)
            builder = builder.add_extension(x509.UnrecognizedExtension(ca.SCT_OID, value), critical=False)
        return builder.sign(keys.ca, hashes.SHA256())


def certified(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    above: x509.Certificate | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    stamping: bool = False,
    constraints: x509.NameConstraints | None = None,
) -> x509.Certificate:
    """Return a certificate that ROOT_KEY signed: an authority's, or a timestamp authority's; a root's without `above`."""
    now = datetime.now(UTC).replace(microsecond=0)
    signer = x509.SubjectKeyIdentifier.from_public_key(ROOT_KEY.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if above is None else above.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start or now - timedelta(days=1))
        .not_valid_after(end or now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer), critical=False)
        .add_extension(x509.BasicConstraints(ca=not stamping, path_length=None), critical=True)
        .add_extension(key_usage(certificates=not stamping), critical=True)
    )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    if stamping:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(ROOT_KEY, hashes.SHA256())


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def our_root() -> x509.Certificate:
    return certified(named("a root of our own"), ROOT_KEY.public_key())


def intermediate(
    instance: Instance, root: x509.Certificate, *, start: datetime, end: datetime
) -> x509.Certificate:
    """Return a certificate for the instance's issuing key under our root."""
    keys = instance.keys
    return certified(keys.ca_certificate.subject, keys.ca.public_key(), above=root, start=start, end=end)


def entry_of_root(start: datetime, *chain: x509.Certificate) -> dict[str, Any]:
    """Return a certificate or timestamp authority as a trusted root holds it."""
    return {
        "subject": {"organization": "tests", "commonName": "tests"},
        "uri": "https://tests.example.com",
        "certChain": {"certificates": [{"rawBytes": b64(one.public_bytes(Encoding.DER))} for one in chain]},
        "validFor": {"start": f"{start:%Y-%m-%dT%H:%M:%SZ}"},
    }


def stamp(
    key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, signature: bytes, at: datetime
) -> bytes:
    """Return a timestamp by any key and certificate."""
    request = TimestampRequest(hashlib.sha256(signature).digest(), None, certificates=True)
    return EmbeddedTimestampAuthority(key, certificate).stamp(request, at)
