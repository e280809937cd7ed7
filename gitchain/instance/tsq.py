"""Parse time-stamp requests of clients: DER TimeStampReq (RFC 3161 section 2.4.1).

    TimeStampReq { 1, MessageImprint { AlgorithmIdentifier, digest }, policy?, nonce?, certReq? }

A policy other than the authority's and every extension are refused, as the RFC demands of an authority that does not
know them. Does NOT stamp: see `tsa.py`.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat import asn1

from gitchain.errors import MalformedError
from gitchain.instance.tsa import POLICY_OID, TimestampRequest, checked

MAX_REQUEST_BYTES = 4096
SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")


@asn1.sequence
class _HashAlgorithm:
    """AlgorithmIdentifier without parameters, or with NULL."""

    algorithm: x509.ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class _Imprint:
    """MessageImprint."""

    hash_algorithm: _HashAlgorithm
    digest: bytes


@asn1.sequence
class _Request:
    """TimeStampReq without extensions. An explicit `certReq FALSE` is no DER, and harmless."""

    version: int
    imprint: _Imprint
    policy: x509.ObjectIdentifier | None
    nonce: int | None
    certificates: bool | None


def parse_request(data: bytes) -> TimestampRequest:
    """Return the request in DER bytes with a SHA-256 imprint. Raises MalformedError for anything else."""
    if len(data) > MAX_REQUEST_BYTES:
        raise MalformedError(
            "the timestamp request is too large", expected=f"at most {MAX_REQUEST_BYTES} bytes"
        )
    try:
        request = asn1.decode_der(_Request, data)
    except ValueError as error:
        raise MalformedError(
            "the timestamp request is not a DER TimeStampReq", got=str(error)[:200]
        ) from error
    if request.version != 1:
        raise MalformedError(
            "unknown version of timestamp request", expected="1", got=str(request.version)[:20]
        )
    if request.policy is not None and request.policy.dotted_string != POLICY_OID:
        raise MalformedError(
            "unknown policy in the timestamp request", expected=POLICY_OID, got=request.policy.dotted_string
        )
    algorithm = request.imprint.hash_algorithm.algorithm
    return checked(
        "sha256" if algorithm == SHA256 else algorithm.dotted_string,
        request.imprint.digest,
        request.nonce,
        certificates=bool(request.certificates),
    )
