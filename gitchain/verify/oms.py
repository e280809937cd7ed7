"""Verify an OpenSSF model signature: by a Sigstore identity, a key, or a certificate under given authorities.

| signer | also proven |
|---|---|
| identity | time and log entry, by `gitchain.verify.bundle` |
| key, certificate, with a log entry | likewise (key), or refused (certificate) |
| key, certificate, without a log entry | nothing: neither the time nor publication |

Only model signatures may lack a log entry; evidence for layouts is never verified here. Without a proven time, a
certificate must be valid now:

 M1 a key that the caller named, or the certificate's, made the signature over the PAE of the envelope
 M2 a chain leads from the certificate to one of the authorities, each link issued by the next and valid now
 M3 it is for code signing, its issuers are authorities, and no extension of the chain is critical and unknown

Spec: https://github.com/ossf/model-signing-spec
Does NOT look at the model's files (`gitchain.consume.model_signature`), or at revocation lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from gitchain.errors import SignatureError
from gitchain.evidence.bundle import CertificateSigner, KeyHint, Unlogged
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.dsse import Envelope, pae
from gitchain.evidence.oms import ModelSignature, read_model_signature
from gitchain.evidence.statement import Statement
from gitchain.layout.model import KEY_ISSUER, Identity
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.certificate import check_usage, load_certificate
from gitchain.verify.keys import Key, verify_message
from gitchain.verify.trust import Trust
from gitchain.verify.verified import LogRef

MAX_CHAIN = 8
"""Most certificates from the signer's to an authority's."""

_READ = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName)
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


@dataclass(frozen=True, slots=True)
class VerifiedModel:
    """A verified model signature: signer and statement. `time` and `log` are None if they are not proven."""

    signature: ModelSignature
    signer: Identity | str
    time: datetime | None
    log: LogRef | None


def verify_model_by_identity(raw: bytes, trust: Trust, identity: Identity) -> VerifiedModel:
    """Return the verified signature of this identity. Raises the errors of `verify_bundle`, SignatureError for another."""
    found = verify_bundle(raw, trust)
    if found.identity != identity:
        raise SignatureError("another identity signed this", expected=str(identity), got=str(found.identity))
    return VerifiedModel(read_model_signature(found.statement), found.identity, found.time, found.log)


def verify_model_by_key(raw: bytes, trust: Callable[[], Trust], key: bytes) -> VerifiedModel:
    """Return the verified signature of this key (DER SubjectPublicKeyInfo). `trust` is called if there is a log entry.

    Raises MalformedError if it is no model signature, SignatureError if another key or a certificate signed,
    and the errors of `verify_bundle` if there is a log entry.
    """
    bundle = Unlogged.parse(raw)
    if not isinstance(bundle.signer, KeyHint):
        raise SignatureError("signed with a certificate", expected="a key", help="--certificate-chain FILE")
    if bundle.has_entry:
        found = verify_bundle(raw, trust(), (key,))
        return VerifiedModel(read_model_signature(found.statement), found.identity, found.time, found.log)
    loaded = Key.load(key)
    statement = _signed(bundle.envelope, loaded)  # M1
    signer = Identity(KEY_ISSUER, f"sha256:{loaded.digest}")
    return VerifiedModel(read_model_signature(statement), signer, None, None)


def verify_model_by_certificate(
    raw: bytes, authorities: Sequence[x509.Certificate], now: datetime
) -> VerifiedModel:
    """Return the verified signature of a certificate under one of these authorities.

    Raises MalformedError if it is no model signature, SignatureError unless M1 to M3 pass.
    """
    bundle = Unlogged.parse(raw)
    if not isinstance(bundle.signer, CertificateSigner):
        raise SignatureError("signed with a key", expected="a certificate", help="--key FILE")
    if bundle.has_entry:
        raise SignatureError(
            "signed by an identity, and logged",
            help="--certificate-identity IDENTITY --certificate-oidc-issuer URL",
        )
    leaf, *others = (load_certificate(one) for one in (bundle.signer.leaf, *bundle.signer.others))
    _check_chain(leaf, others, authorities, now)  # M2
    check_usage(leaf)  # M3
    statement = _signed(bundle.envelope, Key.of(leaf.public_key()))  # M1
    signer = f"{leaf.subject.rfc4514_string()} (certificate sha256:{sha256_hex(bundle.signer.leaf)})"
    return VerifiedModel(read_model_signature(statement), signer, None, None)


def _signed(envelope: Envelope, key: Key) -> Statement:
    """M1: return the statement that the key signed, read from the signed bytes."""
    verify_message(key, envelope.signature, pae(envelope.payload_type, envelope.payload))
    return Statement.parse(envelope.payload)


def _check_chain(
    leaf: x509.Certificate,
    others: Sequence[x509.Certificate],
    authorities: Sequence[x509.Certificate],
    now: datetime,
) -> None:
    """M2: check the chain from the signer's certificate to an authority, signature by signature."""
    at = leaf
    for depth in range(MAX_CHAIN):
        _check_one(at, now)
        if any(_issued(at, one, depth, now) for one in authorities):
            return
        above = next((one for one in others if _issued(at, one, depth, now)), None)
        if above is None:
            break
        at = above
    raise SignatureError(
        "the certificate has no chain to an accepted authority",
        expected=" or ".join(one.subject.rfc4514_string()[:200] for one in authorities) or "an authority",
        got=at.issuer.rfc4514_string()[:200],
    )


def _check_one(certificate: x509.Certificate, now: datetime) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= now <= end:
        raise SignatureError(
            "certificate is not valid now, and nothing proves when it signed",
            where=certificate.subject.rfc4514_string()[:200],
            expected=f"{start.isoformat()} to {end.isoformat()}",
            got=now.isoformat(),
        )
    unknown = [one for one in certificate.extensions if one.critical and not isinstance(one.value, _READ)]
    if unknown:  # M3
        raise SignatureError(
            "certificate has a critical extension that is not understood",
            got=unknown[0].oid.dotted_string,
        )


def _issued(certificate: x509.Certificate, issuer: x509.Certificate, below: int, now: datetime) -> bool:
    """Return whether the issuer issued it and is an authority: signature, name, key usage, path length, validity now."""
    extensions = issuer.extensions
    try:
        basic = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        certificate.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    short = basic.path_length is None or below <= basic.path_length
    strong = isinstance(certificate.signature_hash_algorithm, _HASHES)
    _check_one(issuer, now)
    return basic.ca and usage.key_cert_sign and short and strong
