"""Time-stamp requests as they come from clients: DER TimeStampReq (RFC 3161 section 2.4.1).

Only the server needs them, so only the server pays for the DER parser. It does NOT stamp: `tsa.py` does.
"""

from __future__ import annotations

from asn1crypto import tsp

from gitchain.errors import MalformedError
from gitchain.instance.tsa import TimestampRequest, checked

MAX_REQUEST_BYTES = 4096


def parse_request(data: bytes) -> TimestampRequest:
    """Read a DER TimeStampReq with a SHA-256 imprint; MalformedError for anything else."""
    if len(data) > MAX_REQUEST_BYTES:
        raise MalformedError(
            "the timestamp request is too large", expected=f"at most {MAX_REQUEST_BYTES} bytes"
        )
    try:
        request = tsp.TimeStampReq.load(data, strict=True)
        imprint = request["message_imprint"]
        algorithm = imprint["hash_algorithm"]["algorithm"].native
        digest = imprint["hashed_message"].native
        nonce, certificates = request["nonce"].native, request["cert_req"].native
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise MalformedError("the timestamp request is not a DER TimeStampReq") from error
    return checked(algorithm, digest, nonce, certificates=bool(certificates))
