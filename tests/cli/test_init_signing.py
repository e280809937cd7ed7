"""`init` sets Git up to sign with the user's SSH key: when told to, where nothing is set, in this repository alone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.evidence.gitobject import GitObject
from gitchain.produce.git_setup import find_ssh_signing

Gitchain = Callable[..., Any]


def git(repo: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=repo, capture_output=True, text=True, check=False)
    return done.stdout.strip()


@pytest.fixture
def key(isolated: Path) -> Path:
    """The user's key, where ssh-keygen puts it."""
    path = Path.home() / ".ssh" / "id_ed25519"
    path.parent.mkdir(mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub")


def test_commits_are_signed_when_told_to(gitchain: Gitchain, git_repo: Path, key: Path) -> None:
    """The settings are the repository's own, the document names them, and the next commit is signed."""
    done = gitchain("init", "--local", "--no-hooks", "--git-signing", "--json", cwd=git_repo)
    assert done.code == 0, done.text
    wanted = ["gpg.format=ssh", f"user.signingkey={key}", "commit.gpgsign=true"]
    assert done.json["gitSigning"] == wanted
    assert [
        f"{name}={git(git_repo, 'config', '--local', name)}"
        for name in ("gpg.format", "user.signingkey", "commit.gpgsign")
    ] == wanted
    git(git_repo, "commit", "-q", "--allow-empty", "-m", "signed")
    raw = subprocess.run(
        ["git", "cat-file", "commit", "HEAD"], cwd=git_repo, capture_output=True, check=True
    ).stdout
    signature = GitObject.parse("commit", git(git_repo, "rev-parse", "HEAD"), raw).signature
    assert signature is not None
    assert signature.form == "ssh"


@pytest.mark.parametrize("flag", [[], ["--no-git-signing"]])
def test_nothing_is_set_without_a_yes(gitchain: Gitchain, git_repo: Path, key: Path, flag: list[str]) -> None:
    """Where nobody can be asked, a hint is all; and no means no."""
    done = gitchain("init", "--local", "--no-hooks", *flag, cwd=git_repo)
    assert done.code == 0
    assert git(git_repo, "config", "--get", "gpg.format") == ""
    assert ("--git-signing" in done.err) == (not flag)


@pytest.mark.parametrize("name", ["gpg.format", "user.signingkey", "commit.gpgsign"])
def test_what_is_set_stays(
    gitchain: Gitchain, git_repo: Path, key: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any scope: the user's own configuration counts as well."""
    mine = tmp_path / "gitconfig"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(mine))
    git(git_repo, "config", "--global", name, "false")
    before = mine.read_text()
    done = gitchain("init", "--local", "--no-hooks", "--git-signing", "--json", cwd=git_repo)
    assert done.code == 0
    assert done.json["gitSigning"] == []
    assert name in done.err
    assert mine.read_text() == before
    assert git(git_repo, "config", "--local", "--get", name) == ""


def test_only_a_whole_key_of_a_known_kind_is_offered(git_repo: Path, key: Path) -> None:
    """A public key without its private half, or a file of something else, is passed over."""
    assert find_ssh_signing(git_repo).key == key
    text = key.read_text()
    key.write_text("sk-ssh-ed25519@openssh.com AAAA x\n")
    assert find_ssh_signing(git_repo).key is None
    key.write_text(text)
    key.with_suffix("").unlink()
    assert find_ssh_signing(git_repo).key is None
