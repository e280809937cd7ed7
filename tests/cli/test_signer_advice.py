"""Who signs the layout: advice that names the identity, and warnings at signing of what is found out too late otherwise."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import PreparedRepository, refused

Gitchain = Callable[..., Any]


@pytest.fixture
def pipeline(git_repo: Path) -> Path:
    """Return a repository with a DVC pipeline of one stage."""
    (git_repo / ".dvc").mkdir()
    (git_repo / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (git_repo / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: cp a model.bin\n    deps: [a]\n    outs: [model.bin]\n"
    )
    (git_repo / "a").write_text("1")
    return git_repo


def test_what_init_says_next_signs_as_the_identity_that_it_pinned(gitchain: Gitchain, pipeline: Path) -> None:
    """`init --as` pins somebody else than Git's user: each command to type names them, and the model passes."""
    done = gitchain("init", "--local", "--no-hooks", "--as", "me@org.example", "--json", cwd=pipeline)
    commands = [shlex.split(one) for one in done.json["next"]]
    assert ["gitchain", "layout", "sign", "--as", "me@org.example"] in commands
    for program, *words in commands:
        assert (program, gitchain(*words, cwd=pipeline).code) == ("gitchain", 0)


def test_what_init_says_next_without_dvc_names_the_identity(gitchain: Gitchain, git_repo: Path) -> None:
    """The layout is drafted from what this identity attested."""
    done = gitchain("init", "--local", "--no-hooks", "--as", "me@org.example", "--json", cwd=git_repo)
    (git_repo / "in.txt").write_text("in")
    run, *others, verify = [shlex.split(one)[1:] for one in done.json["next"]]
    words = run[: run.index("STEP")]
    assert (
        gitchain(
            *words, "train", "-m", "in.txt", "-p", "m.txt", "--", "cp", "in.txt", "m.txt", cwd=git_repo
        ).code
        == 0
    )
    for command in (*others, [*verify[:-1], "m.txt"]):
        assert gitchain(*command, cwd=git_repo).code == 0, command


def test_what_init_says_next_names_nobody_where_git_knows_who_signs(
    gitchain: Gitchain, pipeline: Path
) -> None:
    done = gitchain("init", "--local", "--no-hooks", "--json", cwd=pipeline)
    assert not [one for one in done.json["next"] if "--as" in one]


def test_sign_warns_of_a_signer_that_the_pin_does_not_name(
    gitchain: Gitchain, world: PreparedRepository
) -> None:
    """Verify would refuse the layout: the warning says it at once, and the command in it, typed, makes it pass."""
    done = gitchain("layout", "sign", "--as", "eve@example.com", cwd=world.repo)
    assert done.code == 0
    assert "verify refuses it on this machine: only ada@example.com" in done.err
    failed = gitchain("verify", "model.bin", cwd=world.repo)
    refused(failed, ExitCode.LAYOUT, "signed by an identity that may not sign it")
    for said in (done.err, failed.err):
        (command,) = [line for line in said.splitlines() if "gitchain trust pin" in line]
        words = shlex.split(command[command.index("gitchain trust pin") :].partition("   ")[0])
        assert gitchain(*words[1:], cwd=world.repo).code == 0
        assert gitchain("verify", "model.bin", cwd=world.repo).code == 0
        assert gitchain("trust", "pin", "--signer", "ada@example.com", cwd=world.repo).code == 0


def test_sign_says_that_nobody_may_revoke(gitchain: Gitchain, world: PreparedRepository) -> None:
    """As lint says it, and only where it is so."""
    done = gitchain("layout", "sign", cwd=world.repo)
    assert "GC-L17 no functionary may revoke anything" in done.err
    assert "verify refuses it" not in done.err
    layout = world.repo / ".gitchain/layout.yaml"
    text = layout.read_text().replace("version: 1\n", "version: 2\nrevokers: [ada]\n")
    assert "functionaries:\n  ada:" in text
    layout.write_text(text)
    done = gitchain("layout", "sign", cwd=world.repo)
    assert (done.code, "GC-L17" in done.err) == (0, False), done.text


def test_sign_without_an_identity_names_itself(
    gitchain: Gitchain, world: PreparedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gitchain sync` signs no layout."""
    for name in ("GIT_COMMITTER_EMAIL", "GIT_AUTHOR_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "0")
    done = gitchain("layout", "sign", cwd=world.repo)
    refused(done, ExitCode.AUTHENTICATION, "gitchain layout sign --as IDENTITY")
    assert "gitchain sync" not in done.err
    assert gitchain("layout", "sign", "--as", "ada@example.com", cwd=world.repo).code == 0


@pytest.mark.parametrize(
    "words", [("attest",), ("run", "x", "-p", "y", "--", "true"), ("layout", "sign")], ids=str
)
def test_a_machine_with_a_pin_is_not_told_to_pin(
    gitchain: Gitchain,
    world: PreparedRepository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    """It verifies already; what it lacks is an instance to sign with, and the advice makes one."""
    exported = gitchain("local", "trust", cwd=world.repo).out
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "other-home"))
    (tmp_path / "trust.json").write_text(exported)
    pin = ("--trust", str(tmp_path / "trust.json"), "trust", "pin", "--signer", "ada@example.com")
    first = gitchain(*words, cwd=world.repo)
    assert "trust pin" in first.err
    assert gitchain(*pin, cwd=world.repo).code == 0
    done = gitchain(*words, cwd=world.repo)
    assert done.code in {ExitCode.TRUST, ExitCode.RUN}
    assert "verifies under a pin" in done.err
    assert "trust pin" not in done.err
    assert gitchain("init", "--local", "--force", "--no-hooks", cwd=world.repo).code == 0
    shutil.copy(world.repo / "model.bin", world.repo / "y")
    assert gitchain("attest", "x", "-p", "y", cwd=world.repo).code == 0
