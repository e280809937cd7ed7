"""Writing to Rekor v1, which the public instance uses by default: by identity and by key, Ed25519 too, each logged once."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.errors import TransportError
from gitchain.evidence.canonical import canonical_json
from gitchain.evidence.checkpoint import Checkpoint, NoteSignature, render
from gitchain.evidence.merkle import inclusion_proof, leaf_hash, node_hash
from gitchain.instance import Instance
from gitchain.instance.routes import HttpReply
from gitchain.sign.context import signing_services
from gitchain.sign.keyed import KeySigner
from gitchain.sign.keyless import KeylessSigner
from gitchain.sign.keys import open_key
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust
from tests.sign.test_keyless import ADA, QUICK, statement
from tests.sign.test_keys import KINDS, write
from tests.support.faulty_server import FaultServer, FaultyHandler, status

HOST, PATH = "rekor.example.com", "/api/v1/log/entries"


class RekorV1:
    """A log of dsse entries with promises, proofs and checkpoints; what it holds already it answers with 409."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.log_id = hashlib.sha256(self.spki).digest()
        self.leaves: list[bytes] = []
        self.lose = 0
        server.orders[PATH] = [self.post]

    def trust(self) -> str:
        """Return the instance's trust configuration with this log instead of its own."""
        config = json.loads(self.server.instance.trust_config(self.server.url))
        start = {"start": "2021-01-01T00:00:00Z"}
        key = {
            "rawBytes": b64encode(self.spki).decode(),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": start,
        }
        config["trustedRoot"]["tlogs"] = [
            {
                "baseUrl": f"https://{HOST}",
                "hashAlgorithm": "SHA2_256",
                "publicKey": key,
                "logId": {"keyId": b64encode(self.log_id).decode()},
            }
        ]
        config["signingConfig"]["rekorTlogUrls"][0]["majorApiVersion"] = 1
        return json.dumps(config)

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))

    def post(self, handler: FaultyHandler, _real: Callable[[], HttpReply | None], sent: bytes) -> None:
        proposed = json.loads(sent)
        assert (proposed["kind"], proposed["apiVersion"]) == ("dsse", "0.0.1")
        content = proposed["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        payload = b64decode(envelope["payload"])
        spec: dict[str, Any] = {
            "envelopeHash": {
                "algorithm": "sha256",
                "value": hashlib.sha256(content["envelope"].encode()).hexdigest(),
            },
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [
                {"signature": envelope["signatures"][0]["sig"], "verifier": content["verifiers"][0]}
            ],
        }
        body = canonical_json({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        if body in self.leaves:
            uuid = leaf_hash(body).hex()
            where = f"{PATH}/{uuid}"
            self.server.orders[where] = [status(200, self.answer(self.leaves.index(body)))]
            status(409, b'{"code":409,"message":"an equivalent entry exists"}', Location=where)(
                handler, lambda: None, b""
            )
            return
        self.leaves.append(body)
        if self.lose:
            self.lose -= 1
            status(504)(handler, lambda: None, b"")
        else:
            status(201, self.answer(len(self.leaves) - 1))(handler, lambda: None, b"")

    def answer(self, index: int) -> bytes:
        size = len(self.leaves)
        nodes = [leaf_hash(one) for one in self.leaves]

        def read(level: int, at: int) -> bytes:
            found = nodes[at << level : (at + 1) << level]
            while len(found) > 1:
                found = [node_hash(*found[two : two + 2]) for two in range(0, len(found), 2)]
            return found[0]

        root = nodes[0] if size == 1 else _root(nodes)
        checkpoint = Checkpoint(f"{HOST} - 42", size, root)
        note = render(checkpoint, [NoteSignature(HOST, self.log_id[:4], self.sign(checkpoint.body()))])
        said: dict[str, Any] = {
            "body": b64encode(self.leaves[index]).decode(),
            "integratedTime": int(datetime.now(UTC).timestamp()),
            "logID": self.log_id.hex(),
            "logIndex": 1000 + index,
        }
        proof = {
            "logIndex": index,
            "treeSize": size,
            "rootHash": root.hex(),
            "hashes": [one.hex() for one in inclusion_proof(index, size, read)],
            "checkpoint": note,
        }
        promise = b64encode(self.sign(canonical_json(said))).decode()
        entry = said | {"verification": {"signedEntryTimestamp": promise, "inclusionProof": proof}}
        return json.dumps({leaf_hash(self.leaves[index]).hex(): entry}).encode()


def _root(nodes: list[bytes]) -> bytes:
    if len(nodes) == 1:
        return nodes[0]
    split = 1 << (len(nodes) - 1).bit_length() - 1
    return node_hash(_root(nodes[:split]), _root(nodes[split:]))


@pytest.fixture
def log(instance: Instance) -> Iterator[RekorV1]:
    """Serve an instance whose log is a Rekor v1."""
    with FaultServer(instance) as server:
        yield RekorV1(server)


def by_identity(log: RekorV1) -> KeylessSigner:
    services = signing_services(log.trust(), QUICK)
    return KeylessSigner(services.context(), log.server.instance.token(ADA))


def test_identity_signs(log: RekorV1) -> None:
    """Bundles of a batch verify, with the log's own index and promise."""
    trust = Trust.parse(log.trust())
    for number, raw in enumerate(by_identity(log).sign([statement(n) for n in range(3)])):
        found = verify_bundle(raw, trust)
        assert (found.statement.payload, found.log.index) == (statement(number).payload, 1000 + number)
    assert len(log.leaves) == 3


@pytest.mark.parametrize("kind", [*KINDS, "Ed25519"])
def test_key_signs(log: RekorV1, tmp_path: Path, kind: str) -> None:
    """Every kind of key is logged in v1, Ed25519 as well."""
    private = KINDS[kind]() if kind in KINDS else ed25519.Ed25519PrivateKey.generate()
    signer = KeySigner(open_key(write(tmp_path / "k.pem", private)), signing_services(log.trust(), QUICK))
    (raw,) = signer.sign([statement()])
    assert verify_bundle(raw, Trust.parse(log.trust()), signer.keys).statement.payload == statement().payload


def test_lost_answer_is_fetched_and_not_logged_twice(log: RekorV1) -> None:
    """The log took the entry and the answer was lost: the next attempt is told where it is (409), and fetches it."""
    log.lose = 1
    (raw,) = by_identity(log).sign([statement()])
    assert verify_bundle(raw, Trust.parse(log.trust())).statement.payload == statement().payload
    assert len(log.leaves) == 1


@pytest.mark.parametrize(
    "location", ["", "/api/v1/log/entries/../../x", "http://127.0.0.2/api/v1/log/entries/x"]
)
def test_a_409_that_names_no_entry(log: RekorV1, location: str) -> None:
    """Only an entry of the log itself is fetched."""
    log.server.orders[PATH] = [status(409, b"{}", Location=location)]
    with pytest.raises(TransportError, match="cannot be used"):
        by_identity(log).sign([statement()])


def test_a_409_of_another_host_stays_at_the_log(log: RekorV1) -> None:
    """A refusal that points elsewhere is followed at the log alone: the id counts, not the host."""
    uuid = "ab" * 32
    log.server.orders[PATH] = [status(409, b"{}", Location=f"http://127.0.0.2:9/api/v1/log/entries/{uuid}")]
    log.server.orders[f"{PATH}/{uuid}"] = [status(404)]
    with pytest.raises(TransportError, match="does not return the entry"):
        by_identity(log).sign([statement()])
    assert log.server.calls[-1] == f"{PATH}/{uuid}"


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"a":{}}', b'{"a":{"body":"e30="}}', b'{"a":1,"b":2}', b"\xff"]
)
def test_nonsense_of_a_v1_log(log: RekorV1, body: bytes) -> None:
    """Whatever the log answers, the error is one of ours."""
    log.server.orders[PATH] = [status(201, body)]
    with pytest.raises(TransportError):
        by_identity(log).sign([statement()])
