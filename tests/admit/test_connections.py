"""Idle, slow and forged clients take no room from the API server; who reports is authenticated where that is signed."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from gitchain.admit import connections, listener
from gitchain.admit.connections import OpenConnections, peer_of
from gitchain.admit.run import deployment_log, serve
from gitchain.admit.settings import Deployments
from gitchain.admit.tls import Certificate, TlsFiles
from gitchain.errors import GitchainError, TrustError, UsageError
from tests.support.admission import (
    WHO,
    AdmissionFiles,
    Authority,
    Client,
    certificate,
    oci,
    pod,
    review,
    serving,
)

IDLE = 270
PEERS = tuple(f"127.0.0.{number}" for number in range(2, 8))
"""Loopback has as many addresses as an attack needs."""


@dataclass(eq=False)
class Held:
    """An open connection of a test's own."""

    peer: str = "a"
    is_trusted: bool = False
    is_used: bool = False
    since: float = 0.0
    is_answering: bool = False
    ended: bool = False

    def abort(self) -> None:
        self.ended = True


def ended(room: OpenConnections, *held: Held) -> list[int]:
    for one in held:
        room.enter(one)
    return [number for number, one in enumerate(held) if one.ended]


def test_room_goes_to_those_who_use_it() -> None:
    """The oldest that was never used goes first, then the oldest; what is being answered stays, and so the new one goes."""
    assert ended(OpenConnections(8, keeps_reserve=False), *(Held(since=n) for n in range(6))) == [0, 1]
    held = [Held(since=0, is_used=True), Held(since=5), Held(since=6), Held(since=7), Held(since=8)]
    assert ended(OpenConnections(8, keeps_reserve=False), *held) == [1]
    assert ended(OpenConnections(8, keeps_reserve=False), *(Held(is_answering=True) for _ in range(6))) == [
        4,
        5,
    ]
    assert ended(OpenConnections(4, keeps_reserve=False), *(Held(str(n), since=n) for n in range(6))) == [
        0,
        1,
    ]


def test_half_of_the_room_is_the_api_servers() -> None:
    """Those without its certificate never get it, whatever they do; it takes theirs where it needs more than all of its own."""
    room = OpenConnections(8, keeps_reserve=True)
    strangers = [Held(str(n), is_answering=True) for n in range(20)]
    assert ended(room, *strangers) == list(range(4, 20))
    ours = [Held("api", is_trusted=True, since=n) for n in range(4)]
    assert ended(room, *ours) == []
    idle = OpenConnections(8, keeps_reserve=True)
    assert ended(idle, *(Held(str(n), since=n) for n in range(4))) == []
    assert ended(idle, *(Held("api", is_trusted=True, since=n) for n in range(8))) == []
    assert len(idle.inside) == 8
    late = Held("x")
    assert ended(idle, late) == [0]


def test_a_room_forgets_who_left() -> None:
    """Whoever comes and goes takes no room."""
    room = OpenConnections(4, keeps_reserve=True)
    for _ in range(100):
        one = Held()
        room.enter(one)
        room.leave(one)
        assert not one.ended


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"), ("fe80::1%eth0", "fe80::/64"), ("socket", "socket"),
    ],
)  # fmt: skip
def test_a_peer_is_a_host(address: str, peer: str) -> None:
    """Of IPv6 the network: a host has all of its addresses."""
    assert peer_of(address) == peer


@pytest.fixture
def clients(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "clients")


def plain(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))


def secured(port: int, source: str = "127.0.0.1") -> ssl.SSLSocket:
    return Client(port).context.wrap_socket(plain(port, source))


def admits(client: Client) -> bool:
    status, answer = client.post("/validate", review(pod(oci("good"))))
    return status == 200 and answer["response"]["allowed"] is True


@pytest.mark.parametrize("shown", [True, False], ids=["with a certificate", "without"])
def test_idle_connections_do_not_stop_admission(models: AdmissionFiles, tmp_path: Path, shown: bool) -> None:
    """270 of six peers, and as many that begin no handshake, while new connections of the API server are answered at once."""
    clients = Authority(tmp_path / "clients") if shown else None
    with serving(models.settings, tmp_path, clients) as (service, first), ExitStack() as stack:
        context = Client(first.port).context
        for number in range(IDLE):
            with contextlib.suppress(OSError):  # the server may end the one that is opened
                one = plain(first.port, PEERS[number % len(PEERS)])
                stack.enter_context(context.wrap_socket(one))
            if number % 27 == 0:
                assert admits(first)  # what is in use stays
        for number in range(IDLE):
            stack.enter_context(plain(first.port, PEERS[number % len(PEERS)]))
        for _ in range(3):
            fresh = Client(first.port, first.own)
            started = time.monotonic()
            assert admits(fresh)
            assert time.monotonic() - started < connections.HANDSHAKE_SECONDS
            fresh.close()
        assert admits(first)
        assert service.metrics.closed.labels("handshakes")._value.get() > 0


def test_no_peer_gets_all_of_the_room(models: AdmissionFiles, tmp_path: Path) -> None:
    """Connections of one address that use what they have leave half of the room to others."""
    with serving(replace(models.settings, connections=8), tmp_path) as (service, first), ExitStack() as stack:
        for _ in range(8):
            one = Client(first.port)
            stack.callback(one.close)
            assert one.call("GET", "/healthz")[0] == 200
        assert service.metrics.closed.labels("peer")._value.get() >= 4
        assert admits(Client(first.port))


def test_a_handshake_has_a_deadline(
    models: AdmissionFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing, half a hello, one byte after the other: the connection ends, and others are served meanwhile."""
    monkeypatch.setattr(connections, "HANDSHAKE_SECONDS", 0.3)
    with serving(models.settings, tmp_path) as (_, client):
        silent, half = plain(client.port), plain(client.port)
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert admits(client)
        for one in (silent, half):
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1) == b""


@pytest.mark.parametrize(
    "sent", [b"", b"POST /validate HTTP/1.1\r\nHost: x\r\nX: "], ids=["nothing", "half a header"]
)
def test_headers_have_a_deadline(
    models: AdmissionFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """From the handshake on, and one byte after the other gains no time."""
    monkeypatch.setattr(listener, "HEADER_SECONDS", 0.5)
    with serving(models.settings, tmp_path) as (_, client):
        slow = secured(client.port)
        slow.sendall(sent)
        started = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - started < 15:
                slow.sendall(b"y" if sent else b"")
                slow.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if slow.recv(1) == b"":
                        break
        assert time.monotonic() - started < 10
        assert admits(Client(client.port))


def forged(clients: Authority, tmp_path: Path) -> dict[str, Callable[[], Path | None]]:
    def self_signed() -> Path:
        place = tmp_path / "forged.pem"
        (tmp_path / "other").mkdir()
        found = certificate(tmp_path / "other", "api-1")
        place.write_bytes(found[0].read_bytes() + found[1].read_bytes())
        return place

    return {
        "no certificate": lambda: None,
        "signed by itself": self_signed,
        "another CA of the same name": lambda: Authority(tmp_path / "second").client("api-1"),
        "another name": lambda: clients.client("system:node:worker-1"),
        "a part of the name": lambda: clients.client("api-1.example.com"),
        "a server's": lambda: clients.client("api-1", purpose=ExtendedKeyUsageOID.SERVER_AUTH),
        "expired": lambda: clients.client("api-1", days=-1),
    }


@pytest.fixture
def signing(
    models: AdmissionFiles, tmp_path: Path, isolated: Path, clients: Authority
) -> Iterator[tuple[Any, Client]]:
    """A server that signs deployments into a copy of the world's repository, for an API server called api-1."""
    shutil.copytree(models.top, tmp_path / "copy", symlinks=True)
    shutil.copytree(models.top / "home", isolated)
    world = AdmissionFiles(tmp_path / "copy")
    told = Deployments(world.repository, "production", "eu-1", "local", identity=WHO)
    settings = replace(world.settings, deployments=told)
    with serving(settings, tmp_path, clients, ("api-1",), deployments=deployment_log(told)) as found:
        yield found


def test_a_forged_client_states_no_deployment(
    signing: tuple[Any, Client], clients: Authority, tmp_path: Path
) -> None:
    """A hand-written review in anybody's name is refused unread, or before HTTP; the API server's is recorded."""
    service, client = signing
    written = review(pod(oci("good")), userInfo={"username": "cfo@example.com"})
    for who, make in forged(clients, tmp_path).items():
        for path in ("/validate", "/mutate"):
            try:
                status, answer = Client(client.port, make() if path == "/validate" else None).post(
                    path, written
                )
            except OSError:  # of TLS: the certificate was refused
                continue
            assert status == 403, who
            assert "client certificate" in answer["error"]
    assert service._deployments.counts.reported == 0
    assert client.post("/validate", written)[1]["response"]["allowed"] is True
    assert service._deployments.counts.reported == 1


def test_headers_and_fields_authenticate_nobody(signing: tuple[Any, Client]) -> None:
    """What a proxy would add, and what a client writes into its certificate's place."""
    service, client = signing
    stranger = Client(client.port)
    told = {
        "X_Forwarded_Client_Cert": "Subject=CN=api-1",
        "X_SSL_Client_CN": "api-1",
        "X_Remote_User": "api-1",
    }
    assert stranger.post("/validate", review(pod(oci("good"))), **told)[0] == 403
    assert service._deployments.counts.reported == 0


def test_others_may_ask_and_are_not_recorded(signing: tuple[Any, Client]) -> None:
    """Gatekeeper and Kyverno need no certificate; nothing that they ask becomes a deployment."""
    service, client = signing
    asked = {"layout": "credit", "references": [oci("good")]}
    assert Client(client.port).post("/v1/decide", asked)[1]["verified"] is True
    assert Client(client.port).call("GET", "/readyz")[0] == 200
    assert service._deployments.counts.reported == 0


def test_any_certificate_of_the_ca_will_do_where_no_name_is_given(
    models: AdmissionFiles, tmp_path: Path, clients: Authority
) -> None:
    """A CA for this alone needs no names."""
    with serving(models.settings, tmp_path, clients) as (_, client):
        assert admits(Client(client.port, clients.client("anybody")))
        assert Client(client.port).post("/validate", review(pod(oci("good"))))[0] == 403


def test_another_ca_of_clients_is_used_from_its_file_on(
    models: AdmissionFiles, tmp_path: Path, clients: Authority
) -> None:
    """With both while the API server changes its certificate, then with the new one alone."""
    new = Authority(tmp_path / "new", "the next CA of clients")
    before, after = clients.client("api-1"), new.client("api-1")
    with serving(models.settings, tmp_path, clients, ("api-1",)) as (service, client):
        for pem, expected in (
            (clients.pem.read_bytes(), (True, False)),
            (clients.pem.read_bytes() + new.pem.read_bytes(), (True, True)),
            (new.pem.read_bytes(), (False, True)),
        ):
            fresh = clients.pem.with_suffix(".new")
            fresh.write_bytes(pem)
            fresh.replace(clients.pem)
            service._certificate.reload()
            found = []
            for own in (before, after):
                with contextlib.suppress(OSError):
                    found.append(admits(Client(client.port, own)))
                    continue
                found.append(False)
            assert tuple(found) == expected


def test_nothing_is_signed_without_a_ca_of_clients(models: AdmissionFiles, tmp_path: Path) -> None:
    """The process does not start: what is signed has to have an author who was authenticated."""
    told = Deployments(models.repository, "production", "eu-1", "local", identity=WHO)
    settings = replace(models.settings, deployments=told)
    with pytest.raises(UsageError, match="authenticated") as caught:
        serve(settings, TlsFiles(*certificate(tmp_path)), ("127.0.0.1", 0), None, told=print)
    assert "--client-ca" in caught.value.help


def test_server_tells_its_address_only_after_the_deployment_log_is_open(
    models: AdmissionFiles, tmp_path: Path
) -> None:
    """A trust that cannot be loaded ends the start before the server tells where it listens."""
    told = Deployments(models.repository, "production", "eu-1", "local", identity=WHO)
    settings = replace(models.settings, deployments=told)
    certificate_files = certificate(tmp_path)
    files = TlsFiles(*certificate_files, client_ca=certificate_files[0])
    lines: list[str] = []
    with pytest.raises(GitchainError, match="instance is missing"):
        serve(settings, files, ("127.0.0.1", 0), None, told=lines.append)
    assert lines == []


def test_a_server_without_a_ca_of_clients_knows_nobody(tmp_path: Path) -> None:
    """And one with it asks, and refuses none who shows nothing: the endpoints say what such a client may do."""
    assert Certificate(TlsFiles(*certificate(tmp_path))).context.verify_mode == ssl.CERT_NONE
    authority = Authority(tmp_path / "clients")
    asking = Certificate(TlsFiles(*certificate(tmp_path), authority.pem))
    assert asking.context.verify_mode == ssl.CERT_OPTIONAL


@pytest.mark.parametrize("text", ["", " \n", "# the CA follows\n", "-----BEGIN CERTIFICATE-----\n"])
def test_ca_file_of_clients_without_a_certificate_is_refused(tmp_path: Path, text: str) -> None:
    """It does not mean that every client is trusted, or none: a start fails, a reload keeps what is in use."""
    authority = Authority(tmp_path / "clients")
    files = TlsFiles(*certificate(tmp_path), authority.pem)
    running = Certificate(files)
    authority.pem.write_text(text)
    for use in (running.reload, lambda: Certificate(files)):
        with pytest.raises(TrustError):
            use()
    assert running.context.verify_mode == ssl.CERT_OPTIONAL


def test_names_of_clients_need_their_ca(
    models: AdmissionFiles, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A name that nobody proves is refused on the command line."""
    from gitchain.cli.main import run

    places = certificate(tmp_path)
    words = ["serve", "--settings", str(models.top / "serve.yaml"), "--certificate", str(places[0])]
    assert run([*words, "--key", str(places[1]), "--client-name", "api-1"]) == 2
    assert "--client-ca" in capfd.readouterr().err
    own = ["--client-ca", str(places[0]), "--client-name", ""]
    assert run([*words, "--key", str(places[1]), *own]) == 2
    assert "--client-name" in capfd.readouterr().err
