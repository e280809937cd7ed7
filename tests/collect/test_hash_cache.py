"""The hash cache saves time and never lies: any change, a race or a broken database means reading again."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from gitchain.collect import hash_cache as module
from gitchain.collect.artifacts import collect_artifact
from gitchain.collect.hash_cache import MIN_CACHED_SIZE, StateCache

BIG = b"x" * (MIN_CACHED_SIZE + 1)


@pytest.fixture
def old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a large file that, by the cache's clock, was written an hour ago."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3_600_000_000_000)
    path = tmp_path / "big"
    path.write_bytes(BIG)
    return path


def poison(cache: Path) -> None:
    with sqlite3.connect(cache) as db:
        db.execute("UPDATE file SET sha256 = ?", ("f" * 64,))


def digest(root: Path, cache: Path) -> str:
    with StateCache(cache) as state:
        return collect_artifact(root, "big", state).descriptor.digest["sha256"]


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, old_file: Path) -> None:
    """The second look takes the cache's word, as a planted one proves."""
    cache = tmp_path / "s" / "state.db"
    digest(tmp_path, cache)
    poison(cache)
    assert digest(tmp_path, cache) == "f" * 64


def test_a_changed_file_is_read_again_even_with_its_old_mtime(tmp_path: Path, old_file: Path) -> None:
    """Size and modification time put back do not hide a change: the change time tells."""
    cache = tmp_path / "s" / "state.db"
    digest(tmp_path, cache)
    poison(cache)
    before = old_file.stat()
    old_file.write_bytes(BIG[:-1] + b"y")
    os.utime(old_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert digest(tmp_path, cache) != "f" * 64


def test_a_file_hashed_right_after_its_change_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one clock tick a second change would leave no trace."""
    path = tmp_path / "big"
    path.write_bytes(BIG)
    monkeypatch.setattr(time, "time_ns", lambda: path.stat().st_ctime_ns + module.RACY_NS)
    cache = tmp_path / "s" / "state.db"
    first = digest(tmp_path, cache)
    poison(cache)
    assert digest(tmp_path, cache) == first


def test_small_files_are_not_cached(tmp_path: Path) -> None:
    """Below the threshold hashing is cheaper than asking."""
    (tmp_path / "small").write_bytes(b"x")
    with StateCache(tmp_path / "s.db") as state:
        collect_artifact(tmp_path, "small", state)
    with sqlite3.connect(tmp_path / "s.db") as db:
        assert db.execute("SELECT count(*) FROM file").fetchone() == (0,)


@pytest.mark.parametrize("rubbish", [b"rubbish" * 1000, b"", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_broken_database_is_made_anew(tmp_path: Path, old_file: Path, rubbish: bytes) -> None:
    """A cache that cannot be read is no error, and works again afterwards."""
    cache = tmp_path / "state.db"
    cache.write_bytes(rubbish)
    first = digest(tmp_path, cache)
    poison(cache)
    assert first != "f" * 64
    assert digest(tmp_path, cache) == "f" * 64


def test_another_versions_database_is_made_anew(tmp_path: Path, old_file: Path) -> None:
    """A later gitchain may change the table."""
    cache = tmp_path / "state.db"
    with sqlite3.connect(cache) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("CREATE TABLE file (x)")
    assert digest(tmp_path, cache) == digest(tmp_path, cache)


def test_without_a_writable_place_there_is_no_cache(tmp_path: Path, old_file: Path) -> None:
    """A read-only disk costs time only."""
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    assert digest(tmp_path, blocked / "state.db") == digest(tmp_path, tmp_path / "state.db")


def test_planted_digests_that_are_none_are_ignored(tmp_path: Path, old_file: Path) -> None:
    """A row that is no digest is not handed on."""
    cache = tmp_path / "state.db"
    first = digest(tmp_path, cache)
    with sqlite3.connect(cache) as db:
        db.execute("UPDATE file SET sha256 = 'x'")
    assert digest(tmp_path, cache) == first


def test_the_database_is_private(tmp_path: Path, old_file: Path) -> None:
    """It names every large file of the user."""
    cache = tmp_path / "s" / "state.db"
    digest(tmp_path, cache)
    assert cache.stat().st_mode & 0o777 == 0o600
    assert cache.parent.stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_databases_place_is_not_followed(tmp_path: Path, old_file: Path) -> None:
    """The cache never writes through a link."""
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    (tmp_path / "state.db").symlink_to(target)
    digest(tmp_path, tmp_path / "state.db")
    assert target.read_bytes() == b"precious"
