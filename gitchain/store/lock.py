"""Lock between the writers of one store on one machine.

Correctness depends on compare-and-swap of the ref alone. This lock makes lost races rare, and identifies ref locks of
killed writers: libgit2 and git lock a ref by creating `<ref>.lock`, and a writer that is killed meanwhile leaves that
file, which blocks all later writes. So a writer records the new object id of the ref in this lock's file. If the next
holder finds such a record, its writer died: a `.lock` that is empty or contains that object id is then deleted. Any
other `.lock` belongs to another git process and is kept.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gitchain.errors import StoreError, reason
from gitchain.platform.files import read_regular
from gitchain.store.objects import Oid

PATIENCE = (
    30.0  # seconds to wait for the lock; then continue without it: compare-and-swap still protects the ref
)
MAX_POINTER = 64 << 10
NOTE_BYTES = 100  # length of the longest object id; blank without a record
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
        """Hold the lock for a block. Continue without it after PATIENCE, or on a file system without locks."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            remedy = "make the repository writable for this user"
            raise StoreError(
                "cannot open the store's lock", where=str(self._path), got=reason(error), help=remedy
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
            held = read_regular(self._ref_lock, MAX_POINTER).strip()
        except FileNotFoundError:
            held = None
        if held is not None and held in {b"", noted}:
            self._ref_lock.unlink(missing_ok=True)
        self._note(b"")

    @contextmanager
    def about_to_point_to(self, oid: Oid) -> Iterator[None]:
        """Record the new object id of the ref during a block."""
        if not self._held:  # only the holder of the lock may write the record
            yield
            return
        self._note(oid.encode("ascii") + b"\n")
        try:
            yield
        finally:
            self._note(b"")

    def _note(self, data: bytes) -> None:
        """Write in place: a file of constant length is flushed without a journal commit."""
        try:
            os.pwrite(self._descriptor, data.ljust(NOTE_BYTES), 0)
            if data:
                os.fdatasync(self._descriptor)
        except OSError as error:
            raise StoreError(
                "cannot write the store's lock", where=str(self._path), got=reason(error)
            ) from error
