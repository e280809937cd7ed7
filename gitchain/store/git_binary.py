"""Store backend with the git binary, for repositories that libgit2 cannot open.

Supports SHA-256 object ids, and reftable if git is new enough. Uses one process per flush and one `cat-file --batch`
for all reads: slower than pygit2, with equal results.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gitchain.errors import StoreError
from gitchain.evidence.digest import sha256_hex
from gitchain.store import pack
from gitchain.store.backend import locate, missing, settle
from gitchain.store.cat_file import BEGINNING, ObjectReader, streamed_digest
from gitchain.store.object_sizes import MAX_BASE_BYTES, ObjectSizes
from gitchain.store.tree_paths import Kind, NewObject, Oid

_FORMAT = "%(refname)%00%(objectname)%00%(symref)"


class GitBinary:
    """A repository that only git itself can read."""

    def __init__(self, path: Path, *, offline: bool) -> None:
        self._git, self.common_dir, object_format = locate(path, offline=offline)
        self.oid_bytes = 32 if object_format == "sha256" else 20
        self._reader = ObjectReader(self._git)
        self._sizes = ObjectSizes(self._git.directory)
        self._pending: dict[Oid, NewObject] = {}
        self._kept: list[Path | None] = []

    @property
    def partial(self) -> bool:
        """Return True for a partial clone; see `Backend.partial`."""
        done = self._git.run(
            "config", "--get-regexp", r"^(remote\..*\.promisor|extensions\.partialclone)$", accept=(0, 1)
        )
        return done.code == 0

    def config(self, key: str) -> str | None:
        """Return a configuration value, or None."""
        done = self._git.run("config", "-z", "--get", key, accept=(0, 1))
        return done.stdout.decode("utf-8", "replace").removesuffix("\0") if done.code == 0 else None

    def read(self, oid: Oid, kind: Kind, limit: int) -> bytes:
        """Return an object's bytes; see `Backend.read`."""
        if oid in self._pending:
            return self._pending[oid].data
        self._sizes.check_deltas(oid, max(limit, MAX_BASE_BYTES))
        found = self._reader.read(oid, limit)
        if found is None:
            raise missing(oid, self.common_dir, partial=self.partial)
        if found[0] != kind:
            raise StoreError("wrong kind of object in the store", where=oid, expected=kind, got=found[0])
        return found[1]

    def size(self, oid: Oid) -> int | None:
        """Return an object's size from its header; see `Backend.size`."""
        if oid in self._pending:
            return len(self._pending[oid].data)
        return self._sizes.of(oid)

    def expect(self, oids: Sequence[Oid]) -> list[Oid]:
        """Prepare to read these objects; see `Backend.expect`."""
        pending = [oid for oid in oids if oid in self._pending]
        return [*pending, *self._sizes.expect([oid for oid in oids if oid not in self._pending])]

    def digest(self, oid: Oid) -> tuple[str, bytes]:
        """Return the SHA-256 of a blob (streamed) and its first bytes; see `Backend.digest`."""
        if oid in self._pending:
            return sha256_hex(self._pending[oid].data), self._pending[oid].data[:BEGINNING]
        self._sizes.check_deltas(oid, MAX_BASE_BYTES)
        return streamed_digest(self._git, oid)

    def write(self, kind: Kind, data: bytes) -> Oid:
        """Stage an object; see `Backend.write`."""
        item = NewObject.of(kind, data, self.oid_bytes)
        self._pending[item.oid] = item
        return item.oid

    def flush(self) -> None:
        """Write staged objects durably; see `Backend.flush`."""
        items, self._pending = list(self._pending.values()), {}
        if len(items) >= pack.PACK_FROM:
            self._kept.append(pack.write_pack(self._git, self.common_dir / "objects", items, self.oid_bytes))
        elif items:
            self._git.run("unpack-objects", "-q", stdin=pack.pack_of(items, self.oid_bytes))

    def is_staged(self, oid: Oid) -> bool:
        """Return True for an object that `flush` would write."""
        return oid in self._pending

    def discard(self) -> None:
        """Drop staged objects, and leave written ones to git; see `Backend.discard`."""
        self._pending = {}
        pack.release(self._kept)
        self._kept = []

    def read_ref(self, name: str) -> Oid | None:
        """Return the target of a ref; see `Backend.read_ref`."""
        for line in self._git.run("for-each-ref", f"--format={_FORMAT}", name).stdout.splitlines():
            found, oid, symbolic = line.decode("utf-8", "replace").split("\0")
            if found == name and symbolic:
                raise StoreError(
                    "the store's ref is a symbolic ref", where=name, help=f"git symbolic-ref -d {name}"
                )
            if found == name:
                return Oid(oid)
        return None

    def swap_ref(self, name: str, new: Oid, old: Oid | None) -> bool:
        """Compare and swap a ref; see `Backend.swap_ref`."""
        try:
            self._git.run("update-ref", "--no-deref", name, new, old or "0" * len(new))
        except StoreError as error:
            return settle(self, name, new, old, error)
        return True
