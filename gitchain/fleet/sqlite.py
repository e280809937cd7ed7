"""The fleet's index in a SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from gitchain.errors import StoreError, os_errors_as
from gitchain.fleet.connection import SECONDS, Row

_PROGRESS = 10_000  # instructions between two looks at the clock


class SqliteConnection:
    """A SQLite file."""

    def __init__(self, path: Path, *, write: bool) -> None:
        self.shown = str(path)
        self._deadline = 0.0
        with os_errors_as(StoreError, "cannot use the database", path):
            is_there = path.exists()
            if write and not is_there:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.touch(mode=0o600)
        if not write and not is_there:
            raise StoreError(
                "nothing is indexed yet", where=self.shown, help="gitchain index SOURCE   makes the index"
            )
        mode = "rw" if write else "ro"
        with self._errors():
            self._connection = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode={mode}",
                uri=True,
                timeout=SECONDS,
                isolation_level=None,
            )
            self._connection.execute("PRAGMA trusted_schema = OFF")
            self._connection.set_progress_handler(self._is_late, _PROGRESS)

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline

    @contextmanager
    def _errors(self) -> Iterator[None]:
        self._deadline = time.monotonic() + 2 * SECONDS  # of which waiting for a writer may take half
        try:
            yield
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            raise StoreError("the database failed", where=self.shown, got=str(error)[:300]) from error

    def run(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Run one statement, and return its rows."""
        with self._errors():
            return self._connection.execute(sql, tuple(values)).fetchall()

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row."""
        with self._errors():
            self._connection.executemany(sql, rows)

    def begin(self) -> None:
        """Start a transaction that excludes other writers."""
        self.run("BEGIN IMMEDIATE")

    def end(self, *, keep: bool) -> None:
        """Commit the transaction, or take it back."""
        if self._connection.in_transaction:  # SQLite itself may have taken it back
            self.run("COMMIT" if keep else "ROLLBACK")

    def tables(self) -> set[str]:
        """Return the names of the tables."""
        return {str(name) for (name,) in self.run("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
