"""Turn-taking between the writers of one store on one machine.

Correctness rests on compare-and-swap of the ref alone; this lock makes losing the race rare, and it makes a
ref lock recognisable that a killed writer left behind. libgit2 and git lock a ref by creating `<ref>.lock`;
whoever dies by SIGKILL in between leaves that file, and every later write fails. So a writer notes in this
lock's file which object it is about to point the ref to. If the next holder finds such a note, its author
died without clearing it; a `.lock` that is empty or holds that very object id is then the dead writer's, and
is removed. Any other `.lock` belongs to another git process and is left alone.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gitchain.errors import StoreError
from gitchain.store.objects import Oid

PATIENCE = 30.0  # seconds to wait for one's turn; then go ahead: compare-and-swap still holds
NOTE_BYTES = 100  # room for the longest object id; blank when there is no note
_LONGEST_PAUSE = 0.1


def pause(attempt: int, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait a random time that grows with the attempts, so that writers do not stay in step."""
    longest = min(0.002 * 2 ** min(attempt, 10), _LONGEST_PAUSE)
    sleep(random.uniform(0, longest))  # noqa: S311 - jitter, no secret


class WriterLock:
    """The lock file `<common>/gitchain/store.lock`."""

    def __init__(self, path: Path, ref_lock: Path) -> None:
        self._path = path
        self._ref_lock = ref_lock
        self._descriptor = -1
        self._held = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the lock for a block, or go ahead without it after PATIENCE or where locks do not work."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            remedy = "make the repository writable for this user"
            raise StoreError(
                "cannot open the store's lock", where=str(self._path), got=str(error), help=remedy
            ) from error
        try:
            self._held = self._wait()
            if self._held:
                self._clear_stale()
            yield
        finally:
            self._held = False
            os.close(self._descriptor)

    def _wait(self) -> bool:
        end = time.monotonic() + PATIENCE
        attempt = 0
        while time.monotonic() < end:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pause(attempt)
                attempt += 1
            except OSError:  # a file system without locks
                return False
            else:
                return True
        return False

    def _clear_stale(self) -> None:
        noted = os.pread(self._descriptor, NOTE_BYTES, 0).strip()
        if not noted:
            return
        try:
            held = self._ref_lock.read_bytes().strip()
        except FileNotFoundError:
            held = None
        if held is not None and held in {b"", noted}:
            self._ref_lock.unlink(missing_ok=True)
        self._note(b"")

    @contextmanager
    def about_to_point_to(self, oid: Oid) -> Iterator[None]:
        """Note for the time of a block which object the ref is about to point to."""
        if not self._held:  # the note belongs to whoever holds the lock
            yield
            return
        self._note(oid.encode("ascii") + b"\n")
        try:
            yield
        finally:
            self._note(b"")

    def _note(self, data: bytes) -> None:
        """Write in place: a file that keeps its length is flushed without a commit of the journal."""
        try:
            os.pwrite(self._descriptor, data.ljust(NOTE_BYTES), 0)
            if data:
                os.fdatasync(self._descriptor)
        except OSError as error:
            raise StoreError(
                "cannot write the store's lock", where=str(self._path), got=str(error)
            ) from error
