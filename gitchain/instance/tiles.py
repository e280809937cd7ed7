"""The log's hash tiles and entry bundles on disk, in the C2SP tlog-tiles layout (https://c2sp.org/tlog-tiles).

    log/tile/0/000            256 hashes of leaves 0 to 255
    log/tile/0/001.p/7        the 7 hashes of leaves 256 to 262
    log/tile/entries/001.p/7  their bodies, each behind a u16 length

Nothing that a checkpoint covers is ever written again: a wider tile is a new file. Of a tile that is not full
only the widest file is kept, as the narrower ones are its beginning.
It does NOT know about checkpoints: which size counts is the caller's argument.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gitchain.errors import LimitError, MalformedError, TrustError
from gitchain.evidence.merkle import HASH_SIZE
from gitchain.evidence.tile import WIDTH, TileId, decode_entries, encode_entries, tile_width
from gitchain.instance.directory import DIRECTORY_MODE, storing, sync_directory, write_durable
from gitchain.instance.info import HELP_BROKEN
from gitchain.platform.files import read_regular

MAX_TILE_BYTES = WIDTH * (2 + 0xFFFF)
"""Of a full entry bundle whose entries are as long as they can be."""


class TileFiles:
    """Reads and writes the files of one log."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def hashes(self, tile: TileId) -> bytes:
        """Return the hashes of a stored tile. Raises TrustError if the file is damaged or gone."""
        data = self._read(tile)
        if len(data) != tile.width * HASH_SIZE:
            raise damaged(self.directory / tile.path())
        return data

    def entries(self, bundle: TileId) -> tuple[bytes, ...]:
        """Return the bodies in a stored entry bundle. Raises TrustError if the file is damaged or gone."""
        try:
            return decode_entries(self._read(bundle), bundle.width)
        except MalformedError as error:
            raise damaged(self.directory / bundle.path()) from error

    def write_hashes(self, tile: TileId, hashes: bytes) -> Path:
        """Write one hash tile and flush it; return its directory, which the caller flushes."""
        return self._write(tile, hashes)

    def write_entries(self, bundle: TileId, bodies: Sequence[bytes]) -> Path:
        """Write the entry bundle that ends in these bodies, after those it has already, and flush it.

        Return its directory, which the caller flushes.
        """
        before = bundle.width - len(bodies)
        data = self._read(replace(bundle, width=before)) if before else b""
        return self._write(bundle, data + encode_entries(bodies))

    def forget(self, tile: TileId, size: int) -> None:
        """Remove a partial tile that the tree of `size` holds wider, and every partial one of a full tile.

        A failure leaves an unused file behind and is of no consequence.
        """
        now = tile_width(tile.level, tile.index, size)
        path = self.directory / tile.path()
        with contextlib.suppress(OSError):
            if tile.width < now < WIDTH:
                path.unlink()
            elif tile.width < now:
                for leftover in path.parent.iterdir():
                    leftover.unlink()
                path.parent.rmdir()

    def _read(self, tile: TileId) -> bytes:
        path = self.directory / tile.path()
        try:
            return read_regular(path, MAX_TILE_BYTES)
        except (OSError, LimitError) as error:
            raise damaged(path) from error

    def _write(self, tile: TileId, data: bytes) -> Path:
        target = self.directory / tile.path()
        self._make(target.parent)
        write_durable(target, data)
        return target.parent

    def _make(self, directory: Path) -> None:
        if directory == self.directory or directory.is_dir():
            return
        self._make(directory.parent)
        with storing(directory):
            directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        sync_directory(directory.parent)


def damaged(path: Path) -> TrustError:
    """Return the error for a log file that is missing or not what the checkpoint covers."""
    return TrustError("the local instance's log is damaged", where=str(path), help=HELP_BROKEN)
