"""A person logs in at an issuer on loopback: browser and device flow, and every way in which the answer may be wrong."""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.error
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest

from gitchain.errors import AuthenticationError, TransportError
from gitchain.instance import Instance
from gitchain.sign import login
from gitchain.sign.http import Http
from gitchain.sign.login import log_in
from tests.sign.test_keyless import QUICK

ADA = "ada@example.com"


class Issuer(ThreadingHTTPServer):
    """An OpenID Connect issuer that a test bends."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.instance = instance
        self.changes: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.asked: dict[str, str] = {}
        self.answers: list[dict[str, Any]] = []
        self.device = True

    def token(self, nonce: str | None) -> str:
        claims = jwt.decode(self.instance.token(ADA), options={"verify_signature": False})
        claims |= {"iss": self.url, "nonce": nonce} | self.claims
        return jwt.encode(claims, "s" * 32, "HS256")

    def browser(self, url: str) -> bool:
        """Do what a browser and a person do: log in, and come back with a code."""
        self.asked = {key: value[0] for key, value in parse_qs(urlsplit(url).query).items()}
        back = {"code": "the-code", "state": self.asked["state"]} | self.changes
        query = urlencode({key: value for key, value in back.items() if value is not None})
        threading.Thread(
            target=self.visit, args=(f"{self.asked['redirect_uri']}?{query}",), daemon=True
        ).start()
        return True

    def visit(self, url: str) -> int:
        try:
            with urllib.request.urlopen(url.replace("localhost", "127.0.0.1"), timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return int(error.code)


class _Handler(BaseHTTPRequestHandler):
    server: Issuer

    def do_GET(self) -> None:
        url = self.server.url
        about: dict[str, Any] = {
            "issuer": url,
            "authorization_endpoint": f"{url}/auth",
            "token_endpoint": f"{url}/token",
        }
        if self.server.device:
            about["device_authorization_endpoint"] = f"{url}/device"
        self.answer(200, about | self.server.changes.get("about", {}))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        fields = {key: value[0] for key, value in parse_qs(body).items()}
        if self.path == "/device":
            self.answer(
                200,
                {
                    "device_code": "d",
                    "user_code": "ABCD",
                    "verification_uri": f"{self.server.url}/go",
                    "interval": 1,
                },
            )
        elif fields["grant_type"] == login.DEVICE_GRANT:
            found = (
                self.server.answers.pop(0) if self.server.answers else {"id_token": self.server.token(None)}
            )
            self.answer(400 if "error" in found else 200, found)
        else:
            digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
            challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
            good = challenge == self.server.asked["code_challenge"] and fields["code"] == "the-code"
            self.answer(
                200 if good else 400,
                {"id_token": self.server.token(self.server.asked["nonce"])}
                if good
                else {"error": "invalid_grant"},
            )

    def answer(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def issuer(instance: Instance) -> Iterator[Issuer]:
    """Run an issuer on loopback."""
    server = Issuer(instance)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def enter(
    issuer: Issuer, said: list[str] | None = None, *, browser: bool = True, slept: list[float] | None = None
) -> str:
    return log_in(
        issuer.url,
        Http(QUICK),
        say=(said if said is not None else []).append,
        open_browser=issuer.browser if browser else (lambda _url: False),
        sleep=(slept if slept is not None else []).append,
    )


def test_browser_flow(issuer: Issuer) -> None:
    """The person is told the address, the code is exchanged with its proof (PKCE), and the token is the issuer's."""
    said: list[str] = []
    claims = jwt.decode(enter(issuer, said), options={"verify_signature": False})
    assert (claims["iss"], claims["sub"], claims["aud"]) == (issuer.url, ADA, "sigstore")
    assert f"{issuer.url}/auth?" in said[0]
    assert issuer.asked["code_challenge_method"] == "S256"
    assert issuer.asked["redirect_uri"].startswith("http://localhost:")


@pytest.mark.parametrize("state", ["forged", None, ""])
def test_an_answer_with_another_state_is_not_taken(
    issuer: Issuer, state: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that guesses the port cannot hand over a code of its own: it is refused, and the login goes on waiting."""
    monkeypatch.setattr(login, "LOGIN_SECONDS", 0.5)
    issuer.changes = {"state": state}
    with pytest.raises(AuthenticationError, match="not completed in time"):
        enter(issuer)


def test_refusals(issuer: Issuer) -> None:
    """A person who says no, a code that is not good, a token with another nonce or issuer, and no token."""
    issuer.changes = {"code": None, "error": "access_denied"}
    with pytest.raises(AuthenticationError, match="refused") as caught:
        enter(issuer)
    assert caught.value.got == "access_denied"
    issuer.changes = {"code": "other"}
    with pytest.raises(AuthenticationError, match="refused"):
        enter(issuer)
    issuer.changes = {}
    for claims, message in (
        ({"nonce": "x"}, "not the answer"),
        ({"nonce": None}, "not the answer"),
        ({"iss": "https://evil.example"}, "another issuer"),
    ):
        issuer.claims = claims
        with pytest.raises(AuthenticationError, match=message):
            enter(issuer)


@pytest.mark.parametrize(
    "about",
    [
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": "http://example.com/auth"},
        {"token_endpoint": ""},
        {"device_authorization_endpoint": "http://example.com"},
    ],
)
def test_an_issuer_that_describes_another(issuer: Issuer, about: dict[str, str]) -> None:
    """The discovery document is the issuer's own, and names protected addresses only."""
    issuer.changes = {"about": about}
    with pytest.raises(TransportError, match="cannot be used"):
        enter(issuer)


def test_device_flow(issuer: Issuer) -> None:
    """Without a browser a code is shown; the issuer is asked at its pace until the person is done."""
    said: list[str] = []
    slept: list[float] = []
    issuer.answers = [{"error": "authorization_pending"}, {"error": "slow_down"}]
    claims = jwt.decode(enter(issuer, said, browser=False, slept=slept), options={"verify_signature": False})
    assert claims["sub"] == ADA
    assert "ABCD" in said[-1]
    assert slept == [1.0, 1.0, 6.0]


@pytest.mark.parametrize("refusal", ["access_denied", "expired_token", "\x1b[2J"])
def test_device_flow_refused(issuer: Issuer, refusal: str) -> None:
    """Any other answer ends the login, and no control character of it reaches the terminal."""
    issuer.answers = [{"error": refusal}]
    with pytest.raises(AuthenticationError, match="refused") as caught:
        enter(issuer, browser=False)
    assert caught.value.got.isprintable()


def test_device_flow_ends(issuer: Issuer) -> None:
    """Nobody is waited for without end."""
    issuer.answers = [{"error": "authorization_pending"}] * 1000
    with pytest.raises(AuthenticationError, match="not completed in time"):
        enter(issuer, browser=False)


def test_issuer_that_is_not_there(issuer: Issuer) -> None:
    """An issuer that cannot be reached is a service that failed."""
    with pytest.raises(TransportError, match="identity issuer"):
        log_in("http://127.0.0.1:9", Http(QUICK), say=lambda _: None)
