"""Index of the leaf hashes in the log: a rebuildable SQLite table beside the tiles.

    leaf(hash BLOB PRIMARY KEY, position INTEGER)     covered(size INTEGER)

It is a hint, never evidence: what it finds is checked against the tiles, and what it lost is read from them
again. So it needs no flush of its own, and a broken file is thrown away.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from gitchain.errors import StoreError
from gitchain.instance.directory import FILE_MODE, storing

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS leaf (hash BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS covered (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL);
INSERT OR IGNORE INTO covered VALUES (1, 0);
"""
_SUFFIXES = ("", "-wal", "-shm", "-journal")


class LeafIndex:
    """The index of one log. Every call happens under the log's lock. Raises StoreError when SQLite fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._owner = 0

    def covered(self) -> int:
        """Return how many leaves, from the first on, are in the index."""
        return self._run(lambda db: int(db.execute("SELECT size FROM covered").fetchone()[0]))

    def find(self, leaf: bytes) -> int | None:
        """Return the position at which `leaf` was seen, or None."""
        row = self._run(lambda db: db.execute("SELECT position FROM leaf WHERE hash = ?", (leaf,)).fetchone())
        return None if row is None else int(row[0])

    def extend(self, start: int, leaves: Iterable[bytes]) -> None:
        """Add the leaves from position `start` on; the first position of a hash stays."""
        rows = [(leaf, start + offset) for offset, leaf in enumerate(leaves)]

        def write(db: sqlite3.Connection) -> None:
            with db:
                db.executemany("INSERT OR IGNORE INTO leaf VALUES (?, ?)", rows)
                db.execute("UPDATE covered SET size = ?", (start + len(rows),))

        self._run(write)

    def clear(self) -> None:
        """Delete the index."""
        self.close()
        for suffix in _SUFFIXES:
            with storing(self._path):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    def close(self) -> None:
        """Close the database; the next call opens it again."""
        if self._connection is not None and self._owner == os.getpid():
            self._connection.close()
        self._connection = None

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._open())
        except sqlite3.Error as error:
            self.close()
            raise StoreError(
                "the log's index cannot be used", where=str(self._path), got=str(error)
            ) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._owner != os.getpid():
            with storing(self._path):
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
            connection = sqlite3.connect(self._path, timeout=10, check_same_thread=False)
            connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)
            self._connection, self._owner = connection, os.getpid()
        return self._connection
