"""Broken configurations and layouts: the right code, and never a pass."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import PreparedRepository, refused

Gitchain = Callable[..., Any]


LAYOUT = ".gitchain/layout.sigstore.json"

CONFIGS = {
    "empty": b"",
    "no toml": b"schema = [",
    "merge markers": b"<<<<<<< HEAD\nschema = 1\n=======\n>>>>>>> x\n",
    "not utf-8": b'schema = "\xff"',
    "another schema": b'schema = "x"\n',
    "sign a text": b'schema = "https://gitchain.dev/config/v1"\nsign = "x"\n',
    "no trust": b'schema = "https://gitchain.dev/config/v1"\nlayout = "demo"\n',
    "trust a number": b'schema = "https://gitchain.dev/config/v1"\n[sign]\ntrust = 5\n',
    "unknown setting": b'schema = "https://gitchain.dev/config/v1"\nhook = "rm -rf"\n[sign]\ntrust = "local"\n',
    "huge": b"# " + b"x" * (1 << 17),
    "deep": b"a = " + b"[" * 5000 + b"]" * 5000,
}


@pytest.mark.parametrize("how", CONFIGS)
def test_the_configuration_is_broken(gitchain: Gitchain, world: PreparedRepository, how: str) -> None:
    """config.toml that is none: usage, named, for whoever produces; verify reads none; `init --force` mends it."""
    world.write(".gitchain/config.toml", CONFIGS[how])
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0
    summary = ("verify", "model.bin", "--vsa", "out.json", "--verifier", "https://v.example")
    for command in (("attest",), ("sync",), ("log",), summary, ("layout", "sign")):
        refused(gitchain(*command, cwd=world.repo), ExitCode.USAGE, "config.toml")
    refused(
        gitchain("run", "x", "-p", "made", "--", "touch", "made", cwd=world.repo), ExitCode.RUN, "config.toml"
    )
    assert "config.toml" in gitchain("doctor", cwd=world.repo).out
    done = gitchain("init", "--local", "--name", "demo", "--no-hooks", "--force", cwd=world.repo)
    assert done.code == 0, done.text
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0


SIGNED: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda _: None,
    "empty": lambda _: b"",
    "garbage": lambda _: os.urandom(1000),
    "unsigned": lambda _: b'{"schema": "https://gitchain.dev/layout/v1", "name": "demo"}',
    "cut": lambda raw: raw[: len(raw) // 2],
    "altered": lambda raw: raw.replace(b'"sig":"M', b'"sig":"N'),
    "huge": lambda raw: raw + b" " * (8 << 20),
    "deep": lambda _: b"[" * 100_000,
    "another bundle": lambda _: None,
}


@pytest.mark.parametrize("how", SIGNED)
def test_the_signed_layout_is_broken(gitchain: Gitchain, world: PreparedRepository, how: str) -> None:
    """Without a good signed layout there is no verdict: 5, and nothing else."""
    path = world.repo / LAYOUT
    good = path.read_bytes()
    spoiled = SIGNED[how](good)
    path.unlink()
    if how == "another bundle":
        from gitchain.store.git_ref import AttestationStore

        spoiled = next(raw for raw in AttestationStore.open(world.repo).all() if raw != good)
    if spoiled is not None:
        path.write_bytes(spoiled)
    for command in (
        ("verify", "model.bin"),
        ("verify", "model.bin", "--layout", str(path)),
        ("layout", "show"),
    ):
        done = gitchain(*command, cwd=world.repo)
        refused(done, done.code)
        assert (
            done.code in {ExitCode.LAYOUT, ExitCode.FAILED, ExitCode.LIMIT}
            if how == "altered"
            else done.code == ExitCode.LAYOUT
        )
    assert gitchain("layout", "sign", cwd=world.repo).code == 0
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0


@pytest.mark.parametrize("how", ["missing", "garbage", "a directory", "huge", "expired", "older", "changed"])
def test_the_layout_to_sign_is_broken(gitchain: Gitchain, world: PreparedRepository, how: str) -> None:
    """`layout sign` refuses what could not verify, and leaves the layout that was signed before."""
    path, before = world.repo / ".gitchain/layout.yaml", (world.repo / LAYOUT).read_bytes()
    text = path.read_text()
    path.unlink()
    if how == "a directory":
        path.mkdir()
    elif how != "missing":
        path.write_text(
            {
                "garbage": "steps: {{{",
                "huge": "# " + "x" * (2 << 20),
                "expired": "\n".join('expires: "2020-01-01T00:00:00Z"' if line.startswith("expires") else line for line in text.splitlines()),
                "older": text.replace("version: 1", "version: 0"),
                "changed": text.replace("threshold: 1", "threshold: 1\n    maxAge: P1D", 1),
            }[how]
        )  # fmt: skip
    done = gitchain("layout", "sign", cwd=world.repo)
    refused(done, done.code)
    assert done.code in {ExitCode.LAYOUT, ExitCode.LIMIT}
    assert (world.repo / LAYOUT).read_bytes() == before
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0
