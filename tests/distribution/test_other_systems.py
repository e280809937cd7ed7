"""What other operating systems may rely on: the deciding code needs nothing of POSIX, and names are the same text."""

from __future__ import annotations

import ntpath
import os
import subprocess
import sys
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import MalformedError
from gitchain.evidence.digest import Sha256
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.evidence.names import check_name, check_names
from gitchain.evidence.tile import TileId, parse_path
from gitchain.layout.model import ServedProducts
from gitchain.verify.target import is_served_by

POSIX_ONLY = [
    "fcntl",
    "grp",
    "pwd",
    "resource",
    "termios",
    "tty",
    "pty",
    "posix_ipc",
    "syslog",
    "crypt",
    "nis",
]
IMPORT_ALL = f"""
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in {POSIX_ONLY}:
            raise ModuleNotFoundError(name)

for name in {POSIX_ONLY}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Refuse())
import gitchain
for room in ("evidence", "layout", "verify"):
    package = importlib.import_module("gitchain." + room)
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
print(sum(name.startswith("gitchain.") for name in sys.modules))
"""
PARTS = st.text("abcXYZ019 ._-äßπ", min_size=1, max_size=8).filter(
    lambda part: part.strip(". ") == part != ""
)


def test_the_deciding_code_imports_without_posix() -> None:
    """evidence, layout and verify import where fcntl, pwd and their like do not exist."""
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 90


@given(st.lists(PARTS, min_size=1, max_size=4).map("/".join))
def test_a_name_is_the_same_text_on_windows(name: str) -> None:
    """A name of plain parts, made from a Windows path, is the name made from a POSIX path, and lies below the root."""
    try:
        check_name(name)
    except MalformedError:
        return
    windows = PureWindowsPath(*name.split("/"))
    assert windows.as_posix() == PurePosixPath(*name.split("/")).as_posix() == name
    root = PureWindowsPath("C:/repo")
    assert (root / name).relative_to(root).as_posix() == name


@pytest.mark.parametrize(
    "name", ["..\\x", "a\\b", "\\\\server\\share\\x", "C:\\x", "/x", "a/../../x", "./x", "a//b", "a/", ".."]
)
def test_names_that_leave_the_root_on_windows_are_refused(name: str) -> None:
    """Backslashes, and dots that climb, are refused on every system: no name has another meaning on Windows."""
    with pytest.raises(MalformedError):
        check_name(name)


@pytest.mark.parametrize("names", [("a.txt", "A.TXT"), ("straße", "STRASSE"), ("k", "\u212a")])
def test_names_that_meet_on_windows_or_macos_are_refused(names: tuple[str, str]) -> None:
    """Two names that a file system without case takes for one."""
    with pytest.raises(MalformedError):
        check_names(names)


def test_macos_form_of_a_name_is_refused() -> None:
    """A name in normal form D, as macOS once wrote it, is refused and not rewritten."""
    with pytest.raises(MalformedError, match="normal form C"):
        check_name("a\u0308")


def test_patterns_keep_case_where_paths_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layout's pattern matches alike where os.path folds case and turns slashes around."""
    monkeypatch.setattr(os.path, "normcase", ntpath.normcase)
    entry = ServedProducts("train", ("models/*",))
    found = [is_served_by(entry, name) for name in ("models/a", "Models/a", "models\\a")]
    assert found == [True, False, False]


def test_manifests_and_tiles_hold_no_separator_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest's order and a log's tile paths are those of text, whatever os.sep is."""
    entries = [FileEntry(path, False, 0, Sha256("0" * 64)) for path in ("b", "a/z", "a.txt", "A1")]
    before = build_manifest(entries)
    monkeypatch.setattr(os, "sep", "\\")
    assert build_manifest(entries[::-1]) == before
    assert parse_path("tile/0/x001/234") == TileId(0, 1234)
    assert parse_path(TileId(0, 1234).path()) == TileId(0, 1234)
