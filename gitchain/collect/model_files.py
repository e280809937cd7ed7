"""List the files of a model that is verified by its signature: paths and SHA-256, without following links.

Every directory is opened from its parent's handle and every file from its directory's, without following links.
Special files are refused, and so are names that could be read in two ways, because a loader might follow what a
verifier does not. Empty directories do not count.

Does NOT cache: what is verified is read. Does NOT know what the signer said.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from gitchain.collect.paths import OPEN_DIRECTORY, OPEN_FILE, open_at, special_file, unreadable
from gitchain.errors import (
    GitchainError,
    LimitError,
    ProjectError,
    UsageError,
    VerificationError,
    os_errors_as,
)
from gitchain.evidence.names import check_name

MAX_FILES = 100_000
"""Most files of one model: all that a signature has room for."""

MAX_DEPTH = 64
"""Deepest directory: each level holds one open handle."""

_CHUNK = 1 << 20


def model_files(root: Path, ignored: Collection[str]) -> dict[str, str]:
    """Return the SHA-256 of each file below the directory by its path, without the ignored paths.

    Raises UsageError if there is no such directory, VerificationError for links, special files and names that
    are refused, LimitError beyond the limits.
    """
    walk = _ModelFileWalk(frozenset(ignored))
    with os_errors_as(
        UsageError, "cannot read the model", ascii(str(root)), help="check the path and its permissions"
    ):
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return dict(walk.files(handle, "", 0))
    except ProjectError as error:
        raise VerificationError(error.what, where=error.where, expected=error.expected) from error
    finally:
        os.close(handle)


class _ModelFileWalk:
    """One walk: the paths that it skips, and the number of files that it has found."""

    def __init__(self, ignored: frozenset[str]) -> None:
        self._ignored, self._found = ignored, 0

    def files(self, handle: int, below: str, depth: int) -> Iterator[tuple[str, str]]:
        if depth > MAX_DEPTH:
            raise LimitError("model is too deep", expected=f"at most {MAX_DEPTH} levels")
        for name in sorted(os.listdir(handle)):
            path = f"{below}{name}"
            if path in self._ignored:
                continue
            info = os.stat(name, dir_fd=handle, follow_symlinks=False)
            _check(path)
            if stat.S_ISDIR(info.st_mode):
                yield from self._below(name, handle, path, depth)
            else:
                yield path, self._file(name, handle, path)

    def _below(self, name: str, handle: int, path: str, depth: int) -> Iterator[tuple[str, str]]:
        deeper = open_at(name, OPEN_DIRECTORY, handle, path)
        try:
            yield from self.files(deeper, f"{path}/", depth + 1)
        finally:
            os.close(deeper)

    def _file(self, name: str, handle: int, path: str) -> str:
        self._found += 1
        if self._found > MAX_FILES:
            raise LimitError("model has too many files", expected=f"at most {MAX_FILES}")
        opened = open_at(name, OPEN_FILE, handle, path)
        try:
            return _digest(opened, path)
        finally:
            os.close(opened)


def single_file(path: Path) -> str:
    """Return the SHA-256 of a model that is one file.

    Raises UsageError if it cannot be read or is a link, VerificationError for a special file.
    """
    with os_errors_as(
        UsageError, "cannot read the model", ascii(str(path)), help="check the path and its permissions"
    ):
        opened = os.open(path, OPEN_FILE)
    try:
        return _digest(opened, str(path))
    except ProjectError as error:
        raise VerificationError(error.what, where=error.where, expected=error.expected) from error
    finally:
        os.close(opened)


def _check(path: str) -> None:
    try:
        check_name(path, "file name")
    except GitchainError as error:
        raise VerificationError(error.what, where=error.where, expected=error.expected) from error
    except UnicodeEncodeError as error:
        raise VerificationError("file name is not UTF-8", where=ascii(path[:100])) from error


def _digest(opened: int, path: str) -> str:
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        raise special_file(path)
    hasher = hashlib.sha256()
    try:
        while chunk := os.read(opened, _CHUNK):
            hasher.update(chunk)
    except OSError as error:
        raise unreadable(error, path) from error
    return hasher.hexdigest()
