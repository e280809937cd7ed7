"""Store backend for ordinary repositories: pygit2.

libgit2 reads objects and moves refs, with fsync of refs and their directories. `loose` and `pack` write objects, because
libgit2 flushes each one separately. For missing objects of a partial clone, the git binary is run, which fetches them
unless the store is offline. Only raw bytes are used: no tree builder, no index, no hooks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pygit2
from pygit2.enums import ObjectType, Option

from gitchain.errors import GitchainError, LimitError, StoreError
from gitchain.evidence.digest import sha256_hex
from gitchain.platform.files import is_special, read_regular
from gitchain.platform.git import NETWORK_SECONDS, Git
from gitchain.store.tree_paths import Kind, NewObject, Oid

if TYPE_CHECKING:
    from gitchain.store.object_sizes import ObjectSizes

_FAILURES = (pygit2.GitError, KeyError, ValueError, OSError)
_MAX_POINTER = 64 << 10
_TYPES = {"blob": ObjectType.BLOB, "tree": ObjectType.TREE, "commit": ObjectType.COMMIT}

pygit2.option(Option.ENABLE_FSYNC_GITDIR, True)
pygit2.option(
    Option.SET_MWINDOW_SIZE, 16 << 20
)  # part of a pack that is mapped at once; the default is 1 GiB
pygit2.option(Option.SET_MWINDOW_MAPPED_LIMIT, 64 << 20)


class Libgit2:
    """A repository opened with pygit2."""

    oid_bytes = 20

    def __init__(self, path: Path, *, offline: bool) -> None:
        found = pygit2.discover_repository(str(path))
        if found is None:
            raise pygit2.GitError(f"no repository at {path}")
        self._repo: Any = pygit2.Repository(found)
        self._git = Git(Path(found), offline)
        self._path = Path(found)
        self.common_dir = _common_dir(Path(found))
        self._objects = str(self.common_dir / "objects")
        self._pending: dict[Oid, NewObject] = {}
        self._kept: list[Path | None] = []
        self._packed: ObjectSizes | None = None

    def config(self, key: str) -> str | None:
        """Return a configuration value, or None."""
        try:
            return str(self._repo.config[key])
        except _FAILURES:
            return None

    @property
    def _sizes(self) -> ObjectSizes:
        """The sizes of objects in packs, as git reports them; loose objects need none."""
        if self._packed is None:
            from gitchain.store.object_sizes import ObjectSizes

            self._packed = ObjectSizes(self._path)
        return self._packed

    def read(self, oid: Oid, kind: Kind, limit: int) -> bytes:
        """Return an object's bytes; see `Backend.read`."""
        if oid in self._pending:
            return self._pending[oid].data
        odb = self._repo.odb
        try:
            size, is_packed = self._size(oid)
            if size > limit:
                raise LimitError(
                    "object of the store is too large", where=oid, expected=f"≤ {limit}", got=str(size)
                )
            if is_packed:
                from gitchain.store.object_sizes import MAX_BASE_BYTES

                self._sizes.check_deltas(oid, max(limit, MAX_BASE_BYTES))
            found, data = odb.read(oid)
        except KeyError:
            return self._fetch(oid, kind, limit)
        except _FAILURES as error:
            raise StoreError(
                "cannot read an object", where=oid, got=str(error), help="git fsck --full"
            ) from error
        if found != _TYPES[kind]:
            raise StoreError("wrong kind of object in the store", where=oid, expected=kind, got=str(found))
        return bytes(data)

    def expect(self, oids: Sequence[Oid]) -> list[Oid]:
        """Prepare to read these objects; see `Backend.expect`."""
        packed, others = list[Oid](), list[Oid]()
        for oid in oids:
            (others if oid in self._pending or self._is_loose(oid) else packed).append(oid)
        return [*others, *self._sizes.expect(packed)] if packed else others

    def _is_loose(self, oid: Oid) -> bool:
        return os.path.exists(f"{self._objects}/{oid[:2]}/{oid[2:]}")  # noqa: PTH110 - a Path takes ten times as long

    def size(self, oid: Oid) -> int | None:
        """Return an object's size from its header; see `Backend.size`."""
        if oid in self._pending:
            return len(self._pending[oid].data)
        try:
            return self._size(oid)[0]
        except (*_FAILURES, StoreError):
            return None

    def _size(self, oid: Oid) -> tuple[int, bool]:
        """Return an object's size and whether it is packed. Raises KeyError if it is missing.

        Headers in packs are read by git: for some damaged packs pygit2 writes out of bounds.
        """
        expected = self._packed.expected(oid) if self._packed else None
        if expected is None and self._is_loose(oid):
            return self._repo.odb.read_header(oid)[1], False
        if expected is None:
            self._sizes.expect([oid])
            expected = self._sizes.expected(oid)
        if expected is None:
            raise KeyError(oid)
        return expected, True

    def digest(self, oid: Oid) -> tuple[str, bytes]:
        """Return the SHA-256 of a blob (streamed) and its first bytes; see `Backend.digest`."""
        from gitchain.store.cat_file import BEGINNING, streamed_digest
        from gitchain.store.object_sizes import MAX_BASE_BYTES

        if oid in self._pending:
            return sha256_hex(self._pending[oid].data), self._pending[oid].data[:BEGINNING]
        self._sizes.check_deltas(oid, MAX_BASE_BYTES)
        return streamed_digest(self._git, oid)

    def _fetch(self, oid: Oid, kind: Kind, limit: int) -> bytes:
        from gitchain.store.backend import missing

        partial = self.partial
        if partial and not self._git.offline:
            try:
                return self._git.run("cat-file", kind, oid, limit=limit, seconds=NETWORK_SECONDS).stdout
            except LimitError:
                raise
            except GitchainError as error:
                raise missing(oid, self._path, partial=True) from error
        raise missing(oid, self._path, partial=partial)

    @property
    def partial(self) -> bool:
        """Return True for a partial clone; see `Backend.partial`."""
        if self.config("extensions.partialclone") is not None:
            return True
        return any(entry.name.endswith(".promisor") and entry.value == "true" for entry in self._repo.config)

    def write(self, kind: Kind, data: bytes) -> Oid:
        """Stage an object; see `Backend.write`."""
        item = NewObject.of(kind, data, self.oid_bytes)
        self._pending[item.oid] = item
        return item.oid

    def flush(self) -> None:
        """Write staged objects durably; see `Backend.flush`."""
        from gitchain.store import pack
        from gitchain.store.loose import write_loose

        items, self._pending = list(self._pending.values()), {}
        objects = self.common_dir / "objects"
        if len(items) >= pack.PACK_FROM:
            self._kept.append(pack.write_pack(self._git, objects, items, self.oid_bytes))
            return
        try:
            write_loose(objects, [item for item in items if not self._has(item)])
        except _FAILURES as error:
            raise self._refused("cannot write to the repository", error) from error

    def _has(self, item: NewObject) -> bool:
        if item.oid not in self._repo.odb:
            return False
        # writes nothing, but updates the object's time for `git gc`
        self._repo.write(_TYPES[item.kind], item.data)
        return True

    def is_staged(self, oid: Oid) -> bool:
        """Return True for an object that `flush` would write."""
        return oid in self._pending

    def discard(self) -> None:
        """Drop staged objects, and leave written ones to git; see `Backend.discard`."""
        self._pending = {}
        if self._kept:
            from gitchain.store.pack import release

            release(self._kept)
        self._kept = []

    def read_ref(self, name: str) -> Oid | None:
        """Return the target of a ref; see `Backend.read_ref`."""
        reference = self._lookup(name)
        return None if reference is None else _target(name, reference)

    def swap_ref(self, name: str, new: Oid, old: Oid | None) -> bool:
        """Compare and swap a ref; see `Backend.swap_ref`."""
        reference = self._lookup(name)
        if (None if reference is None else _target(name, reference)) != old:
            return False
        try:
            if reference is None:
                self._repo.create_reference_direct(name, pygit2.Oid(hex=new), False)
            else:
                # fails unless the ref still has the value read above
                reference.set_target(pygit2.Oid(hex=new))
        except _FAILURES as error:
            from gitchain.store.backend import settle

            return settle(self, name, new, old, self._refused("cannot move the store's ref", error))
        return True

    def _lookup(self, name: str) -> Any | None:
        if is_special(self.common_dir / name):  # libgit2 would wait for it
            raise StoreError(
                "special file in the place of the store's ref",
                where=str(self.common_dir / name),
                expected="a regular file",
            )
        try:
            return self._repo.lookup_reference(name)
        except KeyError:
            return None
        except _FAILURES as error:
            raise StoreError("cannot read the store's ref", where=name, got=str(error)) from error

    def _refused(self, what: str, error: Exception) -> StoreError:
        remedy = "check free space, quota and permissions of the repository, then try again"
        return StoreError(what, where=str(self.common_dir), got=str(error), help=remedy)


def _target(name: str, reference: Any) -> Oid:
    if isinstance(reference.target, str):
        raise StoreError("the store's ref is a symbolic ref", where=name, help=f"git symbolic-ref -d {name}")
    return Oid(str(reference.target))


def _common_dir(git_dir: Path) -> Path:
    pointer = git_dir / "commondir"  # exists in the directory of a linked worktree (gitrepository-layout)
    if not pointer.is_file():
        return git_dir.resolve()
    return (git_dir / read_regular(pointer, _MAX_POINTER).decode("utf-8").removesuffix("\n")).resolve()
