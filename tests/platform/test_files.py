"""What is no regular file is refused at once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gitchain.errors import LimitError
from gitchain.platform.files import open_regular, read_regular


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
