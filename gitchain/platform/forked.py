"""Compute in a forked copy of this process, which returns JSON through a pipe.

The copy reads the memory of this process as it was, so nothing has to be sent there. It starts no program, ends by itself,
and gets no answer if this process is killed. A copy that ends without a result costs only time: the call is repeated here.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")


def can_fork() -> bool:
    """Return True if this process has no other thread, whose locks a copy would keep, and more than one processor."""
    return threading.active_count() == 1 and len(os.sched_getaffinity(0)) > 1


class ForkedCall(Generic[T]):
    """A call in a forked process. Its result is JSON: lists, not tuples. `result` or `stop` must be called once."""

    def __init__(self, call: Callable[[], T]) -> None:
        """Start the call; without room for another process, `result` does it."""
        self._call = call
        self._pid = 0
        try:
            self._reader, writer = os.pipe()
        except OSError:
            return
        try:
            self._pid = os.fork()
        except OSError:
            os.close(self._reader)
        else:
            if self._pid == 0:
                os.close(
                    self._reader
                )  # else a copy without a parent would wait for ever for room in its pipe
                _run(call, writer)
        os.close(writer)

    def result(self) -> T:
        """Wait for the call and return its result. Raises what the call raises, in this process."""
        if self._pid == 0:
            return self._call()
        reader, self._reader = self._reader, -1
        with os.fdopen(reader, "rb") as pipe:
            data = pipe.read()
        if self._wait() != 0:
            return self._call()
        found: T = json.loads(data)
        return found

    def stop(self) -> None:
        """End the process of a call whose result is not wanted any more."""
        if self._pid:
            if self._reader >= 0:  # else an interrupted `result` has closed it
                os.close(self._reader)
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._wait()

    def _wait(self) -> int:
        """Wait for the process and return its status; not 0 if another waited for it, as the kernel does without SIGCHLD."""
        pid, self._pid = self._pid, 0
        try:
            return os.waitpid(pid, 0)[1]
        except ChildProcessError:
            return -1


def _run(call: Callable[[], object], writer: int) -> NoReturn:
    """Write the result of a call and end: without the finalizers of this process, which end programs that it started."""
    code = 1
    with suppress(BaseException):
        gc.disable()
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(call()).encode("ascii"))
        code = 0
    os._exit(code)
