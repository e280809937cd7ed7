"""Small files of ours: written whole or not at all, read with a bound, never through a symlink."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from gitchain.errors import LimitError, MalformedError, StoreError

TEMPORARY = ".tmp-"
_HELP = "check free space, quota and permissions, then try again"


def make_private(directory: Path) -> None:
    """Create a directory that only its owner can look into; StoreError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            "cannot create a directory", where=str(directory), got=str(error), help=_HELP
        ) from error


def write_durably(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 so that it survives a power failure whole, or is not there; StoreError."""
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
        raise StoreError("cannot write a file", where=str(path), got=str(error), help=_HELP) from error


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of the bytes; OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable; OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_durably(path: Path) -> None:
    """Remove a file, which may be gone already; StoreError."""
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError("cannot remove a file", where=str(path), got=str(error), help=_HELP) from error


def open_plain(path: Path) -> int:
    """Return a descriptor of a plain file, to be closed by the caller; MalformedError for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise MalformedError("cannot read a file", where=str(path), got=str(error)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise MalformedError("not a plain file", where=str(path))
    return descriptor


def read_bounded(path: Path, limit: int) -> bytes:
    """Return a plain file's bytes; LimitError beyond the limit, MalformedError for any other kind of file."""
    with open(open_plain(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise LimitError("file is too large", where=str(path), expected=f"≤ {limit}", got=str(size))
        try:
            return file.read(limit)
        except OSError as error:
            raise MalformedError("cannot read a file", where=str(path), got=str(error)) from error
