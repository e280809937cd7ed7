"""The hash cache: which digests a file had when its size, times and inode were exactly these.

One SQLite table in `<git common dir>/gitchain/state.db`, 0600, WAL. It saves hashing large files again while
signing. It is a hint and never evidence: verification reads the bytes. Change times (ctime) are in the key
because modification times can be set back; a file touched within 10 ms of its hashing is not trusted.

A broken database is made anew and a disk that cannot be written means no cache: neither is an error.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from gitchain.evidence.digest import Sha256

MIN_CACHED_SIZE = 64 * 1024
"""Smaller files are hashed faster than they are looked up."""

RACY_NS = 10_000_000
"""A change within one tick of the file system's clock leaves no trace: 10 ms covers every kernel."""

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS file (
    path TEXT PRIMARY KEY, dev INTEGER, ino INTEGER, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER,
    hashed_ns INTEGER, sha256 TEXT, md5 TEXT) WITHOUT ROWID
"""
_SELECT = (
    "SELECT sha256, md5 FROM file WHERE path = ? AND dev = ? AND ino = ? AND size = ? AND mtime_ns = ? "
    "AND ctime_ns = ? AND max(mtime_ns, ctime_ns) < hashed_ns - ?"
)
_INSERT = "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_HEX = frozenset("0123456789abcdef")


class StateCache:
    """Digests of files by path and stat. Use as a context manager; leaving it writes the new digests."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new: dict[str, tuple[object, ...]] = {}
        self._db = _open(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """Return the path of the database, so that another process can open it too."""
        return self._path

    def get(self, path: str, info: os.stat_result) -> tuple[Sha256, str] | None:
        """Return (sha256, md5) of the file if it has not changed since it was hashed, else None."""
        if self._db is None or info.st_size < MIN_CACHED_SIZE:
            return None
        key = (path, info.st_dev, _signed(info.st_ino), info.st_size, info.st_mtime_ns, info.st_ctime_ns)
        try:
            row = self._db.execute(_SELECT, (*key, RACY_NS)).fetchone()
        except (sqlite3.Error, UnicodeError):
            return None
        if row is None or not _is_hex(row[0], 64) or not _is_hex(row[1], 32):
            return None
        return Sha256(row[0]), str(row[1])

    def put(self, path: str, info: os.stat_result, sha256: Sha256, md5: str) -> None:
        """Remember the digests of a file whose stat was this before and after it was read."""
        if self._db is None or info.st_size < MIN_CACHED_SIZE:
            return
        times = (info.st_mtime_ns, info.st_ctime_ns, time.time_ns())
        self._new[path] = (path, info.st_dev, _signed(info.st_ino), info.st_size, *times, sha256, md5)

    def flush(self) -> None:
        """Write the new digests. Losing them costs only time, so failures are silent."""
        if self._db is None or not self._new:
            return
        rows, self._new = list(self._new.values()), {}
        with contextlib.suppress(sqlite3.Error, UnicodeError), self._db:
            self._db.executemany(_INSERT, rows)

    def close(self) -> None:
        """Flush and close; the cache is empty afterwards."""
        self.flush()
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None


def _open(path: Path) -> sqlite3.Connection | None:
    """Return an open database, replaced if it is broken, or None if it cannot be created."""
    for _ in range(2):
        try:
            return _connect(path)
        except sqlite3.OperationalError:  # read-only, locked, full: this run goes without
            return None
        except sqlite3.DatabaseError:  # not a database, or an older one: only a cache is lost
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    os.unlink(f"{path}{suffix}")
        except OSError:
            return None
    return None


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Made with the right mode before SQLite opens it: its -wal and -shm files copy that mode.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise FileExistsError(path)
    finally:
        os.close(handle)
    db = sqlite3.connect(path, timeout=0.5, isolation_level="IMMEDIATE")
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, _VERSION}:
            raise sqlite3.DatabaseError(f"state version {version}")
        db.execute(_SCHEMA)
        db.execute(_SELECT, ("", 0, 0, 0, 0, 0, 0))
        db.execute(f"PRAGMA user_version = {_VERSION}")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _signed(number: int) -> int:
    """SQLite's integers are signed; some file systems use all 64 bits of an inode number."""
    return number - 2**64 if number >= 2**63 else number


def _is_hex(value: object, length: int) -> bool:
    return isinstance(value, str) and len(value) == length and _HEX.issuperset(value)
