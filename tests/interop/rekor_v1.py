"""A log of Rekor v1 on loopback, as far as signers ask for one: a real one is five processes and a database.

It takes `hashedrekord` 0.0.1 entries, promises each with a signed entry timestamp, and shows each as the only one of
its tree, under a checkpoint that it signed. It answers in Rekor v1's own form (openapi.yaml), and checks nothing.
"""

from __future__ import annotations

import hashlib
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from gitchain.evidence.canonical import canonical_json, strict_json
from gitchain.evidence.checkpoint import Checkpoint, NoteSignature, render
from gitchain.evidence.merkle import leaf_hash
from tests.stack.keys import public_der, write_public

TREE = "2605736670972794746"
MAX_BODY_BYTES = 1 << 20


@dataclass
class RekorV1:
    """The log: its key, where it listens, and how many entries it has taken."""

    url: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    size: int = 0

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(public_der(self.key)).digest()

    def trust_config(self, text: str) -> str:
        """Return a trust config with this log beside its own, and as the one to write to."""
        config = json.loads(text)
        spki, start = b64encode(public_der(self.key)).decode(), "2021-01-01T00:00:00Z"
        public = {"rawBytes": spki, "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": {"start": start}}
        log = {"baseUrl": self.url, "hashAlgorithm": "SHA2_256", "publicKey": public}
        config["trustedRoot"]["tlogs"].append(log | {"logId": {"keyId": b64encode(self.key_id).decode()}})
        service = {"url": self.url, "majorApiVersion": 1, "validFor": {"start": start}, "operator": "test"}
        config["signingConfig"]["rekorTlogUrls"] = [service]
        return json.dumps(config)

    def write_public(self, file: Path) -> Path:
        """Write the key as PEM."""
        write_public(file, self.key)
        return file

    def take(self, proposed: Any) -> tuple[str, dict[str, Any]]:
        """Return the id of a new entry, and the answer about it."""
        host = self.url.removeprefix("http://")
        body = canonical_json(proposed)
        leaf, self.size = leaf_hash(body), self.size + 1
        checkpoint = Checkpoint(f"{host} - {TREE}", 1, leaf)
        note = render(checkpoint, [NoteSignature(host, self.key_id[:4], self._sign(checkpoint.body()))])
        entry: dict[str, Any] = {
            "body": b64encode(body).decode(),
            "integratedTime": int(time()),
            "logID": self.key_id.hex(),
            "logIndex": 1000 + self.size,
        }
        promise = b64encode(self._sign(canonical_json(entry))).decode()
        proof = {"checkpoint": note, "hashes": [], "logIndex": 0, "rootHash": leaf.hex(), "treeSize": 1}
        verification = {"inclusionProof": proof, "signedEntryTimestamp": promise}
        return f"{int(TREE):016x}{leaf.hex()}", {**entry, "verification": verification}

    def _sign(self, data: bytes) -> bytes:
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))


@contextmanager
def rekor_v1() -> Iterator[RekorV1]:
    """Serve a log until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), MAX_BODY_BYTES))
            name, entry = log.take(strict_json(body, "entry"))
            answer = json.dumps({name: entry}).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("ETag", name)
            self.send_header("Location", f"/api/v1/log/entries/{name}")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    log = RekorV1(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield log
    finally:
        server.shutdown()
        server.server_close()
