"""Small private files: read with a size limit, never through a symlink."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gitchain.errors import LimitError, MalformedError, os_errors_as


def open_plain(path: Path) -> int:
    """Return a descriptor of a regular file, which the caller closes. Raises MalformedError for other kinds."""
    with os_errors_as(MalformedError, "cannot read a file", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise MalformedError("not a plain file", where=str(path))
    return descriptor


def read_bounded(path: Path, limit: int) -> bytes:
    """Return a regular file's bytes. Raises LimitError beyond the limit, MalformedError for other kinds of file."""
    with open(open_plain(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise LimitError("file is too large", where=str(path), expected=f"≤ {limit}", got=str(size))
        with os_errors_as(MalformedError, "cannot read a file", path):
            return file.read(limit)
