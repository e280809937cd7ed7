"""Where the identity token comes from, and which ones are refused before anything is sent."""

from __future__ import annotations

import json
import os
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import jwt
import pytest
from sigstore.oidc import IdentityToken

from gitchain.errors import AuthenticationError, TransportError
from gitchain.instance import Instance
from gitchain.sign.token import VARIABLE, ambient_token, find_token, parse_token

ADA, BOB = "ada@example.com", "bob@example.com"


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the CI system that may run these tests."""
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI"):
        monkeypatch.delenv(name, raising=False)


def test_explicit_token_wins(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line comes before the environment, and the environment before the CI system."""
    monkeypatch.setenv(VARIABLE, instance.token(BOB) + "\n")
    assert IdentityToken(find_token(instance.token(ADA))).identity == ADA
    assert IdentityToken(find_token()).identity == BOB


def test_environment_is_read_at_the_call(instance: Instance) -> None:
    """A given mapping takes the place of the process's environment."""
    token = instance.token(ADA)
    assert find_token(environment={VARIABLE: token}) == token


def test_no_token_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any source the error names each way to give a token."""
    monkeypatch.setattr("gitchain.sign.token.detect_credential", lambda: None)
    with pytest.raises(AuthenticationError) as caught:
        find_token()
    for way in ("--identity-token", VARIABLE, "id-token: write", "--as"):
        assert way in caught.value.help


def changed(token: str, **changes: object) -> str:
    claims = jwt.decode(token, options={"verify_signature": False}) | changes
    return jwt.encode({key: value for key, value in claims.items() if value is not None}, "s" * 32, "HS256")


@pytest.mark.parametrize(
    "changes", [{"exp": 1_700_000_000}, {"aud": "other"}, {"sub": None}, {"nbf": 4_000_000_000}], ids=str
)
def test_unusable_tokens_are_refused(instance: Instance, changes: dict[str, object]) -> None:
    """An expired token, or one for another audience, is refused before it is sent anywhere."""
    with pytest.raises(AuthenticationError, match="cannot be used") as caught:
        find_token(changed(instance.token(ADA), **changes))
    assert caught.value.help


@pytest.mark.parametrize("token", ["", " ", "x", "a.b.c", "\udcff", "é.é.é", "[" * 5000])
def test_what_is_no_token_is_refused(token: str, instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that is no token is an error of ours, whatever it is; an empty one does not fall back to another source."""
    monkeypatch.setenv(VARIABLE, instance.token(ADA))
    with pytest.raises(AuthenticationError):
        find_token(token)


class GitHub(BaseHTTPRequestHandler):
    """GitHub's token endpoint, as a workflow sees it."""

    answer: ClassVar[tuple[int, bytes]] = (200, b"{}")

    def do_GET(self) -> None:
        self.send_response(self.answer[0])
        self.send_header("Content-Length", str(len(self.answer[1])))
        self.end_headers()
        self.wfile.write(self.answer[1])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[GitHub]]:
    """Run a workflow's token endpoint."""
    endpoint = HTTPServer(("127.0.0.1", 0), GitHub)
    threading.Thread(target=endpoint.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret")
    monkeypatch.setenv(
        "ACTIONS_ID_TOKEN_REQUEST_URL", f"http://127.0.0.1:{endpoint.server_address[1]}/token?x=1"
    )
    yield GitHub
    endpoint.shutdown()
    endpoint.server_close()


def test_ambient_token(instance: Instance, github: type[GitHub]) -> None:
    """In a GitHub workflow the token comes from the workflow's endpoint."""
    token = instance.token("https://github.com/o/r/.github/workflows/w.yml@refs/heads/main")
    github.answer = (200, json.dumps({"value": token}).encode())
    assert ambient_token() == find_token() == token


def test_broken_ambient_source_is_an_error(github: type[GitHub]) -> None:
    """A CI system that fails to give a token is an error with help, not 'no token'."""
    github.answer = (500, b"down")
    with pytest.raises(AuthenticationError, match="CI system") as caught:
        find_token()
    assert caught.value.help


def test_workflow_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow without id-token permission is told what to write."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with pytest.raises(AuthenticationError) as caught:
        find_token()
    assert "id-token: write" in caught.value.help


@pytest.mark.parametrize("form", ["none", "None", "stripped"])
def test_tokens_that_nobody_signed_are_refused(instance: Instance, form: str) -> None:
    """Algorithm none, or no signature: refused here, as the authority would."""
    token = instance.token(ADA)
    claims = jwt.decode(token, options={"verify_signature": False})
    unsigned = jwt.encode(claims, "", "none")
    if form == "stripped":
        unsigned = token.rpartition(".")[0] + "."
    elif form == "None":
        head = urlsafe_b64encode(json.dumps({"alg": "None", "typ": "JWT"}).encode()).rstrip(b"=").decode()
        unsigned = head + "." + token.split(".")[1] + ".c2ln"
    with pytest.raises(AuthenticationError, match="cannot be used") as caught:
        find_token(unsigned)
    assert caught.value.help


def test_future_tokens_are_refused(instance: Instance) -> None:
    """A token that was issued in the future is one of a wrong clock, or a forged one."""
    with pytest.raises(AuthenticationError, match="cannot be used"):
        find_token(changed(instance.token(ADA), iat=4_000_000_000))


def test_gitlab_by_its_variable(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GitLab job gives its token in the variable that its configuration names."""
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", instance.token(ADA))
    assert (
        ambient_token() == find_token() == instance.token(ADA) or IdentityToken(find_token()).identity == ADA
    )


@pytest.mark.parametrize(("system", "program"), [("BUILDKITE", "buildkite-agent"), ("CIRCLECI", "circleci")])
def test_systems_with_a_program(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str, program: str
) -> None:
    """Buildkite and CircleCI give a token by a program on PATH; one that fails is an error that says so."""
    monkeypatch.setenv(system, "true")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    fake = tmp_path / program
    fake.write_text(f"#!/bin/sh\nprintf %s '{instance.token(ADA)}'\n")
    fake.chmod(0o755)
    assert IdentityToken(find_token()).identity == ADA
    fake.write_text("#!/bin/sh\necho broken; exit 3\n")
    with pytest.raises(AuthenticationError, match="CI system"):
        find_token()


def test_a_program_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CI system's own program has no limit; here it has one."""
    released = threading.Event()
    monkeypatch.setattr("gitchain.sign.token.AMBIENT_SECONDS", 0.1)
    monkeypatch.setattr("gitchain.sign.token.detect_credential", lambda: released.wait(10))
    with pytest.raises(TransportError, match="CI system"):
        find_token()
    released.set()


def test_a_person_is_asked_last(instance: Instance, github: type[GitHub]) -> None:
    """Nobody has to log in where CI gives a token; where nothing does, a person may."""
    github.answer = (200, json.dumps({"value": instance.token(BOB)}).encode())
    assert IdentityToken(find_token(log_in=lambda: instance.token(ADA))).identity == BOB
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GITHUB_ACTIONS")
        assert IdentityToken(find_token(log_in=lambda: instance.token(ADA))).identity == ADA


@pytest.mark.parametrize(
    ("changes", "expected", "got", "advice"),
    [
        ({"nbf": 900}, "valid now", ("in the future (nbf)", "this machine's clock is"), "clock"),
        (
            {"nbf": None, "iat": 900},
            "valid now",
            ("in the future (iat)", "this machine's clock"),
            "clock",
        ),
        ({"exp": -60}, "not expired", ("expired at", "this machine's clock is"), "new token"),
        (
            {"aud": "https://gitlab.example.com"},
            "audience sigstore",
            ("https://gitlab.example.com",),
            "audience",
        ),
        ({"aud": ["a.example", "b.example"]}, "audience sigstore", ("a.example, b.example",), "audience"),
        ({"aud": []}, "audience sigstore", ("audience none",), "audience"),
        ({"sub": None}, "'sub'", ("aud", "exp"), "sub"),
        ({"iss": None}, "'iss'", ("aud",), "iss"),
        ({"aud": None}, "'aud'", ("exp",), "aud"),
        ({"nbf": "x"}, "Sigstore accepts", ("str",), "--identity-token"),
        ({"exp": "inf"}, "Sigstore accepts", ("exp",), "--identity-token"),
    ],
    ids=str,
)
def test_parse_token_names_the_claim_at_fault(
    instance: Instance, changes: dict[str, object], expected: str, got: tuple[str, ...], advice: str
) -> None:
    """The message names the claim, both times or both audiences, and the issuer; the help is about that claim."""
    now = int(time.time())  # numbers are seconds from now: all workers have to collect the same tests
    claims = {name: now + value if isinstance(value, int) else value for name, value in changes.items()}
    token = changed(instance.token(ADA), **claims)
    with pytest.raises(AuthenticationError) as caught:
        parse_token(token)
    assert expected in caught.value.expected
    for part in got:
        assert part in caught.value.got
    assert advice in caught.value.help
    assert ("token without an issuer" if "iss" in changes else instance.issuer) in caught.value.where
    assert token not in str(caught.value) + caught.value.help


def test_parse_token_says_how_far_the_clocks_are_apart(instance: Instance) -> None:
    """A skew of 90 s is named in seconds, give or take the second in which the test runs."""
    with pytest.raises(AuthenticationError) as caught:
        parse_token(changed(instance.token(ADA), nbf=int(time.time()) + 90, iat=int(time.time()) + 90))
    assert any(f"{seconds} s in the future" in caught.value.got for seconds in (88, 89, 90))


def test_parse_token_names_a_missing_email(instance: Instance) -> None:
    """A token of an issuer whose identity is the e-mail needs that claim."""
    token = changed(instance.token(ADA), iss="https://oauth2.sigstore.dev/auth", email=None)
    with pytest.raises(AuthenticationError) as caught:
        parse_token(token)
    assert "email" in caught.value.got
    assert "https://oauth2.sigstore.dev/auth" in caught.value.where


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "e30.W10.x"])
def test_parse_token_says_that_it_is_no_jwt(token: str) -> None:
    """What is no JSON Web Token is told as that."""
    with pytest.raises(AuthenticationError, match="JSON Web Token"):
        parse_token(token)
