"""Signals: no evidence of what was cut short, nothing lost of what was stated, no child and no traceback left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import PreparedRepository, git, intact

Gitchain = Callable[..., Any]


@contextmanager
def started(
    world: PreparedRepository, *args: str, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "gitchain", *args]
    child = subprocess.Popen(
        command,
        cwd=world.repo,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # noqa: PLW1509 - nohup hands it on
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_command_runs(world: PreparedRepository, number: signal.Signals) -> None:
    """Ctrl-C or a termination reaches the command; no evidence is made of it, and no child is left behind."""
    stored = world.stored()
    body = "echo $$ > pid; touch started; exec sleep 60"
    with started(world, "run", "x", "-p", "made", "--", "sh", "-c", body) as child:
        wait_for(world.repo / "started")
        if number == signal.SIGINT:
            os.killpg(child.pid, number)
        else:
            child.send_signal(number)
        _, err = child.communicate(timeout=30)
    assert child.returncode == 128 + number, err
    assert "Traceback" not in err.replace("KeyboardInterrupt", "") or number == signal.SIGINT
    assert "error: " not in err
    with pytest.raises(ProcessLookupError):
        os.kill(int((world.repo / "pid").read_text()), 0)
    assert world.waiting() == set()
    assert world.stored() == stored
    intact(world, stored)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["attest x -p model.bin", "sync"])
def test_a_signal_while_we_wait(
    gitchain: Gitchain, world: PreparedRepository, command: str, number: signal.Signals
) -> None:
    """A signal while another process holds the lock: no traceback, no lock or temporary file left, then all goes on."""
    import fcntl

    stored = world.stored()
    remote = world.repo.parent / "remote.git"
    git(world.repo.parent, "init", "-q", "--bare", str(remote))
    world.git("remote", "add", "origin", str(remote))
    with (world.repo / ".git/gitchain/store.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with started(world, *command.split()) as child:
            deadline = time.monotonic() + 3
            while not world.waiting() and time.monotonic() < deadline:
                time.sleep(0.02)
            child.send_signal(number)
            _, err = child.communicate(timeout=30)
    # Python itself ends by the signal where Ctrl-C came inside of an import
    assert child.returncode in {128 + number, 0} | ({-number} if number == signal.SIGINT else set()), err
    assert "Traceback" not in err, err
    assert gitchain("sync", cwd=world.repo).code == 0
    assert world.waiting() == set()
    intact(world, stored)


def test_interrupted_while_loading(world: PreparedRepository) -> None:
    """Ctrl-C at any moment of the start, imports included: one word, no traceback, nothing lost."""
    stored = world.stored()
    for delay in (0.1, 0.2, 0.3, 0.5, 0.7, 0.9):
        with started(world, "attest", "x", "-p", "model.bin") as child:
            time.sleep(delay)
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=30)
        if "/gitchain/" in err or "Traceback" not in err:  # else Python itself had not begun
            assert child.returncode in {ExitCode.INTERRUPTED, -signal.SIGINT, 0}, err
            assert "Traceback" not in err, err
    intact(world, stored)


def test_a_termination_that_python_drops_is_told_again() -> None:
    """An exception that a signal raises inside a finaliser is lost: the process must end all the same."""
    code = (
        "import os, signal, time\n"
        "import gitchain.__main__ as m\n"
        "m.TOLD_AGAIN = 1\n"
        "m._end_orderly()\n"
        "class Dropped:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(0.1)\n"
        "Dropped()\n"
        "time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 128 + signal.SIGTERM


def test_an_interrupt_that_a_library_swallows_is_still_one() -> None:
    """A serialiser that turns Ctrl-C into an error of its own does not turn exit 130 into another code."""
    code = (
        "import os, signal, sys\n"
        "import gitchain.__main__ as m, gitchain.cli.main as cli\n"
        "def swallow(_argv):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        return 9\n"
        "cli.run = swallow\n"
        "sys.argv = ['gitchain', 'sync']\n"
        "m.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == ExitCode.INTERRUPTED
