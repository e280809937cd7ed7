"""Bundles logged in Rekor v1, made by hand, and the log that they are in."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.evidence.canonical import canonical_json
from gitchain.evidence.checkpoint import Checkpoint, NoteSignature, render
from gitchain.evidence.merkle import leaf_hash
from tests.support.forged_bundles import Forge, b64, some_statement

KEY = ec.derive_private_key(7, ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
LOG_ID = hashlib.sha256(SPKI).digest()
HOST = "rekor.example.com"
LOG = {
    "baseUrl": f"https://{HOST}",
    "hashAlgorithm": "SHA2_256",
    "publicKey": {
        "rawBytes": b64(SPKI),
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "validFor": {"start": "2021-01-01T00:00:00Z"},
    },
    "logId": {"keyId": b64(LOG_ID)},
}
"""The log, as a trusted root lists it."""


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
    spec: dict[str, Any] = {
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
