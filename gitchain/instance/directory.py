"""The instance's directory: private, durable and atomic file operations.

A directory is 0700 and a file 0600, owned by the user who runs. A write is on the disk when the function
returns.
It does NOT know what the files mean.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gitchain.errors import StoreError, TransportError, TrustError
from gitchain.instance.info import HELP_BROKEN, HELP_CREATE
from gitchain.platform import files

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
LOCK_WAIT_SECONDS = 60.0


def check_private(path: Path, *, if_missing: str = HELP_BROKEN) -> None:
    """Raise TrustError unless `path` exists, belongs to this user, and no other user may read or write it.

    `if_missing` is the help for a missing path.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise TrustError("the local instance is missing", where=str(path), help=if_missing) from None
    except OSError as error:
        raise TrustError(
            "the local instance cannot be read", where=str(path), got=str(error.strerror)
        ) from error
    if stat.S_ISLNK(found.st_mode):
        raise TrustError("the local instance must not be a symbolic link", where=str(path), help=HELP_BROKEN)
    if found.st_uid != os.geteuid():
        raise TrustError(
            "the local instance belongs to another user",
            where=str(path),
            expected=f"uid {os.geteuid()}",
            got=f"uid {found.st_uid}",
            help=HELP_CREATE,
        )
    if found.st_mode & 0o077:
        raise TrustError(
            "the local instance is open to other users",
            where=str(path),
            expected="0700" if stat.S_ISDIR(found.st_mode) else "0600",
            got=f"{stat.S_IMODE(found.st_mode):04o}",
            help=f"chmod -R go= {path}",
        )


def read_private(path: Path, max_bytes: int, *, if_missing: str = HELP_BROKEN) -> bytes:
    """Return the bytes of a private file. Raises TrustError if missing, foreign, open to others or too large."""
    check_private(path, if_missing=if_missing)
    data = files.read_input(path, max_bytes, TrustError, "the local instance cannot be read")
    if len(data) > max_bytes:
        raise TrustError("a file of the local instance is too large", where=str(path), help=HELP_BROKEN)
    return data


def write_durable(path: Path, data: bytes) -> None:
    """Write a file and flush it to the disk; its name is durable only after `sync_directory`."""
    with storing(path):
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE
        )
        try:
            files.write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_durable(path: Path, data: bytes) -> None:
    """Replace a file in one step: a reader, or a crash, sees the old bytes or the new ones."""
    fresh = path.with_name(path.name + ".new")
    write_durable(fresh, data)
    with storing(path):
        fresh.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Flush the names in a directory to the disk."""
    with storing(path):
        files.sync_directory(path)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Translate an operating-system error to StoreError that names `path`."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            "the local instance cannot be written",
            where=str(path),
            got=str(error.strerror),
            help="gitchain doctor",
        ) from error


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: float = LOCK_WAIT_SECONDS) -> Iterator[None]:
    """Hold the advisory lock on `path` against every process and thread; TransportError after `wait` seconds.

    The file is opened anew each time, so that a forked child never shares its parent's lock.
    """
    descriptor = _open_lock(path, shared=shared)
    try:
        if not files.take_lock(descriptor, wait, shared=shared):
            raise TransportError(
                "the local instance is busy: another process holds its lock",
                where=str(path),
                help="try again",
            )
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path, *, shared: bool) -> int:
    """Open the lock file; a reader needs no right to write, so that a read-only disk can be verified from."""
    with storing(path):
        if shared and path.exists():
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
