"""Bundles made by hand from the keys of an embedded instance: honest by default, any part replaced on demand."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from gitchain.evidence.checkpoint import Checkpoint, NoteSignature, SignedCheckpoint, render
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE, pae
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.instance import Instance, ca, ct
from gitchain.instance.entry import request_of
from gitchain.instance.tsa import EmbeddedTimestampAuthority, TimestampRequest

ADA = "ada@example.com"
Edit = Callable[[list[x509.Extension[Any]]], list[x509.Extension[Any]]]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def some_statement(name: str = "model.pkl") -> Statement:
    return Statement.build(
        [ResourceDescriptor(name, DigestSet({"sha256": "0" * 64}))], "https://example.com/p/v1", {}
    )


@dataclass
class Forge:
    """One signer at one instance. `bundle` gives the JSON of a bundle that verifies unless told otherwise."""

    instance: Instance
    identity: str = ADA
    extensions: Edit = list
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def certificate(self) -> x509.Certificate:
        """A certificate with the instance's SCT, its extensions edited before anything is signed."""
        keys, now = self.instance.keys, datetime.now(UTC)
        builder = ca.CertificateAuthority(self.instance.info, keys)._leaf(
            self.identity, self.key.public_key(), now
        )
        builder._extensions = self.extensions(list(builder._extensions))
        bare = builder.sign(keys.ca, hashes.SHA256()).tbs_certificate_bytes
        sct = x509.UnrecognizedExtension(
            ca.SCT_OID, ct.sct_extension(keys.ct, keys.ca.public_key(), bare, now)
        )
        return builder.add_extension(sct, critical=False).sign(keys.ca, hashes.SHA256())

    def bundle(
        self,
        payload: bytes | None = None,
        kind: str = IN_TOTO_PAYLOAD_TYPE,
        *,
        body: Callable[[bytes], bytes] = lambda body: body,
        stamps: Callable[[bytes], Sequence[bytes]] | None = None,
    ) -> dict[str, Any]:
        payload = some_statement().payload if payload is None else payload
        raw = self.certificate().public_bytes(Encoding.DER)
        message = pae(kind, payload)
        signature = self.key.sign(message, ec.ECDSA(hashes.SHA256()))
        request = request_of(hashlib.sha256(message).digest(), signature, raw)
        entry: dict[str, Any] = json.loads(json.dumps(self.instance.log_entry(request)))
        changed = body(base64.b64decode(entry["canonicalizedBody"]))
        if b64(changed) != entry["canonicalizedBody"]:
            entry = self._logged(entry, changed)
        stamped = stamps(signature) if stamps else [self.stamp(signature)]
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": b64(raw)},
                "tlogEntries": [entry],
                "timestampVerificationData": {
                    "rfc3161Timestamps": [{"signedTimestamp": b64(one)} for one in stamped]
                },
            },
            "dsseEnvelope": {
                "payload": b64(payload),
                "payloadType": kind,
                "signatures": [{"sig": b64(signature)}],
            },
        }

    def _logged(self, entry: dict[str, Any], body: bytes) -> dict[str, Any]:
        """Log any body at all: the log itself judges nothing."""
        (logged,) = self.instance.log.append([body])
        proof = {
            "logIndex": str(logged.index),
            "treeSize": str(logged.size),
            "rootHash": b64(logged.root),
            "hashes": [b64(one) for one in logged.hashes],
            "checkpoint": {"envelope": logged.checkpoint},
        }
        return {
            **entry,
            "logIndex": str(logged.index),
            "inclusionProof": proof,
            "canonicalizedBody": b64(body),
        }

    def stamp(self, signature: bytes, at: datetime | None = None) -> bytes:
        keys = self.instance.keys
        request = TimestampRequest(hashlib.sha256(signature).digest(), None, certificates=True)
        return EmbeddedTimestampAuthority(keys.tsa, keys.tsa_certificate).stamp(
            request, at or datetime.now(UTC)
        )


def entry_of(bundle: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = bundle["verificationMaterial"]["tlogEntries"][0]
    return found


def resign(
    bundle: dict[str, Any],
    key: Ed25519PrivateKey,
    *,
    origin: str | None = None,
    name: str | None = None,
    key_id: bytes | None = None,
) -> dict[str, Any]:
    """The bundle with its checkpoint signed again by `key`, with another origin, name or key id."""
    changed = copy.deepcopy(bundle)
    place = entry_of(changed)["inclusionProof"]["checkpoint"]
    note = SignedCheckpoint.parse(place["envelope"])
    checkpoint = Checkpoint(origin or note.checkpoint.origin, note.checkpoint.size, note.checkpoint.root)
    line = NoteSignature(
        name or note.signatures[0].name, key_id or note.signatures[0].key_id, key.sign(checkpoint.body())
    )
    place["envelope"] = render(checkpoint, [line])
    return changed


def raw(bundle: dict[str, Any]) -> bytes:
    return json.dumps(bundle).encode()
