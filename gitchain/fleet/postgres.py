"""The fleet's index in PostgreSQL, over psycopg (extra `postgres`).

No error shows the password of the URL. The server ends a statement after SECONDS; this process ends the connection
soon after, if the server does not answer at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any
from urllib.parse import unquote

from gitchain.errors import StoreError, TransportError, UsageError
from gitchain.fleet.connection import SECONDS, Row
from gitchain.platform.timed_socket import hang_up

CONNECT_SECONDS = 10
GRACE_SECONDS = 5.0  # after which a silent server is left
LOCK = 0x676974636861696E  # "gitchain": the advisory lock of writers
_OWN = ("options", "connect_timeout")
HIDDEN = "postgresql://…"
_HOST = r"(?:[\w.%-]*|\[[0-9A-Fa-f:.]*\])(?::[0-9]{1,5})?"
_PLACE = re.compile(
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)(?P<path>(?:/[\w.%-]*)?)(?:\?(?:[a-z_]+=[^&#@]*(?:&|$))*)?"
)
"""What follows the user and the password in a URL."""


class PostgresConnection:
    """A connection to a PostgreSQL server, in the first schema of its search path."""

    def __init__(self, url: str, *, write: bool) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise UsageError(
                "PostgreSQL needs the package psycopg",
                got=str(error)[:200],
                help="pip install 'gitchain[postgres]'",
            ) from error
        self._psycopg = psycopg
        self.shown, settings = _settings(url)
        self._secrets = [
            value for key, value in settings.items() if value and ("password" in key or "secret" in key)
        ]
        milliseconds = int(SECONDS * 1000)
        with self._errors():
            self._connection: Any = psycopg.connect(
                **settings,
                connect_timeout=CONNECT_SECONDS,
                autocommit=True,
                application_name="gitchain",
                client_encoding="utf8",
                options=f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
                f" -c default_transaction_read_only={'off' if write else 'on'}",
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise our errors for psycopg's, without the password."""
        try:
            yield
        except self._psycopg.OperationalError as error:
            raise TransportError(
                "the database does not answer", where=self.shown, got=self._said(error)
            ) from None
        except (self._psycopg.Error, OSError, ValueError) as error:
            raise StoreError("the database failed", where=self.shown, got=self._said(error)) from None

    def _said(self, error: BaseException) -> str:
        text = " ".join(str(error).split()) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:300]

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Close the connection's socket if the block takes longer than the server may."""
        timer = Timer(SECONDS + GRACE_SECONDS, self._hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _hang_up(self) -> None:
        with suppress(OSError, self._psycopg.Error):
            hang_up(self._connection.fileno())

    def run(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Run one statement, and return its rows."""
        with self._errors(), self._bounded():
            done = self._connection.execute(sql.replace("?", "%s"), list(values) or None)
            return done.fetchall() if done.description else []

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row."""
        with self._errors(), self._bounded(), self._connection.cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s"), rows)

    def begin(self) -> None:
        """Start a transaction that excludes other writers."""
        self.run("BEGIN")
        self.run("SELECT pg_advisory_xact_lock(?::bigint)::text", [LOCK])

    def end(self, *, keep: bool) -> None:
        """Commit the transaction, or take it back."""
        if keep:
            self.run("COMMIT")
            return
        with suppress(StoreError, TransportError):  # the error that ended the block is the one to report
            self.run("ROLLBACK")

    def tables(self) -> set[str]:
        """Return the names of the index's tables; others may be there too."""
        found = self.run(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE ?",
            ["fleet%"],
        )
        return {str(name) for (name,) in found if str(name).startswith("fleet_")}

    def close(self) -> None:
        """Close the connection."""
        with suppress(self._psycopg.Error):
            self._connection.close()


def _settings(url: str) -> tuple[str, dict[str, Any]]:
    """Return the URL without its password, and the settings in it. Raises UsageError."""
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    shown = without_password(url)
    try:
        settings = conninfo_to_dict(url) if shown != HIDDEN else None
    except (Error, ValueError):  # its text may have the password
        settings = None
    if settings is None:
        raise UsageError(
            "not a PostgreSQL URL",
            got=shown,
            expected="postgresql://USER@HOST:PORT/DATABASE",
            help="write / and @ in a password as %2F and %40, or give it in PGPASSWORD",
        )
    for key in _OWN:
        settings.pop(key, None)
    return shown, dict(settings)


def without_password(url: str) -> str:
    """Return a URL for messages: user, host, port and database, and nothing else of it.

    Returns HIDDEN for a URL that may have a part of a password elsewhere, such as one with a `/` that is not encoded.
    """
    credentials, at, rest = url.partition("://")[2].partition("@")
    if not at or "/" in credentials:
        credentials, rest = "", credentials + at + rest
    found = _PLACE.fullmatch(rest)
    if found is None:
        return HIDDEN
    user = unquote(credentials.partition(":")[0])
    named = f"{user}@" if re.fullmatch(r"[\w.-]{1,63}", user) else ""
    return f"postgresql://{named}{found['hosts'][:200]}{found['path'][:200]}"
