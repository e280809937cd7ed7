"""The database of a fleet's index, in SQLite or PostgreSQL.

Statements are constant text with `?` for each value. Every row that is read is checked for its types: another program
may have written it. A statement ends after
`gitchain.fleet.connection.SECONDS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gitchain.errors import StoreError, UsageError
from gitchain.fleet.connection import Connection, Row
from gitchain.fleet.sqlite import SqliteConnection
from gitchain.fleet.tables import STATEMENTS, VERSION
from gitchain.workspace.user_directory import user_directory

SCHEMES = ("postgresql://", "postgres://")
AT_ONCE = 200  # values of one IN list
_TYPES: dict[str, type] = {"t": str, "i": int}


class Database:
    """The index of a fleet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def shown(self) -> str:
        """Return the name of the database, without a password."""
        return self._connection.shown

    def rows(self, types: str, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Return the rows of a query. `types` has a letter for each column: t for text, i for an integer.

        Raises StoreError for a row of other types.
        """
        wanted = [_TYPES[letter] for letter in types]
        found = self._connection.run(sql, values)
        for row in found:
            if [type(value) for value in row] != wanted:
                raise damaged(self.shown, "a column has another type")
        return found

    def among(self, types: str, sql: str, values: Iterable[object], limit: int) -> list[Row]:
        """Return at most `limit` + 1 rows of a query with `{}` for a list of these values."""
        found: list[Row] = []
        every = list(values)
        for start in range(0, len(every), AT_ONCE):
            some = every[start : start + AT_ONCE]
            size = 1 << (len(some) - 1).bit_length()  # few different statements, so that plans are kept
            some += [some[-1]] * (size - len(some))
            text = sql.replace("{}", ", ".join("?" * size)) + " LIMIT ?"
            found += self.rows(types, text, [*some, limit + 1 - len(found)])
            if len(found) > limit:
                break
        return found

    def verified_first(self, types: str, sql: str, values: Iterable[object], limit: int) -> list[Row]:
        """Return rows as `among`, those of verified bundles first: others must not fill the limit before these."""
        every = list(values)
        found = self.among(types, f"{sql} AND verified = 1", every, limit)
        if len(found) <= limit:
            found += self.among(types, f"{sql} AND verified <> 1", every, limit - len(found))
        return found

    def run(self, sql: str, values: Sequence[object] = ()) -> None:
        """Run one statement that returns nothing."""
        self._connection.run(sql, values)

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row."""
        self._connection.many(sql, rows)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Exclude other writers; commit at the end, unless an error leaves the block."""
        self._connection.begin()
        try:
            yield
        except BaseException:
            self._connection.end(keep=False)
            raise
        self._connection.end(keep=True)

    def prepare(self) -> None:
        """Make the tables of an empty database. Raises StoreError for one of another version, or of other tables."""
        with self.writing():
            tables = self._connection.tables()
            if not tables:
                for statement in STATEMENTS:
                    self.run(statement)
                self.run("INSERT INTO fleet_meta VALUES('version', ?)", [VERSION])
            self._check(tables or {"fleet_meta"})

    def check(self) -> None:
        """Check that the tables are those of this version. Raises StoreError."""
        self._check(self._connection.tables())

    def _check(self, tables: set[str]) -> None:
        found = (
            self.rows("t", "SELECT value FROM fleet_meta WHERE key = 'version'")
            if "fleet_meta" in tables
            else []
        )
        if found != [(VERSION,)]:
            raise StoreError(
                "the database is not an index that this version reads",
                where=self.shown,
                expected=f"tables of version {VERSION}",
                got=f"version {found[0][0][:40]!a}" if found else "no version",
                help="give another --database, or use the version of gitchain that made it",
            )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def damaged(shown: str, got: str) -> StoreError:
    """Return the error for rows that gitchain did not write."""
    return StoreError(
        "the database has rows that gitchain did not write",
        where=shown,
        got=got,
        help="index the sources again into another --database",
    )


def default_database() -> str:
    """Return the path of the SQLite file that is used without --database."""
    return str(user_directory() / "fleet.sqlite")


@contextmanager
def open_database(text: str | None, *, write: bool) -> Iterator[Database]:
    """Open the index at a path or `postgresql://…`, to write or to read only.

    Raises UsageError for another URL, StoreError or TransportError if it cannot be used.
    """
    database = Database(_connect(text or default_database(), write=write))
    try:
        if write:
            database.prepare()
        else:
            database.check()
        yield database
    finally:
        database.close()


def _connect(text: str, *, write: bool) -> Connection:
    if text.startswith(SCHEMES):
        from gitchain.fleet.postgres import PostgresConnection

        return PostgresConnection(text, write=write)
    if "://" in text:
        raise UsageError(
            "not a database",
            got=f"{text.partition('://')[0][:40]}://…",
            expected="a file, or postgresql://HOST/DATABASE",
        )
    return SqliteConnection(Path(text), write=write)
