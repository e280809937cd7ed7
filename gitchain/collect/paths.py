"""Paths below a root, opened part by part so that no part can be a link, and the errors that they raise.

Does NOT read what it opens (see `files`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from gitchain.errors import GitchainError, ProjectError
from gitchain.evidence.names import MAX_NAME_BYTES, check_name

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: opening a pipe must not wait for a writer."""

_SHOWN = 200


def check_path_name(name: str) -> str:
    """Return the name if it may stand in a statement, or raise ProjectError with the name escaped."""
    if name.isascii() and name.isprintable() and "\\" not in name and len(name) <= MAX_NAME_BYTES:
        parts = name.split("/")
        if "" not in parts and "." not in parts and ".." not in parts:
            return name
    try:
        return check_name(name, "file name")
    except GitchainError as error:
        raise ProjectError(
            error.what, where=error.where, expected=error.expected, help="rename the file"
        ) from error
    except UnicodeEncodeError as error:
        raise ProjectError(
            "file name is not UTF-8", where=ascii(name[:100]), help="rename the file"
        ) from error


@contextmanager
def opened(root: str, parts: list[str], name: str) -> Iterator[int]:
    """Open the directory below root, part by part, so that no part can be a link."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            try:
                deeper = os.open(part, OPEN_DIRECTORY, dir_fd=handle)
            except OSError as error:
                raise unreadable(error, name) from error
            os.close(handle)
            handle = deeper
        yield handle
    finally:
        os.close(handle)


def open_at(name: str, flags: int, parent: int, shown: str) -> int:
    """Open by name in the parent; raise ProjectError if that fails."""
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        raise unreadable(error, shown) from error


def unreadable(error: OSError, shown: str) -> ProjectError:
    """Return the ProjectError for a path that could not be opened or read."""
    if error.errno == errno.ENOENT:
        return ProjectError("no such file or directory", where=ascii(shown[:_SHOWN]))
    if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EMLINK}:
        return refused_link(shown)
    if error.errno == errno.ENXIO:
        return special_file(shown)
    return ProjectError(
        "file cannot be read", where=ascii(shown[:_SHOWN]), got=os.strerror(error.errno or 0).lower()
    )


def refused_link(shown: str, target: str = "") -> ProjectError:
    """Return the ProjectError for a symbolic link that is not DVC's own."""
    return ProjectError(
        "symbolic link is not followed",
        where=ascii(shown[:_SHOWN]),
        expected="a file or directory, or a link into DVC's cache",
        got=ascii(target[:_SHOWN]) if target else "",
        help="name the file that it points to, or replace the link with a copy",
    )


def special_file(shown: str) -> ProjectError:
    """Return the ProjectError for a socket, device or pipe."""
    return ProjectError("not a regular file", where=ascii(shown[:_SHOWN]), expected="a file or directory")
