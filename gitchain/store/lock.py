"""Lock between the writers of one store on one machine.

Correctness depends on compare-and-swap of the ref alone. This lock makes lost races rare, and identifies ref locks of
killed writers: libgit2 and git lock a ref by creating `<ref>.lock`, and a writer that is killed meanwhile leaves that
file, which blocks all later writes. So a writer records the new object id of the ref in this lock's file. If the next
holder finds such a record, its writer died: a `.lock` that is empty or contains that object id is then deleted. Any
other `.lock` belongs to another git process and is kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gitchain.errors import StoreError, os_errors_as, reason
from gitchain.platform.files import read_regular, take_lock
from gitchain.store.tree_paths import Oid

PATIENCE = (
    30.0  # seconds to wait for the lock; then continue without it: compare-and-swap still protects the ref
)
MAX_POINTER = 64 << 10
NOTE_BYTES = 100  # length of the longest object id; blank without a record


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
            with suppress(OSError):  # a file system without locks
                self._held = take_lock(self._descriptor, PATIENCE)
            if self._held:
                self._clear_stale()
            yield
        finally:
            self._held = False
            os.close(self._descriptor)

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
        with os_errors_as(StoreError, "cannot write the store's lock", self._path):
            os.pwrite(self._descriptor, data.ljust(NOTE_BYTES), 0)
            if data:
                os.fdatasync(self._descriptor)
