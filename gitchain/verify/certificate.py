"""Check the signer's certificate: its identity, its chain to a trusted authority, and its CT log timestamp.

 C1 a chain leads from it to a certificate authority, every certificate of it valid at each proven time
 C2 a certificate timestamp (SCT) in it is signed by a CT log of the trusted root
 C3 it may sign code: key usage, extended key usage, and it is no authority itself
 C4 a chain in a bundle has no root certificate, which could be mistaken for a trusted one
 T2 that authority was in use at each proven time (its window in the trusted root)
 T3 that CT log was in use at each proven time

`cryptography` builds the chain from the trusted root alone. The cache holds that a chain and an SCT verify; each
time is checked every time.

Spec: https://www.rfc-editor.org/rfc/rfc5280, SCT: https://www.rfc-editor.org/rfc/rfc6962#section-3.2
Does NOT check revocation: these certificates live for ten minutes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.certificate_transparency import SignedCertificateTimestamp
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store

from gitchain.errors import SignatureError
from gitchain.evidence.bundle import CertificateSigner
from gitchain.layout.model import Identity
from gitchain.verify.identity import claims_of, identity_of
from gitchain.verify.keys import Key, load_log_key
from gitchain.verify.trust import LogKey, Trust, TrustedAuthority

MAX_SCTS = 16
"""Most certificate timestamps that are tried. Public authorities embed one; web certificates have two or three."""

_PRECERTIFICATE = 1  # the type of entry of every SCT that is embedded in a certificate

_CA = ExtensionPolicy.webpki_defaults_ca().may_be_present(
    x509.ExtendedKeyUsage, Criticality.NON_CRITICAL, None
)
_LEAF = ExtensionPolicy.webpki_defaults_ee().may_be_present(
    x509.ExtendedKeyUsage, Criticality.NON_CRITICAL, None
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate for signing, parsed. It is not verified: check_certificate() does that."""

    raw: bytes = field(repr=False)
    certificate: x509.Certificate = field(repr=False)
    key: Key
    identity: Identity
    claims: Mapping[str, str] = field(hash=False)
    digest: bytes


def leaf_of(signer: CertificateSigner, trust: Trust) -> Leaf:
    """Return the signer's certificate. Raises SignatureError unless it is for signing and has one identity (C3, C4, B4)."""
    for raw in signer.others:
        _check_no_root(raw)  # C4
    digest = hashlib.sha256(signer.leaf).digest()
    return trust.memory.once("leaf", digest, lambda: _read(signer.leaf, digest))


def check_certificate(leaf: Leaf, trust: Trust, times: Sequence[datetime]) -> None:
    """Raise SignatureError unless the certificate was issued under this trusted root and valid at each of these times."""
    for time in times:
        chain = _chain(leaf, trust, time)  # C1, T2
        _check_ct_log(leaf, chain[1], trust, time)  # C2, T3


def _read(raw: bytes, digest: bytes) -> Leaf:
    certificate = load_certificate(raw)
    check_usage(certificate)  # C3
    return Leaf(
        raw,
        certificate,
        Key.of(certificate.public_key()),
        identity_of(certificate),
        claims_of(certificate),
        digest,
    )


def load_certificate(raw: bytes) -> x509.Certificate:
    """Return the parsed certificate. Raises SignatureError if its extensions or its key cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(raw)
        certificate.public_key()
        certificate.extensions  # noqa: B018 - reads them
    except Exception as error:  # of many types, each for an unreadable certificate
        raise SignatureError("certificate cannot be read", got=str(error)[:200]) from error
    return certificate


def check_usage(certificate: x509.Certificate) -> None:
    """C3: check that it was issued for code signing, and not for issuing certificates."""
    extensions = certificate.extensions
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound as error:
        raise SignatureError("certificate does not state its key usage", got=str(error)) from error
    if not usage.digital_signature or usage.key_cert_sign:
        raise SignatureError("certificate is not for signing", expected="key usage digital signature alone")
    if ExtendedKeyUsageOID.CODE_SIGNING not in extended:
        raise SignatureError(
            "certificate is not for signing code", expected="extended key usage code signing"
        )


def _check_no_root(raw: bytes) -> None:
    """C4: check that no certificate of the chain is self-signed."""
    certificate = load_certificate(raw)
    if certificate.subject == certificate.issuer:
        raise SignatureError(
            "bundle carries a root certificate",
            expected="the signer's certificate, and intermediates at most",
            got=certificate.subject.rfc4514_string()[:200],
        )


def _chain(leaf: Leaf, trust: Trust, time: datetime) -> Sequence[x509.Certificate]:
    """C1 and T2: return the chain from the leaf to an authority in its window, all certificates valid at the time."""
    problem = ""
    for number, authority in enumerate(trust.authorities):
        if not authority.window.contains(time):
            continue
        try:
            return _chain_to(authority, number, leaf, trust, time)
        except SignatureError as error:
            problem = problem or error.got
    if not problem:
        windows = "; ".join(str(authority.window) for authority in trust.authorities)
        raise SignatureError(
            "certificate authority was not in use at that time", expected=windows, got=time.isoformat()
        )
    raise SignatureError(
        "no certificate authority in use issued this certificate for that time",
        where=time.isoformat(),
        got=problem,
    )


def _chain_to(
    authority: TrustedAuthority, number: int, leaf: Leaf, trust: Trust, time: datetime
) -> Sequence[x509.Certificate]:
    certificates = _loaded(authority, number, trust)
    chain = trust.memory.once(
        "chain", (number, leaf.digest), lambda: _first(certificates, number, leaf, trust, time)
    )
    if not all(one.not_valid_before_utc <= time <= one.not_valid_after_utc for one in chain):
        # Either it was not valid then, or another chain leads to the authority for that time.
        return _build(certificates, leaf, time)
    return chain


def _first(
    certificates: Sequence[x509.Certificate], number: int, leaf: Leaf, trust: Trust, time: datetime
) -> Sequence[x509.Certificate]:
    """Return the chain of a new leaf: with the cached chain of its issuer if there is one, else from the root."""
    above = trust.memory.once("issuer", number, lambda: _above(_build(certificates, leaf, time)))
    if above:
        try:
            return (*_build(above[:1], leaf, time), *above[1:])
        except SignatureError:
            pass
    return _build(certificates, leaf, time)


def _above(chain: Sequence[x509.Certificate]) -> Sequence[x509.Certificate]:
    """Return the chain above the leaf, or nothing if it has name constraints, which depend on the leaf."""
    names = x509.NameConstraints.oid
    if any(extension.oid == names for one in chain[1:] for extension in one.extensions):
        return ()
    return chain[1:]


def _loaded(authority: TrustedAuthority, number: int, trust: Trust) -> Sequence[x509.Certificate]:
    return trust.memory.once(
        "authority",
        number,
        lambda: tuple(x509.load_der_x509_certificate(one) for one in authority.certificates),
    )


def _build(authority: Sequence[x509.Certificate], leaf: Leaf, time: datetime) -> Sequence[x509.Certificate]:
    """Return the chain from the leaf to the authority's last certificate, or raise SignatureError."""
    *intermediates, root = authority
    policy = PolicyBuilder().store(Store([root])).time(time)
    verifier = policy.extension_policies(ca_policy=_CA, ee_policy=_LEAF).build_client_verifier()
    try:
        return tuple(verifier.verify(leaf.certificate, intermediates).chain)
    except Exception as error:  # of several types, each for a chain that does not verify
        raise SignatureError("no chain to the authority", got=str(error)[:300]) from error


def _check_ct_log(leaf: Leaf, issuer: x509.Certificate, trust: Trust, time: datetime) -> None:
    """C2 and T3: check that a CT log, in use at the time, signed a timestamp for the certificate."""
    spki = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    issuer_id = hashlib.sha256(spki).digest()
    logs = trust.memory.once("sct", (leaf.digest, issuer_id), lambda: _ct_logs(leaf, issuer_id, trust))
    if not any(log.window.contains(time) for log in logs):
        windows = "; ".join(f"{log.host} {log.window}" for log in logs)
        raise SignatureError("CT log was not in use at that time", expected=windows, got=time.isoformat())


def _ct_logs(leaf: Leaf, issuer_id: bytes, trust: Trust) -> tuple[LogKey, ...]:
    """Return the CT logs of the trusted root that signed a timestamp for it. Raises SignatureError without any."""
    kind = x509.PrecertificateSignedCertificateTimestamps
    try:
        stamps = list(leaf.certificate.extensions.get_extension_for_class(kind).value)[:MAX_SCTS]
    except x509.ExtensionNotFound as error:
        raise SignatureError("certificate carries no certificate timestamp") from error
    found: list[LogKey] = []
    problem = "every one is of an unknown log"
    for stamp in stamps:
        for log in trust.ct_logs:
            if log.log_id == stamp.log_id:
                try:
                    _check_stamp(stamp, log, leaf.certificate, issuer_id)
                except SignatureError as error:
                    problem = str(error)
                else:
                    found.append(log)
    if not found:
        raise SignatureError("no certificate timestamp verifies", got=problem)
    return tuple(found)


def _check_stamp(
    stamp: SignedCertificateTimestamp, log: LogKey, certificate: x509.Certificate, issuer_id: bytes
) -> None:
    key = load_log_key(log.public_key, log.details)
    try:
        algorithm = stamp.signature_hash_algorithm
        signed = _signed_by_ct_log(stamp, certificate.tbs_precertificate_bytes, issuer_id)
    except ValueError as error:  # parsed lazily: a time after the year 9999, an unknown hash
        raise SignatureError("certificate timestamp cannot be read", got=str(error)) from error
    if not isinstance(algorithm, hashes.SHA256):
        raise SignatureError("certificate timestamp is signed with another digest", expected="SHA-256")
    key.verify(stamp.signature, signed)


def _signed_by_ct_log(stamp: SignedCertificateTimestamp, tbs: bytes, issuer_id: bytes) -> bytes:
    """Return the bytes that the CT log signed (RFC 6962 section 3.2), the extensions of Static CT included."""
    since = stamp.timestamp.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    milliseconds = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
    head = struct.pack("!BBQH32s", stamp.version.value, 0, milliseconds, _PRECERTIFICATE, issuer_id)
    extensions = stamp.extension_bytes
    return head + len(tbs).to_bytes(3) + tbs + len(extensions).to_bytes(2) + extensions
