"""The growing Merkle tree of the log: one partial tile per level in memory, so that an append costs O(log n).

Row 0 holds the leaf hashes, row L the roots of the complete subtrees of 256^L leaves, each cut into tiles of
256 (https://c2sp.org/tlog-tiles). Roots and proofs come from `evidence.merkle`.
It does NOT write: the caller gets the tiles that changed and stores them first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gitchain.evidence.merkle import HASH_SIZE, Read, root_hash
from gitchain.evidence.tile import HEIGHT, WIDTH, TileId, decode_tile, tile_reader

TILE_BYTES = WIDTH * HASH_SIZE


@dataclass(frozen=True, slots=True)
class Tree:
    """The tree of `size` leaves; `edge[L]` is the partial tile at the end of row L, empty if it ends full."""

    size: int
    edge: tuple[bytes, ...]

    @classmethod
    def load(cls, size: int, fetch: Callable[[TileId], bytes]) -> Tree:
        """Read the right edge of the tree of `size`."""
        ends = [_end(level, size) for level in range(_rows(size))]
        return cls(size, tuple(b"" if tile is None else fetch(tile) for tile in ends))

    def partial(self) -> tuple[TileId, ...]:
        """Return the tiles of the right edge."""
        ends = (_end(level, self.size) for level in range(len(self.edge)))
        return tuple(tile for tile in ends if tile is not None)

    def grown(self, leaves: Sequence[bytes]) -> tuple[Tree, Mapping[TileId, bytes]]:
        """Return the tree with these leaf hashes appended, and every tile that is new or wider."""
        tiles: dict[TileId, bytes] = {}
        edge = list(self.edge)
        fresh, level = list(leaves), 0
        while fresh:
            if level == len(edge):
                edge.append(b"")
            first = self.size >> (HEIGHT * (level + 1))
            row = edge[level] + b"".join(fresh)
            fresh = []
            for offset in range(0, len(row), TILE_BYTES):
                tile = row[offset : offset + TILE_BYTES]
                tiles[TileId(level, first + offset // TILE_BYTES, len(tile) // HASH_SIZE)] = tile
                if len(tile) == TILE_BYTES:
                    fresh.append(root_hash(decode_tile(tile, WIDTH)))
            edge[level] = row[len(fresh) * TILE_BYTES :]
            level += 1
        return Tree(self.size + len(leaves), tuple(edge)), tiles

    def peaks(self) -> tuple[tuple[int, int], ...]:
        """Return (level, index) of the complete subtrees that the root is made of."""
        heights = range(self.size.bit_length())
        return tuple((height, (self.size >> height) - 1) for height in heights if self.size >> height & 1)


def subtree_reader(
    tree: Tree, fetch: Callable[[TileId], bytes], known: Mapping[tuple[int, int], bytes]
) -> Read:
    """Return a reader of subtree hashes for the proofs of `evidence.merkle`; each is computed once.

    The right edge is in memory, other tiles are read with `fetch`, and `known` hashes are reused.
    """
    seen = dict(known)
    edge = {tile: tree.edge[tile.level or 0] for tile in tree.partial()}
    below = tile_reader(tree.size, lambda tile: edge[tile] if tile in edge else fetch(tile))

    def read(level: int, index: int) -> bytes:
        if (level, index) not in seen:
            seen[level, index] = below(level, index)
        return seen[level, index]

    return read


def _end(level: int, size: int) -> TileId | None:
    row = size >> (HEIGHT * level)
    return TileId(level, row // WIDTH, row % WIDTH) if row % WIDTH else None


def _rows(size: int) -> int:
    return (max(size.bit_length(), 1) - 1) // HEIGHT + 1
