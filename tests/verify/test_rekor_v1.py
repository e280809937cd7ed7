"""Rekor v1 entries: an ECDSA log whose signed entry timestamp is the time, and whose index counts across shards."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from forge import ADA, Forge, b64, entry_of, raw, some_statement
from oracle import trust_of

from gitchain.errors import GitchainError, InclusionError
from gitchain.evidence.canonical import canonical_json
from gitchain.evidence.checkpoint import Checkpoint, NoteSignature, render
from gitchain.evidence.merkle import leaf_hash
from gitchain.instance import Instance
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust

KEY = ec.derive_private_key(7, ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
LOG_ID = hashlib.sha256(SPKI).digest()
HOST = "rekor.example.com"


@pytest.fixture
def v1_trust(instance: Instance) -> Trust:
    root = json.loads(instance.trust_config())["trustedRoot"]
    public = {
        "rawBytes": b64(SPKI),
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "validFor": {"start": "2021-01-01T00:00:00Z"},
    }
    root["tlogs"].append(
        {
            "baseUrl": f"https://{HOST}",
            "hashAlgorithm": "SHA2_256",
            "publicKey": public,
            "logId": {"keyId": b64(LOG_ID)},
        }
    )
    return trust_of(json.dumps(root))


def sign(data: bytes) -> bytes:
    return KEY.sign(data, ec.ECDSA(hashes.SHA256()))


def v1_bundle(
    forge: Forge, *, name: str = HOST, origin: str = f"{HOST} - 2605736670972794746"
) -> dict[str, Any]:
    """A v1 bundle: the only entry of its shard, with a global index of 1000."""
    bundle = forge.bundle()
    envelope = bundle["dsseEnvelope"]
    certificate = x509.load_der_x509_certificate(
        base64.b64decode(bundle["verificationMaterial"]["certificate"]["rawBytes"])
    )
    signature = {
        "signature": envelope["signatures"][0]["sig"],
        "verifier": b64(certificate.public_bytes(Encoding.PEM)),
    }
    payload = hashlib.sha256(some_statement().payload).hexdigest()
    spec = {
        "envelopeHash": {"algorithm": "sha256", "value": "0" * 64},
        "payloadHash": {"algorithm": "sha256", "value": payload},
        "signatures": [signature],
    }
    body = canonical_json({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
    checkpoint = Checkpoint(origin, 1, leaf_hash(body))
    note = render(checkpoint, [NoteSignature(name, LOG_ID[:4], sign(checkpoint.body()))])
    time = int(datetime.now(UTC).timestamp())
    promise = canonical_json(
        {"body": b64(body), "integratedTime": time, "logID": LOG_ID.hex(), "logIndex": 1000}
    )
    bundle["verificationMaterial"]["tlogEntries"] = [
        {
            "logIndex": "1000",
            "logId": {"keyId": b64(LOG_ID)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(time),
            "inclusionPromise": {"signedEntryTimestamp": b64(sign(promise))},
            "inclusionProof": {
                "logIndex": "0",
                "treeSize": "1",
                "rootHash": b64(leaf_hash(body)),
                "hashes": [],
                "checkpoint": {"envelope": note},
            },
            "canonicalizedBody": b64(body),
        }
    ]
    del bundle["verificationMaterial"]["timestampVerificationData"]
    return bundle


def test_a_v1_entry_verifies_with_its_own_time_and_index(forge: Forge, v1_trust: Trust) -> None:
    """The promise gives the time; the global index may differ from the shard's."""
    bundle = v1_bundle(forge)
    verified = verify_bundle(raw(bundle), v1_trust)
    assert verified.identity.subject == ADA
    assert verified.time == datetime.fromtimestamp(int(entry_of(bundle)["integratedTime"]), UTC)
    assert verified.log.index == 1000


def test_the_promise_binds_time_and_index(forge: Forge, v1_trust: Trust) -> None:
    """Neither can be changed, and without the promise there is no time at all."""
    for field in ("logIndex", "integratedTime"):
        bundle = v1_bundle(forge)
        entry_of(bundle)[field] = str(int(entry_of(bundle)[field]) - 1)
        with pytest.raises(InclusionError):
            verify_bundle(raw(bundle), v1_trust)
    bundle = v1_bundle(forge)
    del entry_of(bundle)["inclusionPromise"]
    with pytest.raises(InclusionError):
        verify_bundle(raw(bundle), v1_trust)


def test_the_earlier_of_promise_and_timestamp_is_the_time(forge: Forge, v1_trust: Trust) -> None:
    """With both, the earliest proven time counts; a timestamp over something else does not."""
    bundle = v1_bundle(forge)
    at = datetime.fromtimestamp(int(entry_of(bundle)["integratedTime"]) - 3600, UTC)
    foreign = forge.stamp(b"something else", at)
    bundle["verificationMaterial"]["timestampVerificationData"] = {
        "rfc3161Timestamps": [{"signedTimestamp": b64(foreign)}]
    }
    assert verify_bundle(raw(bundle), v1_trust).time > at


@pytest.mark.parametrize("changed", [{"origin": "rekor.other.com - 1"}, {"name": "rekor.other.com"}])
def test_l4_v1_origin_and_name_are_the_logs(forge: Forge, v1_trust: Trust, changed: dict[str, str]) -> None:
    """A v1 origin starts with the log's host."""
    with pytest.raises(InclusionError):
        verify_bundle(raw(v1_bundle(forge, **changed)), v1_trust)


def test_l2_holds_for_v1(forge: Forge, v1_trust: Trust) -> None:
    """A tree size that the log did not sign is refused."""
    bundle = v1_bundle(forge)
    entry_of(bundle)["inclusionProof"]["treeSize"] = "2"
    with pytest.raises(GitchainError):
        verify_bundle(raw(bundle), v1_trust)
