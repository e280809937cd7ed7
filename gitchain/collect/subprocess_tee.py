"""Run a command, pass its output through unchanged, and hash it.

Both outputs are pipes, read together, so neither can block the other. A command that checks for a terminal finds
none. It inherits standard input. If the reader of gitchain's output closes it, the command's pipe is closed too, as it
would be without gitchain. A background process that keeps an output open delays the end by at most GRACE after the
command has ended.

SIGINT from the terminal reaches the command directly, and gitchain only waits. SIGTERM, SIGHUP and SIGQUIT are
passed on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import IO

from gitchain.collect.interpreter_facts import SeenInterpreter
from gitchain.collect.interpreters import InterpreterWatch
from gitchain.errors import RunError
from gitchain.evidence.digest import Sha256

GRACE = 1.0
"""Seconds of silence after the command's end before outputs that others still hold open are closed."""

_CHUNK = 64 * 1024
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """Result of a command. A command killed by signal n has exit code 128 + n, as in shells.

    `interpreters` are the Python interpreters seen in it, or None if processes cannot be watched.
    """

    exit_code: int
    stdout_sha256: Sha256
    stderr_sha256: Sha256
    started: datetime
    finished: datetime
    interpreters: tuple[SeenInterpreter, ...] | None = None


def run_tee(
    command: Sequence[str],
    *,
    cwd: str | os.PathLike[str] | None = None,
    stdout: int = 1,
    stderr: int = 2,
) -> CommandResult:
    """Run the command to its end, writing its outputs to these descriptors.

    Raises RunError if it cannot start.
    """
    started = datetime.now(UTC)
    with _signals() as told, InterpreterWatch() as watch:
        variables = watch.variables(os.environ)
        child = told.of(_start(command, cwd, variables, subprocess.PIPE, subprocess.PIPE))
        watch.follow(child.pid)
        out, err = _pass_through(child, stdout, stderr)
        code = child.wait()
    return CommandResult(128 - code if code < 0 else code, out, err, started, datetime.now(UTC), watch.found)


def run_plain(
    command: Sequence[str], *, cwd: str | os.PathLike[str], env: Mapping[str, str], stdout: int = 1
) -> tuple[int, datetime, datetime]:
    """Run the command on our own outputs, unhashed; return (exit code, start, end).

    Raises RunError if it cannot start.
    """
    started = datetime.now(UTC)
    with _signals() as told:
        child = told.of(_start(command, cwd, env, stdout, None))
        code = child.wait()
    return (128 - code if code < 0 else code), started, datetime.now(UTC)


def _start(
    command: Sequence[str],
    cwd: str | os.PathLike[str] | None,
    env: Mapping[str, str],
    stdout: int,
    stderr: int | None,
) -> subprocess.Popen[bytes]:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    try:
        return subprocess.Popen(list(command), cwd=cwd, env=env, stdout=stdout, stderr=stderr, bufsize=0)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise RunError(
            "command cannot be started",
            where=command[0],
            got=reason,
            help="check the name of the program and PATH",
        ) from error
    except ValueError as error:  # a NUL in an argument
        raise RunError(
            "command cannot be started", got=str(error), help="check the name of the program and PATH"
        ) from error


class _SignalForwarder:
    """Forwards signals to the command; those that arrive before its start wait for it."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def of(self, child: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        self._child = child
        for number in self._early:
            self.pass_on(number, None)
        self._early.clear()
        return child

    def pass_on(self, number: int, _frame: FrameType | None) -> None:
        if self._child is None:
            self._early.append(number)
            return
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(number)

    def wait(self, number: int, _frame: FrameType | None) -> None:
        """Let the command handle Ctrl-C: the terminal has sent it to the command as well."""
        if self._child is None:
            self._early.append(number)

    def give_back(self) -> None:
        """Send the signals that no command received to this process."""
        for number in self._early:
            signal.raise_signal(number)


@contextlib.contextmanager
def _signals() -> Iterator[_SignalForwarder]:
    """Pass signals on to the command from before it starts until it has ended, where we are in the main thread and may."""
    told = _SignalForwarder()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before: dict[signal.Signals, object] = {signal.SIGINT: signal.signal(signal.SIGINT, told.wait)}
    for number in _PASSED_ON:
        before[number] = signal.signal(number, told.pass_on)
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what signal() itself returned
        told.give_back()


class _OutputCopier:
    """One output: hashes the bytes, and stops passing them on after the reader is gone."""

    def __init__(self, source: IO[bytes], target: int) -> None:
        self.source = source
        self._target = target
        self._digest = hashlib.sha256()

    def move(self) -> bool:
        """Pass one chunk on; return False at the end."""
        data = os.read(self.source.fileno(), _CHUNK)
        self._digest.update(data)
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._target, left) :]
            except BlockingIOError:
                with selectors.DefaultSelector() as ready:
                    ready.register(self._target, selectors.EVENT_WRITE)
                    ready.select()
            except OSError:  # the reader is gone: so is the command's
                return False
        return bool(data)

    def hexdigest(self) -> Sha256:
        return Sha256(self._digest.hexdigest())


def _pass_through(child: subprocess.Popen[bytes], stdout: int, stderr: int) -> tuple[Sha256, Sha256]:
    if child.stdout is None or child.stderr is None:
        raise RunError("command has no outputs")
    sinks = (_OutputCopier(child.stdout, stdout), _OutputCopier(child.stderr, stderr))
    woken, waker = os.pipe()
    watcher = threading.Thread(target=_watch, args=(child, waker), daemon=True)
    with selectors.DefaultSelector() as selector:
        for sink in sinks:
            selector.register(sink.source, selectors.EVENT_READ, sink)
        selector.register(woken, selectors.EVENT_READ)
        watcher.start()
        _drain(selector, woken)
    watcher.join()
    os.close(woken)
    for sink in sinks:
        sink.source.close()
    return sinks[0].hexdigest(), sinks[1].hexdigest()


def _drain(selector: selectors.BaseSelector, woken: int) -> None:
    ended = False
    while len(selector.get_map()) > (0 if ended else 1):
        events = selector.select(GRACE if ended else None)
        if not events and ended:
            return
        for key, _ in events:
            if key.fd == woken:
                ended = True
                selector.unregister(woken)
            elif isinstance(key.data, _OutputCopier) and not key.data.move():
                selector.unregister(key.fileobj)
                key.data.source.close()


def _watch(child: subprocess.Popen[bytes], waker: int) -> None:
    """Wait for the command itself: its outputs may end earlier or later than it."""
    child.wait()
    os.close(waker)
