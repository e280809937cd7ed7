"""Build log entries for Rekor v1 and v2, and convert their responses to a TransparencyLogEntry in JSON.

    v2  POST <url>/api/v2/log/entries  {"hashedRekordRequestV002":{"digest":…,"signature":{"content":…,"verifier":{…}}}}
    v1  POST <url>/api/v1/log/entries  {"kind":"dsse","apiVersion":"0.0.1","spec":{"proposedContent":{…}}}

An entry that the log has already (HTTP 409) is fetched instead: an attempt whose answer was lost is not logged twice.

Formats: https://github.com/sigstore/rekor-tiles/blob/main/CLIENTS.md, https://github.com/sigstore/rekor (openapi.yaml)
It does NOT verify entries: `gitchain.verify` does.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.errors import GitchainError, TransportError, UsageError
from gitchain.evidence.canonical import Json, strict_json
from gitchain.evidence.checkpoint import SignedCheckpoint
from gitchain.evidence.dsse import Envelope, pae
from gitchain.evidence.fields import encode_base64
from gitchain.evidence.merkle import inclusion_proof
from gitchain.evidence.tile import WIDTH, TileId, decode_entries, tile_reader, tile_width
from gitchain.platform.http import HttpResponse
from gitchain.sign.http import (
    MAX_ANSWER_BYTES,
    TRY_AGAIN,
    Http,
    SigningRequest,
    reason_of,
    unusable,
)
from gitchain.verify.keys import Key
from gitchain.verify.rekor_entry import SignatureRecord, body_of

LOG = "the transparency log"
V2_KIND: Mapping[str, Json] = {"kind": "hashedrekord", "version": "0.0.2"}
_INDEX = re.compile(r"already exists in the transparency log with index (\d{1,18})")
_UUID = re.compile(r"/api/v1/log/entries/([0-9a-f]{64,80})")
_JSON = {"Content-Type": "application/json", "Accept": "application/json"}


def signed(envelope: Envelope, key: Key, certificate: bytes | None = None) -> SignatureRecord:
    """Return the signature record of an envelope signed by `key`, with the key's certificate if there is one."""
    message = pae(envelope.payload_type, envelope.payload)
    digest = hashlib.new(key.algorithm, message).digest() if key.algorithm else b""
    return SignatureRecord(envelope.signature, digest, key, certificate, envelope)


def signed_by_certificate(envelope: Envelope, certificate: bytes) -> SignatureRecord:
    """Return the signature record of an envelope signed by the key in this certificate (DER)."""
    public = x509.load_der_x509_certificate(certificate).public_key()
    return signed(envelope, Key.of(public), certificate)


def check_loggable(key: Key, version: int) -> None:
    """Raise UsageError for a key that this version of the log does not support: Ed25519 with Rekor v2."""
    if version == 2 and not key.algorithm:
        raise UsageError(
            "this key's signatures cannot be logged: Rekor v2 keeps digests, and Ed25519 signs none",
            expected="an ECDSA (P-256, P-384, P-521) or RSA key, or a log of Rekor v1",
            got=key.details,
            help="openssl ecparam -genkey -name prime256v1 -noout -out key.pem",
        )


def request_v2(one: SignatureRecord) -> dict[str, Json]:
    """Return the CreateEntryRequest of Rekor v2."""
    verifier: dict[str, Json] = {"keyDetails": one.key.details}
    if one.certificate is None:
        verifier["publicKey"] = {"rawBytes": encode_base64(one.key.spki)}
    else:
        verifier["x509Certificate"] = {"rawBytes": encode_base64(one.certificate)}
    signature: Json = {"content": encode_base64(one.signature), "verifier": verifier}
    return {"hashedRekordRequestV002": {"digest": encode_base64(one.digest), "signature": signature}}


def request_v1(one: SignatureRecord) -> dict[str, Json]:
    """Return the proposed entry of Rekor v1: the whole envelope, with the certificate or key as PEM.

    For a signed file, the entry contains its digest.
    """
    if one.envelope is None:
        found: dict[str, Json] = json.loads(body_of(one, v2=False))
        return found
    content: Json = {
        "envelope": json.dumps(envelope_json(one.envelope)),
        "verifiers": [encode_base64(_pem(one))],
    }
    return {"kind": "dsse", "apiVersion": "0.0.1", "spec": {"proposedContent": content}}


def envelope_json(envelope: Envelope) -> dict[str, Json]:
    """Return the envelope as JSON, without the key's id, like Sigstore's clients."""
    signatures: Json = [{"sig": encode_base64(envelope.signature)}]
    return {
        "payload": encode_base64(envelope.payload),
        "payloadType": envelope.payload_type,
        "signatures": signatures,
    }


@dataclass(frozen=True, slots=True)
class LogClient:
    """Client that writes to one log: `url` ends in /api/v1 or /api/v2. `log_ids` are those of the trusted root."""

    http: Http
    url: str
    log_ids: tuple[bytes, ...]

    @property
    def version(self) -> int:
        """Return the log's version: 1 or 2."""
        return 2 if self.url.endswith("/api/v2") else 1

    def log(self, one: SignatureRecord) -> Mapping[str, Json]:
        """Log the entry, or return the existing one. Raises TransportError if both fail."""
        request = request_v2(one) if self.version == 2 else request_v1(one)
        body = json.dumps(request).encode()
        answer = self.http.send(SigningRequest(LOG, f"{self.url}/log/entries", "POST", body, _JSON))
        if answer.status not in {200, 201, 409}:
            raise TransportError(
                "the transparency log refused the entry", got=reason_of(answer), help=TRY_AGAIN
            )
        try:
            if answer.status == 409:
                return self._existing_v2(answer) if self.version == 2 else self._existing_v1(answer)
            return self._read(answer.body)
        except TransportError:
            raise
        except (GitchainError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise unusable(LOG, error) from error

    def _read(self, body: bytes) -> Mapping[str, Json]:
        found = strict_json(body, "log entry", max_bytes=MAX_ANSWER_BYTES)
        if not isinstance(found, dict):
            raise unusable(LOG, "no JSON object")
        return found if self.version == 2 else _from_v1(found)

    def _existing_v1(self, answer: HttpResponse) -> Mapping[str, Json]:
        """Return the existing entry with the id in the refusal, from the log itself."""
        location = answer.headers.get("location", "")
        named = _UUID.search(location)
        if named is None:
            raise unusable(LOG, f"{reason_of(answer)}; no entry is named")
        return self._read(self._get(f"/log/entries/{named[1]}", "application/json"))

    def _existing_v2(self, answer: HttpResponse) -> Mapping[str, Json]:
        """Return the existing entry with the index in the refusal, and a proof from the log's tiles."""
        named = _INDEX.search(reason_of(answer))
        if named is None:
            raise unusable(LOG, f"{reason_of(answer)}; no index is named")
        index, text = int(named[1]), self._get("/checkpoint").decode()
        head = SignedCheckpoint.parse(text)
        size = head.checkpoint.size
        if index >= size:
            raise TransportError(
                "the transparency log holds the entry, and no checkpoint covers it yet", help=TRY_AGAIN
            )
        place = TileId(None, index // WIDTH, tile_width(None, index // WIDTH, size))
        body = decode_entries(self._get("/" + place.path()), place.width)[index % WIDTH]
        read = tile_reader(size, lambda tile: self._get("/" + tile.path()))
        hashes: Json = [encode_base64(one) for one in inclusion_proof(index, size, read)]
        proof: dict[str, Json] = {
            "logIndex": str(index),
            "treeSize": str(size),
            "rootHash": encode_base64(head.checkpoint.root),
            "hashes": hashes,
            "checkpoint": {"envelope": text},
        }
        log_id: Json = {"keyId": encode_base64(self._log_id(head))}
        return {
            "logIndex": str(index),
            "logId": log_id,
            "kindVersion": dict(V2_KIND),
            "inclusionProof": proof,
            "canonicalizedBody": encode_base64(body),
        }

    def _log_id(self, head: SignedCheckpoint) -> bytes:
        """Return the id of the trusted log that signed the checkpoint: a note contains only its first bytes."""
        for one in head.signatures:
            for known in self.log_ids:
                if known.startswith(one.key_id):
                    return known
        raise unusable(LOG, "a checkpoint of a log that the trusted root does not know")

    def _get(self, path: str, accept: str = "*/*") -> bytes:
        answer = self.http.send(SigningRequest(LOG, self.url + path, headers={"Accept": accept}))
        if answer.status != 200:
            raise TransportError(
                "the transparency log does not return the entry that it reported",
                got=reason_of(answer),
                help=TRY_AGAIN,
            )
        return answer.body


def _from_v1(answer: Mapping[str, Any]) -> Mapping[str, Json]:
    """Return the single entry in Rekor v1's response."""
    (entry,) = answer.values()
    kind = json.loads(b64decode(entry["body"], validate=True))
    proof = entry["verification"]["inclusionProof"]
    hashes: Json = [encode_base64(bytes.fromhex(one)) for one in proof["hashes"]]
    shown: dict[str, Json] = {
        "logIndex": str(int(proof["logIndex"])),
        "treeSize": str(int(proof["treeSize"])),
        "rootHash": encode_base64(bytes.fromhex(proof["rootHash"])),
        "hashes": hashes,
        "checkpoint": {"envelope": proof["checkpoint"]},
    }
    return {
        "logIndex": str(int(entry["logIndex"])),
        "logId": {"keyId": encode_base64(bytes.fromhex(entry["logID"]))},
        "kindVersion": {"kind": kind["kind"], "version": kind["apiVersion"]},
        "integratedTime": str(int(entry["integratedTime"])),
        "inclusionPromise": {"signedEntryTimestamp": entry["verification"]["signedEntryTimestamp"]},
        "inclusionProof": shown,
        "canonicalizedBody": entry["body"],
    }


def _pem(one: SignatureRecord) -> bytes:
    if one.certificate is None:
        return one.key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return x509.load_der_x509_certificate(one.certificate).public_bytes(Encoding.PEM)
