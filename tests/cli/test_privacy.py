"""Before an identity goes to a public log for ever: it is said once, a person agrees, and the answer is remembered."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from jsonschema import Draft202012Validator

from gitchain.errors import ExitCode
from gitchain.sign import services
from tests.support.faulty_server import CA
from tests.support.private_sigstore import Site

WORKFLOW = "https://github.com/o/r/.github/workflows/train.yml@refs/heads/main"
NOTICE = "permanently publishes, without a way to delete it"


@pytest.fixture
def public(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Take the loopback instance for a public one."""
    monkeypatch.setattr(services, "PUBLIC_DOMAINS", ("127.0.0.1",))
    return site


def sign(site: Site, identity: str, *more: str) -> Any:
    (site.repo / "model.bin").write_text("m")
    token = site.server.instance.token(identity)
    return site.gitchain(
        "attest", "train", "-p", "model.bin", "--identity-token", token, *more, cwd=site.repo
    )


def test_a_private_log_asks_nothing(site: Site) -> None:
    """Only a public log is for ever."""
    done = sign(site, "ada@example.com")
    assert done.code == 0
    assert NOTICE not in done.err
    assert (
        json.loads((site.server.instance.directory.parent / "home/gitchain/told.json").read_text())["told"]
        == []
    )


def test_an_address_needs_a_yes(public: Site, isolated: Path) -> None:
    """Without a terminal and without --yes nothing is sent, the statement waits, and it is said what to type."""
    done = sign(public, "ada@example.com")
    assert done.code == 9, done.text
    assert NOTICE in done.err
    assert "ada@example.com" in done.err
    assert "gitchain sync --yes" in done.err
    assert public.server.calls == []
    assert json.loads((isolated / "told.json").read_text())["told"] == []
    token = public.server.instance.token("ada@example.com")
    done = public.gitchain("sync", "--no-remote", "--yes", "--identity-token", token, cwd=public.repo)
    assert done.code == 0, done.text
    assert public.stored() == 1


def test_it_is_said_once(public: Site, isolated: Path) -> None:
    """The answer is remembered for this profile and identity, and for no other."""
    assert NOTICE in sign(public, "ada@example.com", "--yes").err
    again = sign(public, "ada@example.com")
    assert (again.code, NOTICE in again.err) == (0, False)
    assert sign(public, "bob@example.com").code == 9
    told = json.loads((isolated / "told.json").read_text())
    schema = Path(__file__).parents[2] / "schemas/told.schema.json"
    Draft202012Validator(json.loads(schema.read_text())).validate(told)
    assert told["told"] == [[str(public.trust), "ada@example.com"]]
    assert (isolated / "told.json").stat().st_mode & 0o77 == 0


def test_a_workflow_is_told_and_not_asked(public: Site) -> None:
    """In CI the identity is the workflow's address: the log's reader is told, the build goes on."""
    done = sign(public, WORKFLOW)
    assert done.code == 0, done.text
    assert NOTICE in done.err
    assert NOTICE not in sign(public, WORKFLOW).err


@pytest.mark.parametrize(("answer", "code"), [(True, 0), (False, 9)])
def test_on_a_terminal_the_person_is_asked(
    public: Site, monkeypatch: pytest.MonkeyPatch, *, answer: bool, code: int
) -> None:
    """A yes signs, and a no sends nothing and keeps the statement."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(click, "confirm", lambda *_, **__: answer)
    assert sign(public, "ada@example.com").code == code
    assert (CA in public.server.calls) is answer


def test_the_repository_cannot_agree(public: Site) -> None:
    """What a clone brings is no answer of the person who signs."""
    config = public.repo / ".gitchain/config.toml"
    for line in ("yes = true", 'agreed = "yes"'):
        config.write_text(config.read_text().replace("[sign]\n", f"[sign]\n{line}\n"))
        assert sign(public, "ada@example.com").code == 2
        config.write_text(config.read_text().replace(f"{line}\n", ""))


def test_a_damaged_memory_is_told(public: Site, isolated: Path) -> None:
    """What cannot be read is no yes."""
    (isolated / "told.json").write_text("{")
    done = sign(public, "ada@example.com", "--yes")
    assert done.code == ExitCode.TRUST
    assert "told.json" in done.err
    assert public.server.calls == []


@pytest.mark.parametrize("token", ["", "x", "a.b.c"])
def test_a_token_that_is_none_is_exit_6_before_anything_is_kept(site: Site, token: str) -> None:
    """A bad --identity-token is refused at once: nothing waits, nothing runs, nothing is sent."""
    (site.repo / "model.bin").write_text("m")
    done = site.gitchain("attest", "train", "-p", "model.bin", "--identity-token", token, cwd=site.repo)
    assert done.code == (6 if token else 2), done.text
    assert site.waiting() == 0
    assert site.server.calls == []


def test_expired_token_is_exit_6(site: Site) -> None:
    """So is an expired one, with what to type."""
    import jwt

    claims = jwt.decode(site.token, options={"verify_signature": False}) | {"exp": 1_700_000_000}
    (site.repo / "model.bin").write_text("m")
    expired = jwt.encode(claims, "s" * 32, "HS256")
    done = site.gitchain("attest", "train", "-p", "model.bin", "--identity-token", expired, cwd=site.repo)
    assert done.code == 6
    assert "--interactive" in done.err
    assert site.waiting() == 0
