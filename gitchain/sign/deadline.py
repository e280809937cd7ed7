"""Time limit for calls without one of their own.

One daemon thread runs the calls, so that connections are reused. A call that hangs is not stopped: its thread is
abandoned, and the next call gets a new one.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from gitchain.errors import TransportError

T = TypeVar("T")


class CallDeadline:
    """Runs calls one by one, each with a limit in seconds."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] | None = None
        self.timed_out = False
        """Whether the last call exceeded its limit."""

    def run(self, call: Callable[[], T], seconds: float, what: str) -> T:
        """Return the result of `call`, or raise its exception. Raises TransportError after `seconds`."""
        done = threading.Event()
        result: list[T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                result.append(call())
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                errors.append(error)
            finally:
                done.set()

        self.timed_out = False
        self._queue().put(work)
        if not done.wait(seconds):
            self.timed_out = True
            self._calls = None
            raise TransportError(
                f"{what} did not answer", expected=f"an answer within {seconds:g} s", help="try again"
            )
        if errors:
            raise errors[0]
        return result[0]

    def close(self) -> None:
        """End the thread once it is idle."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None

    def _queue(self) -> queue.SimpleQueue[Callable[[], None] | None]:
        if self._calls is None:
            self._calls = queue.SimpleQueue()
            threading.Thread(target=_serve, args=(self._calls,), name="gitchain-sign", daemon=True).start()
        return self._calls


def _serve(calls: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while (call := calls.get()) is not None:
        call()
