"""Start `attesting_program.py` and read what it acknowledged; read a store with what only a fresh process would know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gitchain.evidence.bundle import Bundle
from gitchain.evidence.dsse import AttestationId
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust
from gitchain.workspace.project import open_project
from tests.support.shell import Shell, environment

WORKER = Path(__file__).with_name("attesting_program.py")


def start(shell: Shell, label: str, count: int) -> subprocess.Popen[str]:
    """Start a worker that attests in this shell's repository."""
    command = [sys.executable, str(WORKER), str(shell.cwd), label, str(count)]
    return subprocess.Popen(
        command,
        env=environment(shell.home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(workers: list[subprocess.Popen[str]]) -> list[str]:
    """Wait for all and return the ids that they acknowledged."""
    said = [worker.communicate() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * len(workers), [err for _, err in said]
    return [name for out, _ in said for name in out.split()]


def stored(shell: Shell) -> dict[AttestationId, bytes]:
    """Return every bundle of the store by attestation id."""
    found = {}
    for raw in open_project(shell.cwd).store.all():
        name = Bundle.parse(raw).attestation_id
        assert name not in found, "one statement is stored twice"
        found[name] = raw
    return found


def verify_all(shell: Shell, bundles: list[bytes]) -> set[int]:
    """Verify each bundle, its log entry included; return the places in the log."""
    trust = Trust.parse(shell.must("gitchain", "local", "trust"))
    return {verify_bundle(raw, trust).log.index for raw in bundles}


def fsck(shell: Shell) -> None:
    """Fail unless git finds every object of the repository in order."""
    shell.must("git", "fsck", "--full", "--strict")
