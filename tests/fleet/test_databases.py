"""Databases that are old, foreign, changed by others, full, read-only, down or slow: one error, and no wrong claim."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from gitchain.errors import GitchainError, NoEvidenceError, StoreError, TransportError, UsageError
from gitchain.fleet import postgres, sqlite
from gitchain.fleet.answers import Page
from gitchain.fleet.database import Database, open_database
from gitchain.fleet.postgres import without_password
from gitchain.fleet.questions import deployed
from gitchain.instance import Instance
from tests.support.fleets import BundleDirectory, index
from tests.support.postgres_server import PASSWORD, PostgresServer, postgres_server


def change(where: str, *statements: str) -> None:
    """Run statements as another program."""
    if where.startswith("postgresql:"):
        with psycopg.connect(where, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)
        return
    with sqlite3.connect(where) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fleet_meta SET value = '1' WHERE key = 'version'",
        "DELETE FROM fleet_meta",
        "DROP TABLE fleet_meta",
    ],
)
def test_database_of_another_version_is_refused(where: str, statement: str) -> None:
    with open_database(where, write=True):
        pass
    change(where, statement)
    for write in (True, False):
        with (
            pytest.raises(StoreError, match="not an index that this version reads"),
            open_database(where, write=write),
        ):
            pass


def test_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """Nothing is written to it."""
    path = tmp_path / "other.sqlite"
    change(str(path), "CREATE TABLE users(id INTEGER)")
    before = path.read_bytes()
    for write in (True, False):
        with pytest.raises(StoreError, match="not an index"), open_database(str(path), write=write):
            pass
    assert path.read_bytes() == before
    path.write_bytes(b"text, and no database at all" * 100)
    for write in (True, False):
        with pytest.raises(StoreError, match="the database failed"), open_database(str(path), write=write):
            pass


def test_database_with_other_tables_in_postgres_is_left_alone(server: PostgresServer) -> None:
    """Tables of other programs stay beside those of the index."""
    where = server.new_database()
    change(where, "CREATE TABLE users(id INTEGER)", "INSERT INTO users VALUES(7)")
    with open_database(where, write=True) as database:
        assert database.rows("i", "SELECT id FROM users") == [(7,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fleet_placement SET place = '[]'",
        "UPDATE fleet_placement SET place = '{\"environment\": 7}'",
        "UPDATE fleet_placement SET place = 'not json'",
        "UPDATE fleet_bundle SET verified = 7",
        "UPDATE fleet_bundle SET verified = -1",
        "UPDATE fleet_bundle SET logged = 9000000000000000000",
        "UPDATE fleet_artifact SET digest = '; DROP TABLE fleet_bundle'",
        "UPDATE fleet_artifact SET role = 99",
        "DELETE FROM fleet_bundle",
        "DELETE FROM fleet_held",
        "UPDATE fleet_source SET stale = 'x', problem = 'y'",
        "INSERT INTO fleet_artifact SELECT bundle, 2, digest, name, name_key FROM fleet_artifact",
    ],
)
def test_wrong_rows_are_no_bug_and_no_verification(
    where: str, instance: Instance, source: BundleDirectory, statement: str
) -> None:
    """Whatever the rows hold, a question ends with an error of ours or with rows; 7 in `verified` is not verified."""
    source.make("train", ["raw.csv"], ["model.pkl"])
    source.deploy("model.pkl")
    with open_database(where, write=True) as database:
        index(database, instance, source.path)
    change(where, statement)
    with open_database(where, write=False) as database:
        try:
            answer = deployed(database, "raw.csv", Page())
        except (StoreError, NoEvidenceError):
            return
    answer.to_json()
    if "verified" in statement:
        assert not any(row.verified for row in answer.rows)


@pytest.mark.parametrize("value", ["1", "1.5", "x'00'", "NULL"])
def test_wrong_types_in_sqlite_are_one_error(tmp_path: Path, value: str) -> None:
    """SQLite takes any type in any column."""
    where = str(tmp_path / "fleet.sqlite")
    with open_database(where, write=True):
        pass
    change(
        where,
        "DROP TABLE fleet_artifact",
        "CREATE TABLE fleet_artifact(bundle, role, digest, name, name_key)",
    )
    change(where, f"INSERT INTO fleet_artifact VALUES(1, 1, {value}, 'm', 'm')")
    with (
        open_database(where, write=False) as database,
        pytest.raises(StoreError, match="rows that gitchain did not write"),
    ):
        database.rows("t", "SELECT digest FROM fleet_artifact")


def test_a_reader_cannot_write(where: str, database: Database) -> None:
    del database
    with open_database(where, write=False) as reader, pytest.raises(StoreError):
        reader.run("DELETE FROM fleet_bundle")


def test_a_read_only_file_is_read_and_not_written() -> None:
    """Also by root's tests: another user opens the file."""
    folder = Path(tempfile.mkdtemp(prefix="gitchain-fleet-", dir="/tmp"))
    where = str(folder / "fleet.sqlite")
    try:
        with open_database(where, write=True):
            pass
        Path(where).chmod(0o444)
        folder.chmod(0o555)
        child = os.fork()
        if child == 0:
            os._exit(_read_and_write(where))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def _read_and_write(where: str) -> int:
    """Return 0 if another user can read the index, and gets one error for writing."""
    if os.getuid() == 0:
        os.setuid(65534)
    try:
        with open_database(where, write=False) as database:
            database.rows("t", "SELECT name FROM fleet_source")
        with open_database(where, write=True) as database, database.writing():
            database.run("DELETE FROM fleet_source")
    except StoreError as error:
        return 0 if "the database failed" in str(error) else 2
    except BaseException:  # noqa: BLE001 - the child must not go on with the tests
        return 3
    return 1


def test_a_full_disk_is_one_error_and_loses_nothing(
    tmp_path: Path, instance: Instance, source: BundleDirectory
) -> None:
    """The limit on the file's size fails as a full disk does; the next run goes on."""
    where = str(tmp_path / "fleet.sqlite")
    source.make("train", ["raw.csv"], ["model.pkl"])
    with open_database(where, write=True) as database:
        index(database, instance, source.path)
        for number in range(20):
            source.make("train", [f"raw-{one}.csv" for one in range(50)], [f"model-{number}.pkl"])
        size = Path(where).stat().st_size
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, old[1]))
            with pytest.raises(StoreError, match="the database failed"):
                index(database, instance, source.path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
            signal.signal(signal.SIGXFSZ, handler)
    with open_database(where, write=True) as database:
        assert database.rows("i", "SELECT COUNT(*) FROM fleet_bundle") == [(1,)]
        (report,) = index(database, instance, source.path)
        assert (report.error, report.added) == (None, 20)


def test_two_indexers_at_once_make_each_row_once(
    where: str, instance: Instance, source: BundleDirectory
) -> None:
    for number in range(10):
        source.make("train", ["raw.csv"], [f"model-{number}.pkl"])

    def run(_number: int) -> int:
        with open_database(where, write=True) as database:
            (report,) = index(database, instance, source.path)
            assert report.error is None
            return report.added

    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(run, range(4)))
    assert sum(added) == 10
    with open_database(where, write=False) as database:
        assert database.rows("i", "SELECT COUNT(*) FROM fleet_bundle") == [(10,)]
        assert database.rows("i", "SELECT COUNT(*) FROM fleet_artifact") == [(20,)]


def test_slow_statements_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"
    monkeypatch.setattr(sqlite, "SECONDS", 0.2)
    with (
        open_database(str(tmp_path / "fleet.sqlite"), write=True) as database,
        pytest.raises(StoreError, match="the database failed"),
    ):
        database.rows("i", endless)


def test_slow_statements_end_in_postgres(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "SECONDS", 0.3)
    with (
        open_database(server.new_database(), write=True) as database,
        pytest.raises(TransportError, match="does not answer") as caught,
    ):
        database.rows("t", "SELECT pg_sleep(60)::text")
    assert "timeout" in caught.value.got


def test_a_server_that_stops_answering_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is stopped ends no statement: the connection is given up. One that is killed is an error too."""
    monkeypatch.setattr(postgres, "SECONDS", 0.5)
    monkeypatch.setattr(postgres, "GRACE_SECONDS", 0.2)
    with postgres_server() as server, open_database(server.new_database(), write=True) as database:
        ((process,),) = database.rows("i", "SELECT pg_backend_pid()")
        os.kill(process, signal.SIGSTOP)
        try:
            with pytest.raises(TransportError, match="does not answer"):
                database.rows("i", "SELECT 1")
        finally:
            os.kill(process, signal.SIGCONT)


def test_no_message_shows_the_password(server: PostgresServer, tmp_path: Path) -> None:
    quoted = server.url("postgres").split(":")[2].split("@")[0]
    broken = [
        f"postgresql://gitchain:{quoted}@/nosuchdatabase?host={server.folder}",
        f"postgresql://gitchain:{quoted}@/postgres?host={tmp_path}",
        f"postgresql://gitchain:{quoted}@/postgres?host={server.folder}&nosuchoption=1",
        f"postgresql://gitchain:{quoted}@127.0.0.1:99999/postgres",
        f"postgresql://gitchain:{quoted}@127.0.0.1:port/postgres",
        f"postgresql://gitchain:{quoted}@[::1/postgres",
        f"postgresql://gitchain:{quoted}@127.0.0.1:1/postgres",
        f"postgresql://nobody:{quoted}@/postgres?host={server.folder}",
        f"postgresql://gitchain@/postgres?host={server.folder}&password={quoted}x",
        f"postgresql://gitchain:{quoted}%zz@/postgres",
        f"mysql://gitchain:{quoted}@host/db",
        f"postgresql://gitchain:{PASSWORD}@host/db",
    ]
    for url in broken:
        with pytest.raises(GitchainError) as caught, open_database(url, write=False):
            pass
        shown = f"{caught.value} {caught.value.help} {caught.value.__cause__}"
        assert quoted not in shown, url
        assert PASSWORD not in shown, url
    with open_database(server.new_database(), write=True) as database:
        assert quoted not in database.shown
        assert database.shown.startswith("postgresql://gitchain@")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql://ada:pw@db.example.com:5433/fleet?sslmode=require",
            "postgresql://ada@db.example.com:5433/fleet",
        ),
        ("postgresql://db.example.com/fleet", "postgresql://db.example.com/fleet"),
        ("postgres://a:p@q@r@host/d", "postgresql://…"),
        ("postgresql://ada:p/w@host/d", "postgresql://…"),
        ("postgresql://ada:12/p?w@host/d", "postgresql://…"),
        ("postgresql://ada:p?w#x@host/d", "postgresql://ada@host/d"),
        ("postgresql://a,[::1]:5433/d?user=x", "postgresql://a,[::1]:5433/d"),
        ("postgresql:///fleet?password=pw", "postgresql:///fleet"),
        ("postgresql://[::1/pw", "postgresql://…"),
    ],
)
def test_url_without_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_other_urls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a database"), open_database("mysql://host/db", write=True):
        pass
    with (
        pytest.raises(StoreError, match="nothing is indexed yet"),
        open_database(str(tmp_path / "no"), write=False),
    ):
        pass
    assert not (tmp_path / "no").exists()
