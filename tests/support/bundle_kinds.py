"""Bundles of every kind that is read: signed by any key, with or without a certificate, logged in Rekor v1 or v2.

Written from the formats, not with the code under test; what a log would refuse can be logged here.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.evidence.canonical import canonical_json
from gitchain.evidence.checkpoint import Checkpoint, NoteSignature, render
from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE, pae
from gitchain.evidence.merkle import leaf_hash
from gitchain.instance import Instance
from gitchain.verify.trust import Trust
from tests.support.forged_bundles import Forge, b64, some_statement
from tests.support.sigstore_oracle import trust_of

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Edit = Callable[[dict[str, Any]], object]

V1_KEY = ec.derive_private_key(7, ec.SECP256R1())
V1_SPKI = V1_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
V1_HOST = "rekor.example.com"
V1_ID = hashlib.sha256(V1_SPKI).digest()
HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
SHA2 = {"sha256": "SHA2_256", "sha384": "SHA2_384", "sha512": "SHA2_512"}
CURVES = {
    "secp256r1": ("PKIX_ECDSA_P256_SHA_256", "sha256"),
    "secp384r1": ("PKIX_ECDSA_P384_SHA_384", "sha384"),
    "secp521r1": ("PKIX_ECDSA_P521_SHA_512", "sha512"),
}


def both_logs(instance: Instance, change: Edit = lambda _root: None) -> Trust:
    """The instance's trust, with a Rekor v1 log beside its own."""
    root = json.loads(instance.trust_config())["trustedRoot"]
    public = {
        "rawBytes": b64(V1_SPKI),
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "validFor": {"start": "2021-01-01T00:00:00Z"},
    }
    log = {"baseUrl": f"https://{V1_HOST}", "hashAlgorithm": "SHA2_256", "publicKey": public}
    root["tlogs"].append(log | {"logId": {"keyId": b64(V1_ID)}})
    change(root)
    return trust_of(json.dumps(root))


def spki(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def algorithm(key: PrivateKey) -> tuple[str, str]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return CURVES.get(key.curve.name, ("unknown", "sha256"))
    if isinstance(key, rsa.RSAPrivateKey):
        return f"PKIX_RSA_PKCS1V15_{key.key_size}_SHA256", "sha256"
    return "PKIX_ED25519", ""


def sign(key: PrivateKey, data: bytes) -> bytes:
    name = algorithm(key)[1]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(HASHES[name]))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), HASHES[name])
    return key.sign(data)


def pem_of(key: PrivateKey, certificate: bytes | None) -> str:
    if certificate is not None:
        return b64(x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM))
    return b64(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def body_of(
    kind: str, key: PrivateKey, certificate: bytes | None, message: bytes, signature: bytes, payload: bytes
) -> dict[str, Any]:
    details, name = algorithm(key)
    digest = hashlib.new(name or "sha256", message).digest()
    pem = pem_of(key, certificate)
    payload_hash = {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}
    some_hash = {"algorithm": "sha256", "value": "5" * 64}
    spec: dict[str, Any]
    if kind == "hashedrekord 0.0.2":
        verifier: dict[str, Any] = {"keyDetails": details}
        if certificate is None:
            verifier["publicKey"] = {"rawBytes": b64(spki(key))}
        else:
            verifier["x509Certificate"] = {"rawBytes": b64(certificate)}
        data = {"algorithm": SHA2.get(name, "SHA2_256"), "digest": b64(digest)}
        spec = {
            "hashedRekordV002": {"data": data, "signature": {"content": b64(signature), "verifier": verifier}}
        }
    elif kind == "hashedrekord 0.0.1":
        spec = {
            "data": {"hash": {"algorithm": name, "value": digest.hex()}},
            "signature": {"content": b64(signature), "publicKey": {"content": pem}},
        }
    elif kind == "intoto 0.0.2":
        one = {"publicKey": pem, "sig": b64(b64encode(signature))}
        envelope = {"payloadType": IN_TOTO_PAYLOAD_TYPE, "signatures": [one]}
        spec = {"content": {"envelope": envelope, "hash": some_hash, "payloadHash": payload_hash}}
    else:
        spec = {
            "envelopeHash": some_hash,
            "payloadHash": payload_hash,
            "signatures": [{"signature": b64(signature), "verifier": pem}],
        }
    word, version = kind.split()
    return {"apiVersion": version, "kind": word, "spec": spec}


def v1_entry(
    kind: str, body: bytes, *, time: int | None = None, origin: str = f"{V1_HOST} - 2605736670972794746"
) -> dict[str, Any]:
    """An entry of Rekor v1: the only one of its shard, with a global index of 1000."""
    time = int(datetime.now(UTC).timestamp()) if time is None else time
    checkpoint = Checkpoint(origin, 1, leaf_hash(body))
    note = render(checkpoint, [NoteSignature(V1_HOST, V1_ID[:4], sign(V1_KEY, checkpoint.body()))])
    promise = canonical_json(
        {"body": b64(body), "integratedTime": time, "logID": V1_ID.hex(), "logIndex": 1000}
    )
    word, version = kind.split()
    return {
        "logIndex": "1000",
        "logId": {"keyId": b64(V1_ID)},
        "kindVersion": {"kind": word, "version": version},
        "integratedTime": str(time),
        "inclusionPromise": {"signedEntryTimestamp": b64(sign(V1_KEY, promise))},
        "inclusionProof": {
            "logIndex": "0",
            "treeSize": "1",
            "rootHash": b64(leaf_hash(body)),
            "hashes": [],
            "checkpoint": {"envelope": note},
        },
        "canonicalizedBody": b64(body),
    }


def v2_entry(instance: Instance, body: bytes) -> dict[str, Any]:
    """An entry of the instance's own log, which is asked to judge nothing."""
    (logged,) = instance.log.append([body])
    proof = {
        "logIndex": str(logged.index),
        "treeSize": str(logged.size),
        "rootHash": b64(logged.root),
        "hashes": [b64(one) for one in logged.hashes],
        "checkpoint": {"envelope": logged.checkpoint},
    }
    return {
        "logIndex": str(logged.index),
        "logId": {"keyId": b64(instance.log.key_id)},
        "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
        "inclusionProof": proof,
        "canonicalizedBody": b64(body),
    }


def craft(
    forge: Forge,
    *,
    kind: str = "hashedrekord 0.0.2",
    key: PrivateKey | None = None,
    file: bytes | None = None,
    payload: bytes | None = None,
    version: str = "0.3",
    edit: Edit = lambda _body: None,
    stamped: bool = True,
) -> dict[str, Any]:
    """A bundle that verifies unless told otherwise: by the forge's certificate, or by a bare `key`."""
    certificate = forge.certificate().public_bytes(Encoding.DER) if key is None else None
    signer: PrivateKey = forge.key if key is None else key
    payload = some_statement().payload if payload is None else payload
    message = pae(IN_TOTO_PAYLOAD_TYPE, payload) if file is None else file
    signature = sign(signer, message)
    body = body_of(kind, signer, certificate, message, signature, payload)
    edit(body)
    raw = canonical_json(body)
    v2 = kind == "hashedrekord 0.0.2"
    material: dict[str, Any] = {"tlogEntries": [v2_entry(forge.instance, raw) if v2 else v1_entry(kind, raw)]}
    if certificate is None:
        material["publicKey"] = {"hint": "some key"}
    elif version == "0.3":
        material["certificate"] = {"rawBytes": b64(certificate)}
    else:
        material["x509CertificateChain"] = {"certificates": [{"rawBytes": b64(certificate)}]}
    if stamped:
        stamp = {"signedTimestamp": b64(forge.stamp(signature))}
        material["timestampVerificationData"] = {"rfc3161Timestamps": [stamp]}
    media = f"application/vnd.dev.sigstore.bundle+json;version={version}"
    bundle: dict[str, Any] = {"mediaType": media, "verificationMaterial": material}
    if file is None:
        bundle["dsseEnvelope"] = {
            "payload": b64(payload),
            "payloadType": IN_TOTO_PAYLOAD_TYPE,
            "signatures": [{"sig": b64(signature)}],
        }
    else:
        digest = {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(file).digest())}
        bundle["messageSignature"] = {"messageDigest": digest, "signature": b64(signature)}
    return bundle
