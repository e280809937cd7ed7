"""Small private files: written atomically, read with a size limit, never through a symlink."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from gitchain.errors import LimitError, MalformedError, StoreError, reason

TEMPORARY = ".tmp-"
_HELP = "check free space, quota and permissions, then try again"


def make_private(directory: Path) -> None:
    """Create a directory with access for its owner only. Raises StoreError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            "cannot create a directory", where=str(directory), got=reason(error), help=_HELP
        ) from error


def write_durably(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 atomically and durably. Raises StoreError."""
    aside = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        aside.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StoreError("cannot write a file", where=str(path), got=reason(error), help=_HELP) from error


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_durably(path: Path) -> None:
    """Delete a file durably, if it exists. Raises StoreError."""
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError("cannot remove a file", where=str(path), got=reason(error), help=_HELP) from error


def open_plain(path: Path) -> int:
    """Return a descriptor of a regular file, which the caller closes. Raises MalformedError for other kinds."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise MalformedError("cannot read a file", where=str(path), got=reason(error)) from error
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
        try:
            return file.read(limit)
        except OSError as error:
            raise MalformedError("cannot read a file", where=str(path), got=reason(error)) from error
