"""What is no regular file is refused at once."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from gitchain.errors import LimitError, UsageError
from gitchain.platform.files import open_regular, read_input, read_regular


def test_read_regular_follows_links_and_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 5) == b"12345"
    with pytest.raises(LimitError, match="too large"):
        read_regular(tmp_path / "file", 4)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "missing", 4)


def test_open_regular_never_waits(tmp_path: Path) -> None:
    """For a pipe, a device, a directory, a socket, or a link to one."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(tmp_path / "s"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("pipe", "link", "s", "/dev/null", "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    bound.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_open_regular_refuses_a_name_that_no_file_can_have() -> None:
    with pytest.raises(OSError, match="null"):
        open_regular("a\0b")


def test_read_input_is_cut_behind_the_limit_and_names_the_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_input(tmp_path / "file", 3, UsageError, "cannot read it") == b"1234"
    with pytest.raises(UsageError, match=r"cannot read it, in .*missing, got No such file") as caught:
        read_input(tmp_path / "missing", 3, UsageError, "cannot read it", help="do this")
    assert caught.value.help == "do this"


PLAIN = {
    "platform/files.py": "opens what it has checked",
    "produce/credentials.py": "opens what it has checked, without following links",
    "collect/repro_records.py": "files of this process",
    "collect/shim.py": "files of this process",
    "collect/inspect/frameworks/__init__.py": "files of this package",
    "collect/interpreter_facts.py": "files of the kernel",
    "platform/forked.py": "a pipe of this process",
    "platform/mounts.py": "files of the kernel",
    "hooks/blocks.py": "files of this package",
    "produce/archive.py": "files of this package",
    "report/page.py": "files of this package",
    "trust/tuf.py": "a file of sigstore's package",
}


def test_files_of_others_are_opened_by_open_regular() -> None:
    """No other module opens a file for reading in a way that could wait; each exception has a reason."""
    root = Path(__file__).parents[2] / "gitchain"
    plain = re.compile(
        r"\.read_bytes\(|\.read_text\(|open\([^)]*\"rb?\"|\bopen\([^)]*encoding=(?![^)]*\"a\")"
    )
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if any(plain.search(line) for line in path.read_text().splitlines() if '"a"' not in line)
    }
    assert found == set(PLAIN)
