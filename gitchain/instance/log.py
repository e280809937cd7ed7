"""The instance's transparency log: an append-only Merkle tree on disk with signed checkpoints.

    log/checkpoint   C2SP signed note (https://c2sp.org/tlog-checkpoint) with the log's size
    log/tile/…       C2SP tiles (tiles.py)          log/index.db   duplicates (index.py)          log/lock

An append holds the lock, then: 1. entry bundles, 2. hash tiles, 3. the checkpoint by rename; each is flushed
before the next begins. What a crash leaves beyond the checkpoint was never acknowledged and is overwritten by
the next append. A checkpoint is handed out only once it is durable, so the log can never fall behind one.
It does NOT check entries (entry.py does), nor detect that an old copy of the directory was restored.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gitchain.errors import LimitError, MalformedError, StoreError, TrustError
from gitchain.evidence.checkpoint import (
    KEY_ID_SIZE,
    Checkpoint,
    NoteSignature,
    SignedCheckpoint,
    ed25519_key_id,
    render,
)
from gitchain.evidence.merkle import HASH_SIZE, Read, inclusion_proof, leaf_hash, root_hash, tree_root
from gitchain.evidence.tile import (
    HEIGHT,
    MAX_ENTRY_BYTES,
    WIDTH,
    TileId,
    decode_tile,
    encode_entries,
    tile_width,
)
from gitchain.instance.directory import locked, read_private, replace_durable, sync_directory
from gitchain.instance.index import LeafIndex
from gitchain.instance.info import HELP_BROKEN
from gitchain.instance.tiles import TileFiles, damaged
from gitchain.instance.tree import Tree, subtree_reader
from gitchain.platform.files import make_private

MAX_CHECKPOINT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """An entry that a durable checkpoint covers, with its inclusion proof in that tree."""

    index: int
    body: bytes
    size: int
    root: bytes
    hashes: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class SignedLogState:
    """A durable, signed state of the log."""

    text: str
    tree: Tree
    root: bytes
    read: Read


class TransparencyLog:
    """One log directory. Threads and processes may use it at the same time."""

    def __init__(self, directory: Path, origin: str, key: Ed25519PrivateKey) -> None:
        self.directory = directory
        self.origin = origin
        self.key_id = ed25519_key_id(origin, key.public_key().public_bytes_raw())
        self._key = key
        self._files = TileFiles(directory)
        self._index = LeafIndex(directory / "index.db")
        self._mutex = threading.RLock()
        self._head: SignedLogState | None = None

    @classmethod
    def create(cls, directory: Path, origin: str, key: Ed25519PrivateKey, genesis: bytes) -> TransparencyLog:
        """Start a log in a new directory with one entry. Raises StoreError if the disk refuses."""
        make_private(directory)
        log = cls(directory, origin, key)
        with log._locked():
            log._extend(None, [genesis])
        return log

    def append(self, bodies: Sequence[bytes]) -> tuple[LoggedEntry, ...]:
        """Add entries and return each with its proof once a checkpoint that covers it is durable.

        A body that is in the log already is not added again: its existing entry is returned. LimitError for
        an empty or too large body, StoreError if the disk refuses, TransportError if the lock is not free in
        time, TrustError if the log is damaged. After any error nothing of the call is acknowledged.
        """
        for body in bodies:
            if not 0 < len(body) <= MAX_ENTRY_BYTES:
                raise LimitError(
                    "a log entry has a bad size", expected=f"1 to {MAX_ENTRY_BYTES} bytes", got=str(len(body))
                )
        with self._locked():
            head = self._current()
            known = self._find([leaf_hash(body) for body in bodies], head)
            fresh = list(dict.fromkeys(body for body, at in zip(bodies, known, strict=True) if at is None))
            start = head.tree.size
            if fresh:
                head = self._extend(head, fresh)
            places = {body: start + offset for offset, body in enumerate(fresh)}
            found = [
                (body, places[body] if at is None else at) for body, at in zip(bodies, known, strict=True)
            ]
            return tuple(_entry(body, at, head) for body, at in found)

    def checkpoint(self) -> str:
        """Return the newest durable checkpoint. Raises TrustError if missing or not signed by this log's key."""
        with self._locked(shared=True):
            return self._current().text

    def size(self) -> int:
        """Return the number of entries that the newest durable checkpoint covers."""
        with self._locked(shared=True):
            return self._current().tree.size

    def tile(self, tile: TileId) -> bytes | None:
        """Return a hash tile or entry bundle as C2SP serves it, or None beyond the log's end."""
        with self._locked(shared=True):
            stored = self._stored(tile, self._current().tree.size)
            if stored is None:
                return None
            if tile.level is None:
                return encode_entries(self._files.entries(stored)[: tile.width])
            return self._files.hashes(stored)[: tile.width * HASH_SIZE]

    def check(self) -> int:
        """Read and hash the whole log again, and return its size. Raises TrustError if one bit differs."""
        with self._locked(shared=True):
            head = self._current()
            size, below = head.tree.size, [b""]
            for level in range(len(head.tree.edge)):
                count = size >> (HEIGHT * level)
                tiles = [TileId(level, at, tile_width(level, at, size)) for at in range(-(-count // WIDTH))]
                rows = [self._files.hashes(tile) for tile in tiles]
                expected = self._leaves(tiles) if level == 0 else [b"".join(below)]
                if b"".join(rows) != b"".join(expected):
                    raise damaged(self.directory / "tile" / str(level))
                below = [root_hash(decode_tile(row, WIDTH)) for row in rows if len(row) == WIDTH * HASH_SIZE]
            return size

    def _leaves(self, tiles: Sequence[TileId]) -> Iterator[bytes]:
        for tile in tiles:
            yield b"".join(map(leaf_hash, self._files.entries(replace(tile, level=None))))

    @contextmanager
    def _locked(self, *, shared: bool = False) -> Iterator[None]:
        with self._mutex, locked(self.directory / "lock", shared=shared):
            yield

    def _current(self) -> SignedLogState:
        """Return the state on disk, flushed; it is loaded again only if another process moved it."""
        path = self.directory / "checkpoint"
        data = read_private(path, MAX_CHECKPOINT_BYTES)
        if self._head is None or self._head.text.encode() != data:
            head = self._load(data, path)
            sync_directory(self.directory)  # a writer may have died between rename and flush
            self._head = head
        return self._head

    def _load(self, data: bytes, path: Path) -> SignedLogState:
        try:
            note = SignedCheckpoint.parse(data.decode())
            signature = next(item for item in note.signatures if item.key_id == self.key_id[:KEY_ID_SIZE])
            self._key.public_key().verify(signature.signature, note.checkpoint.body())
        except (MalformedError, LimitError, UnicodeDecodeError, StopIteration, InvalidSignature) as error:
            raise TrustError(
                "the log's checkpoint is not signed by its key", where=str(path), help=HELP_BROKEN
            ) from error
        tree = Tree.load(note.checkpoint.size, self._files.hashes)
        head = self._head_of(tree, data.decode(), {})
        if note.checkpoint.origin != self.origin or head.root != note.checkpoint.root:
            raise damaged(path)
        return head

    def _head_of(self, tree: Tree, text: str, known: Mapping[tuple[int, int], bytes]) -> SignedLogState:
        read = subtree_reader(tree, self._files.hashes, known)
        return SignedLogState(text, tree, tree_root(tree.size, read), read)

    def _extend(self, old: SignedLogState | None, bodies: Sequence[bytes]) -> SignedLogState:
        tree = Tree(0, ()) if old is None else old.tree
        grown, tiles = tree.grown([leaf_hash(body) for body in bodies])
        self._write_entries(tree.size, bodies, tiles)
        for directory in {self._files.write_hashes(tile, hashes) for tile, hashes in tiles.items()}:
            sync_directory(directory)
        known = {} if old is None else {peak: old.read(*peak) for peak in tree.peaks()}
        head = self._sign(self._head_of(grown, "", known))
        replace_durable(self.directory / "checkpoint", head.text.encode())
        self._head = head
        self._forget(tree, grown.size)
        return head

    def _write_entries(self, size: int, bodies: Sequence[bytes], tiles: Mapping[TileId, bytes]) -> None:
        """Write the bundles, flush them, read them back, and compare their hashes with those to be signed."""
        parts: dict[TileId, Sequence[bytes]] = {}
        done = 0
        while done < len(bodies):
            index, before = divmod(size + done, WIDTH)
            part = bodies[done : done + WIDTH - before]
            parts[TileId(None, index, before + len(part))] = part
            done += len(part)
        for directory in {self._files.write_entries(bundle, part) for bundle, part in parts.items()}:
            sync_directory(directory)
        for bundle in parts:
            stored = b"".join(map(leaf_hash, self._files.entries(bundle)))
            if stored != tiles[replace(bundle, level=0)]:
                raise damaged(self.directory / bundle.path())

    def _sign(self, head: SignedLogState) -> SignedLogState:
        checkpoint = Checkpoint(self.origin, head.tree.size, head.root)
        signature = NoteSignature(self.origin, self.key_id[:KEY_ID_SIZE], self._key.sign(checkpoint.body()))
        return replace(head, text=render(checkpoint, (signature,)))

    def _forget(self, old: Tree, size: int) -> None:
        bundle = _bundle(old.size // WIDTH, old.size)
        for tile in (*old.partial(), *((bundle,) if bundle else ())):
            self._files.forget(tile, size)

    def _stored(self, tile: TileId, size: int) -> TileId | None:
        width = tile_width(tile.level, tile.index, size)
        return replace(tile, width=width) if tile.width <= width else None

    def _find(self, leaves: Sequence[bytes], head: SignedLogState) -> list[int | None]:
        """Return the position of each leaf in the log. A failed or wrong index is rebuilt from the tiles."""
        try:
            return self._look_up(leaves, head)
        except StoreError:
            self._index.clear()
            return self._look_up(leaves, head)

    def _look_up(self, leaves: Sequence[bytes], head: SignedLogState) -> list[int | None]:
        size = head.tree.size
        self._catch_up(size)
        found = [self._index.find(leaf) for leaf in leaves]
        for leaf, at in zip(leaves, found, strict=True):
            if at is not None and (at >= size or head.read(0, at) != leaf):
                raise StoreError("the log's index disagrees with its tiles", where=str(self.directory))
        return found

    def _catch_up(self, size: int) -> None:
        covered = self._index.covered()
        if covered > size:
            raise StoreError("the log's index is ahead of its tiles", where=str(self.directory))
        while covered < size:
            index = covered // WIDTH
            width = tile_width(0, index, size)
            fresh = decode_tile(self._files.hashes(TileId(0, index, width)), width)[covered % WIDTH :]
            self._index.extend(covered, fresh)
            covered += len(fresh)


def _bundle(index: int, size: int) -> TileId | None:
    width = tile_width(None, index, size)
    return TileId(None, index, width) if width else None


def _entry(body: bytes, index: int, head: SignedLogState) -> LoggedEntry:
    hashes = inclusion_proof(index, head.tree.size, head.read)
    return LoggedEntry(index, body, head.tree.size, head.root, hashes, head.text)
