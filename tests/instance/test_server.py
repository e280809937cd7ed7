"""The instance over HTTP: unmodified Sigstore clients, the C2SP read path, and requests that are refused."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, VerifierBuilder, decode_timestamp_response
from sigstore.dsse import DigestSet as SubjectDigest
from sigstore.dsse import StatementBuilder, Subject
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.oidc import IdentityToken, Issuer
from sigstore.sign import SigningContext
from sigstore.verify import Verifier, policy

from gitchain.errors import TransportError, UsageError
from gitchain.instance import Instance, server
from gitchain.instance.server import LocalServer
from tests.support import local_log
from tests.support.local_log import ADA, entry_request, naive_root, read_bodies, read_rows, signing_request

SIGSTORE = str(Path(sys.executable).parent / "sigstore")


@pytest.fixture
def served(instance: Instance) -> Iterator[LocalServer]:
    """Serve the instance on a free port."""
    with LocalServer(instance, port=0) as running:
        yield running


@pytest.fixture
def trust_file(served: LocalServer, tmp_path: Path) -> Path:
    """Return the exported trust config for the running server."""
    path = tmp_path / "trust.json"
    path.write_text(served.instance.trust_config(served.url), encoding="utf-8")
    return path


def config_of(served: LocalServer) -> ClientTrustConfig:
    return ClientTrustConfig.from_json(served.instance.trust_config(served.url))


def address(server: LocalServer) -> tuple[str, int]:
    """Return where it listens."""
    host, port, *_ = server.server_address
    return str(host), int(port)


def sigstore(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SIGSTORE_")}
    return subprocess.run(
        [SIGSTORE, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=60
    )


def test_sigstore_python_signs_and_verifies(served: LocalServer) -> None:
    """sigstore-python signs over HTTP with nothing but the trust config and a token, and verifies what it got."""
    config = config_of(served)
    statement = StatementBuilder(
        [Subject(name="a", digest=SubjectDigest({"sha256": "0" * 64}))], "https://example.com/p", {}
    ).build()
    with SigningContext.from_trust_config(config).signer(IdentityToken(served.instance.token(ADA))) as signer:
        bundles = [signer.sign_dsse(statement), signer.sign_artifact(b"artifact")]
    verifier = Verifier(trusted_root=config.trusted_root)
    accepted = policy.Identity(identity=ADA, issuer=served.instance.issuer)
    verifier.verify_dsse(Bundle.from_json(bundles[0].to_json()), accepted)
    verifier.verify_artifact(b"artifact", Bundle.from_json(bundles[1].to_json()), accepted)


def test_sigstore_cli_signs_attests_and_verifies(
    served: LocalServer, trust_file: Path, tmp_path: Path
) -> None:
    """The plain sigstore command signs, attests and verifies with the exported trust config."""
    artifact, bundle, attestation = tmp_path / "model.bin", tmp_path / "sign.json", tmp_path / "attest.json"
    artifact.write_bytes(b"weights")
    predicate = tmp_path / "predicate.json"
    predicate.write_text(json.dumps(PROVENANCE), encoding="utf-8")
    trust, token = ("--trust-config", str(trust_file)), ("--identity-token", served.instance.token(ADA))
    who = ("--cert-identity", ADA, "--cert-oidc-issuer", served.instance.issuer)
    signed = sigstore(*trust, "sign", *token, "--bundle", str(bundle), str(artifact))
    assert signed.returncode == 0, signed.stderr
    kind = ("--predicate-type", "https://slsa.dev/provenance/v1", "--predicate", str(predicate))
    attested = sigstore(*trust, "attest", *token, *kind, "--bundle", str(attestation), str(artifact))
    assert attested.returncode == 0, attested.stderr
    for made in (bundle, attestation):
        verified = sigstore(*trust, "verify", "identity", "--bundle", str(made), *who, str(artifact))
        assert verified.returncode == 0, verified.stderr
    artifact.write_bytes(b"weightz")
    assert (
        sigstore(*trust, "verify", "identity", "--bundle", str(bundle), *who, str(artifact)).returncode != 0
    )


PROVENANCE = {
    "buildDefinition": {"buildType": "https://example.com/b", "externalParameters": {}},
    "runDetails": {"builder": {"id": "https://example.com/builder"}},
}


def test_oidc_discovery_reads_with_sigstore(served: LocalServer) -> None:
    """sigstore-python reads the discovery document; the JWKS holds the key that signs tokens; no token is given out."""
    issuer = Issuer(served.url)
    assert issuer.oidc_config.token_endpoint.startswith(served.url)
    keys = requests.get(f"{served.url}/oauth2/jwks", timeout=5).json()["keys"]
    numbers = served.instance.keys.oidc.public_key().public_numbers()
    assert int.from_bytes(base64.urlsafe_b64decode(keys[0]["x"] + "="), "big") == numbers.x
    assert "d" not in keys[0]
    assert requests.post(f"{served.url}/oauth2/token", data={"grant_type": "x"}, timeout=5).status_code == 403
    assert requests.get(f"{served.url}/oauth2/authorize", timeout=5).status_code == 403


def test_read_path_is_c2sp(served: LocalServer) -> None:
    """A tile reader that knows only C2SP recomputes the root over HTTP, on both prefixes."""
    log = served.instance.log
    log.append([b"entry %d" % number for number in range(300)])
    for prefix in ("", "/api/v2"):

        def fetch(path: str, prefix: str = prefix) -> bytes | None:
            answer = requests.get(f"{served.url}{prefix}/{path}", timeout=5)
            return answer.content if answer.status_code == 200 else None

        note = local_log.Note(str((fetch("checkpoint") or b"").decode()), served.instance.origin)
        assert note.size == 301
        leaves = [sha256(b"\0" + body).digest() for body in read_bodies(fetch, note.size)]
        assert read_rows(fetch, note.size)[0] == leaves
        assert naive_root(leaves) == note.root
        for path in ("tile/0/001", "tile/0/001.p/46", "tile/entries/002.p/1", "tile/9/000", "tile/0/1", "tile/0/000.p/256",
                     "tile/../keys/log.pem", "tile/entries/../../../keys/log.pem"):  # fmt: skip
            assert fetch(path) is None, path
        assert fetch("tile/0/000.p/3") == b"".join(leaves[:3])


def test_node_style_certificate_request(served: LocalServer) -> None:
    """A client that proves its key by signing the identity gets a certificate; one that does not is refused."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    body: dict[str, Any] = {
        "credentials": {"oidcIdentityToken": served.instance.token(ADA)},
        "publicKeyRequest": {
            "publicKey": {"algorithm": "ECDSA", "content": pem},
            "proofOfPossession": base64.b64encode(key.sign(ADA.encode(), ec.ECDSA(hashes.SHA256()))).decode(),
        },
    }
    answer = requests.post(f"{served.url}/api/v2/signingCert", json=body, timeout=5)
    assert answer.status_code == 201
    chain = answer.json()["signedCertificateEmbeddedSct"]["chain"]["certificates"]
    assert load_pem_x509_certificate(chain[0].encode()).public_key() == key.public_key()
    body["publicKeyRequest"]["proofOfPossession"] = base64.b64encode(
        key.sign(b"x", ec.ECDSA(hashes.SHA256()))
    ).decode()
    refused = requests.post(f"{served.url}/api/v2/signingCert", json=body, timeout=5)
    assert (refused.status_code, "did not sign" in refused.json()["message"]) == (400, True)
    bundle = requests.get(f"{served.url}/api/v2/trustBundle", timeout=5).json()
    assert bundle["chains"][0]["certificates"] == chain[1:]


@pytest.mark.parametrize("as_json", [False, True])
def test_timestamps(served: LocalServer, *, as_json: bool) -> None:
    """A timestamp, asked for in DER or in JSON, verifies over the message, and echoes the nonce."""
    wanted = (
        TimestampRequestBuilder()
        .hash_algorithm(HashAlgorithm.SHA256)
        .data(b"message")
        .nonce(nonce=True)
        .build()
    )
    url = f"{served.url}/api/v1/timestamp"
    if as_json:
        digest = base64.b64encode(sha256(b"message").digest()).decode()
        body: dict[str, Any] = {
            "artifactHash": digest,
            "hashAlgorithm": "sha256",
            "certificates": True,
            "nonce": 77,
        }
        answer = requests.post(url, json=body, timeout=5)
    else:
        answer = requests.post(
            url, data=wanted.as_bytes(), headers={"Content-Type": "application/timestamp-query"}, timeout=5
        )
    response = decode_timestamp_response(answer.content)
    assert response.tst_info.nonce == (77 if as_json else wanted.nonce)
    keys = served.instance.keys
    verifier = (
        VerifierBuilder()
        .tsa_certificate(keys.tsa_certificate)
        .add_root_certificate(keys.root_certificate)
        .build()
    )
    assert verifier.verify_message(response, b"message")


@pytest.mark.parametrize(
    "body", [b"", b"junk", b"\x30\x03\x02\x01\x01", b"\x30\x84\xff\xff\xff\xff", b"x" * 5000]
)
def test_bad_timestamp_requests_are_refused(served: LocalServer, body: bytes) -> None:
    """What is not a TimeStampReq over SHA-256 gets 400 and a reason."""
    answer = requests.post(f"{served.url}/api/v1/timestamp", data=body, timeout=5)
    assert (answer.status_code, bool(answer.json()["message"])) == (400, True)
    sha3 = {"artifactHash": base64.b64encode(bytes(32)).decode(), "hashAlgorithm": "sha3-256"}
    assert requests.post(f"{served.url}/api/v1/timestamp", json=sha3, timeout=5).status_code == 400
    sha512 = TimestampRequestBuilder().hash_algorithm(HashAlgorithm.SHA512).data(b"message").build()
    assert (
        requests.post(f"{served.url}/api/v1/timestamp", data=sha512.as_bytes(), timeout=5).status_code == 400
    )


def csr_body() -> dict[str, str]:
    request = signing_request(ec.generate_private_key(ec.SECP256R1()))
    return {"certificateSigningRequest": base64.b64encode(request.public_bytes(Encoding.PEM)).decode()}


def test_certificates_need_a_token(served: LocalServer, tmp_path: Path) -> None:
    """Without a token, or with another instance's, the answer is 401 and says what to type."""
    other = Instance.create(tmp_path / "other").token(ADA)
    for headers in (
        {},
        {"Authorization": f"Bearer {other}"},
        {"Authorization": f"Basic {served.instance.token(ADA)}"},
    ):
        answer = requests.post(
            f"{served.url}/api/v2/signingCert", json=csr_body(), headers=headers, timeout=5
        )
        assert answer.status_code == 401
        assert "token" in answer.json()["message"]


def test_bad_bodies_are_refused(served: LocalServer) -> None:
    """Broken JSON, other shapes, deep nesting and bad entries get 4xx with a reason, and nothing is logged."""
    headers = {"Authorization": f"Bearer {served.instance.token(ADA)}"}
    bodies: list[bytes] = [
        b"",
        b"[]",
        b"{",
        b"null",
        b'{"a":1,"a":2}',
        b"[" * 100_000,
        b"\xff",
        b'{"certificateSigningRequest":"%"}',
    ]
    bodies.append(json.dumps(entry_request(served.instance, b"one", signed=b"two")).encode())
    for body in bodies:
        for path in ("/api/v2/signingCert", "/api/v2/log/entries"):
            answer = requests.post(served.url + path, data=body, headers=headers, timeout=5)
            assert answer.status_code in {400, 413}, (path, body[:40])
            assert answer.json()["message"]
    assert served.instance.log.size() == 1


def raw(served: LocalServer, data: bytes) -> bytes:
    """Send bytes, close the writing side, and return all that comes back."""
    with socket.create_connection(address(served), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Content-Length: 1048577", 413), (b"Content-Length: 99999999999999999999999999", 411), (b"Content-Length: -1", 411),
        (b"Content-Length: +1", 411), (b"Content-Length: \xb2", 411), (b"Transfer-Encoding: chunked", 411), (b"X: y", 411),
        (b"Content-Length: 1\r\nContent-Length: 2", 400), (b"Content-Length: 1\r\nTransfer-Encoding: chunked", 411),
    ],
)  # fmt: skip
def test_bad_lengths_are_refused_unread(served: LocalServer, header: bytes, status: int) -> None:
    """A body that is too large or of unclear length is refused before it is read, and the connection closed."""
    answer = raw(served, b"POST /api/v2/log/entries HTTP/1.1\r\nHost: 127.0.0.1\r\n" + header + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in answer


def test_cut_off_body_changes_nothing(served: LocalServer) -> None:
    """A client that leaves in the middle of its request does not disturb the next one."""
    request = b"POST /api/v2/log/entries HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"
    assert raw(served, request).startswith(b"HTTP/1.1 400 ")
    assert requests.get(f"{served.url}/healthz", timeout=5).json()["logSize"] == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": ""},
        {"Host": "[bad"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_web_pages_are_refused(served: LocalServer, headers: dict[str, str]) -> None:
    """A request that a browser sends for a web page, by DNS rebinding or across origins, is refused."""
    connection = http.client.HTTPConnection(*address(served), timeout=5)
    connection.request("GET", "/checkpoint", headers=headers)
    assert connection.getresponse().status == 403
    connection.close()


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/log/entries", "/keys/log.pem", "/checkpoint/", "/tile/", "/%2e%2e/keys"]
)
def test_unknown_paths(served: LocalServer, path: str) -> None:
    """There is nothing at other paths, and nothing of the directory can be read."""
    assert requests.get(served.url + path, timeout=5).status_code == 404
    assert requests.post(served.url + path, json={}, timeout=5).status_code == 404


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.0.1", "localhost", "example.com", "127.0.0.1 "]
)
def test_other_addresses_are_not_bound(instance: Instance, host: str) -> None:
    """Plain http is served on a loopback address or not at all."""
    with pytest.raises(UsageError, match="loopback"):
        LocalServer(instance, host=host, port=0)


def test_taken_port_is_reported(served: LocalServer) -> None:
    """A port that is in use gives an error that says what to type."""
    with pytest.raises(TransportError) as caught:
        LocalServer(served.instance, port=served.server_address[1])
    assert "stop the program that listens there" in caught.value.help


def test_too_many_connections(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a connection is told to come back; when one ends, the next is served."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    with LocalServer(instance, port=0) as running:
        first = http.client.HTTPConnection(*address(running), timeout=5)
        first.request("GET", "/healthz")
        assert first.getresponse().read()
        with socket.create_connection(address(running), timeout=5) as second:
            assert second.recv(4096).startswith(b"HTTP/1.1 503")
        first.close()
        for _ in range(1000):
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{running.url}/healthz", timeout=5).status_code == 200:
                    break
        else:
            pytest.fail("the slot of a closed connection was never free again")


def test_idle_connection_is_closed(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that never finishes its header is cut off."""
    monkeypatch.setattr(server._InstanceHandler, "timeout", 0.05)
    with (
        LocalServer(instance, port=0) as running,
        socket.create_connection(address(running), timeout=10) as slow,
    ):
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0")
        assert slow.recv(10) == b""


def test_many_clients_at_once(served: LocalServer) -> None:
    """Eight threads that log at the same time all get proofs that verify, each entry at its own place."""
    requests_ = [entry_request(served.instance, secrets.token_bytes(8)) for _ in range(24)]
    found: list[int] = []

    def client(part: list[dict[str, Any]]) -> None:
        with requests.Session() as session:
            for body in part:
                answer = session.post(f"{served.url}/api/v2/log/entries", json=body, timeout=30)
                found.append(int(answer.json()["logIndex"]))

    threads = [threading.Thread(target=client, args=(requests_[n::8],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 25))


def test_ipv6_loopback(instance: Instance) -> None:
    """The server also serves on ::1, where the machine has it."""
    try:
        running = LocalServer(instance, host="::1", port=0)
    except TransportError:
        pytest.skip("no IPv6 loopback")
    with running:
        assert re.fullmatch(r"http://\[::1\]:\d+", running.url)
        assert requests.get(f"{running.url}/healthz", timeout=5).status_code == 200


def test_our_bug_is_logged_and_the_server_goes_on(
    served: LocalServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected exception ends its connection, is logged as an error, and the next request is answered."""
    with monkeypatch.context() as patch:
        patch.setattr(Instance, "log_entry", lambda *_: 1 / 0)
        with pytest.raises(requests.ConnectionError):
            requests.post(f"{served.url}/api/v2/log/entries", json={}, timeout=5)
    assert requests.get(f"{served.url}/healthz", timeout=5).status_code == 200
    assert "could not be answered" in caplog.text
