"""Several clones and several processes attest at once: the union is everywhere, and nothing is lost."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.attesting_processes import finish, fsck, start, stored, verify_all
from tests.support.shell import Shell, environment, new_repository


@pytest.fixture
def origin(tmp_path: Path) -> Shell:
    """Return a repository that is set up and pushed to a bare remote."""
    shell = new_repository(tmp_path)
    shell.must("gitchain", "init", "--local", "--no-hooks")
    shell.commit("set up")
    shell.must("git", "clone", "-q", "--bare", ".", str(tmp_path / "remote.git"))
    return shell


def clone(origin: Shell, name: str) -> Shell:
    folder = origin.cwd.parent
    origin.must("git", "clone", "-q", str(folder / "remote.git"), str(folder / name))
    return Shell(folder / name, origin.home)


def sync_at_once(shells: list[Shell]) -> None:
    """Run `gitchain sync` in all clones at the same time."""
    running = [
        subprocess.Popen(
            ["gitchain", "sync"],
            cwd=shell.cwd,
            env=environment(shell.home),
            stderr=subprocess.PIPE,
            text=True,
        )
        for shell in shells
    ]
    errors = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0] * len(shells), errors


def test_two_clones_attest_and_sync_at_once(origin: Shell) -> None:
    """Two clones attest at the same time and sync at the same time: after one more sync each, both hold the union."""
    clones = [clone(origin, "one"), clone(origin, "two")]
    acknowledged = set(finish([start(shell, shell.cwd.name, 5) for shell in clones]))
    assert len(acknowledged) == 10
    sync_at_once(clones)
    sync_at_once(clones)
    for shell in clones:
        held = stored(shell)
        assert set(held) == acknowledged
        assert len(verify_all(shell, list(held.values()))) == 10
        fsck(shell)
    one, two = (shell.must("git", "rev-parse", "refs/gitchain/attestations^{tree}") for shell in clones)
    assert one == two


def test_sync_while_both_attest(origin: Shell) -> None:
    """Syncing in the middle of it loses nothing either, and a third clone that comes later gets all of it."""
    clones = [clone(origin, "one"), clone(origin, "two")]
    workers = [start(shell, shell.cwd.name, 6) for shell in clones]
    for _ in range(2):
        sync_at_once(clones)
    acknowledged = set(finish(workers))
    sync_at_once(clones)
    sync_at_once(clones)
    late = clone(origin, "late")
    late.must("gitchain", "sync")
    for shell in (*clones, late):
        assert set(stored(shell)) == acknowledged
        fsck(shell)


def test_evidence_of_another_clone_verifies(file_model: Shell, tmp_path: Path) -> None:
    """The model that one clone trained is verified in another one, which has only fetched."""
    remote, cache = tmp_path / "remote.git", file_model.cwd / ".dvc" / "cache"
    file_model.must("git", "clone", "-q", "--bare", ".", str(remote))
    file_model.must("git", "remote", "add", "origin", str(remote))
    file_model.must("gitchain", "sync")
    file_model.must("git", "clone", "-q", str(remote), str(tmp_path / "other"))
    other = Shell(tmp_path / "other", file_model.home)
    other.must("dvc", "cache", "dir", "-q", "--local", str(cache))
    other.must("dvc", "checkout", "-q")
    assert other.gitchain("verify", "model.json").code == 3
    other.must("gitchain", "sync")
    assert other.verify("model.json")["verificationResult"] == "PASSED"
    other.verify("HEAD")


@pytest.mark.slow
def test_eight_processes_of_a_hundred(tmp_path: Path) -> None:
    """8 processes x 100 attestations, each signed, logged and stored on its own, make 800."""
    shell = new_repository(tmp_path)
    shell.must("gitchain", "init", "--local", "--no-hooks")
    acknowledged = finish([start(shell, f"p{number}", 100) for number in range(8)])
    held = stored(shell)
    assert len(acknowledged) == 800
    assert set(acknowledged) == set(held)
    assert len(verify_all(shell, list(held.values()))) == 800
    fsck(shell)
