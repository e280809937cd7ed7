"""A server that answers badly costs bounded time and memory, and is one clear error."""

from __future__ import annotations

import gzip
import ssl
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from gitchain.errors import LimitError, TransportError, UsageError
from gitchain.monitor.fetch import Fetcher, check_url
from tests.support.adversarial_log import certified, served

Handler = BaseHTTPRequestHandler


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    part = bytes(1 << 16)
    for _ in range(1 << 14):  # one gigabyte
        try:
            handler.wfile.write(part)
        except OSError:
            return


def dripping(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    for _ in range(400):
        try:
            handler.wfile.write(b"x")
            handler.wfile.flush()
        except OSError:
            return
        time.sleep(0.05)


def dripping_headers(handler: Handler) -> None:
    for number in range(400):
        try:
            handler.wfile.write(b"H" if number else b"HTTP/1.0 200 OK\r\n")
            handler.wfile.flush()
        except OSError:
            return
        time.sleep(0.05)


def moved(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://127.0.0.1:1/elsewhere")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def packed(handler: Handler) -> None:
    data = gzip.compress(bytes(10 << 20))
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def cut_off(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"short")


def garbage(handler: Handler) -> None:
    handler.wfile.write(b"\x00\xff no HTTP at all\r\n\r\n")
    handler.close_connection = True


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (endless, LimitError),
        (dripping, TransportError),
        (dripping_headers, TransportError),
        (moved, TransportError),
        (cut_off, TransportError),
        (garbage, TransportError),
    ],
)
def test_a_bad_answer_is_one_error(answer: Callable[[Handler], None], error: type[Exception]) -> None:
    """A gigabyte, a byte at a time, a redirect, half an answer, no HTTP: bounded, and never followed."""
    start = time.monotonic()
    tracemalloc.start()
    with served(lambda _path, _body: answer) as url, pytest.raises(error):
        Fetcher(url, seconds=0.5).get("checkpoint", 100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.monotonic() - start < 15  # of the 20 s that the drip lasts
    assert peak < 32 << 20


def test_nothing_is_unpacked() -> None:
    """A small answer that would be a large one unpacked is taken as the bytes that it is."""
    with served(lambda _path, _body: packed) as url:
        assert len(Fetcher(url).get("checkpoint", 1 << 20)) < 1 << 20


@pytest.mark.parametrize("status", [201, 204, 301, 403, 404, 409, 429, 500, 503])
def test_only_200_is_an_answer(status: int) -> None:
    with served(lambda _path, _body: (status, b"")) as url, pytest.raises(TransportError, match="no answer"):
        Fetcher(url).get("checkpoint", 10)


def test_the_limit_is_what_may_be() -> None:
    """As long as the limit is fine, one byte more is not."""
    with served(lambda _path, _body: (200, b"x" * 100)) as url:
        assert Fetcher(url).get("a", 100) == b"x" * 100
        with pytest.raises(LimitError):
            Fetcher(url).get("a", 99)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_the_system_s_certificates_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """For each service, not for each tile; and a service that they do not know is no service."""
    file, context = certified(tmp_path), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    stranger = Fetcher("")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv(variable, str(file))
    with served(lambda _path, _body: (200, b"x"), context) as url:
        known = Fetcher(url)
        monkeypatch.delenv(variable)
        assert [known.get("a", 1), known.get("b", 1)] == [b"x", b"x"]
        with pytest.raises(TransportError, match="cannot be reached"):
            replace(stranger, base=url).get("a", 1)


def test_nobody_there() -> None:
    with pytest.raises(TransportError):
        Fetcher("http://127.0.0.1:1").get("checkpoint", 10)


def test_a_post_is_json() -> None:
    asked: list[tuple[str, bytes]] = []

    def answers(path: str, body: bytes) -> tuple[int, bytes]:
        asked.append((path, body))
        return 200, b"done"

    with served(answers) as url:
        assert Fetcher(url).post("a/b", b"{}", 10) == b"done"
        assert Fetcher(url).post("", b"[]", 10) == b"done"
    assert asked == [("/a/b", b"{}"), ("/", b"[]")]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "ftp://127.0.0.1",
        "https://",
        "127.0.0.1",
        "",
        "http://127.0.0.1.example.com",
        "http://[",
        "file:///etc/passwd",
    ],
)
def test_only_protected_places_are_asked(url: str) -> None:
    with pytest.raises(UsageError):
        check_url(url)


@pytest.mark.parametrize(
    "url", ["https://example.com/x/", "http://127.0.0.1:80", "http://[::1]:8", "http://localhost"]
)
def test_protected_places(url: str) -> None:
    assert check_url(url) == url.rstrip("/")
