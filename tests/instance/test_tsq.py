"""Time-stamp requests: what other libraries write is read as they meant it; nothing that is no such request is."""

from __future__ import annotations

import random
import secrets
from typing import Any

import pytest
from asn1crypto import core, tsp
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from gitchain.errors import MalformedError
from gitchain.instance.tsa import POLICY_OID, TimestampRequest
from gitchain.instance.tsq import MAX_REQUEST_BYTES, parse_request
from tests.support.fuzzing import sized

IMPRINT = bytes(range(32))
NONCES = (None, 0, 1, 127, 128, 255, 2**64 - 1, 2**511, 2**512 - 1)


def request(
    algorithm: str = "sha256", *, parameters: Any = None, digest: bytes = IMPRINT, **parts: Any
) -> Any:
    """Return a TimeStampReq that asn1crypto writes."""
    hash_algorithm = {"algorithm": algorithm} | ({} if parameters is None else {"parameters": parameters})
    imprint = {"hash_algorithm": hash_algorithm, "hashed_message": digest}
    present = {name: value for name, value in parts.items() if value is not None}
    return tsp.TimeStampReq({"version": 1, "message_imprint": imprint} | present)


def peers_reading(data: bytes) -> TimestampRequest | None:
    """Return how asn1crypto reads the request; None where it is none over SHA-256 with a natural nonce."""
    try:
        read = tsp.TimeStampReq.load(data, strict=True)
        imprint = read["message_imprint"]
        algorithm = imprint["hash_algorithm"]["algorithm"].native
        digest, nonce = imprint["hashed_message"].native, read["nonce"].native
        certificates = bool(read["cert_req"].native)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    if algorithm != "sha256" or not isinstance(digest, bytes) or len(digest) != 32:
        return None
    if nonce is not None and not 0 <= nonce < 2**512:
        return None
    return TimestampRequest(digest, nonce, certificates)


@pytest.mark.parametrize("parameters", [None, core.Null()], ids=["absent", "null"])
@pytest.mark.parametrize("policy", [None, POLICY_OID], ids=["any policy", "ours"])
@pytest.mark.parametrize("certificates", [None, True, False])
def test_parse_request_reads_requests_of_asn1crypto(parameters: Any, policy: Any, certificates: Any) -> None:
    """Each optional part may be there or not; certReq FALSE may be written out."""
    for nonce in NONCES:
        made = request(parameters=parameters, req_policy=policy, nonce=nonce, cert_req=certificates)
        assert parse_request(made.dump()) == TimestampRequest(IMPRINT, nonce, bool(certificates))


@pytest.mark.parametrize("wanted", [True, False])
def test_parse_request_reads_requests_of_rfc3161_client(*, wanted: bool) -> None:
    """What sigstore-python sends is read as it was meant."""
    builder = TimestampRequestBuilder().hash_algorithm(HashAlgorithm.SHA256).data(b"x")
    made = builder.nonce(nonce=wanted).cert_request(cert_request=wanted).build()
    read = parse_request(made.as_bytes())
    assert (read.nonce, read.certificates) == (made.nonce, wanted)
    assert read.imprint == made.message_imprint.message


EXTENSION = [{"extn_id": "1.2.3.4", "critical": False, "extn_value": b"x"}]
REFUSED = {
    "empty": (b"", "not a DER TimeStampReq"),
    "another algorithm": (request("sha512", digest=bytes(64)).dump(), "only SHA-256"),
    "an algorithm of the right length": (request("sha3_256").dump(), "only SHA-256"),
    "a short digest": (request(digest=bytes(31)).dump(), "only SHA-256"),
    "a nonce below 0": (request(nonce=-1).dump(), "nonce"),
    "a nonce of 513 bits": (request(nonce=2**512).dump(), "nonce"),
    "another policy": (request(req_policy="1.2.3.4").dump(), "policy"),
    "an extension": (request(extensions=EXTENSION).dump(), "not a DER TimeStampReq"),
    "bytes after it": (request().dump() + b"\0", "not a DER TimeStampReq"),
    "version 2": (request().dump().replace(b"\x02\x01\x01", b"\x02\x01\x02", 1), "version"),
    "a length that is not minimal": (b"\x30\x81" + request().dump()[1:], "not a DER TimeStampReq"),
    "a nonce that is not minimal": (
        b"\x30\x3a" + request().dump()[2:] + b"\x02\x02\x00\x01",
        "not a DER TimeStampReq",
    ),
    "too large": (bytes(MAX_REQUEST_BYTES + 1), "too large"),
    "SHA-512 of rfc3161-client": (
        TimestampRequestBuilder().hash_algorithm(HashAlgorithm.SHA512).data(b"x").build().as_bytes(),
        "only SHA-256",
    ),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_parse_request_refuses(data: bytes, reason: str) -> None:
    """Anything but a DER TimeStampReq over SHA-256 is refused, with the reason."""
    with pytest.raises(MalformedError, match=reason):
        parse_request(data)


def test_parse_request_takes_the_largest_size() -> None:
    """4096 bytes are parsed, and refused for what they are."""
    with pytest.raises(MalformedError, match="not a DER"):
        parse_request(bytes(MAX_REQUEST_BYTES))


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes with up to three of them changed, inserted or deleted."""
    changed = bytearray(data)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(changed))
        match rng.randrange(4):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at] = rng.randrange(256)
            case 2:
                changed.insert(at, rng.randrange(256))
            case _:
                del changed[at]
    return bytes(changed)


def test_parse_request_accepts_nothing_that_asn1crypto_refuses() -> None:
    """Over generated and mutated requests: what is read, asn1crypto reads alike; all else is a MalformedError."""
    seed = sized(1, secrets.randbits(32))
    rng = random.Random(seed)
    read = refused = 0
    for _ in range(sized(3000, 200_000)):
        made = request(
            rng.choice(["sha256", "sha256", "sha256", "sha1"]),
            parameters=rng.choice([None, core.Null()]),
            digest=rng.randbytes(rng.choice([32, 32, 32, 20])),
            req_policy=rng.choice([None, None, POLICY_OID, "1.2.3.4"]),
            nonce=rng.choice([*NONCES, -1, rng.getrandbits(64), rng.getrandbits(600)]),
            cert_req=rng.choice([None, True, False]),
        )
        data = mutated(made.dump(), rng)
        try:
            ours = parse_request(data)
        except MalformedError:
            refused += 1
        else:
            assert ours == peers_reading(data), (seed, data.hex())
            read += 1
    assert read > 300
    assert refused > 300
