"""kill -9 at random moments of attesting: what was acknowledged is stored and logged, and the next command works."""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from pathlib import Path

import pytest

from gitchain.evidence.bundle import Bundle
from gitchain.produce.sign_and_store import drain_outbox, project_profile
from gitchain.verify.bundle import verify_bundle
from gitchain.workspace.project import Project, open_project
from tests.support import attesting_program
from tests.support.fuzzing import sized
from tests.support.shell import Shell, new_repository

SEED = 20261122


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Return a repository that is set up; this process, too, works as its user."""
    made = new_repository(tmp_path)
    made.must("gitchain", "init", "--local", "--no-hooks")
    made.must("git", "config", "user.email", "ada@example.com")
    monkeypatch.setenv("GITCHAIN_HOME", str(made.home / "gitchain"))
    return made


def attest_until_killed(shell: Shell, label: str, moment: float, *, at_work: bool) -> list[str]:
    """Let a child attest until it is killed, `moment` after its start or its first word; return what it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(writing, 1)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            attesting_program.main(str(shell.cwd), label, "10000")
        finally:
            os._exit(1)
    os.close(writing)
    if at_work:
        select.select([reading], [], [], 60)
    select.select([], [], [], moment)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the worker ended before it was killed"
    with os.fdopen(reading, encoding="ascii") as pipe:
        return [line.strip() for line in pipe if line.endswith("\n")]


class Witness:
    """Remembers what was acknowledged, and looks for it after each crash."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.acknowledged: set[str] = set()
        self._seen: dict[str, str] = {}
        self._stored: set[str] = set()
        self._places: dict[int, str] = {}

    def check(self, acknowledged: list[str]) -> None:
        """Fail unless everything acknowledged is stored and logged; then drain what the dead child left."""
        self.acknowledged.update(acknowledged)
        project = open_project(self.shell.cwd)
        self._read(project)
        assert self.acknowledged <= self._stored
        waiting = {item.id for item in project.outbox.items()}
        result = drain_outbox(project, project_profile(project))
        assert result.reason is None
        assert len(project.outbox) == 0
        self._read(open_project(self.shell.cwd))
        assert waiting <= self._stored

    def _read(self, project: Project) -> None:
        """Verify each bundle that is new in the store; no two of them may claim one place in the log."""
        trust = project_profile(project).trust
        names = set(project.store.names())
        assert names >= self._seen.keys(), "the store has lost an attestation"
        for name in names - self._seen.keys():
            raw = project.store.get(name)
            assert raw is not None
            verified = verify_bundle(raw, trust)
            assert self._places.setdefault(verified.log.index, name) == name
            self._seen[name] = Bundle.parse(raw).attestation_id
            self._stored.add(self._seen[name])


def check_repository(shell: Shell) -> None:
    """Fail unless git and the store itself find everything in order."""
    shell.must("git", "fsck", "--full", "--strict")
    assert open_project(shell.cwd).store.problems() == ()


def kill_at_random(shell: Shell, kills: int, seconds: float) -> int:
    dice, witness, begun, done = random.Random(SEED), Witness(shell), time.monotonic(), 0
    while done < kills and time.monotonic() - begun < seconds:
        moment, at_work = dice.uniform(0, 0.25), done % 2 == 0
        witness.check(attest_until_killed(shell, f"kill-{done}", moment, at_work=at_work))
        done += 1
        if done % 25 == 0:
            check_repository(shell)
    assert len(witness.acknowledged) >= done / 2, "the kills came too early to prove anything"
    check_repository(shell)
    shell.must("gitchain", "sync")
    assert shell.json("doctor")["checks"]
    events = shell.json("log")["events"]
    assert witness.acknowledged <= {event["id"] for event in events}
    print(f"{done} kills, {len(witness.acknowledged)} acknowledged")  # noqa: T201 - shown with -s
    return done


def test_killed_at_random_moments(shell: Shell) -> None:
    """Kills at random moments: no acknowledged attestation is lost, fsck is clean, the outbox drains, the next command works."""
    kill_at_random(shell, sized(10, 25), 40)


@pytest.mark.slow
def test_killed_at_200_moments(shell: Shell) -> None:
    """The same at 200 moments, as far as two minutes reach."""
    kill_at_random(shell, 200, 105)
