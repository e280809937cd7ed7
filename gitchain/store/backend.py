"""The few things that the store asks of a repository, and the choice of who does them.

pygit2 does them for ordinary repositories, ten times faster than a process per object. Repositories that
libgit2 cannot open (SHA-256 object ids, reftable) are served by the git binary, where it is new enough.
Objects are durable after `flush`, refs when `swap_ref` returns: the power may fail right after.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from gitchain.errors import NoEvidenceError, ProjectError, StoreError
from gitchain.platform.git import Git
from gitchain.store.loose import Kind
from gitchain.store.objects import Oid


class Backend(Protocol):
    """A Git repository's objects and refs."""

    @property
    def common_dir(self) -> Path:
        """Return the directory that all worktrees share."""

    @property
    def oid_bytes(self) -> int:
        """Return the length of an object id in bytes: 20 or 32."""

    @property
    def partial(self) -> bool:
        """Say whether this is a partial clone, in which a remote holds objects that are missing here."""

    def config(self, key: str) -> str | None:
        """Return a configuration value."""

    def read(self, oid: Oid, kind: Kind, limit: int) -> bytes:
        """Return an object's bytes.

        LimitError beyond `limit`, before the bytes are inflated; NoEvidenceError where a partial clone lacks
        the object and may not fetch it; StoreError where it is missing, broken or of another kind.
        """

    def size(self, oid: Oid) -> int | None:
        """Return an object's size from its header, None where the object is not at hand."""

    def digest(self, oid: Oid) -> tuple[str, bytes]:
        """Return the SHA-256 of a blob of any size, which is streamed, and how it begins; raises as `read`."""

    def write(self, kind: Kind, data: bytes) -> Oid:
        """Take in an object and return its id: `read` knows it at once, the repository after `flush`."""

    def flush(self) -> None:
        """Make what was taken in durable; StoreError where the disk refuses, with no object half-written.

        Either way, nothing remains to be flushed.
        """

    def discard(self) -> None:
        """Forget what was taken in and not flushed."""

    def read_ref(self, name: str) -> Oid | None:
        """Return what a direct ref points to, None where it does not exist; StoreError for a symbolic one."""

    def swap_ref(self, name: str, new: Oid, old: Oid | None) -> bool:
        """Move a ref if it still has the value `old` (None: does not exist).

        False if it has another or is locked. StoreError where the disk refuses.
        """


def locate(path: Path, *, offline: bool) -> tuple[Git, Path, str]:
    """Return a git runner, the common directory and the object format of the repository around `path`.

    ProjectError where there is none, or where git does not trust or cannot read it.
    """
    if not path.is_dir():
        raise ProjectError("no such directory", where=str(path))
    git = Git(path, offline)
    done = git.run(
        "rev-parse", "--path-format=absolute", "--git-common-dir", "--show-object-format", accept=(0,)
    )
    lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
    if len(lines) != 2:
        raise ProjectError("the repository's path holds a newline", where=repr(str(path)))
    return git, Path(lines[0]), lines[1]


def missing(oid: Oid, where: Path, *, partial: bool) -> NoEvidenceError | StoreError:
    """Return the error for an object that is not there."""
    if partial:
        return NoEvidenceError(
            "the partial clone lacks an object of the store",
            where=f"{where}: {oid}",
            help="run once without --offline: gitchain sync",
        )
    return StoreError("an object of the store is missing", where=f"{where}: {oid}", help="git fsck --full")


def settle(backend: Backend, name: str, new: Oid, old: Oid | None, failure: StoreError) -> bool:
    """Decide what a failed ref update was, by looking: no message of git or libgit2 is relied on.

    True: it moved after all. False: another writer moved it, or holds its lock. Otherwise raises `failure`.
    """
    current = backend.read_ref(name)
    if current == new:
        return True
    if current != old or lock_file(backend.common_dir, name).exists():
        return False
    raise failure


def lock_file(common_dir: Path, name: str) -> Path:
    """Return the file by which git and libgit2 lock a ref."""
    return common_dir / (name + ".lock")
