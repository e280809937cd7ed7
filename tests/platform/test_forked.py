"""Calls in a forked process: the same result as here, whatever happens to that process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gitchain.platform.forked import ForkedCall, can_fork
from tests.support.children import children


def test_result_is_that_of_the_call() -> None:
    """It is computed in another process, and may be larger than a pipe."""
    started = children()
    here = os.getpid()

    def answer(number: int) -> list[Any]:
        return [os.getpid(), "ä" * 200_000, number]

    calls = [ForkedCall(partial(answer, number)) for number in range(3)]
    found = [call.result() for call in calls]
    assert [one[1:] for one in found] == [["ä" * 200_000, number] for number in range(3)]
    assert here not in {one[0] for one in found}
    assert children() == started


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_process_costs_only_time(number: int) -> None:
    """The call is repeated in this process."""
    here = os.getpid()

    def call() -> str:
        if os.getpid() != here:
            os.kill(os.getpid(), number)
        return "done here"

    assert ForkedCall(call).result() == "done here"


def test_error_is_raised_here() -> None:
    """A call that raises does so in the process that wants its result."""

    def call() -> str:
        message = f"raised by {os.getpid()}"
        raise ValueError(message)

    with pytest.raises(ValueError, match=f"raised by {os.getpid()}"):
        ForkedCall(call).result()


def test_stopped_call_leaves_nothing() -> None:
    """Its process ends, is waited for, and its pipe is closed."""
    started = children()
    before = len(list(Path("/proc/self/fd").iterdir()))
    ForkedCall(lambda: time.sleep(600)).stop()
    assert children() == started
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_copy_ends_after_its_parent(tmp_path: Path) -> None:
    """With more to say than its pipe holds, and nobody who reads it."""
    script = f"""
import os, signal, time
from pathlib import Path
from gitchain.platform.forked import ForkedCall
call = ForkedCall(lambda: (time.sleep(0.5), "x" * 1_000_000))
Path({str(tmp_path / "pid")!r}).write_text(str(call._pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    process = Path("/proc", (tmp_path / "pid").read_text())
    limit = time.monotonic() + 30
    while process.exists() and "Z (zombie)" not in (process / "status").read_text():
        assert time.monotonic() < limit, "the copy is still there"
        time.sleep(0.05)


def test_result_without_a_status_is_computed_here() -> None:
    """With SIGCHLD ignored the kernel forgets how the process ended."""
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert ForkedCall(os.getpid).result() == os.getpid()
        ForkedCall(lambda: time.sleep(600)).stop()
    finally:
        signal.signal(signal.SIGCHLD, old)


def test_interrupted_result_is_stopped() -> None:
    """An exception while the result is read leaves the process to `stop`, and closes nothing of others."""
    started = children()
    call = ForkedCall(lambda: time.sleep(600))

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            call.result()
    finally:
        signal.signal(signal.SIGALRM, old)
    with Path(os.devnull).open() as other:
        call.stop()
        assert os.fstat(other.fileno())
    assert children() == started


@pytest.mark.parametrize("name", ["fork", "pipe"])
def test_without_room_for_a_process_it_runs_here(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """No process, or no file descriptor, is left: nothing is leaked."""
    before = len(list(Path("/proc/self/fd").iterdir()))

    def refuse() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, name, refuse)
    assert ForkedCall(os.getpid).result() == os.getpid()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_process_with_threads_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that another thread holds would stay held in the copy."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    assert can_fork()
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert not can_fork()
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    assert not can_fork()
