"""Find and run programs: by absolute path, with a deadline, bounded output, and termination of all children.

All programs that gitchain needs are started here, except the user's own command (`gitchain.collect.subprocess_tee`).
`gitchain guard` and the DVC shim replace themselves by a program. `tests/platform/test_processes.py` checks that no
other code starts a process.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gitchain.errors import LimitError, TransportError

MAX_OUTPUT = 64 << 20
_MAX_STDERR = 64 << 10  # shown to a person: the end is kept
_CHUNK = 1 << 16


def repository_around(directory: Path) -> Path:
    """Return the closest directory at or above `directory` with a `.git`, links resolved; else `directory` itself."""
    start = Path(os.path.realpath(directory))
    return next((folder for folder in (start, *start.parents) if os.path.lexists(folder / ".git")), start)


def _repositories(directory: Path) -> tuple[str, ...]:
    """Return the repository around `directory`, and the one around the working directory, if any, ending in `/`.

    A program that is run elsewhere, like git in a mirror, must not come from the verified repository.
    """
    try:
        here = repository_around(Path.cwd())
    except OSError:  # the working directory was deleted
        found = [repository_around(directory)]
    else:
        found = [repository_around(directory), *([here] if os.path.lexists(here / ".git") else [])]
    return tuple(f"{str(folder).rstrip('/')}/" for folder in found)


def _is_inside(path: str, places: Sequence[str]) -> bool:
    """Return whether a normalised path, or the target of its links, is one of the places or below one."""
    ways = (f"{path}/", f"{os.path.realpath(path)}/")
    return any(way.startswith(place) for way in ways for place in places)


def search_path(directory: Path) -> tuple[str, ...]:
    """Return the absolute elements of PATH outside of the repositories around `directory` and the working directory."""
    inside = _repositories(directory)
    elements = os.environ.get("PATH", os.defpath).split(os.pathsep)
    folders = [os.path.normpath(element) for element in elements if element.startswith("/")]
    return tuple(folder for folder in folders if not _is_inside(folder, inside))


def find_program(name: str, directory: Path) -> str | None:
    """Return the absolute path of a program on `search_path`, or None."""
    inside = _repositories(directory)
    for folder in search_path(directory):
        found = Path(folder, name)
        foreign = not _is_inside(str(found), inside)
        if foreign and found.is_file() and os.access(found, os.X_OK):
            return str(found)
    return None


@contextmanager
def safe_path(directory: Path) -> Iterator[None]:
    """Set PATH to `search_path` for libraries that search for programs, such as DVC and `webbrowser`."""
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
class ProgramOutput:
    """Exit code (negative for a signal), stdout, and the end of stderr of a finished program."""

    code: int
    stdout: bytes
    stderr: str


class RunningProgram:
    """A running program whose pipes are read by a thread, so that several can run at once. Call `finish`.

    `sink` receives the output in chunks, in a thread and without a limit; `Output.stdout` is then empty. `memory`
    limits the data of the program and each of its children in bytes, on Linux.
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
        memory: int | None = None,
    ) -> None:
        """Start the program. Raises OSError."""
        self._name = " ".join([Path(argv[0]).name, *argv[1:2]])
        self._limit, self._seconds, self._sink = limit, seconds, sink
        self._end = time.monotonic() + seconds
        self._parts: list[bytes] = []
        self._size = 0
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
        if memory is not None:
            _bound_memory(self._process.pid, memory)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if self._process.stdin is not None:
            threading.Thread(target=_feed, args=(self._process.stdin, stdin), daemon=True).start()

    def finish(self) -> ProgramOutput:
        """Wait for the program and its output, and return them.

        Raises TransportError after the deadline and LimitError beyond the output limit, after killing the program.
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
        return ProgramOutput(code, b"".join(self._parts), self._talk.decode("utf-8", "replace"))

    def _wait(self) -> int:
        late = TransportError(
            "program did not answer in time", where=self._name, got=f"{self._seconds:g} s", help="try again"
        )
        self._reader.join(self._left())  # first: it blocks, while waiting for a process polls
        if self._reader.is_alive():  # a child may keep the pipes open
            raise late
        try:
            return self._process.wait(self._left())
        except subprocess.TimeoutExpired as error:
            raise late from error

    def _left(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def _read(self) -> None:
        """Read both pipes until their last writer closes them, or the output is too long."""
        pipes = ((self._process.stdout, self._take_output), (self._process.stderr, self._take_errors))
        with selectors.PollSelector() as ready, ExitStack() as closing:
            for pipe, take in pipes:
                if pipe is not None:  # both are pipes: for the type checker
                    ready.register(closing.enter_context(pipe), selectors.EVENT_READ, take)
            while ready.get_map():
                for key, _ in ready.select():
                    chunk = os.read(key.fd, _CHUNK)
                    if not chunk or not key.data(chunk):
                        ready.unregister(key.fileobj)

    def _take_output(self, chunk: bytes) -> bool:
        """Pass a chunk on; kill the program and return False beyond the limit."""
        self._size += len(chunk)
        if self._sink is None and self._size > self._limit:
            self._is_over = True
            _kill(self._process)
            return False
        (self._sink or self._parts.append)(chunk)
        return True

    def _take_errors(self, chunk: bytes) -> bool:
        self._talk = (self._talk + chunk)[-_MAX_STDERR:]
        return True


def run(
    argv: Sequence[str],
    *,
    cwd: Path | str,
    env: Mapping[str, str],
    stdin: bytes = b"",
    seconds: float,
    limit: int = MAX_OUTPUT,
) -> ProgramOutput:
    """Run a program to its end. Raises the errors of `RunningProgram` and `Job.finish`."""
    return RunningProgram(argv, cwd=cwd, env=env, stdin=stdin, seconds=seconds, limit=limit).finish()


def start_conversation(
    argv: Sequence[str], *, cwd: Path | str, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start an interactive program with unbuffered pipes, without stderr; end it with `end_process`.

    Raises OSError if it cannot be started. The caller limits the size and time of reads.
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
    """Kill a running program with its children, wait for it, and close its input."""
    _kill(process)
    process.wait()
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _bound_memory(pid: int, size: int) -> None:
    """Limit the data of a program that has just started; mapped files do not count."""
    if sys.platform == "linux":
        import resource

        with suppress(OSError):  # it has ended, or has a lower limit already
            resource.prlimit(pid, resource.RLIMIT_DATA, (size, size))


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with suppress(OSError):  # the program ended first: its exit code shows why
        pipe.write(data)
        pipe.close()
