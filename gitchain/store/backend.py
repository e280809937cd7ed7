"""Interface of the store's Git backends, and the choice of a backend.

pygit2 serves ordinary repositories, ten times faster than a process per object. The git binary serves repositories
that libgit2 cannot open (SHA-256 object ids, reftable), if it is new enough. Objects are durable after `flush`, refs
when `swap_ref` returns, even after a power failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from gitchain.errors import NoEvidenceError, ProjectError, StoreError
from gitchain.platform.git import Git
from gitchain.store.tree_paths import Kind, Oid


class Backend(Protocol):
    """Objects and refs of a Git repository."""

    @property
    def common_dir(self) -> Path:
        """Return the directory that all worktrees share."""

    @property
    def oid_bytes(self) -> int:
        """Return the length of an object id in bytes: 20 or 32."""

    @property
    def partial(self) -> bool:
        """Return True for a partial clone, whose missing objects are at a remote."""

    def config(self, key: str) -> str | None:
        """Return a configuration value, or None."""

    def read(self, oid: Oid, kind: Kind, limit: int) -> bytes:
        """Return an object's bytes.

        Raises LimitError beyond `limit`, before decompression. Raises NoEvidenceError if a partial clone lacks the object
        and may not fetch it. Raises StoreError if it is missing, corrupt or of another kind.
        """

    def expect(self, oids: Sequence[Oid]) -> list[Oid]:
        """Prepare to read these objects next; reading others is still possible.

        Returns them once each, in the order in which they are read fastest: deltas of each other together.
        """

    def size(self, oid: Oid) -> int | None:
        """Return an object's size from its header, or None if the object is not available."""

    def digest(self, oid: Oid) -> tuple[str, bytes]:
        """Return the SHA-256 of a blob of any size (streamed), and its first bytes. Raises the errors of `read`."""

    def write(self, kind: Kind, data: bytes) -> Oid:
        """Stage an object and return its id. `read` returns it at once, the repository after `flush`."""

    def flush(self) -> None:
        """Write staged objects durably.

        Raises StoreError if the disk refuses, without partially written objects. Nothing remains staged in either
        case.
        """

    def is_staged(self, oid: Oid) -> bool:
        """Return True for an object that `flush` would write."""

    def discard(self) -> None:
        """Drop staged objects. Written ones that no ref reaches may be removed by `git gc` from now on."""

    def read_ref(self, name: str) -> Oid | None:
        """Return the target of a direct ref, or None if it does not exist. Raises StoreError for a symbolic ref."""

    def swap_ref(self, name: str, new: Oid, old: Oid | None) -> bool:
        """Move a ref if it still has the value `old` (None: does not exist).

        Returns False if it has another value or is locked. Raises StoreError if the disk refuses.
        """


def locate(path: Path, *, offline: bool) -> tuple[Git, Path, str]:
    """Return a git runner, the common directory and the object format of the repository that contains `path`.

    Raises ProjectError without a repository, or if git does not trust it or cannot read it.
    """
    if not path.is_dir():
        raise ProjectError("no such directory", where=str(path), help="check the path")
    git = Git(path, offline)
    done = git.run(
        "rev-parse", "--path-format=absolute", "--git-common-dir", "--show-object-format", accept=(0,)
    )
    lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
    if len(lines) != 2:
        raise ProjectError("the repository's path holds a newline", where=repr(str(path)))
    return git, Path(lines[0]), lines[1]


def missing(oid: Oid, where: Path, *, partial: bool) -> NoEvidenceError | StoreError:
    """Return the error for a missing object."""
    if partial:
        return NoEvidenceError(
            "the partial clone lacks an object of the store",
            where=f"{where}: {oid}",
            help="gitchain sync   or in a bare repository: "
            "git fetch --refetch --no-filter origin 'refs/gitchain/*:refs/gitchain/*'",
        )
    return StoreError("an object of the store is missing", where=f"{where}: {oid}", help="git fsck --full")


def settle(backend: Backend, name: str, new: Oid, old: Oid | None, failure: StoreError) -> bool:
    """Return the outcome of a failed ref update, by reading the ref instead of parsing error messages.

    True: the ref moved after all. False: another writer moved it, or holds its lock. Otherwise raises `failure`.
    """
    current = backend.read_ref(name)
    if current == new:
        return True
    if current != old or lock_file(backend.common_dir, name).exists():
        return False
    raise failure


def lock_file(common_dir: Path, name: str) -> Path:
    """Return the file with which git and libgit2 lock a ref."""
    return common_dir / (name + ".lock")
