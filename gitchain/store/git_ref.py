"""Attestation store: an append-only, content-addressed tree under one Git ref.

`refs/gitchain/attestations` (or the value of `git config gitchain.ref`) points to a commit whose tree has the paths
of `tree_paths`. Adding writes the new blobs, their trees and a commit, then moves the ref by compare-and-swap. A
writer that loses the race reads the ref again and adds to the new tree. Nothing is ever removed or rewritten, so
writers and clones have no regular conflicts. Every object is on disk before the ref points to it.

The store finds evidence and verifies no signatures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

import pygit2

from gitchain.errors import ConflictError, MalformedError, ProjectError, StoreError
from gitchain.evidence.digest import sha256_hex
from gitchain.platform.files import check_repository_files
from gitchain.platform.git import Git
from gitchain.store import tree_paths
from gitchain.store.libgit2 import Libgit2
from gitchain.store.store_reader import StoreReader, bundle_paths_of
from gitchain.store.tree_paths import Commit, Oid, render_commit
from gitchain.store.trees import Path

if TYPE_CHECKING:
    from gitchain.store.backend import Backend
    from gitchain.store.lock import WriterLock

DEFAULT_REF = "refs/gitchain/attestations"
MAX_ATTEMPTS = 200  # retries of a writer that loses to writers outside of this machine's lock
MAX_REFUSALS = 5  # consecutive failures without another writer: reported as a disk error


def open_backend(path: FilePath, *, offline: bool) -> Backend:
    """Return the backend for the repository that contains a path. Raises ProjectError without a usable repository."""
    check_repository_files(path)
    try:
        return Libgit2(path, offline=offline)
    except (pygit2.GitError, KeyError, ValueError, OSError):
        from gitchain.store.git_binary import GitBinary

        # It supports what libgit2 cannot, or reports the error with git's message.
        return GitBinary(path, offline=offline)


class AttestationStore(StoreReader):
    """The attestations of one repository, shared by all its worktrees: read, and added to."""

    def __init__(
        self, backend: Backend, path: FilePath, *, offline: bool, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(backend, _ref_name(backend))
        self.path = path
        self.offline = offline
        self._clock = clock
        self._rehearsing = False

    @cached_property
    def _lock(self) -> WriterLock:
        from gitchain.store.backend import lock_file
        from gitchain.store.lock import WriterLock

        own = self.backend.common_dir / "gitchain" / "store.lock"
        return WriterLock(own, lock_file(self.backend.common_dir, self.ref))

    @classmethod
    def open(cls, path: FilePath, *, offline: bool = False) -> AttestationStore:
        """Return the store of the repository (also bare) that contains `path`.

        Raises ProjectError without a repository. With `offline`, missing blobs of a partial clone are not fetched:
        reading one raises NoEvidenceError.
        """
        return cls(open_backend(path, offline=offline), path, offline=offline)

    def git(self) -> Git:
        """Return a runner of git for this repository."""
        return Git(self.path, self.offline)

    @property
    def is_rehearsing(self) -> bool:
        """Return True if changes are kept in memory."""
        return self._rehearsing

    def rehearse(self) -> None:
        """Keep all further changes in memory: they are visible through this object only."""
        self._rehearsing = True

    def add(self, bundles: Sequence[bytes], manifests: Mapping[str, bytes] = {}) -> tuple[str, ...]:
        """Add bundles and manifest nodes in one commit and return the bundles' names (sha256 of their bytes).

        Existing ones are not added again; without new ones, no commit is made. Everything is durable on return.
        Raises MalformedError for an invalid bundle; LimitError. Raises StoreError if the disk refuses; ConflictError after
        too many lost races. After an error nothing was added.
        """
        contents: dict[Path, bytes] = {}
        for bundle in bundles:
            contents.update(dict.fromkeys(bundle_paths_of(bundle), bundle))
        for digest, node in manifests.items():
            contents[_manifest_path(digest, node)] = node
        if contents:
            contents[(tree_paths.VERSION_NAME,)] = tree_paths.VERSION_BYTES
            leaves = {path: self.backend.write("blob", data) for path, data in contents.items()}
            self.advance(lambda tip: self._with(tip, leaves, f"add {len(bundles)} attestations"))
        return tuple(sha256_hex(bundle) for bundle in bundles)

    def _with(self, tip: Oid | None, leaves: Mapping[Path, Oid], message: str) -> Oid:
        root = None if tip is None else self.root(tip)
        tree = self.trees.insert(root, leaves)
        if tip is not None and tree == root:
            return tip
        return self.commit(tree, () if tip is None else (tip,), message)

    def advance(self, change: Callable[[Oid | None], Oid]) -> Oid:
        """Set the ref to the commit that `change` creates from the current one, and return it.

        `change` is called again after a lost race. If it returns its argument, nothing is written. Raises StoreError
        and ConflictError as in `add`.
        """
        if self._rehearsing:
            self._rehearsed = change(self._tip())
            return self._rehearsed
        try:
            with self._lock.turn():
                return self._advance(change)
        finally:
            self.backend.discard()

    def _advance(self, change: Callable[[Oid | None], Oid]) -> Oid:
        from gitchain.platform.files import pause

        refused = 0
        for attempt in range(MAX_ATTEMPTS):
            tip = self.backend.read_ref(self.ref)
            commit = change(tip)
            if commit == tip:
                return commit
            if self.backend.is_staged(commit):
                self.backend.flush()
            else:  # a fetched commit, which git wrote with all that it needs
                self.backend.discard()
            try:
                with self._lock.about_to_point_to(commit):
                    moved = self.backend.swap_ref(self.ref, commit, tip)
            except StoreError:
                refused += 1
                if refused == MAX_REFUSALS:
                    raise
            else:
                refused = 0
                if moved:
                    return commit
            pause(attempt)
        raise ConflictError("other writers kept moving the store's ref", where=self.ref, help="try again")

    def commit(self, tree: Oid, parents: tuple[Oid, ...], message: str) -> Oid:
        """Stage a commit. `advance` makes it durable before it moves the ref."""
        name = self.backend.config("user.name") or "gitchain"
        mail = self.backend.config("user.email") or "gitchain@localhost"
        ident = f"{_plain(name)} <{_plain(mail)}>"
        return self.backend.write(
            "commit", render_commit(Commit(tree, parents), ident, int(self._clock()), message)
        )


def _manifest_path(digest: str, node: bytes) -> Path:
    if sha256_hex(node) != digest:
        raise MalformedError("manifest node does not have its digest", where=digest, got=sha256_hex(node))
    return tree_paths.content_path(tree_paths.MANIFESTS, digest)


def _ref_name(backend: Backend) -> str:
    name = backend.config("gitchain.ref") or DEFAULT_REF
    parts = name.split("/")
    bad = any(
        not part or part.startswith(".") or part.endswith((".lock", ".")) or ".." in part for part in parts
    )
    if (
        bad
        or len(parts) < 3
        or parts[0] != "refs"
        or not name.isascii()
        or set(name) & set(" ~^:?*[\\\x7f")
        or not name.isprintable()
    ):
        raise ProjectError(
            "not a name for a ref", where="git config gitchain.ref", expected=DEFAULT_REF, got=repr(name)
        )
    return name


def _plain(text: str) -> str:
    return "".join(char for char in text if char.isprintable() and char not in "<>").strip() or "gitchain"
