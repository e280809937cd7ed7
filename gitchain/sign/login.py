"""Get an identity token by a login: in a browser, or with a code on another device.

| flow | where | spec |
|---|---|---|
| authorization code with PKCE, answer on loopback | a browser can be opened here | RFC 6749, 7636, 8252 |
| device code | it cannot, and the issuer knows the flow | RFC 8628 |

The answer must carry the `state` that was sent, and the token the `nonce`; both are fresh. The issuer's addresses come
from its discovery document, which must be the issuer's own. Only for people: nothing here runs without a terminal or
`--interactive`.

It does NOT keep tokens, and does NOT verify their signature: the certificate authority does.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sys
import time
import webbrowser
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt

from gitchain.errors import AuthenticationError, GitchainError, TransportError
from gitchain.evidence.canonical import strict_json
from gitchain.platform.processes import safe_path
from gitchain.sign.http import Http, SigningRequest, reason_of, unusable

CLIENT, SCOPE = "sigstore", "openid email"
ISSUER = "the identity issuer"
LOGIN_SECONDS = 300.0
MAX_ANSWER_BYTES = 1 << 20
CALLBACK = "/auth/callback"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER = 5.0  # what slow_down adds (RFC 8628 section 3.5)
_PAGE = b"<!doctype html><title>gitchain</title><p>You are logged in; close this window."


def is_terminal() -> bool:
    """Return True if the process has an interactive terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def log_in(
    issuer: str,
    http: Http,
    *,
    say: Callable[[str], None] | None = None,
    open_browser: Callable[[str], bool] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Return an identity token of this issuer for the user.

    Raises AuthenticationError if the login is refused, takes too long, or the token is of another issuer;
    TransportError if the issuer fails.
    """
    speak = say or (lambda text: print(text, file=sys.stderr))  # noqa: T201 - the person waits for it
    known = _discover(issuer, http)
    with _Callback() as callback:
        url, proof = _question(known, callback.address)
        speak(f"log in here: {url}")
        if (open_browser or _open)(url):
            token = _by_browser(known, http, callback, proof)
        elif known.device:
            token = _by_device(known, http, speak, sleep)
        else:
            token = _by_browser(known, http, callback, proof)  # for a person who opens the URL manually
    claims = _claims(token)
    if claims.get("iss") != known.issuer:
        raise AuthenticationError(
            "the identity token is another issuer's", expected=known.issuer, got=str(claims.get("iss"))[:200]
        )
    return token


@dataclass(frozen=True, slots=True)
class _IssuerMetadata:
    """Metadata of an OIDC issuer."""

    issuer: str
    authorize: str
    token: str
    device: str


@dataclass(frozen=True, slots=True)
class _LoginSecrets:
    """Secrets of this login."""

    state: str
    nonce: str
    verifier: str
    redirect: str


def _discover(issuer: str, http: Http) -> _IssuerMetadata:
    url = issuer.rstrip("/") + "/.well-known/openid-configuration"
    answer = http.send(SigningRequest(ISSUER, url, max_bytes=MAX_ANSWER_BYTES))
    if answer.status != 200:
        raise TransportError("the identity issuer does not describe itself", got=reason_of(answer))
    found = _object(answer.body)
    known = _IssuerMetadata(
        str(found.get("issuer", "")),
        str(found.get("authorization_endpoint", "")),
        str(found.get("token_endpoint", "")),
        str(found.get("device_authorization_endpoint", "")),
    )
    from gitchain.sign.context import is_protected

    if known.issuer.rstrip("/") != issuer.rstrip("/"):
        raise unusable(ISSUER, f"it calls itself {known.issuer[:200]!a}")
    if not all(is_protected(one) for one in (known.authorize, known.token)) or (
        known.device and not is_protected(known.device)
    ):
        raise unusable(ISSUER, "its addresses are not https")
    return known


def _question(known: _IssuerMetadata, redirect: str) -> tuple[str, _LoginSecrets]:
    proof = _LoginSecrets(
        secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48), redirect
    )
    digest = hashlib.sha256(proof.verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": CLIENT,
        "scope": SCOPE,
        "redirect_uri": redirect,
        "state": proof.state,
        "nonce": proof.nonce,
        "code_challenge": urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    return known.authorize + ("&" if "?" in known.authorize else "?") + urlencode(query), proof


def _by_browser(known: _IssuerMetadata, http: Http, callback: _Callback, proof: _LoginSecrets) -> str:
    fields = {
        "grant_type": "authorization_code",
        "client_id": CLIENT,
        "code": callback.wait(proof.state),
        "redirect_uri": proof.redirect,
        "code_verifier": proof.verifier,
    }
    token = _token(_post(http, known.token, fields))
    nonce = _claims(token).get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), proof.nonce.encode()):
        raise AuthenticationError("the identity token is not the answer to this login", got="another nonce")
    return token


def _by_device(
    known: _IssuerMetadata, http: Http, say: Callable[[str], None], sleep: Callable[[float], None]
) -> str:
    asked = _post(http, known.device, {"client_id": CLIENT, "scope": SCOPE})
    try:
        code, shown, url = (str(asked[key]) for key in ("device_code", "user_code", "verification_uri"))
        wait = min(max(float(asked.get("interval", SLOWER)), 0.0), LOGIN_SECONDS)
        left = min(float(asked.get("expires_in", LOGIN_SECONDS)), LOGIN_SECONDS)
    except (KeyError, ValueError, TypeError) as error:
        raise unusable(ISSUER, error) from error
    say(f"or on another device: {ascii(url)[1:-1][:200]} with the code {ascii(shown)[1:-1][:40]}")
    while left > 0:
        sleep(wait)
        left -= max(wait, 1.0)
        found = _post(
            http, known.token, {"grant_type": DEVICE_GRANT, "client_id": CLIENT, "device_code": code}
        )
        refusal = found.get("error")
        if refusal == "slow_down":
            wait += SLOWER
        elif refusal is None:
            return _token(found)
        elif refusal != "authorization_pending":
            raise AuthenticationError("the login was refused", got=ascii(str(refusal))[1:-1][:200])
    raise AuthenticationError(
        "the login was not completed in time",
        expected=f"within {LOGIN_SECONDS:g} s",
        help="run the command again, and log in within that time",
    )


def _post(http: Http, url: str, fields: Mapping[str, str]) -> Mapping[str, Any]:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    answer = http.send(
        SigningRequest(ISSUER, url, "POST", urlencode(fields).encode(), headers, MAX_ANSWER_BYTES)
    )
    if answer.status not in {
        200,
        400,
        401,
        403,
    }:  # OAuth reports errors with status 400 (RFC 6749 section 5.2)
        raise TransportError("the identity issuer failed", got=reason_of(answer))
    return _object(answer.body)


def _token(found: Mapping[str, Any]) -> str:
    error, token = found.get("error"), found.get("id_token") or found.get("access_token")
    if error is not None or not isinstance(token, str):
        raise AuthenticationError("the login was refused", got=ascii(str(error or "no token"))[1:-1][:200])
    return token


def _claims(token: str) -> Mapping[str, Any]:
    try:
        return dict(jwt.decode(token, options={"verify_signature": False}))
    except jwt.PyJWTError as error:
        raise AuthenticationError("the issuer gave no identity token", got=str(error)[:200]) from error


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = strict_json(body, "issuer's answer", max_bytes=MAX_ANSWER_BYTES)
    except GitchainError as error:
        raise unusable(ISSUER, error) from error
    if not isinstance(found, dict):
        raise unusable(ISSUER, "no JSON object")
    return found


def _open(url: str) -> bool:
    """Open a browser where there is one to open: not over SSH, and not one that runs in the terminal."""
    if "SSH_CONNECTION" in os.environ or (sys.platform == "linux" and not _has_display()):
        return False
    with safe_path(Path.cwd()):
        return webbrowser.open(url)


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class _Callback:
    """Waits on loopback for the browser's request with the code."""

    def __enter__(self) -> Self:
        self._server = HTTPServer(("127.0.0.1", 0), _RedirectHandler)
        self._server.timeout = 1.0
        self._server.answer = None  # type: ignore[attr-defined]
        self._server.state = ""  # type: ignore[attr-defined]
        self.address = f"http://localhost:{self._server.server_address[1]}{CALLBACK}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    def wait(self, state: str) -> str:
        """Return the code that came with this state. Raises AuthenticationError for a refusal, and after a while."""
        end = time.monotonic() + LOGIN_SECONDS
        self._server.state = state  # type: ignore[attr-defined]
        while time.monotonic() < end:
            self._server.handle_request()
            answer: Mapping[str, list[str]] | None = self._server.answer  # type: ignore[attr-defined]
            if answer is None:
                continue
            if "code" not in answer:
                raise AuthenticationError(
                    "the login was refused", got=ascii(answer.get("error", ["no code"])[0])[1:-1][:200]
                )
            return answer["code"][0]
        raise AuthenticationError(
            "the login was not completed in time",
            expected=f"within {LOGIN_SECONDS:g} s",
            help="run the command again, and log in within that time",
        )


class _RedirectHandler(BaseHTTPRequestHandler):
    """Takes the one answer that carries the right state; every other request changes nothing."""

    timeout = 10.0

    def do_GET(self) -> None:
        parts = urlsplit(self.path[:8192])
        query = parse_qs(parts.query)
        server: Any = self.server
        given = query.get("state", [""])[0].encode()
        good = parts.path == CALLBACK and hmac.compare_digest(given, server.state.encode())
        if good:
            server.answer = query
        self.send_response(200 if good else 400)
        self.send_header("Content-Length", str(len(_PAGE) if good else 0))
        self.send_header("Connection", "close")
        self.end_headers()
        if good:
            self.wfile.write(_PAGE)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing: the query holds the code."""
