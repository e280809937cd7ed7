"""A real PostgreSQL server on a Unix socket, started and ended by the tests; loudly skipped where there is none."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

PASSWORD = "s3cret p@ss/word"
USER = "gitchain"
START_SECONDS = 60.0
_QUOTED = "s3cret%20p%40ss%2Fword"


@dataclass(frozen=True)
class PostgresServer:
    """A running server."""

    folder: Path
    process: subprocess.Popen[bytes]

    def url(self, database: str, password: str = _QUOTED) -> str:
        return f"postgresql://{USER}:{password}@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """Make a database, and return its URL."""
        name = f"fleet_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


def programs() -> Path | None:
    """Return the directory of PostgreSQL's programs, or None."""
    found = [Path(one).resolve().parent for name in ("postgres", "initdb") if (one := shutil.which(name))]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((one for one in found if (one / "initdb").exists() and (one / "postgres").exists()), None)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server; skip the test loudly where PostgreSQL is not installed."""
    folder = programs()
    if folder is None:
        warnings.warn("NOT RUN: tests of the index in PostgreSQL: no postgres on this machine", stacklevel=1)
        pytest.skip("no postgres on this machine")
    place = Path(tempfile.mkdtemp(prefix="gitchain-pg-", dir="/tmp"))
    user = _user()
    try:
        if user is not None:
            os.chown(place, pwd.getpwnam(user).pw_uid, -1)
        (place / "password").write_text(PASSWORD)
        (place / "password").chmod(0o644)
        init = ["initdb", "-D", "data", "-U", USER, "--auth=scram-sha-256", "--pwfile=password", "-E", "UTF8"]
        run = {"cwd": place, "user": user, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([folder / init[0], *init[1:], "--locale=C.UTF-8", "--no-sync"], check=True, **run)  # type: ignore[call-overload]
        options = ["-D", "data", "-k", str(place), "-h", "", "-F", "-c", "shared_buffers=64MB"]
        process = subprocess.Popen([folder / "postgres", *options], **run)  # type: ignore[call-overload]
        try:
            server = PostgresServer(place, process)
            _wait(server)
            yield server
        finally:
            process.terminate()  # a smart shutdown would wait for connections
            process.send_signal(2)
            process.wait(60)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _user() -> str | None:
    """Return another user to run as: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return None
    names = {one.pw_name for one in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def _wait(server: PostgresServer) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(server.url("postgres")).close()
        except psycopg.OperationalError:
            assert time.monotonic() < end, "the server does not start"
            assert server.process.poll() is None, "the server ended"
            time.sleep(0.1)
        else:
            return
