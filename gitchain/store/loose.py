"""Write many loose objects at once: as durable as one by one, with fewer flushes.

objects/<aa>/<38 or 62 hex> = zlib("<kind> <length>" NUL <bytes>)

An attestation consists of about a dozen small objects. All are written to temporary files, then flushed, then
renamed, then their directories are flushed: an object's name exists only after its bytes are durable. Temporary files
of a killed writer are named `tmp_obj_*`, and `git gc` deletes them.

Format: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects. Existing objects are neither read nor searched.
"""

from __future__ import annotations

import os
import secrets
import threading
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path

from gitchain.platform.files import write_all
from gitchain.store.tree_paths import NewObject

FASTEST = 1  # zlib level of git for loose objects: packing improves it later
FLUSHERS = 4  # a higher number gains nothing: the journal commits for all waiting flushes
MAX_OPEN = 128  # open files at a time, well below the usual limit of descriptors


def write_loose(objects: Path, new: Iterable[NewObject]) -> None:
    """Write objects durably to a repository's `objects` directory. Raises OSError, without partially written objects."""
    items = iter(new)
    moves: list[tuple[Path, Path]] = []
    try:
        while batch := list(islice(items, MAX_OPEN)):
            _write_aside(objects, batch, moves)
        _place(objects, moves)
    finally:
        for path, _ in moves:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _write_aside(objects: Path, batch: Sequence[NewObject], moves: list[tuple[Path, Path]]) -> None:
    """Write and flush objects to temporary files; add pairs of temporary and final path to `moves`."""
    with ExitStack() as stack:
        descriptors = []
        for item in batch:
            path = objects / f"tmp_obj_{secrets.token_hex(8)}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            stack.callback(os.close, descriptor)
            moves.append((path, objects / item.oid[:2] / item.oid[2:]))
            write_all(descriptor, zlib.compress(item.hashed, FASTEST))
            descriptors.append(descriptor)
            with suppress(OSError, AttributeError):  # start writing: the first commit then covers all files
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        flush_all(descriptors)


def _place(objects: Path, moves: Iterable[tuple[Path, Path]]) -> None:
    directories: dict[Path, None] = {}
    for path, target in moves:
        with suppress(FileExistsError):
            target.parent.mkdir()
            directories[objects] = None
        path.rename(target)
        directories[target.parent] = None
    with ExitStack() as stack:
        descriptors = []
        for directory in directories:
            descriptors.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            stack.callback(os.close, descriptors[-1])
        flush_all(descriptors)


def flush_all(descriptors: Sequence[int]) -> None:
    """Flush files or directories in parallel, so that they share journal commits. Raises OSError.

    Each gets its own fsync, and all have ended when this returns or raises.
    """
    left = deque(descriptors)
    failures: list[OSError] = []

    def work() -> None:
        while not failures:
            try:
                os.fsync(left.popleft())
            except IndexError:
                return
            except OSError as error:
                failures.append(error)

    with ExitStack() as stack:
        for _ in range(min(FLUSHERS, len(descriptors)) - 1):
            helper = threading.Thread(target=work, name="gitchain-flush")
            try:
                helper.start()
            except RuntimeError:  # no thread is available: this one flushes all
                break
            stack.callback(helper.join)
        work()
    if failures:
        raise failures[0]
