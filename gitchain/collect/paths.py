"""Paths below a root, opened part by part so that no part can be a link, and the errors that they raise.

One kind of link is a part: an entry of a Kubernetes volume (ConfigMap, Secret, projected), as the kubelet writes it:

    ..data -> ..2026_11_30_10_00_00.123      replaced as a whole when the volume changes
    model.bin -> ..data/model.bin            one link for each entry of that directory

The target of `..data` is read instead of the volume if both have the same entries.

Does NOT read what it opens (see `files`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gitchain.errors import GitchainError, ProjectError
from gitchain.evidence.names import MAX_NAME_BYTES, check_name

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: opening a pipe must not wait for a writer."""

VOLUME = "..data"
"""The link in a Kubernetes volume to the directory with its files."""

DVC_CACHE = "dvc-cache"
HUGGING_FACE = "huggingface-cache"
KUBERNETES = "kubernetes-volume"
"""The kinds of links that are followed (`gitchain.collect.links`)."""

_SHOWN = 200


def check_path_name(name: str) -> str:
    """Return the name if a statement may contain it. Raises ProjectError with the name escaped."""
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


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path that opening `path` would use now, with every link resolved but a last component's.

    So `link/../x` is what the kernel opens, and no link that changes later leads elsewhere. The path need not exist.
    """
    given = Path.cwd() / path
    if given.name in {"", ".."}:
        return Path(os.path.realpath(given))
    return Path(os.path.realpath(given.parent)) / given.name


def climbed(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path with each `..` resolved as the kernel does: from the target of a link before it.

    Other links stay, to be refused by name where the path is opened.
    """
    found = Path.cwd()
    for part in Path(path).parts:
        found = Path(os.path.realpath(found)).parent if part == ".." else found / part
    return found


@contextmanager
def opened(root: str, parts: list[str], name: str, volumes: list[str] | None = None) -> Iterator[int]:
    """Open the directory below root, part by part, so that no part can be a link but an entry of a Kubernetes volume.

    `volumes` takes in the parts that were such entries.
    """
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            if volumes is not None and is_volume_link(part, handle):
                volumes.append(part)
            deeper = _enter(part, handle, name)
            os.close(handle)
            handle = deeper
        yield handle
    finally:
        os.close(handle)


def _enter(part: str, parent: int, name: str) -> int:
    if not is_volume_link(part, parent):
        return open_at(part, OPEN_DIRECTORY, parent, name)
    behind = open_at(volume_directory(parent, name) or "", OPEN_DIRECTORY, parent, name)
    try:
        return open_at(part, OPEN_DIRECTORY, behind, name)
    finally:
        os.close(behind)


def is_volume_link(name: str, parent: int) -> bool:
    """Return whether the entry is a link as a Kubernetes volume holds them: `NAME -> ..data/NAME`."""
    return read_link(name, parent) == f"{VOLUME}/{name}"


def read_link(name: str, parent: int) -> str | None:
    """Return the link's target, or None if the path is not a link or does not exist."""
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError:
        return None


def volume_directory(handle: int, shown: str) -> str | None:
    """Return the name of the current directory of a Kubernetes volume, or None for other directories.

    Raises ProjectError for a volume whose visible entries differ from the directory: a loader must find what is
    hashed.
    """
    behind = read_link(VOLUME, handle)
    if behind is None:
        return None
    if not behind.startswith("..") or behind == ".." or "/" in behind:
        raise refused_link(f"{shown}/{VOLUME}", behind, "it leads out of the volume")
    inner = open_at(behind, OPEN_DIRECTORY, handle, f"{shown}/{VOLUME}")
    try:
        held = set(os.listdir(inner))
    finally:
        os.close(inner)
    entries = set(os.listdir(handle)) - {VOLUME, behind}
    for name in sorted(entries | held):
        if name not in held or not is_volume_link(name, handle):
            raise refused_link(
                f"{shown}/{name}", read_link(name, handle) or "", f"{VOLUME} and the volume differ in it"
            )
    return behind


def open_at(name: str, flags: int, parent: int, shown: str) -> int:
    """Open by name in the parent. Raises ProjectError if that fails."""
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        raise unreadable(error, shown) from error


def unreadable(error: OSError, shown: str) -> ProjectError:
    """Return the ProjectError for a path that could not be opened or read."""
    if error.errno == errno.ENOENT:
        return ProjectError("no such file or directory", where=ascii(shown[:_SHOWN]), help="check the path")
    if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EMLINK}:
        return refused_link(shown)
    if error.errno == errno.ENXIO:
        return special_file(shown)
    return ProjectError(
        "file cannot be read",
        where=ascii(shown[:_SHOWN]),
        got=os.strerror(error.errno or 0).lower(),
        help="give this user access to the file and try again",
    )


def refused_link(shown: str, target: str = "", why: str = "") -> ProjectError:
    """Return the ProjectError for a symbolic link of no kind that is followed, with the reason where there is one."""
    got = ascii(target[:_SHOWN]) if target else ""
    return ProjectError(
        "symbolic link is not followed",
        where=ascii(shown[:_SHOWN]),
        expected="a file or directory, or a link inside DVC's cache, a Hugging Face cache or a Kubernetes volume",
        got=": ".join(part for part in (got, why) if part),
        help="name the file that it points to, or replace the link with a copy",
    )


def special_file(shown: str) -> ProjectError:
    """Return the ProjectError for a socket, device or pipe."""
    return ProjectError(
        "not a regular file",
        where=ascii(shown[:_SHOWN]),
        expected="a file or directory",
        help="name a file or directory; devices, pipes and sockets are not read",
    )
