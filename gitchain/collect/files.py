"""Files and trees → SHA-256 and MD5, in one pass, following nothing that could lead elsewhere.

Every directory is opened from its parent's handle and every file from its directory's, without following
links, so that nothing can be swapped for a link between the look and the read. Three kinds of links are
followed: into DVC's own cache (DVC's `symlink` cache type), and only if the bytes have the MD5 that its
target is named by; of a snapshot in a Hugging Face cache (`gitchain.collect.links`); and the entries of a
Kubernetes volume (`gitchain.collect.paths`). The files are hashed as if they were where the links are.

Refused, by name: other symlinks, sockets, devices and pipes; names that `evidence.names` refuses; files
that change while they are read; pointers of Git LFS and git-annex. Empty directories do not count, as in DVC.
MD5 is for comparison with DVC's records.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gitchain.collect.dvc_cache import CacheLinks
from gitchain.collect.links import DVC_CACHE, KUBERNETES, FollowedLink, Links
from gitchain.collect.paths import (
    OPEN_DIRECTORY,
    OPEN_FILE,
    VOLUME,
    check_path_name,
    is_volume_link,
    open_at,
    opened,
    read_link,
    refused_link,
    special_file,
    unreadable,
    volume_directory,
)
from gitchain.collect.pointers import MAX_POINTER_BYTES, check_no_pointer
from gitchain.errors import LimitError, ProjectError

if TYPE_CHECKING:
    from gitchain.collect.hash_cache import StateCache

BUFFER = 1024 * 1024
"""1 MiB: within 2 % of the best read size on every file system measured."""

MAX_TREE_FILES = 10_000_000
"""Most files of one tree: what a manifest may hold."""

MAX_TREE_DEPTH = 256
"""Deepest tree: each level holds one open handle."""


class HashedFile(NamedTuple):
    """One file, by its path below the root that was hashed ("" for the root itself if that is a file)."""

    path: str
    executable: bool
    size: int
    sha256: str
    md5: str
    followed: str = ""
    """The kind of link that led to it (`gitchain.collect.links`), "" for a file that is where it was named."""


class Progress(Protocol):
    """Hears how far hashing is: the true total first, then each file."""

    def total(self, files: int, size: int) -> None:
        """Hear that this many files and bytes more will be read."""

    def advance(self, files: int, size: int) -> None:
        """Hear that this many files and bytes have been read."""


@dataclass(slots=True)
class _Tree:
    """One directory as it was counted: names with sizes, and the links among them with their targets."""

    name: str
    files: list[tuple[str, int]] = field(default_factory=list)
    links: dict[str, FollowedLink] = field(default_factory=dict)
    volume: str | None = None
    """The directory that replaces this one in a Kubernetes volume."""
    below: list[_Tree] = field(default_factory=list)


def hash_path(
    root: str,
    name: str,
    *,
    state: StateCache | None = None,
    links: CacheLinks | None = None,
    progress: Progress | None = None,
) -> HashedFile | tuple[HashedFile, ...]:
    """Return the file at `name` below `root`, or every file of the directory there, sorted by path.

    Raises ProjectError for what is missing, refused or unreadable, LimitError beyond the limits.
    """
    check_path_name(name)
    reader = _Hasher(root, name, state, Links(root, links), progress)
    *parents, last = name.split("/")
    volumes: list[str] = []
    with opened(root, parents, name, volumes) as parent:
        try:
            info = os.stat(last, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            raise unreadable(error, name) from error
        if stat.S_ISLNK(info.st_mode) and is_volume_link(last, parent):
            return _of_volume(reader.in_volume(last, parent))
        found = reader.tree(last, parent) if stat.S_ISDIR(info.st_mode) else reader.single(last, parent, info)
        return _of_volume(found) if volumes else found


def _of_volume(found: HashedFile | tuple[HashedFile, ...]) -> HashedFile | tuple[HashedFile, ...]:
    if isinstance(found, HashedFile):
        return found._replace(followed=KUBERNETES)
    return tuple(file._replace(followed=KUBERNETES) for file in found)


class _Hasher:
    def __init__(
        self, root: str, name: str, state: StateCache | None, links: Links, progress: Progress | None
    ) -> None:
        self._root = root
        self._name = name
        self._state = state
        self._links = links
        self._progress = progress
        self._reported_bytes = 0  # bytes of the file being read that progress has heard of
        self._buffer = memoryview(bytearray(0))
        self._found = 0

    def single(self, last: str, parent: int, info: os.stat_result) -> HashedFile:
        link = self._links.follow(last, parent, self._name) if stat.S_ISLNK(info.st_mode) else None
        if self._progress is not None:
            self._progress.total(1, _size(link, self._name) if link is not None else info.st_size)
        return self._file("", self._name, last, parent, link)

    def in_volume(self, last: str, parent: int) -> HashedFile | tuple[HashedFile, ...]:
        """Hash an entry of a Kubernetes volume, a file or a directory."""
        behind = volume_directory(parent, self._name) or ""
        inner = open_at(behind, OPEN_DIRECTORY, parent, self._name)
        try:
            info = os.stat(last, dir_fd=inner, follow_symlinks=False)
            found = self.tree(last, inner) if stat.S_ISDIR(info.st_mode) else self.single(last, inner, info)
        finally:
            os.close(inner)
        self._check_volume(behind, parent, self._name)
        return found

    def _check_volume(self, behind: str, handle: int, shown: str) -> None:
        if read_link(VOLUME, handle) != behind:
            raise _changed(shown)

    def tree(self, last: str, parent: int) -> tuple[HashedFile, ...]:
        counted = self._count(last, parent, self._name, 0)
        if self._progress is not None:
            self._progress.total(*_totals(counted))
        found: list[HashedFile] = []
        self._read(counted, parent, "", found)
        found.sort(key=lambda file: file.path.encode())
        return tuple(found)

    def _count(self, name: str, parent: int, path: str, depth: int) -> _Tree:
        if depth > MAX_TREE_DEPTH:
            raise LimitError(
                "directory is too deep", where=self._name, expected=f"at most {MAX_TREE_DEPTH} levels"
            )
        tree = _Tree(name)
        handle = open_at(name, OPEN_DIRECTORY, parent, path)
        try:
            tree.volume = volume_directory(handle, path)
            if tree.volume is not None:
                handle = _replaced(handle, open_at(tree.volume, OPEN_DIRECTORY, handle, path))
            with os.scandir(handle) as entries:
                for entry in entries:
                    self._entry(entry, handle, check_path_name(f"{path}/{entry.name}"), tree, depth)
        finally:
            os.close(handle)
        return tree

    def _entry(self, entry: os.DirEntry[str], handle: int, path: str, tree: _Tree, depth: int) -> None:
        if entry.is_file(follow_symlinks=False):
            tree.files.append((entry.name, entry.stat(follow_symlinks=False).st_size))
        elif entry.is_dir(follow_symlinks=False):
            tree.below.append(self._count(entry.name, handle, path, depth + 1))
            return
        elif entry.is_symlink():
            link = self._links.follow(entry.name, handle, path)
            tree.links[entry.name] = link
            tree.files.append((entry.name, _size(link, path)))
        else:
            raise special_file(path)
        self._found += 1
        if self._found > MAX_TREE_FILES:
            raise LimitError(
                "directory has too many files", where=self._name, expected=f"at most {MAX_TREE_FILES}"
            )

    def _read(self, tree: _Tree, parent: int, prefix: str, found: list[HashedFile]) -> None:
        here = f"{self._name}/{prefix}"
        shown, start = here.rstrip("/"), len(found)
        outer = open_at(tree.name, OPEN_DIRECTORY, parent, shown)
        handle = outer
        try:
            if tree.volume is not None:
                handle = open_at(tree.volume, OPEN_DIRECTORY, outer, shown)
            for name, _ in tree.files:
                found.append(self._file(prefix + name, here + name, name, handle, tree.links.get(name)))
            for below in tree.below:
                self._read(below, handle, f"{prefix}{below.name}/", found)
            if tree.volume is not None:
                self._check_volume(tree.volume, outer, shown)
                found[start:] = [file._replace(followed=KUBERNETES) for file in found[start:]]
        finally:
            os.close(handle)
            if handle != outer:
                os.close(outer)

    def _file(self, path: str, shown: str, name: str, parent: int, link: FollowedLink | None) -> HashedFile:
        """Hash one open file: its stat must be the same before and after, and a link must still lead to it."""
        handle = link.open(shown) if link is not None else open_at(name, OPEN_FILE, parent, shown)
        try:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise special_file(shown)
            if (
                before.st_size <= MAX_POINTER_BYTES
            ):  # before the digests that are remembered: they do not tell
                check_no_pointer(os.pread(handle, MAX_POINTER_BYTES, 0), shown)
            sha256, md5 = self._digests(handle, before, shown)
        except OSError as error:
            raise unreadable(error, shown) from error
        finally:
            os.close(handle)
        if link is not None:
            self._links.check(link, md5, shown)
            if read_link(name, parent) != link.text:
                raise _changed(shown)
        if self._progress is not None:
            self._progress.advance(1, before.st_size - self._reported_bytes)
            self._reported_bytes = 0
        followed = link.kind if link is not None and link.kind != DVC_CACHE else ""
        return HashedFile(path, bool(before.st_mode & stat.S_IXUSR), before.st_size, sha256, md5, followed)

    def _digests(self, handle: int, before: os.stat_result, shown: str) -> tuple[str, str]:
        if self._state is not None:
            known = self._state.get(os.path.join(self._root, shown), before)
            if known is not None:
                return known
        if before.st_size < BUFFER:
            data = os.read(handle, before.st_size + 1)
            size = len(data)
            sha256, md5 = (
                hashlib.sha256(data).hexdigest(),
                hashlib.md5(data, usedforsecurity=False).hexdigest(),
            )
        else:
            size, sha256, md5 = self._large(handle)
        after = os.fstat(handle)
        if size != before.st_size or _moved(before, after):
            raise _changed(shown)
        if self._state is not None:
            self._state.put(os.path.join(self._root, shown), after, sha256, md5)
        return sha256, md5

    def _large(self, handle: int) -> tuple[int, str, str]:
        if not self._buffer:
            self._buffer = memoryview(bytearray(BUFFER))
        sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        while read := os.readv(handle, [self._buffer]):
            sha256.update(self._buffer[:read])
            md5.update(self._buffer[:read])
            size += read
            if self._progress is not None:
                self._progress.advance(0, read)
                self._reported_bytes += read
        return size, sha256.hexdigest(), md5.hexdigest()


def _changed(shown: str) -> ProjectError:
    return ProjectError(
        "file changed while it was read", where=ascii(shown), help="try again when nothing writes to it"
    )


def _replaced(old: int, new: int) -> int:
    os.close(old)
    return new


def _size(link: FollowedLink, shown: str) -> int:
    try:
        return os.stat(link.path, follow_symlinks=False).st_size
    except OSError as error:
        raise refused_link(shown, link.text, "it leads to nothing") from error


def _totals(tree: _Tree) -> tuple[int, int]:
    files, size = len(tree.files), sum(size for _, size in tree.files)
    for below in tree.below:
        more = _totals(below)
        files, size = files + more[0], size + more[1]
    return files, size


def _moved(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )
