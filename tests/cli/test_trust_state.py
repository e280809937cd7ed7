"""Trust, pins, layouts, the instance's directory, homes and clocks, spoiled: the right code, and never a pass."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import PreparedRepository, git, intact, refused

Gitchain = Callable[..., Any]
LAYOUT = ".gitchain/layout.sigstore.json"

INSTANCE: dict[str, Callable[[Path], object]] = {
    "missing": shutil.rmtree,
    "a file": lambda path: (shutil.rmtree(path), path.write_text("x")),
    "a link": lambda path: (path.rename(path.with_name("moved")), path.symlink_to("moved")),
    "open to the group": lambda path: path.chmod(0o750),
    "a key open to others": lambda path: (path / "keys/ca.pem").chmod(0o644),
    "another owner": lambda path: os.chown(path, 12345, 12345),
    "a key missing": lambda path: (path / "keys/oidc.pem").unlink(),
    "a key broken": lambda path: (path / "keys/ca.pem").write_text("-----BEGIN PRIVATE KEY-----\ngarbage\n"),
    "a key empty": lambda path: (path / "keys/log.pem").write_bytes(b""),
    "another key's kind": lambda path: (path / "keys/log.pem").write_bytes(
        (path / "keys/ca.pem").read_bytes()
    ),
    "keys of another role": lambda path: (path / "keys/ca.pem").write_bytes(
        (path / "keys/tsa.pem").read_bytes()
    ),
    "certificates garbage": lambda path: (path / "keys/certificates.pem").write_bytes(b"\x00\xff"),
    "description broken": lambda path: (path / "instance.json").write_text("{"),
    "description not utf-8": lambda path: (path / "instance.json").write_bytes(b"\xff"),
    "description missing": lambda path: (path / "instance.json").unlink(),
    "description huge": lambda path: (path / "instance.json").write_bytes(b" " * 10**6),
    "log missing": lambda path: shutil.rmtree(path / "log"),
    "checkpoint garbage": lambda path: (path / "log/checkpoint").write_bytes(b"garbage\n\xff"),
    "checkpoint missing": lambda path: (path / "log/checkpoint").unlink(),
    "export of other keys": lambda path: (path / "trust.json").write_text(
        (path / "trust.json").read_text().replace("rawBytes", "rawbytes", 1)
    ),
    "export not utf-8": lambda path: (path / "trust.json").write_bytes(b"\xff"),
}
NOT_READ = (
    "missing",
    "a file",
    "a link",
    "open to the group",
    "another owner",
    "export of other keys",
    "export not utf-8",
)
"""Where verification cannot use what the instance exported: elsewhere it needs none of the keys."""


@pytest.mark.parametrize("how", INSTANCE)
def test_the_instance_is_spoiled(gitchain: Gitchain, world: PreparedRepository, how: str) -> None:
    """Missing, another's, open to others, broken: 4 with what to type; nothing is signed or lost.

    Verification opens no key, and reads what was exported.
    """
    INSTANCE[how](world.home / "local")
    done = gitchain("verify", "model.bin", cwd=world.repo)
    if how in NOT_READ:
        refused(done, ExitCode.TRUST, "")
    else:
        assert done.code == 0
    for command in (("local", "status"), ("local", "token", "ada@example.com")):
        refused(gitchain(*command, cwd=world.repo), ExitCode.TRUST, "local")
    refused(gitchain("attest", "x", "-p", "model.bin", cwd=world.repo), ExitCode.TRUST)
    refused(gitchain("run", "x", "-p", "made", "--", "touch", "made", cwd=world.repo), ExitCode.RUN)
    assert not (world.repo / "made").exists()
    done = gitchain("doctor", cwd=world.repo)
    assert done.code == ExitCode.FAILED
    assert "problem  trust" in done.out
    done = gitchain("trust", "status", cwd=world.repo)
    assert done.code == (ExitCode.TRUST if how in NOT_READ else 0)
    assert "a bug" not in done.text
    assert len(world.stored()) == 3


@pytest.mark.parametrize("what", ["keys", "log", "local", "instance.json", "trust.json"])
def test_the_instance_of_somebody_else(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of, or a whole, other instance under the same name: nothing it says counts."""
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "other"))
    assert gitchain("init", "--local", "--no-hooks", "--force", cwd=world.repo).code == 0
    monkeypatch.setenv("GITCHAIN_HOME", str(world.home))
    world.git("checkout", "-q", ".gitchain")
    other = tmp_path / "other/local" / ("" if what == "local" else what)
    place = world.home / "local" / ("" if what == "local" else what)
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    shutil.copytree(other, place) if other.is_dir() else shutil.copy(other, place)
    if what in {"local", "trust.json"}:
        refused(gitchain("verify", "model.bin", cwd=world.repo), ExitCode.TRUST)
    if what != "local":
        refused(gitchain("attest", "x", "-p", "model.bin", cwd=world.repo), ExitCode.TRUST)


PINS: dict[str, bytes] = {
    "empty": b"",
    "no json": b"{",
    "a list": b"[]",
    "another schema": b'{"schema": "x", "layouts": {}}',
    "layouts a list": b'{"schema": "https://gitchain.dev/pins/v1", "layouts": []}',
    "no signers": b'{"schema": "https://gitchain.dev/pins/v1", "layouts": {"demo": {"signers": [], "trust": "local", "trustDigest": "", "version": 1, "digest": "", "repositories": []}}}',
    "version a text": b'{"schema": "https://gitchain.dev/pins/v1", "layouts": {"demo": {"signers": [{"issuer": "a", "subject": "b"}], "trust": "local", "trustDigest": "", "version": "x", "digest": "", "repositories": []}}}',
    "not utf-8": b"\xff",
    "huge": b" " * (2 << 20),
    "deep": b"[" * 5000,
}


@pytest.mark.parametrize("how", PINS)
def test_the_pins_are_damaged(
    gitchain: Gitchain, world: PreparedRepository, git_repo: Path, how: str
) -> None:
    """A pins file that is not ours is never read as `nothing is pinned`, and never overwritten."""
    (world.home / "pins.json").write_bytes(PINS[how])
    for command in (
        ("verify", "model.bin"),
        ("layout", "show"),
        ("log",),
        ("trust", "status"),
        ("trust", "pin", "--signer", "eve@example.com"),
    ):
        refused(gitchain(*command, cwd=world.repo), ExitCode.TRUST, "pins")
    refused(gitchain("init", "--local", cwd=git_repo), ExitCode.TRUST, "pins")
    assert not (git_repo / ".gitchain").exists()
    done = gitchain("doctor", cwd=world.repo)
    assert done.code == ExitCode.FAILED, done.text
    assert "pins" in done.out
    assert (world.home / "pins.json").read_bytes() == PINS[how]


TRUST = {
    "missing": None,
    "garbage": b"\xff\x00",
    "no json": b"{",
    "another document": b'{"mediaType": "application/json"}',
    "empty root": b'{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}',
    "huge": b" " * (17 << 20),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("how", TRUST)
def test_a_trust_file_that_is_none(
    gitchain: Gitchain, world: PreparedRepository, git_repo: Path, how: str
) -> None:
    """--trust FILE that holds no trust: 4 in every verb, and `init` writes nothing."""
    data = TRUST[how]
    if data is not None:
        world.write("trust.json", data)
    for command in (("verify", "model.bin"), ("log",), ("attest", "x", "-p", "dvc.lock"), ("trust", "pin", "--signer", "a@example.com", "--issuer", "https://e.x"), ("layout", "show"), ("sync",)):  # fmt: skip
        refused(gitchain("--trust", "trust.json", *command, cwd=world.repo), ExitCode.TRUST)
    refused(gitchain("--trust", str(world.repo / "trust.json"), "init", cwd=git_repo), ExitCode.TRUST)
    assert not (git_repo / ".gitchain").exists()
    assert len(world.stored()) == 3


def test_the_trust_of_somebody_else(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good trust configuration that never signed this layout proves nothing."""
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "other"))
    repo = tmp_path / "elsewhere"
    git(tmp_path, "init", "-q", str(repo))
    assert gitchain("init", "--local", "--no-hooks", cwd=repo).code == 0
    world.write("foreign.json", gitchain("local", "trust").out)
    monkeypatch.setenv("GITCHAIN_HOME", str(world.home))
    done = gitchain("--trust", "foreign.json", "verify", "model.bin", cwd=world.repo)
    refused(done, done.code)
    assert done.code in {ExitCode.TRUST, ExitCode.LAYOUT}


def test_public_offline_without_a_cache(gitchain: Gitchain, git_repo: Path) -> None:
    """Offline, `public` is the root that sigstore-python ships; signing without an identity waits; nothing calls out."""
    done = gitchain("--offline", "init", "--public", "--no-hooks", cwd=git_repo)
    assert done.code == 0, done.text
    done = gitchain("--offline", "attest", "x", "-p", "README.md", cwd=git_repo)
    assert done.code == ExitCode.QUEUED, done.text
    assert "help" in done.err
    done = gitchain("--offline", "sync", cwd=git_repo)
    assert done.code == ExitCode.QUEUED, done.text


@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b"[" * 100_000, b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}'])  # fmt: skip
def test_a_bundle_file_that_is_none(gitchain: Gitchain, world: PreparedRepository, data: bytes) -> None:
    """A target that calls itself a bundle and is none is not verified."""
    world.write("x.sigstore.json", data)
    for verb in ("verify", "log"):
        done = gitchain(verb, "x.sigstore.json", cwd=world.repo)
        refused(done, done.code)
        assert done.code in {ExitCode.FAILED, ExitCode.USAGE, ExitCode.LIMIT}


def test_verify_outside_of_any_repository(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path
) -> None:
    """With layout, signer and trust given, no repository is needed; without evidence nothing passes."""
    place = tmp_path / "plain"
    place.mkdir()
    shutil.copy(world.repo / LAYOUT, place / "layout.sigstore.json")
    shutil.copy(world.repo / "model.bin", place)
    (place / "trust.json").write_text(gitchain("local", "trust").out)
    issuer = gitchain("local", "status", "--json").json["issuer"]
    given = (
        "--layout",
        "layout.sigstore.json",
        "--trust",
        "trust.json",
        "--signer",
        "ada@example.com",
        "--issuer",
        issuer,
    )
    assert gitchain("verify", "model.bin", *given, cwd=place).code in {ExitCode.NOTHING, ExitCode.FAILED}
    wrong = (*given[:4], "--signer", "eve@example.com", "--issuer", issuer)
    refused(gitchain("verify", "model.bin", *wrong, cwd=place), ExitCode.LAYOUT, "eve@example.com")
    refused(gitchain("verify", "nowhere", *given, cwd=place), ExitCode.USAGE, "nowhere")
    refused(gitchain("verify", "HEAD", *given, cwd=place), ExitCode.USAGE)
    refused(gitchain("verify", "model.bin", *given[2:], cwd=place), ExitCode.USAGE)
    refused(gitchain("verify", "model.bin", "--layout", "nowhere", *given[2:], cwd=place), ExitCode.LAYOUT)
    done = gitchain("verify", "model.bin", "--minimum-version", "9", *given, cwd=place)
    refused(done, ExitCode.LAYOUT, "version")
    assert sorted(path.name for path in place.iterdir()) == [
        "layout.sigstore.json",
        "model.bin",
        "trust.json",
    ]


@pytest.mark.parametrize("home", ["unset", "relative", "a file", "below a file", "empty"])
def test_no_home(process: Gitchain, world: PreparedRepository, tmp_path: Path, home: str) -> None:
    """Without a place for the user's own files nothing is verified or guessed; the help says what to export."""
    environment = {key: value for key, value in os.environ.items() if key not in {"HOME", "GITCHAIN_HOME"}}
    (tmp_path / "file").write_text("x")
    if home != "unset":
        environment["GITCHAIN_HOME"] = {"relative": "here", "a file": str(tmp_path / "file"), "below a file": str(tmp_path / "file/x"), "empty": ""}[home]  # fmt: skip
    if home in {"unset", "empty"}:
        environment["HOME"] = "" if home == "empty" else "/proc/nowhere"
    done = process("verify", "model.bin", cwd=world.repo, env=environment)
    refused(done, ExitCode.TRUST, "GITCHAIN_HOME")
    assert not (world.repo / "here").exists()


def test_home_unset_altogether(
    gitchain: Gitchain, world: PreparedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HOME and GITCHAIN_HOME unset, for a user without an account: one error, not a directory called `~`."""
    import pwd

    def nobody(_uid: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "GITCHAIN_HOME"):
        monkeypatch.delenv(name)
    refused(gitchain("verify", "model.bin", cwd=world.repo), ExitCode.TRUST, "GITCHAIN_HOME")
    assert not (world.repo / "~").exists()


@pytest.mark.parametrize("days", [-366, 366])
def test_the_clock_is_a_year_off(
    gitchain: Gitchain, world: PreparedRepository, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """A year behind: nothing is signed, what was stated waits, doctor names the clock. A year ahead: the layout has expired."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(days=days)

    for name, one in list(sys.modules.items()):
        if name.startswith("gitchain") and getattr(one, "datetime", None) is datetime:
            monkeypatch.setattr(one, "datetime", Shifted)
    stored = world.stored()
    done = gitchain("verify", "model.bin", cwd=world.repo)
    assert done.code != 0, done.text
    assert "a bug" not in done.text
    if days > 0:
        refused(done, ExitCode.LAYOUT, "expired")
        return
    done = gitchain("attest", "x", "-p", "model.bin", cwd=world.repo)
    assert done.code == ExitCode.QUEUED, done.text
    assert "clock" in done.err
    assert len(world.waiting()) == 1
    assert world.stored() == stored
    refused(gitchain("local", "token", "a@example.com"), ExitCode.TRUST, "clock")
    checked = {check["name"]: check for check in gitchain("doctor", "--json", cwd=world.repo).json["checks"]}
    assert checked["clock"]["state"] == "problem"
    assert checked["clock"]["help"]
    monkeypatch.undo()
    monkeypatch.setenv("GITCHAIN_HOME", str(world.home))


def test_waits_for_the_clock(gitchain: Gitchain, world: PreparedRepository) -> None:
    """The clock's own tolerance: evidence of an instance that is a moment old verifies."""
    made = json.loads((world.home / "local/instance.json").read_text())["created"]
    assert datetime.fromisoformat(made) <= datetime.now(UTC)
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0
    intact(world)
