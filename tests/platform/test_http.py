"""Which proxy is used and what it hears; limits of time and size are tested in tests/monitor/test_fetch.py."""

from __future__ import annotations

import socket
import ssl
import threading
from base64 import b64encode
from pathlib import Path

import pytest

from gitchain.errors import TransportError, UsageError
from gitchain.platform import http as http_module
from gitchain.platform.http import ReadDeadline, ask, followed


def heard_by_a_proxy(login: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the request that a proxy receives for a URL of another machine."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            peer, _ = server.accept()
            with peer:
                heard.append(peer.recv(1 << 16))
                peer.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://{login}127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(TransportError, match="403"):
            ask("GET", "https://log.example/x", {"Authorization": "Bearer t"}, ReadDeadline(5), limit=1)
        thread.join()
    return heard[0].decode()


def test_ask_logs_in_at_the_proxy_and_sends_it_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    request = heard_by_a_proxy("me:p%40ss@", monkeypatch)
    assert request.startswith("CONNECT log.example:443 ")
    assert f"Proxy-Authorization: Basic {b64encode(b'me:p@ss').decode()}\r\n" in request
    assert "Bearer" not in request
    assert "Proxy-Authorization" not in heard_by_a_proxy("", monkeypatch)


def test_ask_refuses_a_proxy_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(UsageError, match="proxy"):
        ask("GET", "https://log.example/", {}, ReadDeadline(5), limit=1)


def test_tls_context_of_a_system_without_certificates_has_those_of_certifi(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unless the environment names others: then a file that lacks a certificate is no reason to trust more."""
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(http_module, "_has_system_folder", lambda: True)
    assert http_module.tls_context().cert_store_stats()["x509_ca"] == 0
    monkeypatch.setattr(http_module, "_has_system_folder", lambda: False)
    assert http_module.tls_context().cert_store_stats()["x509_ca"] > 50
    for name in (
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
    ):  # the replaced function reads none of them
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, "/nonexistent")
            assert http_module.tls_context().cert_store_stats()["x509_ca"] == 0


def test_tls_context_finds_the_system_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty or missing directory holds no certificate."""
    paths, empty = ssl.get_default_verify_paths(), tmp_path / "empty"
    empty.mkdir()
    for folder, expected in ((None, False), (str(tmp_path / "none"), False), (str(empty), False)):
        monkeypatch.setattr(
            ssl, "get_default_verify_paths", lambda folder=folder: paths._replace(capath=folder)
        )
        assert http_module._has_system_folder() is expected
    (empty / "ca.pem").write_text("")
    assert http_module._has_system_folder()


@pytest.mark.parametrize("line", [b"X: y\r\n", b"X"])
def test_ask_ends_with_its_deadline_at_a_slow_proxy(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    """A proxy that sends one header after the other, or one that never ends, holds nothing up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 ok\r\n")
                while not ended.wait(0.05):
                    try:
                        connection.sendall(line)
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        try:
            with pytest.raises(TransportError, match="did not answer in time"):
                ask("GET", "https://service.example/", {}, ReadDeadline(0.5), limit=10)
        finally:
            ended.set()
            thread.join()


def test_ask_tries_each_address_within_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first addresses refuse; the last one answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as other:
            closed = other.getsockname()[1]
        real = socket.getaddrinfo

        def several(host: str, *_: object) -> list[object]:
            return [
                *real("127.0.0.1", closed, 0, socket.SOCK_STREAM),
                *real("127.0.0.1", port, 0, socket.SOCK_STREAM),
            ]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 ok\r\nContent-Length: 2\r\n\r\nhi")

        thread = threading.Thread(target=answer)
        thread.start()
        monkeypatch.setattr(socket, "getaddrinfo", several)
        try:
            assert ask("GET", "http://localhost/", {}, ReadDeadline(5), limit=10).body == b"hi"
        finally:
            thread.join()


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "2130706433",
        "127.1",
        "0x7f.1",
        "localhost",
        "localhost.",
        "a.localhost",
        "127.0.0.1.",
        "[::1]",
    ],
)
def test_followed_refuses_addresses_in_any_spelling(host: str) -> None:
    """No server leads into the local network; a name is allowed."""
    with pytest.raises(TransportError, match="not allowed"):
        followed(f"https://{host}/blob", "https://registry.example/v2")
    assert followed("https://storage.example/blob", "https://registry.example/v2")


def test_ask_tells_what_the_proxy_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """And sends nothing of the request to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        got: list[bytes] = []

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                got.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                got.append(connection.recv(65536))

        thread = threading.Thread(target=refuse)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(TransportError, match="the proxy refused the connection: 403"):
            ask("GET", "https://service.example/", {"Authorization": "secret"}, ReadDeadline(5), limit=10)
        thread.join()
    assert got[0].startswith(b"CONNECT service.example:443 ")
    assert b"secret" not in b"".join(got)
    assert got[1] == b""


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_tls_context_names_a_bundle_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    """With the variable that named it."""
    bundle = tmp_path / "ca.pem"
    if text is not None:
        bundle.write_text(text)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with pytest.raises(UsageError, match="the CA certificates cannot be read") as caught:
        http_module.tls_context()
    assert str(bundle) in caught.value.where
