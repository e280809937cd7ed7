"""Tiles: the static files in which a transparency log is served and stored.

A hash tile holds up to 256 hashes of one level: hash i of the tile at level L, position N is that of the
complete subtree of 2**(8*L) leaves at position 256*N + i. An entry bundle holds up to 256 log entries, each
after its length (u16, big-endian). A tile of fewer than 256 is partial: its path ends in `.p/<width>`.

    tile/0/x001/x234/067      tile/1/000.p/5      tile/entries/x001/x234/067.p/12

Spec: https://c2sp.org/tlog-tiles. Does NOT read files: a callable fetches tiles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gitchain.errors import InclusionError, LimitError, MalformedError
from gitchain.evidence.merkle import HASH_SIZE, MAX_TREE_SIZE, Read, root_hash

HEIGHT = 8
WIDTH = 1 << HEIGHT

MAX_LEVEL = 7
"""Highest tile level: 2**(8*7) leaves a hash reach beyond 2**63 leaves."""

MAX_ENTRY_BYTES = 0xFFFF
"""Largest entry: its length is a u16 in the entry bundle."""

_PATH = re.compile(
    r"tile/(?P<level>entries|[0-7])/(?P<index>(?:x\d{3}/)*\d{3})(?:\.p/(?P<width>[1-9]\d{0,2}))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class TileId:
    """Which tile: level (None for an entry bundle), position, and how many items it holds."""

    level: int | None
    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        if self.level is not None and not 0 <= self.level <= MAX_LEVEL:
            raise MalformedError(
                "tile level is impossible", expected=f"0 to {MAX_LEVEL}", got=str(self.level)
            )
        if not 0 <= self.index <= MAX_TREE_SIZE >> HEIGHT:
            raise MalformedError("tile position is impossible", got=str(self.index))
        if not 1 <= self.width <= WIDTH:
            raise MalformedError("tile width is impossible", expected=f"1 to {WIDTH}", got=str(self.width))

    def path(self) -> str:
        """Return the path of the tile, without a leading slash."""
        level = "entries" if self.level is None else self.level
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{_position(self.index)}{partial}"


def _position(index: int) -> str:
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.append(f"x{index % 1000:03}")
    return "/".join(reversed(groups))


def parse_path(path: str) -> TileId:
    """Return the tile that the path names. Raises MalformedError unless it is the one canonical path."""
    found = _PATH.fullmatch(path) if len(path) <= 64 else None
    if found is None:
        raise MalformedError("not a tile path", expected="such as tile/0/x001/067", got=ascii(path[:80]))
    level = None if found["level"] == "entries" else int(found["level"])
    tile = TileId(level, int(found["index"].replace("x", "").replace("/", "")), int(found["width"] or WIDTH))
    if tile.path() != path:
        raise MalformedError("tile path is not canonical", expected=tile.path(), got=path)
    return tile


def tile_width(level: int | None, index: int, size: int) -> int:
    """Return how many items the tile holds in a log of `size` entries: 0 if there is none, WIDTH if full."""
    total = size >> (HEIGHT * (level or 0))
    return max(0, min(WIDTH, total - index * WIDTH))


def decode_tile(data: bytes, width: int) -> tuple[bytes, ...]:
    """Return the hashes of a tile. Raises MalformedError unless there are exactly `width`."""
    if len(data) != width * HASH_SIZE:
        raise MalformedError(
            "tile has the wrong length", expected=f"{width * HASH_SIZE} bytes", got=str(len(data))
        )
    return tuple(data[start : start + HASH_SIZE] for start in range(0, len(data), HASH_SIZE))


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """Return the bundle of 1 to WIDTH entries. Raises LimitError for an entry beyond MAX_ENTRY_BYTES."""
    if not 1 <= len(entries) <= WIDTH:
        raise LimitError(
            "entry bundle has no possible width", expected=f"1 to {WIDTH}", got=str(len(entries))
        )
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise LimitError("log entry is too large", expected=f"at most {MAX_ENTRY_BYTES} bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_entries(data: bytes, width: int) -> tuple[bytes, ...]:
    """Return the entries of a bundle. Raises MalformedError unless there are `width` and nothing else."""
    entries: list[bytes] = []
    position = 0
    while position < len(data) and len(entries) < width:
        start = position + 2
        position = start + int.from_bytes(data[position:start], "big")
        if start > len(data) or position > len(data):
            raise MalformedError("entry bundle ends inside an entry", where=f"entry {len(entries)}")
        entries.append(data[start:position])
    if position != len(data) or len(entries) != width:
        raise MalformedError("entry bundle has the wrong number of entries", expected=str(width))
    return tuple(entries)


def tile_reader(size: int, fetch: Callable[[TileId], bytes]) -> Read:
    """Return a reader of subtree hashes over the tiles of a log of `size`, for the proofs of `merkle`.

    The reader fetches each tile at most once. It raises MalformedError for a tile of the wrong length, and
    InclusionError for a hash that a log of this size does not have.
    """
    tiles: dict[tuple[int, int], tuple[bytes, ...]] = {}

    def read(level: int, index: int) -> bytes:
        if level < 0 or index < 0 or (index + 1) << level > size:
            raise InclusionError(
                "hash is not in the tree", expected=f"a tree of {size}", got=f"{level}/{index}"
            )
        tile_level, above = divmod(level, HEIGHT)
        first = index << above
        key = (tile_level, first >> HEIGHT)
        if key not in tiles:
            tile = TileId(*key, tile_width(*key, size))
            tiles[key] = decode_tile(fetch(tile), tile.width)
        offset = first & (WIDTH - 1)
        return root_hash(tiles[key][offset : offset + (1 << above)])

    return read
