"""A bundle and a trusted root to a VerifiedStatement: the only door through which evidence comes in.

 1. The bundle is parsed strictly (`gitchain.evidence.bundle`).
 2. sigstore-python verifies it: certificate chain, SCT, log entry, timestamp, signature, entry against envelope.
 3. The checks that sigstore-python leaves to its callers follow, each with its number:
    B1 payload type, B2 the two parsers read the same payload, B3 statement from exactly these bytes,
    B4 one identity, T1 time, T2 certificate authority in its window, T3 CT log in its window,
    L1 to L8 the log entry (`gitchain.verify.logged`).

The proven time is a timestamp authority's, or that of a signed entry timestamp; an integrated time without
one is ignored. Does NOT check revocation, freshness, or consistency between checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.certificate_transparency import SignedCertificateTimestamp
from rfc3161_client import VerificationError as TimestampError
from rfc3161_client import VerifierBuilder, decode_timestamp_response
from sigstore.models import Bundle as SigstoreBundle

from gitchain.errors import SignatureError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE
from gitchain.evidence.statement import Statement
from gitchain.layout.model import Identity
from gitchain.verify.identity import claims_of, identity_of
from gitchain.verify.logged import check_entry
from gitchain.verify.trust import Authority, Trust
from gitchain.verify.verified import LogRef, VerifiedStatement

__all__ = ["Identity", "LogRef", "VerifiedStatement", "verify_bundle"]


def verify_bundle(raw: bytes, trust: Trust, keys: Sequence[bytes] = ()) -> VerifiedStatement:
    """Return what the bundle proves.

    `keys` are those that the verifier's policy names (DER SubjectPublicKeyInfo): a key never comes from the bundle.

    Raises MalformedError or LimitError if it is no bundle or its payload no statement, SignatureError if
    signature, certificate or time do not verify, InclusionError if the log entry does not.
    """
    del keys  # bundles signed with a key are refused by the parser for now
    bundle = Bundle.parse(raw)
    witness = _Witness()
    payload = _verified_payload(raw, bundle, trust, witness)  # B1, B2
    statement = Statement.parse(payload)  # B3
    certificate = witness.certificate()
    identity, claims = identity_of(certificate), claims_of(certificate)  # B4
    time = _proven_time(bundle, trust)  # T1
    _check_authority(certificate, trust, time)  # T2
    _check_ct_log(certificate, trust, time)  # T3
    log = check_entry(bundle.entry, trust, time)  # L1 to L8
    return VerifiedStatement(statement, identity, time, log, statement.attestation_id, raw, claims)


class _Witness:
    """A sigstore policy that accepts every identity and keeps the certificate that was verified."""

    def __init__(self) -> None:
        self._seen: x509.Certificate | None = None

    def verify(self, cert: x509.Certificate) -> None:
        self._seen = cert

    def certificate(self) -> x509.Certificate:
        if self._seen is None:
            raise SignatureError("no certificate was verified")
        return self._seen


def _verified_payload(raw: bytes, bundle: Bundle, trust: Trust, witness: _Witness) -> bytes:
    try:
        kind, payload = trust.verifier.verify_dsse(SigstoreBundle.from_json(raw), witness)
    except Exception as error:  # of many types, some not its own: any of them means not verified
        reason = str(error) or type(error).__name__
        raise SignatureError(
            "bundle does not verify", where=bundle.attestation_id[:12], got=reason[:500]
        ) from error
    if kind != IN_TOTO_PAYLOAD_TYPE:  # B1
        raise SignatureError(
            "payload is not an in-toto statement", expected=IN_TOTO_PAYLOAD_TYPE, got=kind[:100]
        )
    if payload != bundle.envelope.payload:  # B2
        raise SignatureError("bundle can be read in two ways", where=bundle.attestation_id[:12])
    return payload


def _proven_time(bundle: Bundle, trust: Trust) -> datetime:
    """T1: the earliest time that somebody of the trusted root vouched for.

    sigstore-python needs one and does not say which. A signed entry timestamp was verified with the entry; a
    lone timestamp must be the one that it accepted; among several each is verified again.
    """
    times: list[datetime] = []
    if bundle.entry.promise is not None and bundle.entry.integrated_time:
        times.append(datetime.fromtimestamp(bundle.entry.integrated_time, UTC))
    alone = not times and len(bundle.timestamps) == 1
    times += [
        _time_of(stamp)
        for stamp in bundle.timestamps
        if alone or any(_stamped(stamp, bundle, authority) for authority in trust.timestamp_authorities)
    ]
    if not times:
        raise SignatureError("bundle proves no time", expected="a timestamp or a signed entry timestamp")
    return min(times)


def _time_of(stamp: bytes) -> datetime:
    time: datetime = decode_timestamp_response(stamp).tst_info.gen_time
    return time.astimezone(UTC)


def _stamped(stamp: bytes, bundle: Bundle, authority: Authority) -> bool:
    leaf, *chain = (x509.load_der_x509_certificate(one) for one in authority.certificates)
    if not chain or not authority.window.contains(_time_of(stamp)):
        return False
    builder = VerifierBuilder().tsa_certificate(leaf).add_root_certificate(chain[-1])
    for intermediate in chain[:-1]:
        builder = builder.add_intermediate_certificate(intermediate)
    try:
        builder.build().verify_message(decode_timestamp_response(stamp), bundle.envelope.signature)
    except TimestampError:
        return False
    return True


def _check_authority(certificate: x509.Certificate, trust: Trust, time: datetime) -> None:
    """T2: a certificate authority that was in use at the proven time issued the certificate."""
    if all(authority.window.contains(time) for authority in trust.authorities):
        return  # whichever sigstore-python built its chain with was in use
    for authority in trust.authorities:
        if authority.window.contains(time) and _issued(certificate, authority):
            return
    windows = "; ".join(str(authority.window) for authority in trust.authorities)
    raise SignatureError(
        "certificate authority was not in use at that time", expected=windows, got=time.isoformat()
    )


def _issued(certificate: x509.Certificate, authority: Authority) -> bool:
    for one in authority.certificates:
        try:
            certificate.verify_directly_issued_by(x509.load_der_x509_certificate(one))
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def _check_ct_log(certificate: x509.Certificate, trust: Trust, time: datetime) -> None:
    """T3: the certificate transparency log was in use at the proven time, and is known by its own id."""
    for stamp in _certificate_timestamps(certificate):
        log = next((one for one in trust.ct_logs if one.log_id == stamp.log_id), None)
        if log is not None and log.window.contains(time):
            return
    windows = "; ".join(f"{one.host} {one.window}" for one in trust.ct_logs)
    raise SignatureError("CT log was not in use at that time", expected=windows, got=time.isoformat())


def _certificate_timestamps(certificate: x509.Certificate) -> list[SignedCertificateTimestamp]:
    try:
        kind = x509.PrecertificateSignedCertificateTimestamps
        return list(certificate.extensions.get_extension_for_class(kind).value)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise SignatureError("certificate carries no certificate timestamp") from error
