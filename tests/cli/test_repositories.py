"""Repositories of every shape: each command works there, or says in one error why not, and leaves nothing half done."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import PreparedRepository, git, intact, refused

Gitchain = Callable[..., Any]

COMMANDS = (
    ("init", "--local"), ("attest",), ("attest", "x", "-m", "f", "-p", "g"), ("verify",), ("verify", "f"), ("log",),
    ("show", "abcdef"), ("sync",), ("layout", "draft"), ("layout", "sign"), ("layout", "show"), ("trust", "export"),
    ("trust", "pin", "--signer", "ada@example.com"), ("hooks", "install"), ("hooks", "status"), ("hooks", "remove"),
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_repository(gitchain: Gitchain, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Outside of a repository every verb says so, and makes no file."""
    place = tmp_path / "plain"
    place.mkdir()
    refused(gitchain(*command, cwd=place), ExitCode.USAGE, str(place), "git init")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("command", ["verify f", "models", "report f", "diff f f", "archive f -o a.tar"])
def test_no_repository_of_an_auditor(gitchain: Gitchain, tmp_path: Path, command: str) -> None:
    """The error names the options with which no repository is needed."""
    refused(gitchain(*command.split(), cwd=tmp_path), ExitCode.USAGE, "--layout FILE --evidence SOURCE")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_bare_repository(gitchain: Gitchain, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A bare repository has no files to attest, no settings and no layout: an error, and it stays as it was."""
    place = tmp_path / "bare.git"
    git(tmp_path, "init", "-q", "--bare", str(place))
    before = sorted(place.rglob("*"))
    reads = command[0] == "verify" or command[:2] == ("layout", "show")
    if reads:
        refused(gitchain(*command, cwd=place), ExitCode.LAYOUT, "--layout layout.json")
    else:
        said = "--layout NAME" if command[:2] == ("trust", "pin") else "bare"
        refused(gitchain(*command, cwd=place), ExitCode.USAGE, said)
    assert sorted(place.rglob("*")) == before


def test_run_outside_of_a_repository_does_not_run(gitchain: Gitchain, tmp_path: Path) -> None:
    """`run` fails as itself (125) before the command has run."""
    place = tmp_path / "plain"
    place.mkdir()
    refused(gitchain("run", "x", "-p", "f", "--", "touch", "f", cwd=place), ExitCode.RUN, str(place))
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS[1:13], ids=" ".join)
def test_not_set_up(gitchain: Gitchain, git_repo: Path, command: tuple[str, ...]) -> None:
    """A repository without a configuration: an error, never a result, and nothing is written."""
    done = gitchain(*command, cwd=git_repo)
    refused(done, done.code)
    assert done.code in {ExitCode.USAGE, ExitCode.LAYOUT}
    assert git(git_repo, "status", "--porcelain") == ""


def test_inside_the_git_directory(gitchain: Gitchain, git_repo: Path) -> None:
    """Inside `.git` there is no work tree."""
    refused(gitchain("attest", cwd=git_repo / ".git"), ExitCode.USAGE)


def test_work_tree_that_was_deleted(gitchain: Gitchain, git_repo: Path, tmp_path: Path) -> None:
    """The directory that the shell stands in is gone."""
    lost = tmp_path / "lost"
    lost.mkdir()
    before = Path.cwd()
    os.chdir(lost)
    try:
        lost.rmdir()
        for command in (("verify", "model.bin"), ("attest",), ("doctor", "-C", str(git_repo))):
            done = gitchain(*command)
            assert done.code != 0
            assert "a bug" not in done.text, done.text
    finally:
        os.chdir(before)


def test_detached_head(gitchain: Gitchain, world: PreparedRepository) -> None:
    """A detached HEAD is a commit like any other."""
    world.git("checkout", "-q", "--detach")
    done = gitchain("attest", "x", "-m", "dvc.lock", "-p", "dvc.yaml", "--json", cwd=world.repo)
    assert done.code == 0, done.text
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0
    intact(world)


def test_no_commit_yet(gitchain: Gitchain, tmp_path: Path) -> None:
    """Before the first commit gitchain can be set up and attest; what names a revision says that there is none."""
    repo = tmp_path / "repo"
    git(tmp_path, "init", "-q", str(repo))
    (repo / "in").write_text("in")
    assert gitchain("init", "--local", cwd=repo).code == 0
    assert gitchain("attest", "x", "-m", "in", "-p", "in", cwd=repo).code == 0
    assert gitchain("sync", cwd=repo).code == 0
    assert gitchain("log", cwd=repo).code == 0
    refused(gitchain("log", "HEAD", cwd=repo), ExitCode.USAGE, "HEAD")
    done = gitchain("doctor", cwd=repo)
    assert "clock" in done.out
    assert "1970" not in done.out


def clone(world: PreparedRepository, tmp_path: Path, *options: str) -> PreparedRepository:
    """Return a clone with its own store of the same evidence, in the same user's hands."""
    world.git("config", "uploadpack.allowFilter", "true")
    there = tmp_path / "clone"
    git(tmp_path, "clone", "-q", *options, f"file://{world.repo}", str(there))
    return PreparedRepository(there, world.home)


@pytest.mark.parametrize(
    "options", [("--depth=1",), ("--filter=blob:none",), ("--filter=tree:0",)], ids=" ".join
)
def test_shallow_and_partial_clones(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """A clone that lacks history or blobs attests, synchronises and verifies; the union is in both."""
    world.write("more", "1")
    world.git("add", "more")
    world.git("commit", "-qm", "more")
    other = clone(world, tmp_path, *options)
    done = gitchain("sync", cwd=other.repo)
    assert done.code == 0, done.text
    assert world.stored() <= other.stored()
    for name in ("data/raw.csv", "data/clean.csv", "model.bin"):
        other.write(name, (world.repo / name).read_bytes())
    assert gitchain("verify", "model.bin", cwd=other.repo).code == 0
    assert gitchain("attest", "x", "-m", "dvc.lock", "-p", "dvc.yaml", cwd=other.repo).code == 0
    assert gitchain("sync", cwd=other.repo).code == 0
    assert other.stored() == world.stored()
    intact(world)


def test_partial_clone_without_its_remote(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path
) -> None:
    """A blob that was never fetched and cannot be: one error, never a verdict on less."""
    other = clone(world, tmp_path, "--filter=blob:none", "--no-checkout")
    world.repo.rename(tmp_path / "gone")
    done = gitchain("verify", "HEAD", cwd=other.repo)
    refused(done, done.code)
    assert done.code != 0
    done = gitchain("sync", cwd=other.repo)
    refused(done, done.code)


def test_sha256_repository(gitchain: Gitchain, tmp_path: Path) -> None:
    """A SHA-256 repository works through the git binary: set-up, evidence, history, verification's own answers."""
    repo = tmp_path / "repo"
    git(tmp_path, "init", "-q", "--object-format=sha256", str(repo))
    (repo / "in").write_text("in")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "first")
    assert gitchain("init", "--local", cwd=repo).code == 0
    done = gitchain("attest", "x", "-m", "in", "-p", "in", "--json", cwd=repo)
    assert done.code == 0, done.text
    shown = gitchain("show", done.json["attested"][0]["id"], "--json", cwd=repo)
    assert shown.code == 0
    assert len(json.dumps(shown.json)) > 1000
    assert gitchain("sync", cwd=repo).code == 0
    assert gitchain("log", "in", cwd=repo).code == 0
    done = subprocess.run(["git", "fsck", "--strict"], cwd=repo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_two_inits(gitchain: Gitchain, world: PreparedRepository) -> None:
    """A second `init` changes nothing unless told to; told to, it keeps the layout, the evidence and the instance."""
    config = (world.repo / ".gitchain/config.toml").read_bytes()
    stored, issuer = world.stored(), gitchain("local", "status", "--json").json["issuer"]
    refused(gitchain("init", "--local", cwd=world.repo), ExitCode.USAGE, "--force")
    assert (world.repo / ".gitchain/config.toml").read_bytes() == config
    assert gitchain("init", "--local", "--name", "demo", "--force", cwd=world.repo).code == 0
    assert gitchain("local", "status", "--json").json["issuer"] == issuer
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0
    intact(world, stored)


def test_init_where_hooks_are_shared(gitchain: Gitchain, git_repo: Path) -> None:
    """husky commits its hooks directory: `init` sets up, leaves those hooks alone and says how to add ours."""
    husky = git_repo / ".husky"
    husky.mkdir()
    (husky / "pre-commit").write_text("#!/bin/sh\nexit 0\n")
    git(git_repo, "add", "-A")
    git(git_repo, "commit", "-qm", "husky")
    git(git_repo, "config", "core.hooksPath", ".husky")
    done = gitchain("init", "--local", "--json", cwd=git_repo)
    assert done.code == 0, done.text
    assert done.json["hooks"] == []
    assert "gitchain hooks install --force" in done.err
    assert sorted(path.name for path in husky.iterdir()) == ["pre-commit"]
    assert git(git_repo, "config", "core.hooksPath") == ".husky"
    assert (git_repo / ".gitchain/config.toml").exists()


def test_init_installs_hooks_unless_told_not_to(gitchain: Gitchain, git_repo: Path) -> None:
    """With --no-hooks there are none; without it, a later `init` installs them."""
    hook = git_repo / ".git/hooks/post-commit"
    assert gitchain("init", "--local", "--no-hooks", cwd=git_repo).code == 0
    assert not hook.exists()
    assert gitchain("init", "--local", "--force", cwd=git_repo).code == 0
    assert hook.exists()


def test_init_keeps_hooks_that_are_there(gitchain: Gitchain, git_repo: Path) -> None:
    """A hand-written hook still runs after `init`."""
    hook = git_repo / ".git/hooks/post-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\necho ran >> {git_repo}/../ran\n")
    hook.chmod(0o755)
    assert gitchain("init", "--local", cwd=git_repo).code == 0
    git(git_repo, "commit", "-q", "--allow-empty", "-m", "second")
    assert (git_repo / "../ran").read_text() == "ran\n"


@pytest.mark.parametrize("what", ["file", "link"])
def test_init_where_our_directory_is_taken(
    gitchain: Gitchain, git_repo: Path, tmp_path: Path, what: str
) -> None:
    """`.gitchain` is a file, or a link that leads elsewhere: nothing is written through it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    if what == "file":
        (git_repo / ".gitchain").write_text("mine")
    else:
        (git_repo / ".gitchain").symlink_to(outside)
    refused(gitchain("init", "--local", cwd=git_repo), ExitCode.USAGE, ".gitchain")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "options", [(), ("--local", "--public"), ("--local", "--trust", "local")], ids=" ".join
)
def test_init_takes_exactly_one_trust(gitchain: Gitchain, git_repo: Path, options: tuple[str, ...]) -> None:
    """No trust is guessed."""
    refused(gitchain("init", *options, cwd=git_repo), ExitCode.USAGE, "exactly one trust")
    assert not (git_repo / ".gitchain").exists()
