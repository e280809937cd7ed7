"""The log on disk: tiles, proofs, duplicates, damage, and many writers."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gitchain.errors import LimitError, StoreError, TransportError, TrustError
from gitchain.evidence.checkpoint import Checkpoint, NoteSignature, render
from gitchain.evidence.tile import TileId
from gitchain.instance import directory as files
from tests.support.local_log import (
    KEY,
    ORIGIN,
    check_entry,
    check_history,
    check_log,
    new_log,
    on_disk,
    open_log,
    read_checkpoint,
)

BOUNDARIES = (1, 2, 3, 255, 256, 257, 511, 512, 513)


def bodies(start: int, stop: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(start, stop)]


def test_every_size_reads_back_as_c2sp(tmp_path: Path) -> None:
    """At each size across the tile boundaries a reader of its own recomputes the root from entries and from tiles."""
    log = new_log(tmp_path / "log")
    checkpoints = [log.checkpoint()]
    for size in range(2, 521):
        (entry,) = log.append(bodies(size - 1, size))
        check_entry(entry)
        assert (entry.index, entry.size) == (size - 1, size)
        checkpoints.append(entry.checkpoint)
        if size in BOUNDARIES:
            assert check_log(on_disk(log.directory), entry.checkpoint) == [b"genesis", *bodies(1, size)]
    check_history(open_log(log.directory), checkpoints)


@pytest.mark.parametrize("batch", [254, 255, 256, 511, 512, 700])
def test_batches_across_tiles(tmp_path: Path, batch: int) -> None:
    """A batch that fills and begins tiles leaves the same tree as one entry after another, and proves each entry."""
    log = new_log(tmp_path / "log")
    log.append(bodies(1, 3))
    entries = log.append(bodies(3, 3 + batch))
    for entry in entries:
        check_entry(entry)
    assert check_log(on_disk(log.directory), log.checkpoint()) == [b"genesis", *bodies(1, 3 + batch)]


@pytest.mark.slow
def test_three_rows_of_tiles(tmp_path: Path) -> None:
    """Beyond 65,536 entries the third row of tiles is right too."""
    log = new_log(tmp_path / "log")
    for start in range(1, 65_800, 5_000):
        log.append([b"%d" % number for number in range(start, min(start + 5_000, 65_800))])
    assert len(check_log(on_disk(log.directory), log.checkpoint())) == 65_800
    (entry,) = open_log(log.directory).append([b"last"])
    check_entry(entry)


def test_narrower_tiles_are_served(tmp_path: Path) -> None:
    """A client with an older checkpoint gets the beginning of a tile that has grown or is full since."""
    log = new_log(tmp_path / "log")
    log.append(bodies(1, 300))
    full = log.tile(TileId(0, 0, 256))
    assert full is not None
    assert log.tile(TileId(0, 0, 7)) == full[: 7 * 32]
    assert log.tile(TileId(None, 1, 2)) == b"\0\x09entry 256\0\x09entry 257"
    assert log.tile(TileId(0, 1, 45)) is None
    assert log.tile(TileId(1, 0, 2)) is None
    assert log.tile(TileId(None, 2, 1)) is None


def test_only_the_widest_partial_tile_is_kept(tmp_path: Path) -> None:
    """Partial tiles that a wider or a full one replaces are removed, so that the log does not grow with its square."""
    log = new_log(tmp_path / "log")
    for number in range(1, 300):
        log.append(bodies(number, number + 1))
    found = sorted(
        str(path.relative_to(log.directory)) for path in (log.directory / "tile").rglob("*") if path.is_file()
    )
    expected = [
        TileId(0, 0).path(),
        TileId(0, 1, 44).path(),
        TileId(1, 0, 1).path(),
        TileId(None, 0).path(),
        TileId(None, 1, 44).path(),
    ]
    assert found == sorted(expected)


def test_duplicate_returns_the_existing_entry(tmp_path: Path) -> None:
    """The same body, in one call, a later call or another process, is one entry."""
    log = new_log(tmp_path / "log")
    first, again = log.append([b"same", b"same"])
    (later,) = open_log(log.directory).append([b"same"])
    assert first.index == again.index == later.index == 1
    mixed = log.append([b"new", b"same", b"genesis"])
    assert [entry.index for entry in mixed] == [2, 1, 0]
    for entry in (first, later, *mixed):
        check_entry(entry)
    assert log.size() == 3


@pytest.mark.parametrize("content", [None, b"", b"not a database" * 1000])
def test_lost_or_broken_index_is_rebuilt(tmp_path: Path, content: bytes | None) -> None:
    """Duplicates are still recognised after the index is lost or overwritten."""
    log = new_log(tmp_path / "log")
    log.append(bodies(1, 300))
    log.append(bodies(1, 2))
    log._index.close()
    for path in log.directory.glob("index.db*"):
        path.unlink()
    if content is not None:
        (log.directory / "index.db").write_bytes(content)
    (entry,) = open_log(log.directory).append([b"entry 7"])
    assert entry.index == 7
    assert log.size() == 300


def test_lying_index_is_not_believed(tmp_path: Path) -> None:
    """An index that names a wrong position is checked against the tiles and thrown away."""
    log = new_log(tmp_path / "log")
    log.append(bodies(1, 5))
    log.append(bodies(1, 2))
    log._index._open().execute("UPDATE leaf SET position = 0")
    log._index._open().commit()
    (entry,) = log.append([b"entry 3"])
    assert entry.index == 3
    check_entry(entry)


def test_index_of_a_longer_log_is_thrown_away(tmp_path: Path) -> None:
    """An index that covers more than the log has is rebuilt, so that later duplicates are still recognised."""
    log = new_log(tmp_path / "log")
    log.append([b"a"])
    log._index.extend(0, [bytes([n]) * 32 for n in range(9)])
    (entry,) = log.append([b"b"])
    assert entry.index == 2
    assert log.append([b"b"]) == (entry,)


@pytest.mark.parametrize("path", ["tile/0/000.p/3", "tile/entries/000.p/3"])
@pytest.mark.parametrize("kind", ["flip", "cut", "gone"])
def test_damaged_tile_stops_the_log(tmp_path: Path, path: str, kind: str) -> None:
    """One flipped bit in an entry or a hash, or a lost file, is refused before anything is signed over it."""
    log = new_log(tmp_path / "log")
    log.append(bodies(1, 3))
    file = log.directory / path
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data if kind == "flip" else data[:-1])
    if kind == "gone":
        file.unlink()
    before = (log.directory / "checkpoint").read_bytes()
    with pytest.raises(TrustError, match="damaged") as caught:
        open_log(log.directory).append([b"next"])
    assert caught.value.help
    assert (log.directory / "checkpoint").read_bytes() == before


def test_damaged_upper_tile_is_refused_at_once(tmp_path: Path) -> None:
    """A hash tile that does not lead to the signed root is refused when the log is opened."""
    log = new_log(tmp_path / "log")
    log.append(bodies(1, 300))
    for path in ("tile/1/000.p/1", "tile/0/001.p/44"):
        file = log.directory / path
        good = file.read_bytes()
        file.write_bytes(bytes([good[0] ^ 1]) + good[1:])
        with pytest.raises(TrustError, match="damaged"):
            open_log(log.directory).checkpoint()
        file.write_bytes(good)
    assert open_log(log.directory).check() == 300


@pytest.mark.parametrize(
    "path", ["tile/0/000", "tile/entries/001", "tile/1/000.p/2", "tile/entries/002.p/88"]
)
def test_check_finds_one_wrong_bit_anywhere(tmp_path: Path, path: str) -> None:
    """A check of the whole log finds a flipped bit in old tiles and bundles, which appends do not read."""
    log = new_log(tmp_path / "log")
    log.append(bodies(1, 600))
    assert log.check() == 600
    file = log.directory / path
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    with pytest.raises(TrustError, match="damaged"):
        log.check()


def test_reading_needs_no_right_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a read-only disk the log can be read, and an append says what is wrong."""
    log = new_log(tmp_path / "log")
    genuine = os.open

    def read_only(path: str, flags: int, *rest: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "read-only file system", str(path))
        return genuine(path, flags, *rest)

    monkeypatch.setattr(os, "open", read_only)
    again = open_log(log.directory)
    assert (again.size(), again.check()) == (1, 1)
    with pytest.raises(StoreError) as caught:
        again.append([b"entry"])
    assert "read-only" in caught.value.got


def test_bit_flip_between_write_and_signature_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaf hashes are recomputed from what the disk gives back: a flipped bit is never signed."""
    log = new_log(tmp_path / "log")
    genuine = files.write_durable

    def flipping(path: Path, data: bytes) -> None:
        genuine(path, data[:-1] + bytes([data[-1] ^ 1]) if "entries" in str(path) else data)

    monkeypatch.setattr("gitchain.instance.tiles.write_durable", flipping)
    with pytest.raises(TrustError, match="damaged"):
        log.append([b"next"])
    assert open_log(log.directory).size() == 1


@pytest.mark.parametrize("content", [b"", b"junk\n", None, "other key", "other origin"])
def test_foreign_or_broken_checkpoint_is_refused(tmp_path: Path, content: bytes | str | None) -> None:
    """A log opens only at a checkpoint that its own key signed for its own origin."""
    log = new_log(tmp_path / "log")
    file = log.directory / "checkpoint"
    if content is None:
        file.unlink()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "other key":
        log._key = Ed25519PrivateKey.generate()
        file.write_text(log._sign(log._current()).text, encoding="utf-8")
    else:
        checkpoint = Checkpoint("other.invalid", 1, log._current().root)
        signature = NoteSignature(ORIGIN, log.key_id[:4], KEY.sign(checkpoint.body()))
        file.write_text(render(checkpoint, (signature,)), encoding="utf-8")
    with pytest.raises(TrustError):
        open_log(log.directory).checkpoint()


@pytest.mark.parametrize("body", [b"", b"x" * 65_536])
def test_entry_size_limits(tmp_path: Path, body: bytes) -> None:
    """An empty entry and one that a bundle cannot hold are refused, and nothing of the batch is added."""
    log = new_log(tmp_path / "log")
    with pytest.raises(LimitError):
        log.append([b"good", body])
    assert log.size() == 1


@pytest.mark.parametrize("call", range(1, 14))
def test_full_disk_at_any_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Wherever the disk refuses, the append fails as a whole, the log opens, and the next append succeeds."""
    log = new_log(tmp_path / "log")
    log.append(bodies(1, 256))
    kept = log.checkpoint()
    genuine, calls = os.fsync, 0

    def failing(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(errno.ENOSPC, "no space left on device")
        genuine(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StoreError) as caught:
        log.append(bodies(256, 600))
    assert "no space" in caught.value.got
    monkeypatch.setattr(os, "fsync", genuine)
    again = open_log(log.directory)
    entries = again.append(bodies(256, 600))
    for entry in entries:
        check_entry(entry)
    assert check_log(on_disk(log.directory), again.checkpoint()) == [b"genesis", *bodies(1, 600)]
    check_history(again, [kept])


def test_leftovers_of_a_crash_are_overwritten(tmp_path: Path) -> None:
    """Torn files beyond the checkpoint, full and partial, do not disturb the log and are replaced."""
    log = new_log(tmp_path / "log")
    log.append(bodies(1, 254))
    for path in (
        "tile/0/000",
        "tile/entries/000",
        "tile/entries/000.p/255",
        "tile/0/000.p/255",
        "checkpoint.new",
    ):
        (log.directory / path).write_bytes(b"torn")
        (log.directory / path).chmod(0o600)
    again = open_log(log.directory)
    again.append(bodies(254, 255))
    again.append(bodies(255, 258))
    assert check_log(on_disk(log.directory), again.checkpoint()) == [b"genesis", *bodies(1, 258)]


def test_held_lock_is_reported(tmp_path: Path) -> None:
    """A writer that never lets go makes the others fail with an error that says so, not hang."""
    log = new_log(tmp_path / "log")
    with (
        files.locked(log.directory / "lock"),
        pytest.raises(TransportError, match="busy"),
        files.locked(log.directory / "lock", wait=0.01),
    ):
        pass
    assert log.size() == 1


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.support.local_log import open_log
log = open_log(Path({log!r}))
for number in range({count}):
    (entry,) = log.append([b"writer %s entry %d" % (sys.argv[1].encode(), number)])
    print(entry.index, flush=True)
"""


def test_four_processes_append(tmp_path: Path) -> None:
    """Four processes with 25 appends each make 100 entries beside the genesis: none lost, none twice, all proven."""
    log = new_log(tmp_path / "log")
    code = WRITER.format(tests=str(Path(__file__).parents[2]), log=str(log.directory), count=25)
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    indexes = [int(line) for writer in writers for line in writer.communicate()[0].split()]
    assert [writer.returncode for writer in writers] == [0] * 4
    assert sorted(indexes) == list(range(1, 101))
    assert len(check_log(on_disk(log.directory), log.checkpoint())) == 101
    again = log.append([b"writer 2 entry 7"])
    check_entry(again[0])
    assert log.size() == 101


def test_forked_child_does_not_share_the_lock(tmp_path: Path) -> None:
    """A child made by fork appends beside its parent without losing an entry of either."""
    log = new_log(tmp_path / "log")
    child = os.fork()
    if child == 0:
        try:
            for number in range(10):
                log.append([b"child %d" % number])
        finally:
            os._exit(0)
    for number in range(10):
        log.append([b"parent %d" % number])
    os.waitpid(child, 0)
    assert len(set(check_log(on_disk(log.directory), log.checkpoint()))) == 21


def test_append_cost_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An append to a long log makes as many flushes, and reads as many tiles, as one to a short log: O(log n)."""
    log = new_log(tmp_path / "log")
    counts = []
    for target in (100, 20_000):
        size = log.size()
        log.append([b"%d" % number for number in range(size, target)])
        log.append([b"warm %d" % target])
        calls: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", calls.append)
            log.append([b"next %d" % target])
        counts.append(len(calls))
    assert counts[0] == counts[1] <= 6


def test_checkpoint_names_its_origin(tmp_path: Path) -> None:
    """The first checkpoint covers exactly the genesis entry and carries the log's origin and key id."""
    note = read_checkpoint(new_log(tmp_path / "log").checkpoint())
    assert note.size == 1
    assert ORIGIN.endswith(".invalid")
