"""Files: foreign ones opened without waiting, own ones written durably, and locks between processes.

Of foreign files only regular ones are opened, so that no pipe, device or socket can block a reader. A file is written
aside and renamed, and is on the disk when the function returns. A lock (`flock`) ends with the process that holds it.
`check_repository_files` refuses what would block Git in a repository.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

from gitchain.errors import GitchainError, LimitError, ProjectError, StoreError, os_errors_as

TEMPORARY = ".tmp-"
"""Prefix of the files that become others when they are whole: a writer that is killed leaves one behind."""

_HELP = "check free space, quota and permissions, then try again"
_LONGEST_PAUSE = 0.1
_LOCK_ATTEMPTS = 3  # a lock is asked for at least every 16 ms


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file for reading, following links, without blocking.

    Raises the OSError of `open`, and OSError for other kinds of files and for names that no file can have.
    """
    try:
        _check(Path(path).stat().st_mode, path)  # opening a device may have effects
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _check(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check(mode: int, path: Path | str) -> None:
    """Raise OSError unless the mode is a regular file's."""
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


def read_input(
    path: Path | str,
    limit: int,
    kind: type[GitchainError],
    what: str,
    *,
    help: str = "",  # noqa: A002 - the word users see
) -> bytes:
    """Return the content of a regular file, cut after `limit` + 1 bytes: callers refuse a longer one.

    Raises `kind`, saying `what`, if the file cannot be read.
    """
    with os_errors_as(kind, what, path, help=help), open_regular(path) as file:
        return file.read(limit + 1)


def special_files(folder: Path, *, is_deep: bool = False) -> Iterator[Path]:
    """Yield the named pipes and devices in a directory, also targets of links; none if it cannot be read."""
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


def make_directory(path: Path) -> None:
    """Create a directory if it is missing. Raises StoreError."""
    with os_errors_as(StoreError, "cannot make a directory", path, help=_HELP):
        path.mkdir(exist_ok=True)


def make_private(path: Path) -> None:
    """Create a directory with its parents, with access for this user only, if it is missing. Raises StoreError."""
    with os_errors_as(StoreError, "cannot make a directory", path, help=_HELP):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write or replace a file: a reader, or a crash, sees the old bytes or the new ones. Raises StoreError."""
    with os_errors_as(StoreError, "cannot write a file", path, help=_HELP):
        replace_file(path, data, mode)


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Do the work of `write_durably`. Raises OSError."""
    aside = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_all(descriptor, data)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        aside.rename(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def remove_durably(path: Path) -> None:
    """Delete a file, if it exists. Raises StoreError."""
    with os_errors_as(StoreError, "cannot remove a file", path, help=_HELP):
        path.unlink(missing_ok=True)
        sync_directory(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pause(attempt: int, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait a random time that grows with the attempts, so that writers do not stay in step."""
    longest = min(0.002 * 2 ** min(attempt, 10), _LONGEST_PAUSE)
    sleep(random.uniform(0, longest))  # noqa: S311 - jitter, no secret


def open_lock(path: Path | str) -> BinaryIO:
    """Open a file to lock it, created if missing, without blocking. Raises OSError for links and other kinds of files."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    if os.path.lexists(path):
        _check(os.lstat(path).st_mode, path)
    descriptor = os.open(path, flags, 0o600)
    try:
        _check(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb+", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold the lock of this path for a block, after waiting for its holder. Raises StoreError if it cannot be taken."""
    with os_errors_as(StoreError, "cannot take a lock", path):
        lock = open_lock(path)
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold the lock of this path for a block; yield False if another process holds it. Raises StoreError."""
    with os_errors_as(StoreError, "cannot take a lock", path):
        lock = open_lock(path)
    with lock:
        with os_errors_as(StoreError, "the file system has no locks", path):
            is_held = take_lock(lock)
        yield is_held


def take_lock(file: int | BinaryIO, seconds: float = 0.0, *, shared: bool = False) -> bool:
    """Lock an open file until it is closed, and return True; False if others hold it for this time.

    Raises OSError on a file system without locks.
    """
    end, attempt = time.monotonic() + seconds, 0
    while True:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            pause(min(attempt, _LOCK_ATTEMPTS))
            attempt += 1
        else:
            return True


_MAX_POINTER = 64 << 10  # size of `.git` as a file, and of `commondir`


_DEEP = ("gitchain", "logs", "objects", "refs", "reftable")
"""Directories that are searched recursively for special files."""


_WORK_TREE = (".gitattributes", ".gitignore", ".gitmodules")
"""Files that git opens at the top of a work tree. A special file in a subdirectory leads to the deadline."""


@cache
def check_repository_files(directory: Path) -> None:
    """Raise ProjectError for a named pipe or device among the files that git and libgit2 open unchecked.

    Checked once per directory and process. Missing and unreadable files are left to git.
    """
    folder, git = _find_repository(directory)
    if git is None:
        return
    for name in _WORK_TREE:
        if is_special(folder / name):
            raise _special_file(folder / name)
    common = _pointer(git / "commondir").strip() if os.path.lexists(git / "commondir") else ""
    tops = ((".", False), ("info", False), *((name, True) for name in _DEEP))
    for place in dict.fromkeys((git, git / common)):
        for top, is_deep in tops:
            for path in special_files(place / top, is_deep=is_deep):
                raise _special_file(path)


def _special_file(path: Path) -> ProjectError:
    return ProjectError(
        "special file where Git expects its own",
        where=str(path),
        expected="a regular file",
        help=f"if you did not make it: rm {path}",
    )


def _find_repository(directory: Path) -> tuple[Path, Path | None]:
    """Return the work tree and the Git directory around a directory, without git; None without a repository."""
    start = Path.cwd() / directory
    for folder in (start, *start.parents):
        git = folder / ".git"
        if git.is_dir():
            return folder, git
        if os.path.lexists(git):
            return folder, folder / _pointer(git).removeprefix("gitdir:").strip()
        if (folder / "HEAD").exists() and (folder / "objects").is_dir():
            return folder, folder
    return start, None


def _pointer(path: Path) -> str:
    """Return the text of a small file that points to another Git directory."""
    try:
        return os.fsdecode(read_regular(path, _MAX_POINTER))
    except OSError as error:
        raise ProjectError(
            "cannot read a file of Git", where=str(path), expected="a regular file", got=str(error.strerror)
        ) from error
