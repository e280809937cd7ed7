"""Find and run programs: by an absolute path, with a deadline, a bounded output and an end for all of their children.

Every program that gitchain itself needs is started here. `gitchain.collect.tee` starts the user's own command, and
`gitchain guard` and the DVC shim become one; `tests/platform/test_processes.py` checks that nothing else starts a process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gitchain.errors import LimitError, TransportError

MAX_OUTPUT = 64 << 20
_MAX_STDERR = 64 << 10  # for a human: its end is kept
_CHUNK = 1 << 16


def repository_around(directory: Path) -> Path:
    """Return the closest directory at or above `directory` that holds a `.git`, without links; else `directory` itself."""
    start = Path(os.path.realpath(directory))
    return next((folder for folder in (start, *start.parents) if os.path.lexists(folder / ".git")), start)


def search_path(directory: Path) -> tuple[str, ...]:
    """Return the absolute elements of PATH that do not lie in the repository around `directory`, also by a link."""
    inside = repository_around(directory)
    found = []
    for element in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if not Path(element).is_absolute():
            continue
        folder = os.path.normpath(element)
        if not any(Path(one).is_relative_to(inside) for one in (folder, os.path.realpath(folder))):
            found.append(folder)
    return tuple(found)


def find_program(name: str, directory: Path) -> str | None:
    """Return the absolute path of a program on `search_path`, None if there is none outside of the repository."""
    inside = repository_around(directory)
    for folder in search_path(directory):
        found = Path(folder, name)
        foreign = not Path(os.path.realpath(found)).is_relative_to(inside)
        if foreign and found.is_file() and os.access(found, os.X_OK):
            return str(found)
    return None


@contextmanager
def safe_path(directory: Path) -> Iterator[None]:
    """Set PATH to `search_path` for libraries that look for programs themselves, such as DVC and `webbrowser`."""
    before = os.environ.get("PATH")
    os.environ["PATH"] = os.pathsep.join(search_path(directory))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = before


@dataclass(frozen=True, slots=True)
class Output:
    """The exit code (negative for a signal), the output and the end of the error output of a finished program."""

    code: int
    stdout: bytes
    stderr: str


class Job:
    """A running program whose pipes are served by threads, so that several can run at once. Call `finish`.

    `sink` gets the output piece by piece, in a thread, and without a limit; `Output.stdout` is empty then.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | str,
        env: Mapping[str, str],
        stdin: bytes = b"",
        seconds: float,
        limit: int = MAX_OUTPUT,
        sink: Callable[[bytes], object] | None = None,
    ) -> None:
        """Start the program; OSError if that fails."""
        self._name = " ".join([Path(argv[0]).name, *argv[1:2]])
        self._limit, self._seconds, self._sink = limit, seconds, sink
        self._end = time.monotonic() + seconds
        self._parts: list[bytes] = []
        self._talk = b""
        self._is_over = False
        self._process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        chores = [(self._read_output, (self._process.stdout,)), (self._read_errors, (self._process.stderr,))]
        self._threads = [threading.Thread(target=chore, args=given, daemon=True) for chore, given in chores]
        for thread in self._threads:
            thread.start()
        if self._process.stdin is not None:
            threading.Thread(target=_feed, args=(self._process.stdin, stdin), daemon=True).start()

    def finish(self) -> Output:
        """Wait for the end of the program and of its output.

        TransportError when its time is over, LimitError for an output beyond the limit: it is killed then.
        """
        try:
            code = self._wait()
        finally:
            end_process(self._process)
        if self._is_over:
            raise LimitError(
                "program printed more than expected",
                where=self._name,
                expected=f"at most {self._limit} bytes",
            )
        return Output(code, b"".join(self._parts), self._talk.decode("utf-8", "replace"))

    def _wait(self) -> int:
        late = TransportError(
            "program did not answer in time", where=self._name, got=f"{self._seconds:g} s", help="try again"
        )
        try:
            code = self._process.wait(self._left())
        except subprocess.TimeoutExpired as error:
            raise late from error
        for thread in self._threads:  # a child of it may hold the pipes open
            thread.join(self._left())
            if thread.is_alive():
                raise late
        return code

    def _left(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def _read_output(self, pipe: IO[bytes]) -> None:
        take, size = self._sink or self._parts.append, 0
        with pipe:
            while chunk := pipe.read1(_CHUNK):  # type: ignore[attr-defined]
                size += len(chunk)
                if self._sink is None and size > self._limit:
                    self._is_over = True
                    _kill(self._process)
                    return
                take(chunk)

    def _read_errors(self, pipe: IO[bytes]) -> None:
        with pipe:
            while chunk := pipe.read1(_CHUNK):  # type: ignore[attr-defined]
                self._talk = (self._talk + chunk)[-_MAX_STDERR:]


def run(
    argv: Sequence[str],
    *,
    cwd: Path | str,
    env: Mapping[str, str],
    stdin: bytes = b"",
    seconds: float,
    limit: int = MAX_OUTPUT,
) -> Output:
    """Run a program to its end; raises as `Job` and `Job.finish`."""
    return Job(argv, cwd=cwd, env=env, stdin=stdin, seconds=seconds, limit=limit).finish()


def start_conversation(
    argv: Sequence[str], *, cwd: Path | str, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a program that is asked through its pipes, unbuffered error output dropped; end it with `end_process`.

    OSError if it cannot be started. The caller bounds what it reads and for how long.
    """
    return subprocess.Popen(
        list(argv),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Kill a program that still runs with its children, reap it and close its input."""
    _kill(process)
    process.wait()
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with suppress(OSError):  # the program ended first: its exit code says why
        pipe.write(data)
        pipe.close()
