"""Verify RFC 3161 timestamps over a signature, by the timestamp authorities of the trusted root.

 T1 there is a proven time, of a timestamp or of a signed entry timestamp (`gitchain.verify.log_inclusion`)
 T4 a timestamp is over this signature, and signed by an authority of the trusted root that was in use then:
    its window, both ends included, and the validity of every certificate of its chain
 T5 no timestamp is there twice or unreadable, and the trusted root has an authority to check them with

Timestamps of authorities outside of the trusted root are ignored.

Spec: https://www.rfc-editor.org/rfc/rfc3161. Does NOT read the clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from cryptography import x509
from rfc3161_client import TimeStampResponse, VerifierBuilder, decode_timestamp_response
from rfc3161_client.verify import Verifier

from gitchain.errors import SignatureError
from gitchain.verify.trust import Trust, TrustedAuthority


def proven_times(
    stamps: Sequence[bytes], signature: bytes, trust: Trust, promised: datetime | None
) -> tuple[datetime, ...]:
    """Return every proven time, the earliest first. Raises SignatureError if there is none (T1)."""
    times = [] if promised is None else [promised]
    times += stamped_times(stamps, signature, trust)
    if not times:
        raise SignatureError("bundle proves no time", expected="a timestamp or a signed entry timestamp")
    return tuple(sorted(times))


def stamped_times(stamps: Sequence[bytes], signature: bytes, trust: Trust) -> tuple[datetime, ...]:
    """Return the time of each valid timestamp over this signature (T4). Raises SignatureError by T5."""
    if stamps and not trust.timestamp_authorities:
        raise SignatureError("bundle carries timestamps, and the trusted root names no authority for them")
    if len(set(stamps)) != len(stamps):
        raise SignatureError("a timestamp occurs twice")
    found = [_read(stamp) for stamp in stamps]
    return tuple(time for stamp, time in found if any(_answers(stamp, time, signature, trust)))


def _read(stamp: bytes) -> tuple[TimeStampResponse, datetime]:
    """Return the timestamp and its time."""
    try:
        response = decode_timestamp_response(stamp)
        return response, response.tst_info.gen_time.astimezone(UTC)
    except ValueError as error:
        raise SignatureError("timestamp cannot be read", got=str(error)[:200]) from error


def _answers(stamp: TimeStampResponse, time: datetime, signature: bytes, trust: Trust) -> Iterator[bool]:
    """T4: yield for each authority in use at that time whether it made this timestamp over this signature."""
    for number, authority in enumerate(trust.timestamp_authorities):
        if authority.window.contains(time):
            for verifier in trust.memory.once("timestamps", number, partial(_verifiers, authority)):
                with suppress(Exception):  # of many types, each for a timestamp that does not verify
                    yield verifier.verify_message(stamp, signature)


def _verifiers(authority: TrustedAuthority) -> Sequence[Verifier]:
    """Return the verifiers for this authority's timestamps and its chain; none without a chain."""
    certificates = [x509.load_der_x509_certificate(one) for one in authority.certificates]
    if len(certificates) < 2:  # a leaf without the root that it leads to
        return ()
    builder = VerifierBuilder().tsa_certificate(certificates[0]).add_root_certificate(certificates[-1])
    try:
        for intermediate in certificates[1:-1]:
            builder = builder.add_intermediate_certificate(intermediate)
    except ValueError:  # one is there twice
        return ()
    return (builder.build(),)
