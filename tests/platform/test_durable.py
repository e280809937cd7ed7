"""A file is whole or unchanged, and locks end with their holders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitchain.errors import StoreError
from gitchain.platform.files import make_directory, make_private, remove_durably, write_durably


def test_write_durably_replaces_the_file_and_sets_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data, mode in ((b"old", 0o644), (b"new", 0o600)):
        write_durably(path, data, mode=mode)
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (data, mode)
    remove_durably(path)
    remove_durably(path)
    assert not path.exists()


def test_write_durably_leaves_the_old_file_where_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is half-written: the rename is what makes it visible."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StoreError, match=r"cannot write a file, in .*, got No space left"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert not list(tmp_path.glob(".*"))


def test_make_private_lets_no_other_user_in(tmp_path: Path) -> None:
    make_private(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    for make in (make_private, make_directory):
        with pytest.raises(StoreError, match="cannot make a directory"):
            make(tmp_path / "file" / "x")
