"""The whole server on loopback over TLS: its endpoints, its limits, its certificate, its beginning and its end."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.admit import app, listener, server
from gitchain.admit.admission import INLINE_BYTES
from gitchain.admit.external_data import MAX_ASKED_BYTES
from gitchain.admit.review import MAX_BODY_BYTES
from gitchain.admit.tls import Certificate, TlsFiles
from gitchain.errors import TransportError, TrustError
from tests.support.admission import AdmissionFiles, Client, certificate, digest, oci, pod, review, serving
from tests.support.fuzzing import sized

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def live(models: AdmissionFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Client]]:
    """One server for the tests that leave it as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITCHAIN_HOME", str(tmp_path_factory.mktemp("home") / "gitchain"))
        with serving(models.settings, tmp_path_factory.mktemp("tls")) as made:
            yield made


@pytest.fixture
def client(live: tuple[Any, Client]) -> Iterator[Client]:
    """A connection of the test's own."""
    found = Client(live[1].port)
    yield found
    found.close()


def test_reviews_are_answered(client: Client) -> None:
    """Allowed and denied, under the id of the question, on one connection."""
    for model, allowed in (("good", True), ("nosuch", False), ("second", True), ("revoked", False)):
        status, answer = client.post("/validate", review(pod(oci(model)), uid=model))
        assert (status, answer["kind"], answer["apiVersion"]) == (
            200,
            "AdmissionReview",
            "admission.k8s.io/v1",
        )
        assert (answer["response"]["uid"], answer["response"]["allowed"]) == (model, allowed)
    assert client.post("/validate?timeout=10s", review(pod(oci("good"))))[1]["response"]["allowed"] is True


def test_a_large_review_is_answered(client: Client) -> None:
    """Read and searched beside the event loop, with the same outcome."""
    padding = {"name": "x", "image": "y" * (INLINE_BYTES + 1)}
    for model, allowed in (("good", True), ("nosuch", False)):
        body = review(pod(oci(model), initContainers=[padding]))
        assert client.post("/validate", body)[1]["response"]["allowed"] is allowed


def test_plain_json(client: Client) -> None:
    """`verified` is true only if everything that was asked about passed; the answer satisfies its schema."""
    schema = Draft202012Validator(json.loads((ROOT / "schemas/decide.schema.json").read_text()))
    good = [oci("good"), f"sha256:{digest('second')}", f"registry.example.com/m:v1@sha256:{digest('good')}"]
    bad = [oci("nosuch"), "registry.example.com/m:v1", f"s3://x@sha256:{digest('good')}", "", "sha256:abc"]
    for references, verified in (
        (good, True),
        *(([*good, one], False) for one in bad),
        ([], False),
    ):
        status, answer = client.post("/v1/decide", {"layout": "credit", "references": references})
        schema.validate(answer)
        assert (status, answer["verified"]) == (200, verified)
        assert len(answer["results"]) == len(references)
    assert client.post("/v1/decide", {"layout": "other", "references": good})[1]["verified"] is False


@pytest.mark.parametrize(
    "value",
    [
        {}, [], None, {"layout": "credit"}, {"layout": 1, "references": []}, {"layout": "credit", "references": [1]},
        {"layout": "credit", "references": "x"}, {"layout": "credit", "references": ["x"] * 65},
        {"layout": "credit", "references": [], "mode": "audit"}, b"", b"{", b'{"layout":"a","layout":"b"}',
    ],
)  # fmt: skip
def test_a_question_that_is_none_is_an_error(live: tuple[Any, Client], value: object) -> None:
    """Never `verified`, and never a 200."""
    for path in ("/v1/decide", "/gatekeeper", "/validate"):
        client = Client(live[1].port)
        status, answer = client.post(path, value)
        client.close()
        assert status in {400, 413}
        assert set(answer) == {"error"}


def test_gatekeeper(client: Client) -> None:
    """The exact form that Gatekeeper reads: each key with a value or an error, in the order of the question."""
    keys = [
        f"credit|{oci('good')}",
        f"credit|{oci('nosuch')}",
        "credit|x:v1",
        f"other|{oci('good')}",
        oci("good"),
    ]
    question = {
        "apiVersion": "externaldata.gatekeeper.sh/v1beta1",
        "kind": "ProviderRequest",
        "request": {"keys": keys},
    }
    status, answer = client.post("/gatekeeper", question)
    assert (status, answer["apiVersion"], answer["kind"]) == (200, question["apiVersion"], "ProviderResponse")
    response = answer["response"]
    assert (response["idempotent"], response["systemError"]) == (True, "")
    assert [item["key"] for item in response["items"]] == keys
    assert response["items"][0] == {"key": keys[0], "value": f"sha256:{digest('good')}", "error": ""}
    for item in response["items"][1:]:
        assert item["value"] == ""
        assert item["error"]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "text/plain"}, b"{}", 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"{}", 415),
        ({"Content-Type": "application/json; charset=utf-8"}, b"{}", 400),
        ({"Content-Type": "application/json", "Content-Length": str(MAX_BODY_BYTES + 1)}, b"", 413),
        ({"Content-Type": "application/json", "Content-Length": "9" * 30}, b"", 400),
    ],
)
def test_headers_are_checked_before_the_body_is_read(
    live: tuple[Any, Client], headers: dict[str, str], body: bytes, status: int
) -> None:
    """Media type, compression and length."""
    client = Client(live[1].port)
    client.connection.putrequest("POST", "/validate")
    for key, value in ({"Content-Length": str(len(body))} | headers).items():
        client.connection.putheader(key, value)
    client.connection.endheaders(body)
    assert client.connection.getresponse().status == status
    client.close()


def test_a_body_without_an_end_is_cut_off(client: Client) -> None:
    """A chunked body has no length in front: it is counted as it comes."""
    part = b" " * (1 << 16)

    def endless() -> Iterator[bytes]:
        for _ in range(MAX_ASKED_BYTES // len(part) + 2):
            yield part

    try:
        client.connection.request(
            "POST", "/v1/decide", endless(), {"Content-Type": "application/json"}, encode_chunked=True
        )
        assert client.connection.getresponse().status == 413
    except (ConnectionError, ssl.SSLError):
        pass  # cut off before the client had sent everything


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/validate", 405), ("POST", "/", 404), ("POST", "/validate/", 307), ("GET", "/healthz", 200), ("GET", "/readyz", 200),
        ("POST", "/metrics", 405), ("DELETE", "/v1/decide", 405),
    ],
)  # fmt: skip
def test_other_paths_and_methods(client: Client, method: str, path: str, status: int) -> None:
    """Nothing else is there, and nothing of that is a 200 to a review."""
    client.connection.request(method, path)
    answer = client.connection.getresponse()
    answer.read()
    assert answer.status == status


def test_metrics_have_bounded_labels(client: Client) -> None:
    """Counts by reason, ages by layout; nothing that a caller wrote is a label."""
    client.post("/validate", review(pod(oci("good")), namespace="evil-label", name="evil-name"))
    status, text = client.call("GET", "/metrics")
    assert status == 200
    for name in (
        "gitchain_reviews_total",
        "gitchain_evidence_age_seconds",
        "gitchain_certificate_expiry_seconds",
    ):
        assert name in text
    assert "evil" not in text


def raw(port: int) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=20))


def test_slow_headers_end_the_connection(
    models: AdmissionFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever does not get to the end of a request is cut off, also if a byte comes now and then."""
    monkeypatch.setattr(listener, "HEADER_SECONDS", 0.2)
    with serving(models.settings, tmp_path) as (_, client):
        slow = raw(client.port)
        slow.sendall(b"POST /validate HTTP/1.1\r\nHost: x\r\n")
        assert slow.recv(100) == b""
        silent = raw(client.port)
        assert silent.recv(100) == b""
        assert client.call("GET", "/healthz")[0] == 200


def test_a_slow_body_ends_the_request(
    models: AdmissionFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that does not come is answered with 408, and others are served meanwhile."""
    monkeypatch.setattr(app, "BODY_SECONDS", 0.2)
    with serving(models.settings, tmp_path) as (_, client):
        slow = raw(client.port)
        slow.sendall(
            b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"
        )
        assert client.post("/validate", review(pod(oci("good"))))[1]["response"]["allowed"] is True
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_bytes_that_are_held_are_bounded(
    models: AdmissionFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies count from their first byte to their answer; what comes on top is told to come again, and room comes back."""
    monkeypatch.setattr(app, "MAX_WAITING_BYTES", 20_000)
    with serving(models.settings, tmp_path) as (service, client):
        held = raw(client.port)
        held.sendall(
            b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 19000\r\n\r\n"
            + b" " * 18_000
        )
        while service.server.waiting < 18_000:
            assert client.call("GET", "/healthz")[0] == 200
        other = Client(client.port)
        assert other.post("/validate", b" " * 3_000)[0] == 503
        other.close()
        held.close()
        while service.server.waiting:
            assert client.call("GET", "/healthz")[0] == 200
        assert client.post("/validate", review(pod(oci("good"))))[1]["response"]["allowed"] is True


def test_only_tls_1_3_is_spoken(live: tuple[Any, Client]) -> None:
    """An older version is no handshake, and neither is plain text."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        context.wrap_socket(socket.create_connection(("127.0.0.1", live[1].port), timeout=20))
    with socket.create_connection(("127.0.0.1", live[1].port), timeout=20) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP/1.1 200" not in plain.recv(1000)


def test_files_that_do_not_belong_together_change_nothing(tmp_path: Path) -> None:
    """In the middle of a rotation the old certificate serves on; then the new one does."""
    new = tmp_path / "new"
    new.mkdir()
    used = Certificate(TlsFiles(*certificate(tmp_path, days=1)))
    end = used.end
    fresh = certificate(new, days=90)
    for name, broken in (
        ("tls.crt", fresh[0].read_bytes()),
        ("tls.crt", b"x"),
        ("tls.crt", b""),
        ("tls.key", b"x"),
    ):
        before = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(TrustError):
            used.reload()
        assert used.end == end
        (tmp_path / name).write_bytes(before)
    assert used.reload() is False
    for path in fresh:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert used.reload() is True
    assert used.end is not None
    assert end is not None
    assert used.end > end


def handshakes(
    context: ssl.SSLContext, until: threading.Event, *, with_name: bool
) -> tuple[set[bytes], list[str]]:
    """Make connections to a context in memory until the event; return the certificates that were served, and failures."""
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    served: set[bytes] = set()
    failures: list[str] = []
    while not until.is_set():
        here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
        near = client.wrap_bio(here, there, server_hostname="webhook.example" if with_name else None)
        far = context.wrap_bio(there, here, server_side=True)
        try:
            for end in (near, far, near, far):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
        except ssl.SSLError as error:
            failures.append(str(error))
        else:
            served.add(near.getpeercert(binary_form=True) or b"")
    return served, failures


def test_certificate_rotations_break_no_handshake(tmp_path: Path) -> None:
    """Rotations between two pairs while others connect, with and without a server name: no handshake fails."""
    pairs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pairs.append([path.read_bytes() for path in certificate(tmp_path / name)])
    places = certificate(tmp_path)
    used = Certificate(TlsFiles(*places))
    until = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(handshakes, used.context, until, with_name=flag) for flag in (True, False)]
        try:
            for rotation in range(sized(200, 1000)):
                for place, data in zip(places, pairs[rotation % 2], strict=True):
                    place.write_bytes(data)
                assert used.reload() is True
        finally:
            until.set()
        results = [one.result() for one in found]
    for served, failures in results:
        assert failures == []
        assert len(served) >= 2
        assert b"" not in served


def test_an_expired_certificate_is_not_ready(models: AdmissionFiles, tmp_path: Path) -> None:
    """Ready means that the API server can ask."""
    with serving(models.settings, tmp_path) as (service, client):
        certificate(tmp_path, days=-1)
        service._certificate.reload()
        status, answer = client.call("GET", "/readyz")
        assert status == 503
        assert "certificate" in answer["missing"][0]
        assert client.call("GET", "/healthz")[0] == 200


ASKED = (("good", True), ("revoked", False), ("second", True), ("nosuch", False))


def asked(client: Client, number: int) -> tuple[bool, object]:
    """Ask about one of four models; return whether the answer is right, and the answer."""
    model, allowed = ASKED[number // 4 % 4]
    try:
        status, answer = client.post("/validate", review(pod(oci(model)), uid=str(number)))
    except OSError as error:
        return False, error
    response = answer["response"]
    return (status, response["uid"], response["allowed"]) == (200, str(number), allowed), answer


def test_rotations_under_load_fail_nobody(models: AdmissionFiles, tmp_path: Path) -> None:
    """Three new certificates while reviews are asked over old and new connections: each is answered, and rightly."""
    total = sized(300, 10_000)
    with serving(models.settings, tmp_path) as (service, first):
        wrong: list[object] = []
        served: set[bytes] = set()
        counted, rotated = threading.Semaphore(0), threading.Event()

        def ask(offset: int) -> None:
            client, number = Client(first.port), offset
            while number < total or not rotated.is_set():
                if number // 4 % 10 == 9:  # a new connection now and then, as API servers come and go
                    client.close()
                    client = Client(first.port)
                right, answer = asked(client, number)
                wrong.extend([] if right else [answer])
                peer = client.connection.sock
                assert isinstance(peer, ssl.SSLSocket)
                served.add(peer.getpeercert(binary_form=True) or b"")
                counted.release()
                number += 4
            client.close()

        threads = [threading.Thread(target=ask, args=(offset,)) for offset in range(4)]
        for one in threads:
            one.start()
        try:
            for rotation in range(1, 4):
                for _ in range(total // 5):
                    assert counted.acquire(timeout=30)
                certificate(tmp_path)
                assert service._certificate.reload() is True
                while len(served) <= rotation:
                    assert counted.acquire(timeout=30)
        finally:
            rotated.set()
        for one in threads:
            one.join(600)
        assert wrong == []
        assert len(served) == 4


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """Nagle's algorithm is off for every connection: an answer of two pieces would take 40 ms."""

    async def connected() -> int:
        off: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def accepted(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = writer.get_extra_info("socket")
            off.set_result(peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = server.bind("127.0.0.1", 0)
        async with await asyncio.start_server(accepted, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            writer.close()
            return await off

    assert asyncio.run(connected()) != 0


def test_the_address_is_taken_or_none(tmp_path: Path) -> None:
    """One clear error instead of a traceback."""
    with server.bind("127.0.0.1", 0) as taken:
        for where in (("127.0.0.1", taken.getsockname()[1]), ("256.0.0.1", 0)):
            with pytest.raises(TransportError):
                server.bind(*where)


def command(models: AdmissionFiles, tmp_path: Path, *more: str) -> list[str]:
    places = certificate(tmp_path)
    return [
        sys.executable, "-m", "gitchain", "serve", "--settings", str(models.top / "serve.yaml"), "--certificate", str(places[0]),
        "--key", str(places[1]), "--listen", "127.0.0.1:0", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_well(models: AdmissionFiles, tmp_path: Path, isolated: Path, number: int) -> None:
    """After a signal it is unready, answers what is under way, and exits with 0; the log is JSON without secrets."""
    with (
        subprocess.Popen(
            command(models, tmp_path, "--probes", "127.0.0.1:0"),
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        ) as process,
        ExitStack() as stack,
    ):
        stack.callback(process.kill)  # whatever fails here, nobody waits for it
        assert process.stderr is not None
        ports = [int(process.stderr.readline().rsplit(":", 1)[1]) for _ in range(2)]
        client = Client(ports[0])
        probe = http.client.HTTPConnection("127.0.0.1", ports[1], timeout=20)
        for _ in range(600):
            probe.request("GET", "/readyz")
            answer = probe.getresponse()
            answer.read()
            if answer.status == 200:
                break
            time.sleep(0.05)
        status, found = client.post(
            "/validate", review(pod(oci("good"))), Authorization="Bearer secret-token"
        )
        assert (status, found["response"]["allowed"]) == (200, True)
        probe.request("POST", "/validate", b"{}")
        assert probe.getresponse().status == 404  # no reviews without TLS
        process.send_signal(number)
        if number == signal.SIGTERM:  # it drains for a while
            for _ in range(600):
                if (status := client.call("GET", "/readyz")[0]) == 503:
                    break
                time.sleep(0.05)
            assert status == 503
            assert client.post("/validate", review(pod(oci("good"))))[1]["response"]["allowed"] is True
            assert client.connection.sock is None  # the server said that the connection ends
            process.send_signal(signal.SIGTERM)  # the second one does not wait
        lines = [json.loads(line) for line in process.stderr.read().splitlines()]
        assert process.wait(30) == 0
    assert {"review", "stopping"} <= {line["message"] for line in lines}
    reviewed = next(line for line in lines if line["message"] == "review")
    assert reviewed["models"] == [f"sha256:{digest('good')}"]
    assert reviewed["user"] == "dev@example.com"
    assert "secret" not in json.dumps(lines)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("--listen", "nowhere"), 2), (("--listen", "127.0.0.1:99999"), 2), (("--settings", "none.yaml"), 2),
        (("--certificate", "none.pem"), 4), (("--key", __file__), 4), (("--client-ca", __file__), 4), (("--listen", "192.0.2.1:1"), 7),
    ],
)  # fmt: skip
def test_what_cannot_start_says_why(
    models: AdmissionFiles,
    tmp_path: Path,
    change: tuple[str, str],
    code: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """One clear error and the right exit code for each."""
    from gitchain.cli.main import run

    assert run([*command(models, tmp_path)[3:], *change]) == code
    err = capfd.readouterr().err
    assert err.count("error: ") == 1
    assert "Traceback" not in err
