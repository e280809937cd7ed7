"""What callers say wrongly: predicates, options, commands, digests. One error, nothing signed, nothing run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gitchain.errors import ExitCode
from gitchain.evidence.vocabulary import DATASET, DEPLOYMENT, PROVENANCE, RELEASE, SVR, TEST_RESULT
from gitchain.workspace.project import open_project
from tests.support.prepared_repository import PreparedRepository, intact, refused

Gitchain = Callable[..., Any]
OTHER = "https://example.com/review/v1"

PREDICATES = {
    "empty": b"",
    "no json": b"{",
    "two documents": b"{}{}",
    "duplicate keys": b'{"a": 1, "a": 2}',
    "a list": b"[]",
    "a string": b'"x"',
    "not a number": b'{"a": NaN}',
    "a huge number": b'{"a": 123456789012345678901234567890}',
    "a byte-order mark": b"\xef\xbb\xbf{}",
    "not utf-8": b'{"a": "\xff"}',
    "half a surrogate": b'{"a": "\\ud800"}',
    "deep": b'{"a": ' + b"[" * 3000 + b"]" * 3000 + b"}",
    "our own field": b'{"gitchain_step": {"name": "train", "run": "x", "evidence": "observed"}}',
}


@pytest.mark.parametrize("how", PREDICATES)
def test_predicates_that_are_none(gitchain: Gitchain, world: PreparedRepository, how: str) -> None:
    """A predicate file that is no single strict JSON object is a usage error; evidence is never claimed through it."""
    stored = world.stored()
    path = world.write("p.json", PREDICATES[how])
    command = ("attest", "review", "-m", "model.bin", "--type", OTHER, "--predicate", "p.json")
    done = gitchain(*command, "--json", cwd=world.repo)
    if how == "our own field" and done.code == 0:
        shown = gitchain("show", done.json["attested"][0]["id"], "--json", cwd=world.repo).json
        assert shown["statement"]["predicate"]["gitchain_step"]["evidence"] == "declared"
        assert shown["statement"]["predicate"]["gitchain_step"]["name"] == "review"
        return
    refused(done, done.code, path.name if how not in {"deep", "our own field"} else "")
    assert done.code in {ExitCode.USAGE, ExitCode.LIMIT}
    assert world.stored() == stored
    assert world.waiting() == set()


def test_a_huge_predicate(gitchain: Gitchain, world: PreparedRepository) -> None:
    """A predicate beyond its limit is refused with 8, and an endless device is not read at all."""
    world.write("p.json", b'{"a": "' + b"x" * (5 << 20) + b'"}')
    command = ("attest", "review", "-m", "model.bin", "--type", OTHER, "--predicate")
    refused(gitchain(*command, "p.json", cwd=world.repo), ExitCode.LIMIT)
    refused(gitchain(*command, "/dev/zero", cwd=world.repo), ExitCode.USAGE, "not a regular file")
    intact(world)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (DATASET, {}),
        (DATASET, {"source": 5}),
        (DATASET, {"source": "x", "licence": "MIT", "consent": "maybe", "personalData": "none"}),
        (DATASET, {"source": "x", "licence": "MIT", "consent": "given", "personalData": "none", "croissant": []}),
        (DEPLOYMENT, {"model": "m"}),
        (DEPLOYMENT, {"model": "m", "environment": "e", "deployedBy": "x", "deployedOn": "yesterday"}),
        (DEPLOYMENT, {"model": "m", "environment": "e", "deployedBy": "x", "deployedOn": "2026-01-01T00:00:00Z", "image": 7}),
        (SVR, {}),
        (SVR, {"verifier": [], "properties": []}),
        (SVR, {"verifier": {"id": "x"}, "properties": []}),
        (SVR, {"verifier": {"id": "https://e.x/y", "policies": 5}, "timeCreated": "2026-01-01T00:00:00Z", "properties": ["X"]}),
        (TEST_RESULT, {}),
        (TEST_RESULT, {"result": "MAYBE"}),
        (RELEASE, {"purl": 5}),
        (PROVENANCE, {}),
        ("no uri", {}),
        ("", {}),
        ("https://e.x/" + "x" * 10_000, {}),
        ("https://e.x/\n", {}),
    ],
)  # fmt: skip
def test_predicates_of_the_wrong_form(
    gitchain: Gitchain, world: PreparedRepository, kind: str, value: dict[str, Any]
) -> None:
    """The types that gitchain knows are checked field by field before anything is signed."""
    world.write("p.json", json.dumps(value))
    stored = world.stored()
    done = gitchain("attest", "x", "-m", "model.bin", "--type", kind, "--predicate", "p.json", cwd=world.repo)
    refused(done, done.code)
    assert done.code in {ExitCode.USAGE, ExitCode.LIMIT}
    assert world.stored() == stored


@pytest.mark.parametrize(
    "command",
    [
        "attest x --type https://e.x/t -m model.bin",
        "attest x --predicate dvc.lock -m model.bin",
        "attest x --type https://e.x/t --predicate nowhere.json -m model.bin",
        "attest x --type https://e.x/t --predicate data -m model.bin",
        "attest -m model.bin -p dvc.lock",
        "attest x y -m model.bin -p dvc.lock",
        "attest x -m model.bin",
        "attest x -p model.bin --kind cooking",
        "attest nosuchstep",
        "attest x -p nowhere",
        "attest x -m nowhere -p model.bin",
        "--trust public --offline attest x -p model.bin --as a@example.com",
        "verify model.bin --signer a@example.com",
        "verify model.bin --issuer https://e.x",
        "verify model.bin --minimum-version -1",
        "verify nowhere",
        "verify sha256:zz",
        "verify sha256:ABCDEF",
        "log nowhere",
        "log sha256:12",
        "show abc",
        "show nothex",
        "sync nowhere",
        "layout draft --write",
        "trust pin",
        "trust",
        "local token",
        "local token not-an-identity",
        "completion csh",
        "nosuchverb",
        "--nosuchoption",
        "-C /nowhere verify",
        "init --local --as not-an-identity --force",
        "init --local --as= --force",
        "attest x -p model.bin --as=",
        "attest x -p model.bin --identity-token=",
    ],
)
def test_wrong_options(gitchain: Gitchain, world: PreparedRepository, command: str) -> None:
    """A command line that cannot be is answered with 2 (or 3 for an id that is nowhere), and nothing happens."""
    config = (world.repo / ".gitchain/config.toml").read_bytes()
    stored = world.stored()
    done = gitchain(*command.split(), cwd=world.repo)
    refused(done, done.code)
    assert (
        done.code in {ExitCode.USAGE, ExitCode.NOTHING} if "show" in command else done.code == ExitCode.USAGE
    )
    assert world.stored() == stored or "sync" in command  # attests first, then finds no such remote
    assert world.waiting() == set()
    assert (world.repo / ".gitchain/config.toml").read_bytes() == config


@pytest.mark.parametrize(
    "who", ["", "nobody", "a b@example.com", "a@b@c", "x" * 10_000 + "@e.x", "a\n@e.x", "https://", "https:"]
)
def test_identities_that_are_none(gitchain: Gitchain, world: PreparedRepository, who: str) -> None:
    """--as takes an e-mail address or a URI: nothing else is ever queued, where it would fail for ever."""
    refused(gitchain("attest", "x", "-p", "model.bin", "--as", who, cwd=world.repo), ExitCode.USAGE)
    assert len(world.stored()) == 3
    assert world.waiting() == set()
    intact(world)


def test_one_statement_that_cannot_be_signed_holds_up_no_other(
    gitchain: Gitchain, world: PreparedRepository
) -> None:
    """What waits for somebody who cannot sign, for another trust, or is broken: kept and reported; the rest is signed."""
    outbox = open_project(world.repo).outbox
    for number, meta in enumerate(
        ({"trust": "local", "identity": "nobody"}, {"trust": "public"}, {"trust": "local"})
    ):
        done = gitchain("attest", f"x{number}", "-p", "model.bin", "--dry-run", cwd=world.repo)
        outbox.put(done.out.strip().encode(), {}, meta)
    (outbox.directory / ("0" * 64 + ".json")).write_text("broken")
    for _ in range(2):
        done = gitchain("sync", "--no-remote", "--json", cwd=world.repo)
        assert done.code == ExitCode.QUEUED, done.text
        assert done.json["waiting"] == 3
        assert "help" in done.err
    assert len(world.stored()) > 3
    assert len(world.waiting()) == 2
    assert "outbox" in gitchain("doctor", cwd=world.repo).out


def test_no_identity_at_all(
    gitchain: Gitchain, world: PreparedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --as and without user.email the statement waits in the outbox, and the help says what to type."""
    for name in ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(name)
    done = gitchain("attest", "x", "-p", "model.bin", cwd=world.repo)
    assert done.code == ExitCode.QUEUED
    assert "--as" in done.err
    assert len(world.waiting()) == 1
    done = gitchain("sync", "--no-remote", cwd=world.repo)
    assert done.code == ExitCode.QUEUED
    assert gitchain("sync", "--no-remote", "--as", "ada@example.com", cwd=world.repo).code == 0
    assert world.waiting() == set()
    assert len(world.stored()) >= 4  # the commit's own, too


@pytest.mark.parametrize("token", ["garbage", "a.b.c", "x" * 100_000, "é"])
def test_tokens_that_are_none(gitchain: Gitchain, world: PreparedRepository, token: str) -> None:
    """A token that no issuer gave is an authentication problem: the statement waits."""
    done = gitchain("attest", "x", "-p", "model.bin", "--identity-token", token, cwd=world.repo)
    assert done.code in {ExitCode.QUEUED, ExitCode.AUTHENTICATION, ExitCode.USAGE}, done.text
    assert "a bug" not in done.text
    assert "x" * 200 not in done.text
    assert len(world.stored()) == 3
    assert gitchain("sync", "--no-remote", cwd=world.repo).code == 0


def test_an_unknown_digest_is_never_verified(gitchain: Gitchain, world: PreparedRepository) -> None:
    """sha256 of nothing that is attested: 3, nothing to verify, in text and in JSON."""
    unknown = "sha256:" + "0" * 64
    done = gitchain("verify", unknown, "--json", cwd=world.repo)
    assert done.code == ExitCode.NOTHING, done.text
    assert "PASSED" not in done.text
    refused(gitchain("log", unknown, cwd=world.repo), ExitCode.NOTHING)
    refused(gitchain("show", "0" * 64, cwd=world.repo), ExitCode.NOTHING)
