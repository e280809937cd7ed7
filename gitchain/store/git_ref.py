"""The attestation store: an add-only, content-addressed tree under one Git ref.

`refs/gitchain/attestations` (or what `git config gitchain.ref` names) points to a commit whose tree has the
shape of `shape`. Adding writes the new blobs, the trees on their paths and a commit, then moves the ref by
compare-and-swap; a writer that lost the race reads the ref again and adds to what it finds. Nothing is ever
removed or rewritten, so writers and clones never conflict by honest means. Every object is on disk before the
ref names it.

The store finds evidence; it does not vouch for it. Nothing here verifies a signature.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath

import pygit2

from gitchain.errors import ConflictError, LimitError, MalformedError, ProjectError, StoreError
from gitchain.evidence.digest import sha256_hex
from gitchain.platform.git import Git, check_repository_files
from gitchain.store import shape
from gitchain.store.backend import Backend, lock_file
from gitchain.store.git_binary import GitBinary
from gitchain.store.libgit2 import Libgit2
from gitchain.store.lock import WriterLock, pause
from gitchain.store.loose import NewObject
from gitchain.store.objects import BLOB_MODE, Commit, Entry, Oid, parse_commit, render_commit
from gitchain.store.trees import UNREADABLE, Path, Problem, Report, Trees, attestation_paths

DEFAULT_REF = "refs/gitchain/attestations"
MAX_COMMIT_BYTES = 32 << 20  # its message is of no interest, and must not hide the tree
MAX_LEAVES = 200_000  # entries of one walk
MAX_STORE_BYTES = 512 << 20  # of all bundles, inflated one after the other: a few seconds
MAX_FOUND_BYTES = 64 << 20  # of the bundles about one subject
MAX_ATTEMPTS = 200  # of a writer that keeps losing to writers outside of this machine's lock
_FORMAT = re.compile(rb"[0-9]{1,9}\n")
MAX_REFUSALS = 5  # in a row with nobody else moving the ref: then the disk is to blame


def open_backend(path: FilePath, *, offline: bool) -> Backend:
    """Return the backend for the repository around a path; ProjectError where there is none to work with."""
    check_repository_files(path)
    try:
        return Libgit2(path, offline=offline)
    except (pygit2.GitError, KeyError, ValueError, OSError):
        return GitBinary(
            path, offline=offline
        )  # serves what libgit2 cannot, or says in git's words what is wrong


def _ignore(_problem: Problem) -> None:
    return


class AttestationStore:
    """The attestations of one repository, shared by all its worktrees."""

    def __init__(
        self, backend: Backend, path: FilePath, *, offline: bool, clock: Callable[[], float] = time.time
    ) -> None:
        self.backend = backend
        self.path = path
        self.offline = offline
        self.trees = Trees(backend)
        self.ref = _ref_name(backend)
        self._clock = clock
        self._rehearsed: Oid | None = None
        self._rehearsing = False
        self._lock = WriterLock(
            backend.common_dir / "gitchain" / "store.lock", lock_file(backend.common_dir, self.ref)
        )

    @classmethod
    def open(cls, path: FilePath, *, offline: bool = False) -> AttestationStore:
        """Return the store of the repository that `path` lies in (bare ones too).

        ProjectError if there is none. With `offline`, blobs that a partial clone lacks are not fetched:
        reading one is a NoEvidenceError.
        """
        return cls(open_backend(path, offline=offline), path, offline=offline)

    def git(self) -> Git:
        """Return a runner of git for this repository."""
        return Git(self.path, self.offline)

    def tip(self) -> str | None:
        """Return the commit that the store's ref points to, None before the first attestation."""
        return self._tip()

    def _tip(self) -> Oid | None:
        return self._rehearsed or self.backend.read_ref(self.ref)

    def rehearse(self) -> None:
        """From now on keep every change in memory: this object shows it, the repository stays as it is."""
        self._rehearsing = True

    def add(self, bundles: Sequence[bytes], manifests: Mapping[str, bytes] = {}) -> tuple[str, ...]:
        """Add bundles and manifest nodes in one commit and return the bundles' names (sha256 of their bytes).

        What is there already is not added again; if all is, no commit is made. When this returns, all of it
        is durable. MalformedError for what is no bundle; LimitError; StoreError where the disk refuses;
        ConflictError where other writers keep winning. On any error nothing was added.
        """
        contents: dict[Path, bytes] = {}
        for bundle in bundles:
            contents.update(dict.fromkeys(_bundle_paths(bundle), bundle))
        for digest, node in manifests.items():
            contents[_manifest_path(digest, node)] = node
        if contents:
            contents[(shape.VERSION_NAME,)] = shape.VERSION_BYTES
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
        """Point the ref to the commit that `change` makes of the one it finds, and return it.

        `change` is called again after a lost race; if it returns what it was given, nothing is written.
        StoreError, ConflictError as in `add`.
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
        refused = 0
        for attempt in range(MAX_ATTEMPTS):
            tip = self.backend.read_ref(self.ref)
            commit = change(tip)
            if commit == tip:
                return commit
            self.backend.flush()
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
        """Take in a commit, which `advance` makes durable before it points the ref to it."""
        name = self.backend.config("user.name") or "gitchain"
        mail = self.backend.config("user.email") or "gitchain@localhost"
        ident = f"{_plain(name)} <{_plain(mail)}>"
        return self.backend.write(
            "commit", render_commit(Commit(tree, parents), ident, int(self._clock()), message)
        )

    def root(self, commit: Oid) -> Oid:
        """Return the tree of a commit of the store.

        StoreError if its format is unknown, MalformedError if foreign.
        """
        tree = self._tree(commit)
        version = self.trees.find(tree, (shape.VERSION_NAME,))
        if version is None:
            raise self._foreign(commit)
        if version.oid != NewObject.of("blob", shape.VERSION_BYTES, self.backend.oid_bytes).oid:
            self.trees.leaf((shape.VERSION_NAME,), version)  # raises, and shows the format that it found
        return tree

    def foreign_root(self, commit: Oid, report: Report) -> Oid:
        """Return the tree of a commit that somebody else pushed; a VERSION that names no format goes to `report`.

        StoreError if it names another format; MalformedError if the tree has neither VERSION nor attestations.
        """
        tree = self._tree(commit)
        try:
            return self.root(commit)
        except UNREADABLE as error:
            entries = {entry.name: entry for entry in self.trees.entries((), tree)}
            if _names_format(self.backend, entries.get(shape.VERSION_NAME)):
                raise
            found = entries.get(shape.ATTESTATIONS)
            if found is None or not found.is_tree:
                raise self._foreign(commit) from error
            report(Problem(shape.VERSION_NAME, str(error)))
            return tree

    def _tree(self, commit: Oid) -> Oid:
        return parse_commit(self.backend.read(commit, "commit", MAX_COMMIT_BYTES), commit).tree

    def _foreign(self, commit: Oid) -> MalformedError:
        return MalformedError("the ref does not hold an attestation store", where=f"{self.ref} {commit}")

    def by_subject(self, alg: str, value: str, report: Report = _ignore) -> tuple[bytes, ...]:
        """Return the bundles that the index lists for a subject digest, in order of their names.

        Broken leaves go to `report`. The index is a hint: only `all` sees what an index lacks. LimitError beyond
        MAX_FOUND_BYTES.
        """
        if not shape.is_indexed(alg, value):
            return ()
        tip = self._tip()
        found, size = [], 0
        for _, data in self._leaves(shape.subject_path(alg, value), report, tip):
            size += len(data)
            if size > MAX_FOUND_BYTES:
                raise self._too_much(f"{MAX_FOUND_BYTES} bytes about {alg}:{value}")
            found.append(data)
        return tuple(found)

    def all(self, report: Report = _ignore) -> Iterator[bytes]:
        """Yield every bundle in order of their names; broken leaves go to `report`."""
        return (data for _, data in self.items(self.tip(), report))

    def items(
        self, at: str | None, report: Report = _ignore, room: str = "att"
    ) -> Iterator[tuple[str, bytes]]:
        """Yield name and bytes of all bundles (or nodes) that a commit holds; broken leaves go to `report`.

        LimitError beyond MAX_STORE_BYTES and MAX_LEAVES.
        """
        size = 0
        for path, data in self._leaves((room,), report, None if at is None else Oid(at)):
            size += len(data)
            if size > MAX_STORE_BYTES:
                raise self._too_much(f"{MAX_STORE_BYTES} bytes")
            yield shape.leaf_name(path), data

    def _too_much(self, expected: str) -> LimitError:
        return LimitError(
            "the store holds too much",
            where=self.ref,
            expected=f"at most {expected}",
            help="gitchain sync --prune-junk   removes what is neither an attestation nor a manifest",
        )

    def names(self, report: Report = _ignore, room: str = shape.ATTESTATIONS) -> Iterator[str]:
        """Yield the name of every bundle (or manifest node) without reading them."""
        entries = self._entries((room,), report, self._tip())
        return (shape.leaf_name(path) for path, _ in entries)

    def count(self) -> int:
        """Return the number of bundles."""
        return sum(1 for _ in self.names())

    def get(self, name: str, at: str | None = None) -> bytes | None:
        """Return the bundle of that name (at a commit, or now), None if the store has none.

        MalformedError if its bytes are others.
        """
        return self._get(shape.ATTESTATIONS, name, at)

    def manifest(self, digest: str) -> bytes | None:
        """Return the manifest node of that digest, None if the store has none."""
        return self._get(shape.MANIFESTS, digest)

    def problems(self) -> tuple[Problem, ...]:
        """Return everything in the store that is not as the store writes it. Reads every leaf."""
        found: list[Problem] = []
        tip = self._tip()
        if tip is not None:
            bundles = {}
            for path, data in self._leaves((), found.append, tip):
                if path[0] == shape.ATTESTATIONS:
                    bundles[shape.leaf_name(path)] = data
            self._check_index(self.root(tip), bundles, found.append)
        return tuple(found)

    def _check_index(self, root: Oid, bundles: Mapping[str, bytes], report: Report) -> None:
        for name, data in bundles.items():
            try:
                paths = _bundle_paths(data)
            except (MalformedError, LimitError) as error:
                report(Problem("/".join(shape.content_path(shape.ATTESTATIONS, name)), str(error)))
                continue
            for path in paths[1:]:
                if self.trees.find(root, path) is None:
                    report(Problem("/".join(path), "attestation is missing from the index"))

    def _get(self, room: str, name: str, at: str | None = None) -> bytes | None:
        tip = self._tip() if at is None else Oid(at)
        if tip is None or not shape.is_sha256(name):
            return None
        path = shape.content_path(room, name)
        entry = self.trees.find(self.root(tip), path)
        return None if entry is None else self.trees.leaf(path, entry)

    def _leaves(self, start: Path, report: Report, tip: Oid | None) -> Iterator[tuple[Path, bytes]]:
        for path, entry in self._entries(start, report, tip):
            try:
                yield path, self.trees.leaf(path, entry)
            except UNREADABLE as error:
                report(Problem("/".join(path), str(error)))

    def _entries(self, start: Path, report: Report, tip: Oid | None) -> Iterator[tuple[Path, Entry]]:
        if tip is None:
            return
        root = self.root(tip)
        if not start:
            yield from self._walk(root, start, report)
            return
        try:
            entry = self.trees.find(root, start)
        except UNREADABLE as error:
            report(Problem("/".join(start), str(error)))
            return
        if entry is not None:
            yield from self._walk(entry.oid, start, report)

    def _walk(self, oid: Oid, start: Path, report: Report) -> Iterator[tuple[Path, Entry]]:
        for count, found in enumerate(self.trees.walk(oid, start, report), 1):
            if count > MAX_LEAVES:
                raise self._too_much(f"{MAX_LEAVES} entries")
            yield found


def _bundle_paths(data: bytes) -> tuple[Path, ...]:
    return attestation_paths(data, sha256_hex(data))


def _names_format(backend: Backend, version: Entry | None) -> bool:
    """Tell whether VERSION is what a gitchain writes, of this format or another."""
    if version is None or version.mode != BLOB_MODE:
        return False
    try:
        return _FORMAT.fullmatch(backend.read(version.oid, "blob", MAX_COMMIT_BYTES)) is not None
    except UNREADABLE:
        return False


def _manifest_path(digest: str, node: bytes) -> Path:
    if sha256_hex(node) != digest:
        raise MalformedError("manifest node does not have its digest", where=digest, got=sha256_hex(node))
    return shape.content_path(shape.MANIFESTS, digest)


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
