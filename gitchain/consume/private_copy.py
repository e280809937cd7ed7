"""Private, read-only copies of models, which no other user can reach.

Copies are reflinks if the file system supports them: they use no space, and later writes to the original do not
affect them, unlike hard links. Links to files are followed, and their targets are verified like other files. The copy
of a Kubernetes volume holds its entries as files and directories.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path

from gitchain.collect.paths import is_volume_link, volume_directory
from gitchain.errors import LimitError, ProjectError, StoreError
from gitchain.platform.files import write_all

FICLONE = 0x40049409  # linux/fs.h: share another file's extents
MAX_FILES = 1_000_000
MAX_DEPTH = 256
_CHUNK = 16 << 20


def copy_private(source: Path, to: Path, *, shared: bool = False) -> None:
    """Copy a file or directory to a path that does not exist yet. The copy is read-only.

    Only this user may read it, unless `shared`. Raises ProjectError for other kinds of files, StoreError if the disk
    refuses, and LimitError. A partial copy stays: the caller deletes it with `remove`.
    """
    try:
        _FileCopier(0o555 if shared else 0o500).copy(source, to, MAX_DEPTH)
    except OSError as error:
        kind = (
            StoreError
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
            else ProjectError
        )
        raise kind(
            "cannot copy the model", where=str(error.filename or source), got=str(error.strerror)
        ) from error


def remove(path: Path) -> None:
    """Delete a read-only copy. Errors are ignored."""
    if path.is_dir() and not path.is_symlink():
        path.chmod(0o700)
        for root, folders, _ in os.walk(path):
            for folder in (Path(root, name) for name in folders):
                if not folder.is_symlink():
                    folder.chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


class _FileCopier:
    def __init__(self, mode: int) -> None:
        self._mode = mode
        self._files = 0

    def copy(self, source: Path, to: Path, depth: int) -> None:
        source = _behind_volume_link(source)
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            info = os.fstat(descriptor)
            self._files += 1
            if self._files > MAX_FILES or depth == 0:
                raise LimitError(
                    "the model has too many files",
                    expected=f"at most {MAX_FILES}, {MAX_DEPTH} directories deep",
                )
            if stat.S_ISREG(info.st_mode):
                runs = bool(info.st_mode & stat.S_IXUSR)
                _copy_file(descriptor, to, self._mode if runs else self._mode & 0o444)
            elif stat.S_ISDIR(info.st_mode) and not source.is_symlink():
                behind = volume_directory(descriptor, str(source))
                self._copy_directory(source / behind if behind else source, to, depth)
            else:
                raise ProjectError("not a regular file", where=str(source), expected="a file or directory")
        finally:
            os.close(descriptor)

    def _copy_directory(self, source: Path, to: Path, depth: int) -> None:
        to.mkdir(mode=0o700)
        for entry in sorted(source.iterdir()):
            self.copy(entry, to / entry.name, depth - 1)
        to.chmod(self._mode)


def _behind_volume_link(path: Path) -> Path:
    """Return the resolved path for an entry of a Kubernetes volume, else the path itself."""
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not is_volume_link(path.name, handle):
            return path
        return path.parent / (volume_directory(handle, str(path.parent)) or "") / path.name
    finally:
        os.close(handle)


def _copy_file(source: int, to: Path, mode: int) -> None:
    target = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.ioctl(target, FICLONE, source)
        except OSError:
            while data := os.read(source, _CHUNK):
                write_all(target, data)
        os.fchmod(target, mode)
    finally:
        os.close(target)
