"""Open foreign files: regular files only, so that no pipe, device or socket can block a reader."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gitchain.errors import LimitError


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file for reading, following links, without blocking.

    Raises the OSError of `open`, and OSError for other kinds of files.
    """
    _check(Path(path).stat().st_mode, path)  # opening a device may have effects
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _check(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check(mode: int, path: Path | str) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_regular(path: Path | str, limit: int) -> bytes:
    """Return the content of a regular file. Raises OSError as `open_regular`, LimitError beyond `limit` bytes."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise LimitError("the file is too large", where=str(path), expected=f"at most {limit} bytes")
    return data


def open_lock(path: Path | str) -> BinaryIO:
    """Open a file to lock it, created if missing, without blocking. Raises OSError as `open_regular`."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    if os.path.lexists(path):
        _check(Path(path).stat().st_mode, path)
    descriptor = os.open(path, flags, 0o600)
    try:
        _check(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb+", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def special_files(folder: Path, *, is_deep: bool = False) -> Iterator[Path]:
    """Yield the named pipes and devices in a directory, also behind links; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if is_deep:
                        yield from special_files(Path(entry.path), is_deep=True)
                elif not entry.is_file(follow_symlinks=False) and is_special(entry):
                    yield Path(entry.path)
    except OSError:
        return


def is_special(path: os.PathLike[str] | str) -> bool:
    """Return True if opening may block or have effects: not for a socket, which cannot be opened, or a missing file."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a directory entry is no Path
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISSOCK(mode))
