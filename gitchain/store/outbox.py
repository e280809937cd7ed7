"""Outbox: statements that are not signed or logged yet.

One file per item, `<id>.json`, with the attestation's id (sha256 of the DSSE PAE over the payload):

{"schema": "https://gitchain.dev/outbox/v1", "payload": "<base64>", "manifests": {"<sha256>": "<base64>"},
 "meta": {"identity": "ada@example.com", "holder": "<32 hex>"}}

Files are written atomically and durably, readable by their owner only. Only `remove` deletes an item, called by the
drainer after the bundle is in the store: a crash in between leaves an item that is stored already, and signing it
again is harmless. Nothing is signed here.

A process that adds an item and signs it at once holds it (`holding`), so that no drainer signs it too: the item
refers to a lock file of its holder. The kernel releases the lock when the holder dies.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.canonical import Json, canonical_json, strict_json
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.fields import encode_base64
from gitchain.evidence.statement import Statement
from gitchain.platform.files import TEMPORARY, make_private, remove_durably, try_lock, write_durably
from gitchain.store.files import read_bounded
from gitchain.store.tree_paths import is_sha256
from gitchain.store.trees import StoreProblem

SCHEMA = "https://gitchain.dev/outbox/v1"
MAX_ITEM_BYTES = 1 << 30  # a statement and the manifest nodes of a directory of millions of files
STALE_SECONDS = 3600.0  # age after which a temporary file belongs to a dead writer
_SUFFIX = ".json"
_HOLDER = TEMPORARY + "holder-"


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """A statement in the outbox."""

    id: str
    """The attestation's id."""
    payload: bytes
    """The exact bytes of the statement."""
    manifests: Mapping[str, bytes]
    """Manifest nodes to store with it, by digest."""
    meta: Mapping[str, str]
    """Data for the drainer, such as the identity to sign with."""


def _ignore(_problem: StoreProblem) -> None:
    return


class Outbox:
    """The items in one directory, which is created on first use."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self._clock = clock
        self._holder = ""

    def put(
        self,
        payload: bytes,
        manifests: Mapping[str, bytes] | None = None,
        meta: Mapping[str, str] | None = None,
    ) -> str:
        """Store a statement durably and return its id. Storing it again replaces it.

        Raises MalformedError for an invalid statement or manifest node; LimitError; StoreError.
        """
        held = {"holder": self._holder} if self._holder else {}
        facts = dict(meta or {}) | held
        item = OutboxItem(Statement.parse(payload).attestation_id, payload, dict(manifests or {}), facts)
        data = _render(item)
        make_private(self.directory)
        write_durably(self._path(item.id), data)
        return item.id

    def items(self, report: Callable[[StoreProblem], None] = _ignore) -> Iterator[OutboxItem]:
        """Yield the items, oldest first. Unreadable files are passed to `report` and kept."""
        for path in self._files():
            try:
                yield _parse(read_bounded(path, MAX_ITEM_BYTES), path)
            except (MalformedError, LimitError) as error:
                if path.exists():  # else another drainer has just removed it
                    report(StoreProblem(str(path), str(error)))

    def __len__(self) -> int:
        """Return the number of files, unreadable ones included."""
        return len(self._files())

    def remove(self, item_id: str) -> None:
        """Delete an item, if it exists. Raises StoreError.

        Call this only after its bundle is in the store.
        """
        if not is_sha256(item_id):
            raise MalformedError("not an attestation's id", where="outbox", got=repr(item_id[:80]))
        if self.directory.is_dir():
            remove_durably(self._path(item_id))

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Hold the items that are added in this block, so that no other process signs them. Raises StoreError."""
        make_private(self.directory)
        name = secrets.token_hex(16)
        with try_lock(self._lock_of(name)):  # the name is random, so no other process has it
            self._holder = name
            try:
                yield
            finally:
                self._holder = ""
                with suppress(
                    OSError
                ):  # leftover lock files are deleted later; they hold nothing once closed
                    self._lock_of(name).unlink(missing_ok=True)

    def is_free(self, item: OutboxItem) -> bool:
        """Return True if the item exists and no process is signing it. Raises StoreError."""
        held = self._is_held(item.meta.get("holder", ""))
        return (
            not held and self._path(item.id).exists()
        )  # in this order: a holder deletes the item before it releases the lock

    def _is_held(self, holder: str) -> bool:
        path = self._lock_of(holder)
        if not path.is_file():
            return False
        with try_lock(path) as is_ours:
            return not is_ours

    @contextmanager
    def draining(self) -> Iterator[bool]:
        """Hold the drainer's lock for a block; yield False if another process holds it. Raises StoreError."""
        make_private(self.directory)
        with try_lock(self.directory / "drainer.lock") as held:
            if held:
                self._sweep()
            yield held

    def _sweep(self) -> None:
        """Delete leftovers of dead writers and holders. Concurrent live processes may delete their own."""
        for path in self.directory.glob(TEMPORARY + "*"):
            with suppress(FileNotFoundError):
                stale = self._clock() - path.lstat().st_mtime > STALE_SECONDS
                if stale and not self._is_held(path.name.removeprefix(_HOLDER)):
                    path.unlink()

    def _files(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        try:
            found = [(path.lstat().st_mtime_ns, path) for path in self.directory.glob("*" + _SUFFIX)]
        except FileNotFoundError:  # deleted while listing
            return self._files()
        return [path for _, path in sorted(found)]

    def _lock_of(self, holder: str) -> Path:
        known = len(holder) == 32 and not set(holder) - set("0123456789abcdef")
        return self.directory / (_HOLDER + (holder if known else "nobody"))

    def _path(self, item_id: str) -> Path:
        return self.directory / (item_id + _SUFFIX)


def _render(item: OutboxItem) -> bytes:
    for digest, node in item.manifests.items():
        if sha256_hex(node) != digest:
            raise MalformedError("manifest node does not have its digest", where=digest, got=sha256_hex(node))
    manifests = {digest: encode_base64(node) for digest, node in item.manifests.items()}
    payload = encode_base64(item.payload)
    data = canonical_json(
        {"schema": SCHEMA, "payload": payload, "manifests": manifests, "meta": dict(item.meta)}
    )
    if len(data) > MAX_ITEM_BYTES:
        raise LimitError("outbox item is too large", expected=f"≤ {MAX_ITEM_BYTES}", got=str(len(data)))
    return data


def _parse(data: bytes, path: Path) -> OutboxItem:
    where = str(path)
    value = strict_json(data, "outbox item", max_bytes=MAX_ITEM_BYTES)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise MalformedError("not an outbox item", where=where, expected=SCHEMA)
    manifests, meta = value.get("manifests"), value.get("meta")
    if not isinstance(manifests, dict) or not isinstance(meta, dict):
        raise MalformedError("outbox item lacks its fields", where=where)
    payload = _decode(value.get("payload"), where)
    nodes = {digest: _decode(node, where) for digest, node in manifests.items()}
    if any(sha256_hex(node) != digest for digest, node in nodes.items()):
        raise MalformedError("manifest node does not have its digest", where=where)
    if any(not isinstance(text, str) for text in meta.values()):
        raise MalformedError("outbox item's meta holds more than text", where=where)
    item_id = Statement.parse(payload).attestation_id
    if path.name != item_id + _SUFFIX:
        raise MalformedError("outbox item is not named by its id", where=where, expected=item_id + _SUFFIX)
    return OutboxItem(item_id, payload, nodes, {key: str(text) for key, text in meta.items()})


def _decode(value: Json, where: str) -> bytes:
    if not isinstance(value, str):
        raise MalformedError("outbox item lacks its fields", where=where)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("outbox item holds broken base64", where=where) from error
