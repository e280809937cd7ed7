"""Hook queue: events recorded by the Git hooks, one per line, until the drainer signs them.

v1 post-commit <oid>
v1 tag refs/tags/v1.0 <oid>

Hooks are POSIX shell: they append a line (well below PIPE_BUF) to `<common>/gitchain/queue` without a lock. The
drainer renames the file before it reads it, so that later lines go to a new file: `queue.<token>.0.work`. After the
events are handled, the number in that name is set to the bytes read. The file is deleted later, because a hook may
have opened it before the renaming and write after the reading: the next drainer finds such a line after the bytes
read. If a drainer dies, the number is unchanged, and the next one reads its events again. So events may be read
twice. They are hints: `gitchain sync` checks the refs themselves.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gitchain.errors import MalformedError, StoreError, os_errors_as, reason
from gitchain.platform.files import make_private, take_lock
from gitchain.store.files import open_plain
from gitchain.store.trees import StoreProblem

QUEUE_NAME = "queue"
MAX_QUEUE_BYTES = 16 << 20  # 100,000 events; the rest is reported, and found by `gitchain sync`
GRACE_SECONDS = (
    60.0  # seconds between a hook's opening of the queue and its write: two consecutive system calls
)
MAX_LINE_BYTES = 4096  # PIPE_BUF on Linux: a shell appends this much atomically
_WORK = re.compile(r"queue\.[0-9]+-[0-9a-f]+\.([0-9]{1,15})\.work")
_LINE = re.compile(r"v1 ([a-z][a-z0-9-]{0,31})((?: [^\s\x00-\x1f\x7f]+){0,8})")


@dataclass(frozen=True, slots=True)
class HookEvent:
    """One line of the queue."""

    event: str
    """The hook, such as `post-commit`."""
    args: tuple[str, ...]
    """Object ids and ref names from the hook: hints, not facts."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """The events taken from the queue, in order. Call `done` after handling them."""

    events: tuple[HookEvent, ...]
    problems: tuple[StoreProblem, ...]
    _taken: tuple[_ClaimedFile, ...] = field(repr=False)

    def done(self) -> None:
        """Mark the events as handled, so that the next `take` does not return them again. Raises StoreError."""
        for work in self._taken:
            work.finish()

    def release(self) -> None:
        """Return the events to the queue for the next `take`."""
        for work in self._taken:
            work.close()


class HookQueue:
    """The queue in one directory."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self._clock = clock

    def __len__(self) -> int:
        """Return the number of unread bytes."""
        total = 0
        for path, read in ((self.directory / QUEUE_NAME, 0), *self._work_files()):
            with suppress(FileNotFoundError):
                total += max(0, path.lstat().st_size - read)
        return total

    def take(self) -> EventBatch:
        """Take all events that no live drainer holds. Malformed lines become problems. Raises StoreError."""
        make_private(self.directory)
        self._set_aside()
        taken: list[_ClaimedFile] = []
        events: list[HookEvent] = []
        problems: list[StoreProblem] = []
        for path, read in self._work_files():
            try:
                work = _ClaimedFile.claim(path, read)
            except MalformedError as error:
                if path.is_symlink() or path.exists():  # else another drainer has just finished it
                    problems.append(StoreProblem(str(path), str(error)))
                continue
            if work is None:
                continue
            if work.is_spent(self._clock()):
                work.delete()
                continue
            taken.append(work)
            for found in work.read():
                if isinstance(found, HookEvent):
                    events.append(found)
                else:
                    problems.append(found)
        return EventBatch(tuple(events), tuple(problems), tuple(taken))

    def _set_aside(self) -> None:
        work = self.directory / f"{QUEUE_NAME}.{os.getpid()}-{secrets.token_hex(8)}.0.work"
        try:
            (self.directory / QUEUE_NAME).rename(work)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError("cannot take the hook queue", where=str(work), got=reason(error)) from error

    def _work_files(self) -> list[tuple[Path, int]]:
        found = []
        for path in self.directory.glob(f"{QUEUE_NAME}.*.work"):
            match = _WORK.fullmatch(path.name)
            if match is not None:
                with suppress(FileNotFoundError):
                    found.append((path.lstat().st_mtime_ns, path, int(match[1])))
        return [(path, read) for _, path, read in sorted(found)]


class _ClaimedFile:
    """One renamed file, locked while its drainer is alive."""

    def __init__(self, path: Path, descriptor: int, read: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._read = read
        self._size = os.fstat(descriptor).st_size

    @classmethod
    def claim(cls, path: Path, read: int) -> _ClaimedFile | None:
        """Return the file, or None if a live drainer holds it.

        Raises MalformedError if it is no regular file, StoreError.
        """
        descriptor = open_plain(path)
        claimed = False
        try:
            with os_errors_as(StoreError, "the file system has no locks", path):
                claimed = take_lock(descriptor) and _is_still(path, descriptor)
        finally:
            if not claimed:
                os.close(descriptor)
        return cls(path, descriptor, read) if claimed else None

    def is_spent(self, now: float) -> bool:
        """Return True if everything was read, so long ago that no hook can still write to it."""
        return self._size <= self._read and abs(now - os.fstat(self._descriptor).st_mtime) > GRACE_SECONDS

    def read(self) -> Iterator[HookEvent | StoreProblem]:
        """Yield the unread events, and a problem for each malformed line."""
        data = os.pread(self._descriptor, MAX_QUEUE_BYTES, self._read)
        if self._size > self._read + len(data):
            yield StoreProblem(str(self._path), f"queue is cut after {MAX_QUEUE_BYTES} bytes")
        else:
            self._size = self._read + len(data)
        for number, line in enumerate(data.split(b"\n")[:-1], 1):
            bad = StoreProblem(f"{self._path}:{number}", f"not a line of the hook queue: {line[:80]!r}")
            yield _parse(line) or bad
        if data and not data.endswith(b"\n"):
            yield StoreProblem(str(self._path), "last line is cut short")

    def finish(self) -> None:
        """Record the bytes read. Raises StoreError."""
        label = self._path.name.rsplit(".", 2)[0]
        try:
            if self._size > self._read:
                self._path.rename(self._path.with_name(f"{label}.{self._size}.work"))
        except OSError as error:
            raise StoreError(
                "cannot clear the hook queue", where=str(self._path), got=reason(error)
            ) from error
        finally:
            self.close()

    def delete(self) -> None:
        """Delete the file. Raises StoreError."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                "cannot clear the hook queue", where=str(self._path), got=reason(error)
            ) from error
        finally:
            self.close()

    def close(self) -> None:
        """Release the file for other drainers."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _is_still(path: Path, descriptor: int) -> bool:
    """Return True if the path still refers to the open file: another drainer may have renamed it."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _parse(line: bytes) -> HookEvent | None:
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        match = _LINE.fullmatch(line.decode("utf-8"))
    except UnicodeDecodeError:
        return None
    return None if match is None else HookEvent(match[1], tuple(match[2].split(" ")[1:]))
