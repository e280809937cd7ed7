"""Signing in-process and over HTTP, verified by unmodified sigstore-python, and what happens when a service fails."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import jwt
import pytest
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.verify import Verifier, policy

from gitchain.errors import (
    AuthenticationError,
    GitchainError,
    MalformedError,
    SignatureError,
    StoreError,
    TransportError,
)
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.instance import Instance
from gitchain.instance.ca import CertificateAuthority
from gitchain.instance.server import LocalServer
from gitchain.sign import keyless
from gitchain.sign.context import signing_services
from gitchain.sign.failures import translated
from gitchain.sign.http import Http, Limits, SigningRequest
from gitchain.sign.keyless import KeylessSigner
from tests.support.adversarial_log import certified
from tests.support.adversarial_log import served as answering

ADA = "ada@example.com"
QUICK = Limits(call=0.3, budget=0.5, attempts=2, first_wait=0.01, rest=0)


def statement(number: int = 0) -> Statement:
    subject = ResourceDescriptor(f"file-{number}", DigestSet({"sha256": f"{number:064x}"}))
    return Statement.build((subject,), "https://example.com/predicate", {"number": number})


def verify(instance: Instance, raw: bytes, identity: str = ADA) -> bytes:
    root = ClientTrustConfig.from_json(instance.trust_config()).trusted_root
    accepted = policy.Identity(identity=identity, issuer=instance.issuer)
    return Verifier(trusted_root=root).verify_dsse(Bundle.from_json(raw), accepted)[1]


def certificate(raw: bytes) -> str:
    return str(json.loads(raw)["verificationMaterial"]["certificate"]["rawBytes"])


@pytest.mark.parametrize("identity", [ADA, "https://example.com/workload", "spiffe://example.com/trainer"])
def test_unmodified_verifier_accepts(instance: Instance, identity: str) -> None:
    """What is signed in-process verifies with the exported trust config and sigstore-python alone."""
    (raw,) = KeylessSigner(instance.signing_context(), instance.token(identity)).sign([statement()])
    assert verify(instance, raw, identity) == statement().payload


def test_batch_shares_one_certificate(instance: Instance) -> None:
    """A batch is signed with one certificate, and every bundle of it verifies."""
    bundles = KeylessSigner(instance.signing_context(), instance.token(ADA)).sign(
        [statement(n) for n in range(5)]
    )
    assert [verify(instance, raw) for raw in bundles] == [statement(n).payload for n in range(5)]
    assert len({certificate(raw) for raw in bundles}) == 1


def test_new_certificate_when_the_old_one_ends(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that would end before the next signature is replaced within the batch."""
    monkeypatch.setattr(keyless, "MARGIN", timedelta(days=1))
    with KeylessSigner(instance.signing_context(), lambda: instance.token(ADA)) as signer:
        first, second = signer.sign([statement(1), statement(2)])
    assert certificate(first) != certificate(second)
    assert verify(instance, second) == statement(2).payload


@pytest.fixture
def served(instance: Instance) -> Iterator[LocalServer]:
    """Serve the instance on a free port."""
    with LocalServer(instance, port=0) as running:
        yield running


def over_http(instance: Instance, url: str, token: str | None = None) -> KeylessSigner:
    services = signing_services(instance.trust_config(url), QUICK)
    return KeylessSigner(services.context(), token or instance.token(ADA))


def test_signs_over_http(served: LocalServer) -> None:
    """The same signer works over HTTP, from nothing but the text of the trust config and a token."""
    instance = served.instance
    bundles = over_http(instance, served.url).sign([statement(n) for n in range(3)])
    assert [verify(instance, raw) for raw in bundles] == [statement(n).payload for n in range(3)]


def test_payload_is_signed_byte_for_byte(instance: Instance) -> None:
    """The bundle carries the statement's bytes as they were built, so that its id stays the same."""
    (raw,) = KeylessSigner(instance.signing_context(), instance.token(ADA)).sign([statement(3)])
    assert Statement.parse(verify(instance, raw)).attestation_id == statement(3).attestation_id


def test_empty_batch_asks_for_nothing(instance: Instance) -> None:
    """Signing nothing needs no certificate."""
    assert KeylessSigner(instance.signing_context(), "not a token").sign([]) == ()


@pytest.mark.parametrize("http", [False, True])
def test_refused_token(served: LocalServer, tmp_path: Path, *, http: bool) -> None:
    """A token that the CA refuses is an authentication error with the CA's reason, in-process and over HTTP."""
    foreign = Instance.create(tmp_path / "other").token(ADA)
    instance = served.instance
    signer = (
        over_http(instance, served.url, foreign)
        if http
        else KeylessSigner(instance.signing_context(), foreign)
    )
    with pytest.raises(AuthenticationError) as caught:
        signer.sign([statement()])
    assert "identity token" in str(caught.value)
    assert caught.value.help
    assert instance.log.size() == 1


def test_expired_token_is_not_sent(instance: Instance) -> None:
    """An expired token is refused on this side."""
    claims = jwt.decode(instance.token(ADA), options={"verify_signature": False}) | {"exp": 1_700_000_000}
    with pytest.raises(AuthenticationError):
        KeylessSigner(instance.signing_context(), jwt.encode(claims, "s" * 32, "HS256")).sign([statement()])


def test_expired_certificate_is_no_bug(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """sigstore-python refuses an expired certificate with a class that it does not export: try again, exit code 7."""
    issue = CertificateAuthority.issue
    late = timedelta(hours=1)
    monkeypatch.setattr(
        CertificateAuthority, "issue", lambda self, identity, key, now: issue(self, identity, key, now - late)
    )
    with pytest.raises(TransportError, match=r"signing failed, got ExpiredCertificate") as caught:
        KeylessSigner(instance.signing_context(), instance.token(ADA)).sign([statement()])
    assert "try again" in str(caught.value.help)
    assert instance.log.size() == 1


def test_other_exceptions_are_not_translated() -> None:
    """A bug of gitchain stays what it is."""
    with pytest.raises(ZeroDivisionError), translated("signing"):
        raise ZeroDivisionError


def test_refused_connection(instance: Instance) -> None:
    """With no server there, the error says which service and that trying again may help."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(TransportError, match="certificate authority") as caught:
            over_http(instance, url).sign([statement()])
    assert caught.value.exit_code == 7


def test_server_that_never_answers(instance: Instance) -> None:
    """A service that takes the request and says nothing is given up after the limit."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TransportError, match="cannot be reached"):
            over_http(instance, url).sign([statement()])


def test_log_that_never_answers(served: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit also holds for the log."""
    release = threading.Event()
    monkeypatch.setattr(Instance, "log_entry", lambda *_, **__: release.wait(10))
    with pytest.raises(TransportError, match="log"):
        over_http(served.instance, served.url).sign([statement()])
    release.set()


@pytest.mark.parametrize(
    ("error", "reason"),
    [(SignatureError("bad entry"), "400: bad entry"), (MalformedError("odd"), "400: odd")],
)
def test_refused_entry(
    served: LocalServer, monkeypatch: pytest.MonkeyPatch, error: GitchainError, reason: str
) -> None:
    """The log's reason reaches the user."""

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(Instance, "log_entry", refuse)
    with pytest.raises(TransportError, match="transparency log refused") as caught:
        over_http(served.instance, served.url).sign([statement()])
    assert reason in caught.value.got


def test_failing_certificate_authority(served: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA that fails for its own reasons is not mistaken for a bad token."""

    def fail(*_: object) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(Instance, "issue", fail)
    with pytest.raises(TransportError, match="authority cannot be reached") as caught:
        over_http(served.instance, served.url).sign([statement()])
    assert "503: disk full" in caught.value.got


def test_failing_timestamp_authority(served: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a timestamp there is no bundle, and the error says what is missing."""

    def fail(*_: object) -> None:
        raise StoreError("clock broken")

    monkeypatch.setattr(Instance, "answer", fail)
    with pytest.raises(TransportError) as caught:
        over_http(served.instance, served.url).sign([statement()])
    assert "timestamp" in caught.value.what
    assert served.instance.log.size() == 1, "nothing is logged that has no time"


@pytest.mark.parametrize("answer", [b"", b"not json", b"[]", b"{}", b'{"signedCertificateEmbeddedSct":{"chain":{"certificates":[]}}}',
                                    b'{"signedCertificateEmbeddedSct":{"chain":{"certificates":["x","y"]}}}'])  # fmt: skip
def test_nonsense_from_the_certificate_authority(
    served: LocalServer, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """Whatever a CA answers, the error is one of ours."""
    from gitchain.instance import routes

    monkeypatch.setattr(
        routes,
        "_POST",
        {"/api/v2/signingCert": lambda *_: routes.HttpReply(answer, status=HTTPStatus.CREATED)},
    )
    with pytest.raises((TransportError, AuthenticationError)):
        over_http(served.instance, served.url).sign([statement()])


@pytest.mark.parametrize("answer", [b"", b"not json", b"[]", b"{}", b'{"logIndex":1}'])
def test_nonsense_from_the_log(served: LocalServer, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    """Whatever a log answers, the error is one of ours."""
    from gitchain.instance import routes

    changed = {
        **routes._POST,
        "/api/v2/log/entries": lambda *_: routes.HttpReply(answer, status=HTTPStatus.CREATED),
    }
    monkeypatch.setattr(routes, "_POST", changed)
    with pytest.raises(TransportError):
        over_http(served.instance, served.url).sign([statement()])


def test_certificate_of_another_log(served: LocalServer, tmp_path: Path) -> None:
    """A certificate whose SCT is not by the trusted CT log is refused before it is used."""
    other = Instance.create(tmp_path / "other")
    config = json.loads(served.instance.trust_config(served.url))
    config["trustedRoot"]["ctlogs"] = json.loads(other.trust_config())["trustedRoot"]["ctlogs"]
    with pytest.raises(TransportError, match="certificate authority"):
        KeylessSigner(signing_services(json.dumps(config)).context(), served.instance.token(ADA)).sign(
            [statement()]
        )


def test_a_failure_does_not_spoil_the_signer(served: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error the same signer signs again."""
    signer = over_http(served.instance, served.url)
    with monkeypatch.context() as patch:
        patch.setattr(Instance, "log_entry", lambda *_: 1 / 0)
        with pytest.raises(TransportError):
            signer.sign([statement()])
    (raw,) = signer.sign([statement()])
    assert verify(served.instance, raw) == statement().payload


def test_a_service_whose_certificate_nobody_trusts_is_not_asked_again(tmp_path: Path) -> None:
    """The machine does not trust it, and that does not change within seconds."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certified(tmp_path))
    http = Http(QUICK)
    with answering(lambda _path, _body: (200, b"x"), context) as url:
        for _ in range(2):
            with pytest.raises(TransportError, match="the log has no certificate that this machine trusts"):
                http.send(SigningRequest("the log", url))
