"""Proven times: what a timestamp authority of the trusted root signed over the signature (RFC 3161).

 T1 there is a proven time at all, of a timestamp or of the log's signed promise (`gitchain.verify.logged`)
 T4 a timestamp is over this signature, and signed by an authority of the trusted root that was in use then:
    its window, both ends included, and the validity of every certificate of its chain
 T5 no timestamp is there twice, none is unreadable, and there is an authority to check them with

Timestamps that nobody of the trusted root signed count for nothing, and do no harm.

Spec: https://www.rfc-editor.org/rfc/rfc3161. Does NOT read the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from rfc3161_client import TimeStampResponse, VerifierBuilder, decode_timestamp_response
from rfc3161_client.verify import Verifier

from gitchain.errors import SignatureError
from gitchain.verify.trust import Authority, Trust


def proven_times(
    stamps: Sequence[bytes], signature: bytes, trust: Trust, promised: datetime | None
) -> tuple[datetime, ...]:
    """Return every proven time, the earliest first; SignatureError if there is none (T1)."""
    times = [] if promised is None else [promised]
    times += stamped_times(stamps, signature, trust)
    if not times:
        raise SignatureError("bundle proves no time", expected="a timestamp or a signed entry timestamp")
    return tuple(sorted(times))


def stamped_times(stamps: Sequence[bytes], signature: bytes, trust: Trust) -> tuple[datetime, ...]:
    """Return the time of each timestamp over this signature that an authority in use made; SignatureError by T5."""
    if stamps and not trust.timestamp_authorities:
        raise SignatureError("bundle carries timestamps, and the trusted root names no authority for them")
    if len(set(stamps)) != len(stamps):
        raise SignatureError("a timestamp is there twice")
    found = [_read(stamp) for stamp in stamps]
    return tuple(_time(stamp) for stamp in found if _is_proven(stamp, signature, trust))


def _read(stamp: bytes) -> TimeStampResponse:
    try:
        response = decode_timestamp_response(stamp)
        response.tst_info.gen_time  # noqa: B018 - reads it
    except ValueError as error:
        raise SignatureError("timestamp cannot be read", got=str(error)[:200]) from error
    return response


def _time(stamp: TimeStampResponse) -> datetime:
    time: datetime = stamp.tst_info.gen_time
    return time.astimezone(UTC)


def _is_proven(stamp: TimeStampResponse, signature: bytes, trust: Trust) -> bool:
    """T4: an authority that was in use made this timestamp over this signature."""
    return any(
        authority.window.contains(_time(stamp)) and _made(stamp, signature, authority, number, trust)
        for number, authority in enumerate(trust.timestamp_authorities)
    )


def _made(
    stamp: TimeStampResponse, signature: bytes, authority: Authority, number: int, trust: Trust
) -> bool:
    verifier = trust.memory.once("timestamps", number, lambda: _verifier(authority))
    if verifier is None:
        return False
    try:
        return bool(verifier.verify_message(stamp, signature))
    except Exception:  # noqa: BLE001 - of many types: any of them means that this authority did not make it
        return False


def _verifier(authority: Authority) -> Verifier | None:
    """Return what verifies this authority's timestamps, its chain at their time too; None without a chain."""
    certificates = [x509.load_der_x509_certificate(one) for one in authority.certificates]
    if len(certificates) < 2:  # a leaf without the root that it leads to
        return None
    builder = VerifierBuilder().tsa_certificate(certificates[0]).add_root_certificate(certificates[-1])
    try:
        for intermediate in certificates[1:-1]:
            builder = builder.add_intermediate_certificate(intermediate)
    except ValueError:  # one is there twice
        return None
    return builder.build()
