"""The digests of one open file, which must not change while it is read.

SHA-256 is always computed. MD5, DVC's digest, costs more than SHA-256 does where the processor has instructions for the
latter (bench/verify_model.py), so it is computed, in the same read, only where it is compared or recorded.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from operator import attrgetter
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, TypeAlias

from gitchain.collect.paths import DVC_CACHE, OPEN_FILE, open_at, read_link, special_file, unreadable
from gitchain.errors import ProjectError
from gitchain.evidence.digest import Sha256

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from gitchain.collect.hash_cache import StateCache
    from gitchain.collect.links import AllowedLinks, FollowedLink

    _Reading: TypeAlias = tuple[int, "OpenFile", Future["HashedFile"]]

BUFFER = 1024 * 1024
"""1 MiB: within 2 % of the best read size on every file system measured."""

MAX_POINTER_BYTES = 1024
"""Largest pointer: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md; git-annex has one line of a path."""

POINTER_WORDS = (b"oid", b"/annex/objects/")
"""Each pointer has one of these (`pointers`)."""

_stamp = attrgetter("st_size", "st_mtime_ns", "st_ctime_ns")

Update: TypeAlias = Callable[[memoryview], None]
"""Adds bytes to a digest, and is done with them when it returns."""


class HashedFile(NamedTuple):
    """One file, by its path below the root that was hashed ("" for the root itself if that is a file)."""

    path: str
    executable: bool
    size: int
    sha256: Sha256
    md5: str
    """MD5 in hexadecimal, "" if it was not computed."""
    followed: str = ""
    """The kind of link that led to it (`gitchain.collect.links`), "" for a file that is where it was named."""


class Progress(Protocol):
    """Hears how far hashing is: the true total first, then each file."""

    def total(self, files: int, size: int) -> None:
        """Hear that this many files and bytes more will be read."""

    def advance(self, files: int, size: int) -> None:
        """Hear that this many files and bytes have been read."""


class FilePlace(NamedTuple):
    """The place of a file below the root."""

    path: str
    """The path below what was given, "" for that itself."""
    shown: str
    """The path below the root, for messages and for the hash cache."""
    name: str
    parent: int
    """An open directory that holds `name`."""
    link: FollowedLink | None


class OpenFile(NamedTuple):
    """A file that is open for reading, with its stat before that."""

    handle: int
    before: os.stat_result
    place: FilePlace


class FileHasher:
    """Opens and hashes files below one root; a context manager that ends its threads.

    `md5` is computed for every file, or only for links into DVC's cache. Up to `threads` large files are read at once;
    while half as many are, each is read and hashed side by side (`ahead`). Only the calling thread uses `state`, the hash
    cache. `links` returns the links that may be followed, when there is one.
    """

    def __init__(
        self,
        root: str,
        *,
        md5: bool,
        threads: int,
        state: StateCache | None,
        links: Callable[[], AllowedLinks],
        progress: Progress | None,
    ) -> None:
        self._root = root
        self._md5 = md5
        self._threads = threads
        self._state = state
        self._links = links
        self._progress = progress
        self._lock = Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._large_files, self._stopped = 0, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown()

    def several(self, files: Iterable[FilePlace]) -> list[HashedFile]:
        """Return the digests of these files, in this order; the open directories are not used afterwards.

        At most twice as many files as threads are open at once.
        """
        found: dict[int, HashedFile] = {}
        waiting: deque[_Reading] = deque()
        try:
            for number, place in enumerate(files):
                file = self.open(place)
                if self._threads < 2 or file.before.st_size < BUFFER:
                    found[number] = self.digests(file)
                elif (known := self._known(file)) is not None:
                    found[number] = known
                else:
                    waiting.append((number, file, self._submit(file)))
                if len(waiting) == 2 * self._threads:
                    self._take(waiting, found)
            while waiting:
                self._take(waiting, found)
            return [found[number] for number in range(len(found))]
        except BaseException:
            self._stopped = True
            raise
        finally:
            for _, _, future in waiting:
                future.exception()  # waits, as threads use the directory's handle

    def _take(self, waiting: deque[_Reading], found: dict[int, HashedFile]) -> None:
        """Wait for the file that was submitted first."""
        number, file, future = waiting[0]
        found[number] = self._remembered(file, future.result())
        waiting.popleft()

    def for_small_files(self) -> FileHasher:
        """Return a hasher for another process: without progress, threads and the cache, which keeps no small files."""
        return FileHasher(self._root, md5=self._md5, threads=1, state=None, links=self._links, progress=None)

    def _submit(self, file: OpenFile) -> Future[HashedFile]:
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(self._threads)
        try:
            return self._executor.submit(self._hashed, file)
        except BaseException:
            os.close(file.handle)
            raise

    def open(self, place: FilePlace) -> OpenFile:
        """Open a file of a directory. Raises ProjectError unless it is a readable regular file and no pointer."""
        shown, link = place.shown, place.link
        handle = link.open(shown) if link is not None else open_at(place.name, OPEN_FILE, place.parent, shown)
        try:
            return OpenFile(handle, _checked(handle, shown), place)
        except BaseException:
            os.close(handle)
            raise

    def digests(self, file: OpenFile) -> HashedFile:
        """Hash an open file and close it. Its stat must not change meanwhile, and a link must still point to it."""
        known = self._known(file)
        return known if known is not None else self._remembered(file, self._hashed(file))

    def _known(self, file: OpenFile) -> HashedFile | None:
        """Return a file from the hash cache and close it, or None."""
        path = os.path.join(self._root, file.place.shown)
        if self._state is None or (known := self._state.get(path, file.before)) is None:
            return None
        os.close(file.handle)
        self._advance(1, file.before.st_size)
        return self._checked_link(file, *known)

    def _remembered(self, file: OpenFile, hashed: HashedFile) -> HashedFile:
        if self._state is not None:
            path = os.path.join(self._root, file.place.shown)
            self._state.put(path, file.before, hashed.sha256, hashed.md5)
        return hashed

    def _hashed(self, file: OpenFile) -> HashedFile:
        try:
            sha256, md5 = self._read(file)
        except OSError as error:
            raise unreadable(error, file.place.shown) from error
        finally:
            os.close(file.handle)
        return self._checked_link(file, sha256, md5)

    def _checked_link(self, file: OpenFile, sha256: Sha256, md5: str) -> HashedFile:
        """Return the file. Raises ProjectError if a link to it now points elsewhere."""
        path, shown, name, parent, link = file.place
        if link is not None:
            self._links().check(link, md5, shown)
        if link is not None and read_link(name, parent) != link.text:
            raise changed(shown)
        followed = link.kind if link is not None and link.kind != DVC_CACHE else ""
        executable = bool(file.before.st_mode & stat.S_IXUSR)
        return HashedFile(path, executable, file.before.st_size, sha256, md5, followed)

    def _read(self, file: OpenFile) -> tuple[Sha256, str]:
        """Return both digests. Raises ProjectError if the file changed meanwhile."""
        in_cache = file.place.link is not None and file.place.link.kind == DVC_CACHE
        with_md5, small = self._md5 or in_cache, file.before.st_size < BUFFER
        data = os.read(file.handle, file.before.st_size + 1) if small else b""
        sha256 = hashlib.sha256(data)
        md5 = hashlib.md5(data, usedforsecurity=False) if with_md5 else None
        size = (
            len(data)
            if small
            else self._large(file, [one.update for one in (sha256, md5) if one is not None])
        )
        if size != file.before.st_size or _stamp(file.before) != _stamp(os.fstat(file.handle)):
            raise changed(file.place.shown)
        self._advance(1, len(data))
        return Sha256(sha256.hexdigest()), "" if md5 is None else md5.hexdigest()

    def _large(self, file: OpenFile, updates: Sequence[Update]) -> int:
        """Return how many bytes were read: at least one more than there were before, if the file grows."""
        with self._lock:
            self._large_files += 1
            is_alone = 2 * self._large_files <= self._threads
        try:
            if is_alone:
                from gitchain.collect.read_ahead import ahead as read
            else:
                read = in_turn
            size = 0
            with closing(read(file.handle, updates, BUFFER)) as lengths:
                for length in lengths:
                    size += length
                    self._advance(0, length)
                    # If another file cannot be read, the size tells that this one was not read to its end.
                    if size > file.before.st_size or self._stopped:
                        break
            return size
        finally:
            with self._lock:
                self._large_files -= 1

    def _advance(self, files: int, size: int) -> None:
        with self._lock:
            if self._progress is not None:
                self._progress.advance(files, size)


def in_turn(handle: int, updates: Sequence[Update], size: int) -> Generator[int, None, None]:
    """Read a file to its end and update the digests, in this thread; yield how many bytes each reading had."""
    buffer = memoryview(bytearray(size))
    while length := os.readv(handle, [buffer]):
        for update in updates:
            update(buffer[:length])
        yield length


def _checked(handle: int, shown: str) -> os.stat_result:
    """Return the stat of a regular file; pointers are looked for here, as remembered digests do not tell them."""
    try:
        found = os.fstat(handle)
        if found.st_size <= MAX_POINTER_BYTES and stat.S_ISREG(found.st_mode):
            data = os.pread(handle, MAX_POINTER_BYTES, 0)
            if any(word in data for word in POINTER_WORDS):
                from gitchain.collect.pointers import check_no_pointer

                check_no_pointer(data, shown)
    except OSError as error:
        raise unreadable(error, shown) from error
    if not stat.S_ISREG(found.st_mode):
        raise special_file(shown)
    return found


def changed(shown: str) -> ProjectError:
    """Return the error for a file or link that changed while it was read."""
    return ProjectError(
        "file changed while it was read", where=ascii(shown), help="try again when nothing writes to it"
    )
