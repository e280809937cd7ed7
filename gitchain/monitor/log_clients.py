"""Clients for reading logs: newest checkpoint, consistency proofs, and entries.

| log | read over |
|---|---|
| Rekor v2, the embedded log | C2SP tiles: `checkpoint`, `tile/…` (https://c2sp.org/tlog-tiles), below `api/v2/` |
| Rekor v1 | `api/v1/log`, `…/log/proof`, `…/log/entries/retrieve` (https://github.com/sigstore/rekor, openapi.yaml) |

Content is proved against a checkpoint whose signature the caller has verified. Clients store no state.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from gitchain.errors import InclusionError, MalformedError, TransportError
from gitchain.evidence.canonical import Json, canonical_json, strict_json
from gitchain.evidence.checkpoint import MAX_CHECKPOINT_CHARS, Checkpoint
from gitchain.evidence.fields import Object, as_object, get_array, get_object, get_string
from gitchain.evidence.merkle import (
    HASH_SIZE,
    Read,
    completed_by,
    consistency_proof,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from gitchain.evidence.tile import MAX_ENTRY_BYTES, WIDTH, TileId, decode_entries, tile_reader, tile_width

Fetch = Callable[[str, int], bytes]
"""Function `(path, limit)` that returns a body of at most `limit` bytes. Raises TransportError or LimitError."""

MAX_ENTRIES_BYTES = WIDTH * (MAX_ENTRY_BYTES + 2)
MAX_JSON_BYTES = 32 << 20
MAX_PROOF = 128
V1_ENTRIES = 10
"""Most entries that Rekor v1 returns in one response."""


class MonitoredLog(Protocol):
    """Client of one log. Every method raises TransportError if the log cannot be read."""

    @property
    def v2(self) -> bool:
        """Return True if the log's checkpoint origin follows Rekor v2."""
        ...

    def checkpoint(self) -> str:
        """Return the newest checkpoint of the log, unverified."""
        ...

    def prove(self, old: Checkpoint, new: Checkpoint) -> None:
        """Check that the tree `new` is consistent with `old`.

        Raises InclusionError for an inconsistent tree, MalformedError for an invalid response.
        """
        ...

    def entries(self, start: int, stop: int, new: Checkpoint) -> Iterator[tuple[int, bytes]]:
        """Yield index and body of the entries [start, stop) of the tree `new`.

        Raises InclusionError if they do not belong to that tree, possibly only after the last entry: do not use an
        entry before the iteration ends.
        """
        ...


@dataclass(frozen=True, slots=True)
class TiledLog:
    """A log that is served as tiles."""

    fetch: Fetch

    @property
    def v2(self) -> bool:
        """Return True: the checkpoint origin is the log's name."""
        return True

    def checkpoint(self) -> str:
        """Return the newest checkpoint."""
        return _text(self.fetch("checkpoint", MAX_CHECKPOINT_CHARS))

    def prove(self, old: Checkpoint, new: Checkpoint) -> None:
        """Check consistency with the tiles of the new tree. Raises NotItsTreeError if tiles do not match its root."""
        read = self._reader(new)
        if tree_root(old.size, read) != old.root:
            raise InclusionError(
                "the tree does not begin with the one that was seen before",
                expected=f"{old.root.hex()} at size {old.size}",
                got=tree_root(old.size, read).hex(),
            )
        _prove(old.size, old.root, new, read)

    def entries(self, start: int, stop: int, new: Checkpoint) -> Iterator[tuple[int, bytes]]:
        """Yield the entries, each checked against the tree of the checkpoint."""
        read = self._reader(new)
        mine: dict[tuple[int, int], bytes] = {}

        def known(level: int, index: int) -> bytes:
            return mine.get((level, index)) or read(level, index)

        for index, body in self._bodies(start, stop, new.size):
            for level, position, value in completed_by(index, leaf_hash(body), known):
                mine[level, position] = value
            yield index, body
        _prove(stop, tree_root(stop, known), new, read)

    def _bodies(self, start: int, stop: int, size: int) -> Iterator[tuple[int, bytes]]:
        for bundle in range(start // WIDTH, -(-stop // WIDTH)):
            width = tile_width(None, bundle, size)
            data = self._tile(TileId(None, bundle, width), MAX_ENTRIES_BYTES)
            for offset, body in enumerate(_entries(data, width)):
                index = bundle * WIDTH + offset
                if start <= index < stop:
                    yield index, body

    def _reader(self, new: Checkpoint) -> Read:
        """Return a reader of the tree's hashes. Raises NotItsTreeError if they do not match its root."""
        read = tile_reader(new.size, self._hashes)
        found = tree_root(new.size, read)
        if found != new.root:
            raise NotItsTreeError(
                "the log's tiles are not those of its checkpoint", expected=new.root.hex(), got=found.hex()
            )
        return read

    def _hashes(self, tile: TileId) -> bytes:
        return self._tile(tile, WIDTH * HASH_SIZE)[: tile.width * HASH_SIZE]

    def _tile(self, tile: TileId, limit: int) -> bytes:
        """Return a tile, or the full tile that replaced a deleted partial one."""
        try:
            return self.fetch(tile.path(), limit)
        except TransportError:
            if tile.width == WIDTH:
                raise
            return self.fetch(TileId(tile.level, tile.index).path(), limit)


class NotItsTreeError(InclusionError):
    """Raised if the content of a log does not match its signed tree."""


@dataclass(frozen=True, slots=True)
class RekorV1:
    """Client of Rekor v1. Only the active shard is read."""

    fetch: Fetch
    post: Callable[[str, bytes, int], bytes]

    @property
    def v2(self) -> bool:
        """Return False: the checkpoint origin is the host and the tree's id."""
        return False

    def checkpoint(self) -> str:
        """Return the signed tree head of the active shard."""
        return get_string(self._log(), "signedTreeHead", "log")

    def prove(self, old: Checkpoint, new: Checkpoint) -> None:
        """Check consistency with the log's consistency proof."""
        if old.size in {0, new.size}:
            proof: tuple[bytes, ...] = ()
        else:
            tree = new.origin.rpartition(" ")[2]
            query = f"firstSize={old.size}&lastSize={new.size}&treeID={tree}" if tree.isdigit() else ""
            answer = _json(self.fetch(f"api/v1/log/proof?{query}", MAX_JSON_BYTES), "proof")
            proof = tuple(_hex(text) for text in get_array(answer, "hashes", "proof", limit=MAX_PROOF))
        verify_consistency(
            old_size=old.size, new_size=new.size, old_root=old.root, new_root=new.root, proof=proof
        )

    def entries(self, start: int, stop: int, new: Checkpoint) -> Iterator[tuple[int, bytes]]:
        """Yield the entries, each with its inclusion proof. Its tree must be a prefix of `new`, or equal to it."""
        before = sum(_size(shard) for shard in self._shards())
        for first in range(start, stop, V1_ENTRIES):
            wanted = range(first, min(stop, first + V1_ENTRIES))
            asked = canonical_json({"logIndexes": [before + index for index in wanted]})
            found = strict_json(
                self.post("api/v1/log/entries/retrieve", asked, MAX_JSON_BYTES),
                "entries",
                max_bytes=MAX_JSON_BYTES,
            )
            bodies = dict(self._entry(value, new) for value in (found if isinstance(found, list) else []))
            for index in wanted:
                if index not in bodies:
                    raise NotItsTreeError("the log does not hand out an entry", expected=f"entry {index}")
                yield index, bodies[index]

    def _entry(self, value: Json, new: Checkpoint) -> tuple[int, bytes]:
        each = list(as_object(value, "entries").values())
        if len(each) != 1:
            raise MalformedError("an entry has to have one name", expected="1", got=str(len(each)))
        source = as_object(each[0], "entry")
        body = _base64(get_string(source, "body", "entry"))
        proof = get_object(get_object(source, "verification", "entry"), "inclusionProof", "entry")
        index, size = _number(proof, "logIndex"), _number(proof, "treeSize")
        root = _hex(get_string(proof, "rootHash", "proof"))
        hashes = tuple(_hex(text) for text in get_array(proof, "hashes", "proof", limit=MAX_PROOF))
        verify_inclusion(index=index, size=size, leaf=leaf_hash(body), proof=hashes, root=root)
        if (size, root) != (new.size, new.root):
            first, last = sorted((Checkpoint(new.origin, size, root), new), key=lambda text: text.size)
            self.prove(first, last)
        return index, body

    def _log(self) -> Object:
        return _json(self.fetch("api/v1/log", MAX_JSON_BYTES), "log")

    def _shards(self) -> list[Object]:
        shards = self._log().get("inactiveShards") or []
        return [as_object(shard, "inactiveShards") for shard in (shards if isinstance(shards, list) else [])]


def _prove(size: int, root: bytes, new: Checkpoint, read: Read) -> None:
    try:
        proof = consistency_proof(size, new.size, read)
        verify_consistency(old_size=size, new_size=new.size, old_root=root, new_root=new.root, proof=proof)
    except InclusionError as error:
        raise NotItsTreeError(error.what, expected=error.expected, got=error.got) from error


def _entries(data: bytes, width: int) -> tuple[bytes, ...]:
    """Return the first `width` entries of a bundle, which may hold more."""
    for wider in range(width, WIDTH + 1):
        try:
            return decode_entries(data, wider)[:width]
        except MalformedError:
            continue
    raise NotItsTreeError("entry bundle has the wrong number of entries", expected=f"{width} or more")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("checkpoint is not text", got=str(error)) from error


def _json(data: bytes, where: str) -> Object:
    return as_object(strict_json(data, where, max_bytes=MAX_JSON_BYTES), where)


def _hex(value: Json) -> bytes:
    try:
        return bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError as error:
        raise MalformedError("hash is not hexadecimal", got=ascii(value)[:100]) from error


def _base64(value: str) -> bytes:
    try:
        return b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("entry is not base64", got=str(error)) from error


def _number(source: Object, key: str) -> int:
    value = source.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise MalformedError("field has the wrong type", where=key, expected="a number")
    return value


def _size(shard: Object) -> int:
    size = _number(shard, "treeSize")
    if size < 0:
        raise MalformedError("a shard has a negative size", got=str(size))
    return size


__all__ = ["Fetch", "MonitoredLog", "NotItsTreeError", "RekorV1", "TiledLog"]
