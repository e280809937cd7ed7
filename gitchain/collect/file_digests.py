"""The digests of one open file, which must not change while it is read.

SHA-256 is always computed. MD5, DVC's digest, costs more than SHA-256 does where the processor has instructions for the
latter (bench/verify_model.py), so it is computed, in the same read, only where it is compared or recorded.

A pointer file, which Git LFS and git-annex leave where the content was not fetched, names the content and is not it: it
is refused, as no statement may be about a pointer as if it were the model.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from gitchain.collect.links import DVC_CACHE, AllowedLinks, FollowedLink
from gitchain.collect.paths import OPEN_FILE, open_at, read_link, special_file, unreadable
from gitchain.errors import ProjectError
from gitchain.evidence.digest import Sha256

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from gitchain.collect.hash_cache import StateCache

BUFFER = 1024 * 1024
"""1 MiB: within 2 % of the best read size on every file system measured."""

MAX_POINTER_BYTES = 1024
"""Largest pointer: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md; git-annex has one line of a path."""

_LFS = re.compile(
    rb"(?:\xef\xbb\xbf)?version https?://(?:git-lfs\.github\.com/spec|hawser\.github\.com/spec|git-media\.io)/v[0-9]+\r?\n"
    rb"(?:.*\n)*?oid [a-z0-9]+:[0-9a-f]{40,128}\r?\n"
)
_ANNEX = re.compile(rb"/annex/objects/[^\n]+\n?")


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

    `md5` is computed for every file, or only for links into DVC's cache. Up to `threads` large files are read at once,
    one with `state`, the hash cache of one thread.
    """

    def __init__(
        self,
        root: str,
        *,
        md5: bool,
        threads: int,
        state: StateCache | None,
        links: AllowedLinks,
        progress: Progress | None,
    ) -> None:
        self._root = root
        self._md5 = md5
        self._threads = threads if state is None else 1
        self._state = state
        self._links = links
        self._progress = progress
        self._lock = Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown()

    def several(self, files: Iterable[FilePlace]) -> list[HashedFile]:
        """Return the digests of these files, in this order; the open directories are not used afterwards.

        At most twice as many files as threads are open at once.
        """
        found: list[HashedFile | Future[HashedFile]] = []
        waiting: deque[Future[HashedFile]] = deque()
        try:
            for place in files:
                file = self.open(place)
                if self._threads < 2 or file.before.st_size < BUFFER:
                    found.append(self.digests(file))
                    continue
                waiting.append(self._submit(file))
                found.append(waiting[-1])
                if len(waiting) == 2 * self._threads:
                    waiting.popleft().result()
            return [one if isinstance(one, HashedFile) else one.result() for one in found]
        except BaseException:
            self._stopped = True
            raise
        finally:
            for one in waiting:
                one.exception()  # waits, as threads use the directory's handle

    def for_small_files(self) -> FileHasher:
        """Return a hasher for another process: without progress, threads and the cache, which keeps no small files."""
        return FileHasher(self._root, md5=self._md5, threads=1, state=None, links=self._links, progress=None)

    def _submit(self, file: OpenFile) -> Future[HashedFile]:
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(self._threads)
        try:
            return self._executor.submit(self.digests, file)
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
        path, shown, name, parent, link = file.place
        try:
            sha256, md5 = self._known(file)
        except OSError as error:
            raise unreadable(error, shown) from error
        finally:
            os.close(file.handle)
        if link is not None:
            self._links.check(link, md5, shown)
            if read_link(name, parent) != link.text:
                raise changed(shown)
        executable = bool(file.before.st_mode & stat.S_IXUSR)
        followed = link.kind if link is not None and link.kind != DVC_CACHE else ""
        return HashedFile(path, executable, file.before.st_size, sha256, md5, followed)

    def _known(self, file: OpenFile) -> tuple[Sha256, str]:
        if self._state is None:
            return self._read(file)
        path = os.path.join(self._root, file.place.shown)
        known = self._state.get(path, file.before)
        if known is not None:
            self._advance(1, file.before.st_size)
            return known
        sha256, md5 = self._read(file)
        self._state.put(path, file.before, sha256, md5)
        return sha256, md5

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
        if size != file.before.st_size or _moved(file.before, os.fstat(file.handle)):
            raise changed(file.place.shown)
        self._advance(1, len(data))
        return Sha256(sha256.hexdigest()), "" if md5 is None else md5.hexdigest()

    def _large(self, file: OpenFile, updates: Sequence[Callable[[memoryview], None]]) -> int:
        """Return how many bytes were read: at least one more than there were before, if the file grows."""
        buffer, size = memoryview(bytearray(BUFFER)), 0
        while size <= file.before.st_size and (read := os.readv(file.handle, [buffer])):
            for update in updates:
                update(buffer[:read])
            size += read
            self._advance(0, read)
            if self._stopped:
                break  # another file cannot be read: the size tells that this one was not read to its end
        return size

    def _advance(self, files: int, size: int) -> None:
        if self._progress is not None:
            with self._lock:
                self._progress.advance(files, size)


def _checked(handle: int, shown: str) -> os.stat_result:
    """Return the stat of a regular file; pointers are looked for here, as remembered digests do not tell them."""
    try:
        found = os.fstat(handle)
        if found.st_size <= MAX_POINTER_BYTES and stat.S_ISREG(found.st_mode):
            check_no_pointer(os.pread(handle, MAX_POINTER_BYTES, 0), shown)
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


def _moved(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def check_no_pointer(data: bytes, shown: str) -> None:
    """Raise ProjectError, with the command that gets the content, if the bytes of a small file are a pointer."""
    if len(data) > MAX_POINTER_BYTES:
        return
    if _LFS.match(data):
        kind, fetch = "Git LFS", "git lfs pull"
    elif _ANNEX.fullmatch(data):
        kind, fetch = "git-annex", "git annex get"
    else:
        return
    raise ProjectError(
        f"file is a {kind} pointer, not the content",
        where=ascii(shown[:200]),
        expected="the content that the pointer names",
        help=fetch,
    )
