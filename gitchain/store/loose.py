"""Loose objects, written many at a time: as durable as one by one, at a fraction of the flushes.

    objects/<aa>/<38 or 62 hex> = zlib("<kind> <length>" NUL <bytes>)

An attestation makes about a dozen small objects. All are written aside, then flushed, then renamed into
place, then their directories are flushed: an object's name never stands for bytes that a power failure
could still take away. What a killed writer leaves aside is named `tmp_obj_*`, which `git gc` prunes.

Format: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects. Does not read, and does not look for what
is there.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gitchain.store.files import sync_directory, write_all
from gitchain.store.objects import Oid

Kind = Literal["blob", "tree", "commit"]
FASTEST = 1  # zlib level, as git's for loose objects: they are packed better later


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object that may not be in the repository yet."""

    oid: Oid
    kind: Kind
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, kind: Kind, data: bytes, oid_bytes: int) -> NewObject:
        """Return the object with the id that git gives it."""
        hashed = (hashlib.sha256 if oid_bytes == 32 else hashlib.sha1)(_header(kind, data) + data)
        return cls(Oid(hashed.hexdigest()), kind, data)


def _header(kind: Kind, data: bytes) -> bytes:
    return f"{kind} {len(data)}\0".encode("ascii")


def write_loose(objects: Path, new: Iterable[NewObject]) -> None:
    """Write objects durably under a repository's `objects` directory; OSError, with none of them half-written."""
    aside: list[tuple[Path, int, Path]] = []
    try:
        for item in new:
            path = objects / f"tmp_obj_{secrets.token_hex(8)}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            aside.append((path, descriptor, objects / item.oid[:2] / item.oid[2:]))
            write_all(descriptor, zlib.compress(_header(item.kind, item.data) + item.data, FASTEST))
        _flush([descriptor for _, descriptor, _ in aside])
        _place(objects, [(path, target) for path, _, target in aside])
    finally:
        for path, descriptor, _ in aside:
            os.close(descriptor)
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _flush(descriptors: Sequence[int]) -> None:
    for (
        descriptor
    ) in descriptors:  # start all the writing, so that the first fsync's journal entry covers the others
        with suppress(OSError, AttributeError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    for descriptor in descriptors:
        os.fsync(descriptor)


def _place(objects: Path, moves: Iterable[tuple[Path, Path]]) -> None:
    directories: dict[Path, None] = {}
    for path, target in moves:
        with suppress(FileExistsError):
            target.parent.mkdir()
            directories[objects] = None
        path.rename(target)
        directories[target.parent] = None
    for directory in directories:
        sync_directory(directory)
