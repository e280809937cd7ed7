"""The hook queue: what the Git hooks saw, one line an event, until the drainer signs it.

    v1 post-commit <oid>
    v1 tag refs/tags/v1.0 <oid>

Hooks are POSIX shell: they append a line (well below PIPE_BUF) to `<common>/gitchain/queue` and take no
lock. The drainer renames the file before it reads it, so that lines appended meanwhile go to a new one; it
deletes the renamed file only when the events are dealt with. A drainer that dies leaves its `queue.*.work`
behind, and the next one picks it up. Events may therefore come twice, and they are hints: `gitchain sync`
looks at the refs themselves.

A hook that opened the file before the renaming and writes after the reading is noticed by the file's
length: the file then stays for the next drainer.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gitchain.errors import StoreError
from gitchain.store.files import make_private
from gitchain.store.trees import Problem

QUEUE_NAME = "queue"
MAX_QUEUE_BYTES = 16 << 20  # 100,000 events; what is beyond is reported, and found by `gitchain sync`
MAX_LINE_BYTES = 4096  # PIPE_BUF on Linux: what a shell appends in one piece
_LINE = re.compile(r"v1 ([a-z][a-z0-9-]{0,31})((?: [^\s\x00-\x1f\x7f]+){0,8})")


@dataclass(frozen=True, slots=True)
class HookEvent:
    """One line of the queue."""

    event: str
    """The hook, such as `post-commit`."""
    args: tuple[str, ...]
    """Object ids and ref names, as the hook gave them: hints, not facts."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The events taken from the queue, in order; call `done` when they are dealt with."""

    events: tuple[HookEvent, ...]
    problems: tuple[Problem, ...]
    _taken: tuple[_Work, ...] = field(repr=False)

    def done(self) -> None:
        """Delete what was read. Without this call, the next `take` returns the events again. StoreError."""
        for work in self._taken:
            work.finish()

    def release(self) -> None:
        """Give the events back to the next `take`."""
        for work in self._taken:
            work.close()


class HookQueue:
    """The queue in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __len__(self) -> int:
        """Return how many bytes wait, in all files: 0 means that there is nothing to take."""
        total = 0
        for path in (self.directory / QUEUE_NAME, *self._work_files()):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def take(self) -> Batch:
        """Take all events that no living drainer has; malformed lines become problems. StoreError."""
        make_private(self.directory)
        self._set_aside()
        taken, events, problems = [], [], []
        for path in self._work_files():
            work = _Work.claim(path)
            if work is None:
                continue
            taken.append(work)
            for found in work.read():
                if isinstance(found, HookEvent):
                    events.append(found)
                else:
                    problems.append(found)
        return Batch(tuple(events), tuple(problems), tuple(taken))

    def _set_aside(self) -> None:
        work = self.directory / f"{QUEUE_NAME}.{os.getpid()}-{secrets.token_hex(8)}.work"
        try:
            (self.directory / QUEUE_NAME).rename(work)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError("cannot take the hook queue", where=str(work), got=str(error)) from error

    def _work_files(self) -> list[Path]:
        found = []
        for path in self.directory.glob(f"{QUEUE_NAME}.*.work"):
            with suppress(FileNotFoundError):
                found.append((path.lstat().st_mtime_ns, path))
        return [path for _, path in sorted(found)]


class _Work:
    """One file set aside, locked for as long as its drainer lives."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._size = 0

    @classmethod
    def claim(cls, path: Path) -> _Work | None:
        """Return the file if it exists and no living drainer has it; StoreError."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError("cannot read the hook queue", where=str(path), got=str(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            raise StoreError("the file system has no locks", where=str(path), got=str(error)) from error
        return cls(path, descriptor)

    def read(self) -> Iterator[HookEvent | Problem]:
        """Yield the file's events, and a problem for each line that is none."""
        data = os.pread(self._descriptor, MAX_QUEUE_BYTES, 0)
        self._size = os.fstat(self._descriptor).st_size
        if self._size > len(data):
            yield Problem(str(self._path), f"queue is cut after {MAX_QUEUE_BYTES} bytes")
        for number, line in enumerate(data.split(b"\n")[:-1], 1):
            yield _parse(line) or Problem(
                f"{self._path}:{number}", f"not a line of the hook queue: {line[:80]!r}"
            )
        if data and not data.endswith(b"\n"):
            yield Problem(str(self._path), "last line is cut short")

    def finish(self) -> None:
        """Delete the file, unless it has grown since it was read."""
        try:
            if os.fstat(self._descriptor).st_size == self._size:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError("cannot clear the hook queue", where=str(self._path), got=str(error)) from error
        finally:
            self.close()

    def close(self) -> None:
        """Let another drainer have the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _parse(line: bytes) -> HookEvent | None:
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        match = _LINE.fullmatch(line.decode("utf-8"))
    except UnicodeDecodeError:
        return None
    return None if match is None else HookEvent(match[1], tuple(match[2].split(" ")[1:]))
