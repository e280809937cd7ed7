"""A private Sigstore's trust configuration in the repository: every clone has it, and each chooses whether it signs."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from gitchain.instance import Instance
from gitchain.workspace.user_directory import local_directory
from tests.support.prepared_repository import git, refused

Gitchain = Callable[..., Any]
TRUST = ".gitchain/trust.json"
CLAIMS = {
    "iss": "https://issuer.example",
    "aud": "sigstore",
    "sub": "ada",
    "email": "ada@example.com",
    "iat": 1,
    "exp": 9_000_000_000,
}
TOKEN = ".".join(
    base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
    for part in ({"alg": "ES256"}, CLAIMS, "signature")
)


@pytest.fixture
def trust(gitchain: Gitchain, tmp_path: Path) -> Path:
    """Return the embedded instance's trust configuration as a file outside of any repository."""
    Instance.create(local_directory())
    file = tmp_path / "elsewhere" / "trust.json"
    file.parent.mkdir()
    file.write_text(gitchain("local", "trust").out)
    return file


@pytest.fixture
def first(gitchain: Gitchain, git_repo: Path, trust: Path) -> Path:
    """Return a repository that was set up under the file, with a model attested on its owner's instance."""
    issuer = gitchain("local", "status", "--json").json["issuer"]
    who = ("--as", "ada@example.com", "--issuer", issuer)
    done = gitchain("init", "--trust", str(trust), "--name", "demo", "--no-hooks", *who, cwd=git_repo)
    assert done.code == 0, done.text
    (git_repo / "model.txt").write_text("model")
    (git_repo / "in.txt").write_text("in")
    local = ("--trust", "local")
    assert gitchain(*local, "attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=git_repo).code == 0
    assert (
        gitchain("layout", "draft", "--write", *who[2:], "--subject", "ada@example.com", cwd=git_repo).code
        == 0
    )
    done = gitchain(*local, "layout", "sign", cwd=git_repo)
    assert done.code == 0, done.text
    git(git_repo, "add", "-A")
    git(git_repo, "commit", "-qm", "set up")
    return git_repo


@pytest.fixture
def second(gitchain: Gitchain, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a clone in the hands of another user, without an instance, and without the file outside."""
    served = tmp_path / "served.git"
    git(tmp_path, "clone", "-q", "--mirror", str(first), str(served))
    to = tmp_path / "second"
    git(tmp_path, "clone", "-q", str(served), str(to))
    shutil.rmtree(tmp_path / "elsewhere")
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "second-home"))
    (tmp_path / "second-home").mkdir()
    return to


def pinned(gitchain: Gitchain, repo: Path) -> Any:
    done = gitchain("trust", "pin", "--signer", "ada@example.com", cwd=repo)
    assert done.code == 0, done.text
    return done


def test_nothing_outside_of_the_repository_is_committed(first: Path, trust: Path) -> None:
    """The configuration names the copy, whose bytes are the file's."""
    config = (first / ".gitchain/config.toml").read_text()
    assert f'trust = "{TRUST}"' in config
    assert str(trust.parent) not in config
    assert (first / TRUST).read_bytes() == trust.read_bytes()
    assert TRUST in git(first, "ls-files").splitlines()


def test_a_second_clone_verifies_and_signs_nothing(gitchain: Gitchain, second: Path) -> None:
    """Pinned by the digest that is shown; sync fetches, exchanges and signs nothing, and leaves nothing behind."""
    refused(gitchain("verify", "model.txt", cwd=second), ExitCode.TRUST)
    shown = pinned(gitchain, second)
    digest = re.search(r"sha256:[0-9a-f]{64}", shown.err)
    assert digest
    (second / "model.txt").write_text("model")
    before = git(second, "ls-remote", "origin")
    done = gitchain("sync", cwd=second)
    assert done.code == 0, done.text
    assert "have not chosen to sign" in done.err
    assert "gitchain trust agree" in done.err
    assert git(second, "ls-remote", "origin") == before
    assert gitchain("verify", "model.txt", cwd=second).code == 0
    assert gitchain("log", cwd=second).code == 0
    done = gitchain("doctor", cwd=second)
    assert "problem" not in done.out, done.text
    assert "nothing is signed here" in done.out


def test_a_clone_that_has_not_chosen_sends_no_token(gitchain: Gitchain, second: Path) -> None:
    """What would sign says what to type; a token goes nowhere."""
    pinned(gitchain, second)
    for command in (
        ("attest", "train", "-p", "in.txt"),
        ("layout", "sign"),
        ("run", "x", "-p", "made", "--", "touch", "made"),
    ):
        done = gitchain(*command, "--identity-token", TOKEN, cwd=second)
        assert done.code in {ExitCode.TRUST, ExitCode.RUN}, done.text
        assert "gitchain trust agree" in done.err
    assert not (second / "made").exists()


def test_choosing_is_one_command(gitchain: Gitchain, second: Path) -> None:
    """As the error says: then signing is tried, and asks for an identity."""
    pinned(gitchain, second)
    done = gitchain("attest", "train", "-p", "in.txt", cwd=second)
    assert "gitchain trust agree" in done.err
    agreed = gitchain("trust", "agree", cwd=second)
    assert (agreed.code, "  service https://" in agreed.out or "  service http://" in agreed.out) == (
        0,
        True,
    ), agreed.text
    done = gitchain("attest", "train", "-p", "in.txt", cwd=second)
    assert "trust agree" not in done.text
    assert done.code != ExitCode.TRUST, done.text


@pytest.mark.parametrize("how", ["services", "root", "no json", "missing", "link", "pipe"])
def test_a_file_that_was_changed(gitchain: Gitchain, second: Path, how: str, tmp_path: Path) -> None:
    """Verification goes on by the pinned root; nobody signs, whatever the file is now."""
    pinned(gitchain, second)
    assert gitchain("trust", "agree", "--json", cwd=second).code == 0
    assert gitchain("sync", "--no-remote", cwd=second).code in {0, ExitCode.QUEUED, ExitCode.AUTHENTICATION}
    gitchain("sync", cwd=second)
    file, value = second / TRUST, json.loads((second / TRUST).read_text())
    file.unlink()
    if how == "services":
        value["signingConfig"]["caUrls"] = [{"url": "https://evil.example", "majorApiVersion": 1}]
        file.write_text(json.dumps(value))
    elif how == "root":
        value["trustedRoot"]["certificateAuthorities"] = []
        file.write_text(json.dumps(value))
    elif how == "no json":
        file.write_text("{")
    elif how == "link":
        file.symlink_to("/dev/zero")
    elif how == "pipe":
        os.mkfifo(file)
    (second / "model.txt").write_text("model")
    done = gitchain("verify", "model.txt", cwd=second)
    assert done.code == 0, done.text
    done = gitchain("attest", "train", "-p", "in.txt", "--identity-token", TOKEN, cwd=second)
    assert done.code in {ExitCode.TRUST, ExitCode.USAGE}, done.text
    assert done.err.count("error:") == 1


def test_a_file_inside_stays_where_it_is(gitchain: Gitchain, git_repo: Path, trust: Path) -> None:
    """Also from a subdirectory: paths count from where the command runs."""
    (git_repo / "conf").mkdir()
    shutil.copy(trust, git_repo / "conf" / "sigstore.json")
    done = gitchain("init", "--trust", "sigstore.json", "--no-hooks", cwd=git_repo / "conf")
    assert done.code == 0, done.text
    assert 'trust = "conf/sigstore.json"' in (git_repo / ".gitchain/config.toml").read_text()
    assert not (git_repo / TRUST).exists()


def test_another_copy_is_not_overwritten(gitchain: Gitchain, git_repo: Path, trust: Path) -> None:
    (git_repo / ".gitchain").mkdir()
    (git_repo / TRUST).write_text("{}")
    command = ("init", "--trust", str(trust), "--no-hooks")
    refused(gitchain(*command, cwd=git_repo), ExitCode.USAGE, TRUST, "--force")
    assert (git_repo / TRUST).read_text() == "{}"
    assert not (git_repo / ".gitchain/config.toml").exists()
    assert gitchain(*command, "--force", cwd=git_repo).code == 0
    assert (git_repo / TRUST).read_bytes() == trust.read_bytes()


def test_a_link_in_the_place_of_the_copy_is_not_followed(
    gitchain: Gitchain, git_repo: Path, trust: Path
) -> None:
    """A clone must not lead our writes elsewhere."""
    (git_repo / ".gitchain").mkdir()
    target = git_repo.parent / "target"
    target.write_text("kept")
    (git_repo / TRUST).symlink_to(target)
    assert gitchain("init", "--trust", str(trust), "--no-hooks", "--force", cwd=git_repo).code == 0
    assert target.read_text() == "kept"


def test_the_monitor_follows_the_pinned_trust(gitchain: Gitchain, first: Path) -> None:
    """Another trust in the repository does not lead it to another log."""
    value = json.loads((first / TRUST).read_text())
    for log in value["trustedRoot"]["tlogs"]:
        log["baseUrl"] = "https://evil.example"
    (first / TRUST).write_text(json.dumps(value))
    done = gitchain("monitor", "--json", "--url", "evil.example=http://127.0.0.1:1", cwd=first)
    assert [log["host"] for log in done.json["logs"]] == [Instance.open(local_directory()).origin]


def test_no_repository_makes_the_choice(gitchain: Gitchain, first: Path, tmp_path: Path) -> None:
    """A copy of a repository with all of its Git directory has not chosen; other trusts need no choice."""
    copy = tmp_path / "copy"
    shutil.copytree(first, copy, symlinks=True)
    refused(gitchain("attest", "train", "-p", "in.txt", cwd=copy), ExitCode.TRUST, "gitchain trust agree")
    refused(gitchain("trust", "agree", "--trust", "local", cwd=copy), ExitCode.USAGE)
    refused(gitchain("trust", "agree", cwd=tmp_path), ExitCode.USAGE)


def test_a_pipe_in_the_place_of_the_copy_is_replaced(gitchain: Gitchain, git_repo: Path, trust: Path) -> None:
    """It is never waited for."""
    (git_repo / ".gitchain").mkdir()
    os.mkfifo(git_repo / TRUST)
    command = ("init", "--trust", str(trust), "--no-hooks")
    refused(gitchain(*command, cwd=git_repo), ExitCode.USAGE, TRUST)
    assert gitchain(*command, "--force", cwd=git_repo).code == 0
    assert (git_repo / TRUST).read_bytes() == trust.read_bytes()
