"""Tiles: the paths and layouts of C2SP tlog-tiles, and proofs straight from tiles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import GitchainError, InclusionError, LimitError, MalformedError
from gitchain.evidence import merkle
from gitchain.evidence.tile import (
    MAX_ENTRY_BYTES,
    WIDTH,
    TileId,
    decode_entries,
    decode_tile,
    encode_entries,
    parse_path,
    tile_reader,
    tile_width,
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (TileId(0, 0).path(), "tile/0/000"),
        (TileId(0, 1234067).path(), "tile/0/x001/x234/067"),
        (TileId(1, 999, 5).path(), "tile/1/999.p/5"),
        (TileId(1, 1000, 255).path(), "tile/1/x001/000.p/255"),
        (TileId(None, 1234067, 12).path(), "tile/entries/x001/x234/067.p/12"),
        (TileId(None, 0, 256).path(), "tile/entries/000"),
    ],
)
def test_paths(path: str, expected: str) -> None:
    """Positions are grouped in threes, all but the last with an x; partial tiles say their width."""
    assert path == expected


@given(st.one_of(st.none(), st.integers(0, 7)), st.integers(0, 2**55 - 1), st.integers(1, 256))
def test_parse_undoes_path(level: int | None, index: int, width: int) -> None:
    """parse(path(x)) is x for every tile."""
    tile = TileId(level, index, width)
    assert parse_path(tile.path()) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/x234",
        "tile/0/001/234",
        "tile/8/000",
        "tile/-1/000",
        "tile/00/000",
        "tile/entry/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/05",
        "tile/0/000.p/",
        "tile/0/000.p",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/000\n",
        "tile/0/../0/000",
        "tile/0/٠٠٠",
        "tile/0/" + "x999/" * 100 + "999",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    """A tile has one path."""
    with pytest.raises(MalformedError):
        parse_path(path)


@given(st.text(max_size=40))
def test_any_path_is_refused_cleanly(path: str) -> None:
    """Arbitrary text raises MalformedError and nothing else."""
    with pytest.raises(MalformedError):
        parse_path(path)


def test_impossible_tiles_are_refused() -> None:
    """Levels, positions and widths are bounded."""
    for level, index, width in ((8, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 2**60, 1), (0, 0, 0), (0, 0, 257)):
        with pytest.raises(MalformedError):
            TileId(level, index, width).path()


@pytest.mark.parametrize(
    ("level", "index", "size", "width"),
    [
        (0, 0, 0, 0),
        (0, 0, 1, 1),
        (0, 0, 256, 256),
        (0, 1, 256, 0),
        (0, 1, 300, 44),
        (1, 0, 255, 0),
        (1, 0, 70000, 256),
        (1, 1, 70000, 17),
        (2, 0, 70000, 1),
        (None, 1, 300, 44),
    ],
)
def test_widths(level: int | None, index: int, size: int, width: int) -> None:
    """How full a tile is follows from the size of the log alone."""
    assert tile_width(level, index, size) == width


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_decode_undoes_encode(entries: list[bytes]) -> None:
    """Entries come back as they were, and only with their true number."""
    data = encode_entries(entries)
    assert decode_entries(data, len(entries)) == tuple(entries)
    for wrong in (len(entries) - 1, len(entries) + 1):
        with pytest.raises(MalformedError):
            decode_entries(data, wrong)


@given(st.binary(max_size=100), st.integers(0, 4))
def test_any_bundle_reads_back_or_is_refused(data: bytes, width: int) -> None:
    """Whatever decodes is what encodes to the same bytes; the rest is refused."""
    try:
        entries = decode_entries(data, width)
    except GitchainError:
        return
    assert b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries) == data


def test_truncated_bundles_are_refused() -> None:
    """Each proper prefix of a bundle is refused, and so is a byte more."""
    data = encode_entries([b"one", b"", b"three"])
    for bad in (*(data[:cut] for cut in range(len(data))), data + b"\x00"):
        with pytest.raises(MalformedError):
            decode_entries(bad, 3)


def test_encode_limits() -> None:
    """No bundle is empty or over-full, no entry longer than its length field can say."""
    assert decode_entries(encode_entries([b"x" * MAX_ENTRY_BYTES]), 1) == (b"x" * MAX_ENTRY_BYTES,)
    assert decode_entries(encode_entries([b""] * WIDTH), WIDTH) == (b"",) * WIDTH
    for bad in ([], [b""] * (WIDTH + 1), [b"x" * (MAX_ENTRY_BYTES + 1)]):
        with pytest.raises(LimitError):
            encode_entries(bad)


def test_tile_of_another_length_is_refused() -> None:
    """A tile is exactly its width in hashes."""
    assert decode_tile(bytes(64), 2) == (bytes(32), bytes(32))
    for bad in (b"", bytes(63), bytes(96)):
        with pytest.raises(MalformedError):
            decode_tile(bad, 2)


def tiles_of(leaves: list[bytes]) -> dict[str, bytes]:
    """Every tile of the log, full and partial, from completed_by()."""
    stored: dict[tuple[int, int], bytes] = {}
    for index, leaf in enumerate(leaves):
        for level, position, value in merkle.completed_by(
            index, leaf, lambda level, index: stored[level, index]
        ):
            stored[level, position] = value
    made: dict[str, bytes] = {}
    for level in range(8):
        for index in range((len(leaves) >> 8 * level) // WIDTH + 1):
            width = tile_width(level, index, len(leaves))
            if width:
                hashes = [stored[8 * level, index * WIDTH + item] for item in range(width)]
                made[TileId(level, index, width).path()] = b"".join(hashes)
    return made


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1000, 66_000])
def test_proofs_from_tiles(size: int) -> None:
    """Roots and proofs made from tiles verify, fetching each tile once."""
    leaves = [merkle.leaf_hash(b"%d" % number) for number in range(size)]
    tiles = tiles_of(leaves)
    fetched: list[str] = []

    def fetch(tile: TileId) -> bytes:
        fetched.append(tile.path())
        return tiles[tile.path()]

    read = tile_reader(size, fetch)
    root = merkle.root_hash(leaves)
    assert merkle.tree_root(size, read) == root
    for index in {0, size // 3, size - 1}:
        proof = merkle.inclusion_proof(index, size, read)
        merkle.verify_inclusion(index=index, size=size, leaf=leaves[index], proof=proof, root=root)
    for old in {1, size // 2, size - 1} - {0}:
        merkle.verify_consistency(
            old_size=old,
            new_size=size,
            old_root=merkle.root_hash(leaves[:old]),
            new_root=root,
            proof=merkle.consistency_proof(old, size, read),
        )
    assert len(fetched) == len(set(fetched)) <= 16


def test_reader_refuses_what_the_log_does_not_have() -> None:
    """A hash beyond the size, a negative one, and a tile cut short are errors, not wrong proofs."""
    leaves = [merkle.leaf_hash(b"%d" % number) for number in range(5)]
    read = tile_reader(5, lambda _: b"".join(leaves))
    assert read(2, 0) == merkle.root_hash(leaves[:4])
    for level, index in ((0, 5), (2, 1), (3, 0), (-1, 0), (0, -1)):
        with pytest.raises(InclusionError):
            read(level, index)
    with pytest.raises(MalformedError):
        tile_reader(5, lambda _: b"".join(leaves[:4]))(0, 0)
