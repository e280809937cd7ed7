"""Hash files and trees of files in one pass, and follow only known kinds of links.

Every directory is opened from its parent's handle and every file from its directory's, without following
links, so that no file can be replaced by a link between check and read. Three kinds of links are
followed: into DVC's own cache (DVC's `symlink` cache type), and only if the bytes have the MD5 that its
target is named by; of a snapshot in a Hugging Face cache (`gitchain.collect.links`); and the entries of a
Kubernetes volume (`gitchain.collect.paths`). The files are hashed as if they were where the links are.

Refused, by name: other symlinks, sockets, devices and pipes; names that `evidence.names` refuses; files
that change while they are read; pointers of Git LFS and git-annex. Empty directories do not count, as in DVC.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING

from gitchain.collect.file_digests import BUFFER, FileHasher, FilePlace, HashedFile, Progress, changed
from gitchain.collect.paths import (
    KUBERNETES,
    OPEN_DIRECTORY,
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
from gitchain.errors import LimitError

if TYPE_CHECKING:
    from gitchain.collect.dvc_cache import CacheLinks
    from gitchain.collect.hash_cache import StateCache
    from gitchain.collect.links import AllowedLinks, FollowedLink
    from gitchain.collect.shares import Share

MAX_TREE_FILES = 10_000_000
"""Most files of one tree: what a manifest may hold."""

MIN_SHARED = 4_000
"""Fewest small files that are divided among processes: below, starting one costs more than it saves."""

MAX_THREADS = 4
"""Most large files that are hashed at once: four cores already hash faster than most disks read."""

MAX_TREE_DEPTH = 256
"""Deepest tree: each level holds one open handle."""


@dataclass(slots=True)
class _CountedDirectory:
    """One directory as it was counted: names with sizes, and the links among them with their targets."""

    name: str
    files: list[tuple[str, int]] = field(default_factory=list)
    links: dict[str, FollowedLink] = field(default_factory=dict)
    volume: str | None = None
    """The directory that replaces this one in a Kubernetes volume."""
    below: list[_CountedDirectory] = field(default_factory=list)


def hash_path(
    root: str,
    name: str,
    *,
    state: StateCache | None = None,
    links: CacheLinks | None = None,
    progress: Progress | None = None,
    md5: bool = True,
    threads: int | None = None,
) -> HashedFile | tuple[HashedFile, ...]:
    """Return the file at `name` below `root`, or every file of the directory there, sorted by path.

    Without `md5`, only links into DVC's cache have one. Up to `threads` large files of a directory are read at once, by
    default one for each processor, up to MAX_THREADS. Raises ProjectError for what is missing, refused or unreadable,
    LimitError beyond the limits.
    """
    check_path_name(name)

    @cache
    def followed() -> AllowedLinks:
        from gitchain.collect.links import AllowedLinks

        return AllowedLinks(root, links)

    *parents, last = name.split("/")
    volumes: list[str] = []
    with (
        FileHasher(
            root, md5=md5, threads=threads or _threads(), state=state, links=followed, progress=progress
        ) as hasher,
        opened(root, parents, name, volumes) as parent,
    ):
        reader = _TreeReader(name, hasher, followed, progress)
        try:
            info = os.stat(last, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            raise unreadable(error, name) from error
        if stat.S_ISLNK(info.st_mode) and is_volume_link(last, parent):
            return _of_volume(reader.in_volume(last, parent))
        found = reader.tree(last, parent) if stat.S_ISDIR(info.st_mode) else reader.single(last, parent, info)
        return _of_volume(found) if volumes else found


def _threads() -> int:
    return min(os.cpu_count() or 1, MAX_THREADS)


def _of_volume(found: HashedFile | tuple[HashedFile, ...]) -> HashedFile | tuple[HashedFile, ...]:
    if isinstance(found, HashedFile):
        return found._replace(followed=KUBERNETES)
    return tuple(file._replace(followed=KUBERNETES) for file in found)


class _TreeReader:
    def __init__(
        self, name: str, hasher: FileHasher, links: Callable[[], AllowedLinks], progress: Progress | None
    ) -> None:
        self._name = name
        self._hasher = hasher
        self._links = links
        self._progress = progress
        self._found = 0

    def single(self, last: str, parent: int, info: os.stat_result) -> HashedFile:
        link = self._links().follow(last, parent, self._name) if stat.S_ISLNK(info.st_mode) else None
        if self._progress is not None:
            self._progress.total(1, _size(link, self._name) if link is not None else info.st_size)
        return self._hasher.digests(self._hasher.open(FilePlace("", self._name, last, parent, link)))

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
            raise changed(shown)

    def tree(self, last: str, parent: int) -> tuple[HashedFile, ...]:
        counted = self._count(last, parent, self._name, 0)
        if self._progress is not None:
            self._progress.total(*_totals(counted))
        small = _small(counted)
        found = self._whole(counted, parent) if small < MIN_SHARED else self._shared(counted, parent, small)
        found.sort(key=lambda file: file.path.encode())
        return tuple(found)

    def _whole(self, counted: _CountedDirectory, parent: int) -> list[HashedFile]:
        found: list[HashedFile] = []
        self._read(counted, parent, "", None, self._hasher, found)
        return found

    def _shared(self, counted: _CountedDirectory, parent: int, small: int) -> list[HashedFile]:
        """Hash a tree with this number of small files in this process and in copies of it, which end with it."""
        from gitchain.collect.shares import Share, processes
        from gitchain.platform.forked import ForkedCall

        if (of := processes(small)) == 1:
            return self._whole(counted, parent)
        found: list[HashedFile] = []
        copies: list[ForkedCall[list[HashedFile]]] = []
        try:
            shares = (Share(process, of) for process in range(1, of))
            copies.extend(ForkedCall(partial(self._part, counted, parent, share)) for share in shares)
            self._read(counted, parent, "", Share(0, of), self._hasher, found)
            while copies:
                more = [HashedFile(*file) for file in copies[-1].result()]
                copies.pop()
                if self._progress is not None:
                    self._progress.advance(len(more), sum(file.size for file in more))
                found += more
        finally:
            for copy in copies:
                copy.stop()
        return found

    def _part(self, counted: _CountedDirectory, parent: int, share: Share) -> list[HashedFile]:
        """Hash one share, in a copy of the process: without progress, and without the cache, which has no small files."""
        found: list[HashedFile] = []
        self._read(counted, parent, "", share, self._hasher.for_small_files(), found)
        return found

    def _count(self, name: str, parent: int, path: str, depth: int) -> _CountedDirectory:
        if depth > MAX_TREE_DEPTH:
            raise LimitError(
                "directory is too deep", where=self._name, expected=f"at most {MAX_TREE_DEPTH} levels"
            )
        tree = _CountedDirectory(name)
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

    def _entry(
        self, entry: os.DirEntry[str], handle: int, path: str, tree: _CountedDirectory, depth: int
    ) -> None:
        if entry.is_file(follow_symlinks=False):
            tree.files.append((entry.name, entry.stat(follow_symlinks=False).st_size))
        elif entry.is_dir(follow_symlinks=False):
            tree.below.append(self._count(entry.name, handle, path, depth + 1))
            return
        elif entry.is_symlink():
            link = self._links().follow(entry.name, handle, path)
            tree.links[entry.name] = link
            tree.files.append((entry.name, _size(link, path)))
        else:
            raise special_file(path)
        self._found += 1
        if self._found > MAX_TREE_FILES:
            raise LimitError(
                "directory has too many files", where=self._name, expected=f"at most {MAX_TREE_FILES}"
            )

    def _read(
        self,
        tree: _CountedDirectory,
        parent: int,
        prefix: str,
        share: Share | None,
        hasher: FileHasher,
        found: list[HashedFile],
    ) -> None:
        here = f"{self._name}/{prefix}"
        shown, start = here.rstrip("/"), len(found)
        outer = open_at(tree.name, OPEN_DIRECTORY, parent, shown)
        handle = outer
        try:
            if tree.volume is not None:
                handle = open_at(tree.volume, OPEN_DIRECTORY, outer, shown)
            found += hasher.several(
                FilePlace(prefix + name, here + name, name, handle, tree.links.get(name))
                for name in (
                    [name for name, _ in tree.files] if share is None else share.take(tree.files, tree.links)
                )
            )
            for below in tree.below:
                self._read(below, handle, f"{prefix}{below.name}/", share, hasher, found)
            if tree.volume is not None:
                self._check_volume(tree.volume, outer, shown)
                found[start:] = [file._replace(followed=KUBERNETES) for file in found[start:]]
        finally:
            os.close(handle)
            if handle != outer:
                os.close(outer)


def _replaced(old: int, new: int) -> int:
    os.close(old)
    return new


def _size(link: FollowedLink, shown: str) -> int:
    try:
        return os.stat(link.path, follow_symlinks=False).st_size
    except OSError as error:
        raise refused_link(shown, link.text, "it leads to nothing") from error


def _small(tree: _CountedDirectory) -> int:
    return sum(size < BUFFER for _, size in tree.files) + sum(map(_small, tree.below))


def _totals(tree: _CountedDirectory) -> tuple[int, int]:
    files, size = len(tree.files), sum(size for _, size in tree.files)
    for below in tree.below:
        more = _totals(below)
        files, size = files + more[0], size + more[1]
    return files, size
