"""Write many objects at once, as one pack: a file for all instead of one for each.

git checks the pack, makes its index, and flushes both before it names them (`git index-pack`). A pack of objects that no
ref reaches yet is kept from `git gc` by a file `pack-….keep`, until the writer removes it. That of a killed writer is
removed by a later one.

Format: https://git-scm.com/docs/gitformat-pack. The objects are whole: no deltas.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
import zlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from gitchain.errors import GitchainError, StoreError, reason
from gitchain.platform.files import read_regular
from gitchain.platform.git import Git
from gitchain.store.loose import FASTEST, flush_all
from gitchain.store.tree_paths import NewObject

PACK_FROM = (
    100  # objects: fewer are written loose. The number of packs matters too, and git has the same limit
)
KEPT_BY = b"gitchain"
STALE_SECONDS = 24 * 3600  # a writer needs its pack kept for seconds

_TYPES = {"commit": 1, "tree": 2, "blob": 3}


def pack_of(items: Sequence[NewObject], oid_bytes: int) -> bytes:
    """Return a pack of these objects."""
    parts = [b"PACK" + struct.pack(">II", 2, len(items))]
    for item in items:
        parts += [_header(item), zlib.compress(item.data, FASTEST)]
    body = b"".join(parts)
    return body + (hashlib.sha256 if oid_bytes == 32 else hashlib.sha1)(body).digest()


def _header(item: NewObject) -> bytes:
    size = len(item.data)
    header = bytearray([_TYPES[item.kind] << 4 | size & 15])
    size >>= 4
    while size:
        header[-1] |= 0x80
        header.append(size & 0x7F)
        size >>= 7
    return bytes(header)


def write_pack(git: Git, objects: Path, items: Sequence[NewObject], oid_bytes: int) -> Path | None:
    """Write a pack durably to a repository's `objects` directory, and return the file that keeps it.

    Returns None if the same pack is kept by another process. Raises StoreError if the disk refuses: the pack then has no
    index, and git does not use it.
    """
    folder = objects / "pack"
    _remove_stale(folder.glob("pack-*.keep"))
    done = git.run("index-pack", "--stdin", f"--keep={KEPT_BY.decode()}", stdin=pack_of(items, oid_bytes))
    kind, _, name = done.stdout.decode("ascii", "replace").strip().partition("\t")
    kept = folder / f"pack-{name}.keep" if kind == "keep" else None
    try:
        _flush_directories(folder, objects)
    except OSError as error:
        release([kept])
        raise StoreError("cannot write a pack", where=str(folder), got=reason(error)) from error
    return kept


def _flush_directories(*places: Path) -> None:
    with ExitStack() as stack:
        descriptors = []
        for place in places:
            descriptors.append(os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            stack.callback(os.close, descriptors[-1])
        flush_all(descriptors)


def release(kept: Iterable[Path | None]) -> None:
    """Remove the files that keep packs from `git gc`."""
    for path in filter(None, kept):
        with suppress(OSError):
            path.unlink()


def _remove_stale(kept: Iterable[Path]) -> None:
    """Remove the files of writers that were killed."""
    before = time.time() - STALE_SECONDS
    for path in kept:
        with suppress(OSError, GitchainError):
            if path.lstat().st_mtime < before and read_regular(path, 100).strip() == KEPT_BY:
                path.unlink()
