"""Read the attestations of one repository: the tree under the store's ref, at its tip or at a commit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.digest import sha256_hex
from gitchain.store import tree_paths
from gitchain.store.tree_paths import (
    BLOB_MODE,
    NewObject,
    Oid,
    StoredTreeEntry,
    attestation_paths,
    leaf_name,
    parse_commit,
)
from gitchain.store.trees import UNREADABLE, Path, Report, StoreProblem, Trees

if TYPE_CHECKING:
    from gitchain.store.backend import Backend

MAX_COMMIT_BYTES = 32 << 20  # ignore the commit message, which must not hide the tree
MAX_LEAVES = 200_000  # entries of one walk
MAX_STORE_BYTES = 512 << 20  # total of all bundles when decompressed one by one: a few seconds
MAX_FOUND_BYTES = 64 << 20  # total of the bundles about one subject
MAX_KEPT = 200_000  # names that are kept, some 110 bytes each
_FORMAT = re.compile(rb"[0-9]{1,9}\n")


def _ignore(_problem: StoreProblem) -> None:
    return


class StoreReader:
    """Reads the attestations and manifest nodes under a ref."""

    def __init__(self, backend: Backend, ref: str) -> None:
        self.backend = backend
        self.ref = ref
        self.trees = Trees(backend)
        self._names = TreeNames(self.trees)
        self._rehearsed: Oid | None = None
        """The commit that a rehearsal keeps in memory, in place of the ref's."""

    def tip(self) -> Oid | None:
        """Return the commit of the store's ref, or None before the first attestation."""
        return self._tip()

    def _tip(self) -> Oid | None:
        return self._rehearsed or self.backend.read_ref(self.ref)

    def bundle(self, oid: Oid, name: str) -> bytes:
        """Return the bundle in a Git object. Raises StoreError. Raises MalformedError if its bytes do not match the name."""
        entry = StoredTreeEntry(name[4:], BLOB_MODE, Oid(oid))
        return self.trees.leaf(tree_paths.content_path(tree_paths.ATTESTATIONS, name), entry)

    def root(self, commit: Oid) -> Oid:
        """Return the tree of a commit of the store.

        Raises StoreError for an unknown format, MalformedError for a foreign commit.
        """
        tree = self._tree(commit)
        version = self.trees.find(tree, (tree_paths.VERSION_NAME,))
        if version is None:
            raise self._foreign(commit)
        if version.oid != NewObject.of("blob", tree_paths.VERSION_BYTES, self.backend.oid_bytes).oid:
            self.trees.leaf((tree_paths.VERSION_NAME,), version)  # raises, with the format found there
        return tree

    def foreign_root(self, commit: Oid, report: Report) -> Oid:
        """Return the tree of another clone's commit. A VERSION without a format is passed to `report`.

        Raises StoreError for another format. Raises MalformedError for a tree with neither VERSION nor attestations.
        """
        tree = self._tree(commit)
        try:
            return self.root(commit)
        except UNREADABLE as error:
            entries = {entry.name: entry for entry in self.trees.entries((), tree)}
            if _names_format(self.backend, entries.get(tree_paths.VERSION_NAME)):
                raise
            found = entries.get(tree_paths.ATTESTATIONS)
            if found is None or not found.is_tree:
                raise self._foreign(commit) from error
            report(StoreProblem.of((tree_paths.VERSION_NAME,), error))
            return tree

    def _tree(self, commit: Oid) -> Oid:
        return parse_commit(self.backend.read(commit, "commit", MAX_COMMIT_BYTES), commit).tree

    def _foreign(self, commit: Oid) -> MalformedError:
        return MalformedError("the ref does not hold an attestation store", where=f"{self.ref} {commit}")

    def by_subject(self, alg: str, value: str, report: Report = _ignore) -> tuple[bytes, ...]:
        """Return the bundles listed in the index for a subject digest, sorted by name.

        Unreadable ones are passed to `report`. The index is a hint: bundles that it lacks are only found by `all`.
        Raises LimitError beyond MAX_FOUND_BYTES.
        """
        if not tree_paths.is_indexed(alg, value):
            return ()
        tip = self._tip()
        found, size = [], 0
        for _, data in self._leaves(tree_paths.subject_path(alg, value), report, tip):
            size += len(data)
            if size > MAX_FOUND_BYTES:
                raise self._too_much(f"{MAX_FOUND_BYTES} bytes about {alg}:{value}")
            found.append(data)
        return tuple(found)

    def all(self, report: Report = _ignore) -> Iterator[bytes]:
        """Yield every bundle, sorted by name. Unreadable ones are passed to `report`."""
        return (data for _, data in self.items(self.tip(), report))

    def items(
        self, at: str | None, report: Report = _ignore, room: str = "att"
    ) -> Iterator[tuple[str, bytes]]:
        """Yield name and bytes of all bundles (or nodes) in a commit. Unreadable ones are passed to `report`.

        Raises LimitError beyond MAX_STORE_BYTES and MAX_LEAVES.
        """
        size = 0
        for path, data in self._leaves((room,), report, None if at is None else Oid(at)):
            size += len(data)
            if size > MAX_STORE_BYTES:
                raise self._too_much(f"{MAX_STORE_BYTES} bytes")
            yield tree_paths.leaf_name(path), data

    def _too_much(self, expected: str) -> LimitError:
        return LimitError(
            "the store holds too much",
            where=self.ref,
            expected=f"at most {expected}",
            help="gitchain sync --prune-junk   removes what is neither an attestation nor a manifest",
        )

    def names(self, report: Report = _ignore, room: str = tree_paths.ATTESTATIONS) -> Iterator[str]:
        """Yield the name of every bundle (or manifest node) without reading them. Raises LimitError beyond MAX_LEAVES."""
        for count, name in enumerate(self.all_names(self._tip(), report, room), 1):
            if count > MAX_LEAVES:
                raise self._too_much(f"{MAX_LEAVES} entries")
            yield name

    def all_names(
        self, at: str | None, report: Report = _ignore, room: str = tree_paths.ATTESTATIONS
    ) -> Iterator[str]:
        """Yield the names at a commit, without a limit."""
        found = None if at is None else self._start((room,), report, self.root(Oid(at)))
        return iter(()) if found is None else self._names.below((room,), found, report)

    def count(self) -> int:
        """Return the number of bundles."""
        return sum(1 for _ in self.names())

    def get(self, name: str, at: str | None = None) -> bytes | None:
        """Return the bundle with this name (at a commit, or now), or None.

        Raises MalformedError if its bytes do not match the name.
        """
        return self._get(tree_paths.ATTESTATIONS, name, at)

    def several(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield name and bytes of the bundles with these names, in any order, without unreadable ones."""
        from gitchain.store.several import read_several

        tip = self._tip()
        if tip is not None:
            paths = (tree_paths.content_path(tree_paths.ATTESTATIONS, name) for name in names)
            for path, data in read_several(self.trees, self.backend, self.root(tip), paths):
                yield tree_paths.leaf_name(path), data

    def manifest(self, digest: str) -> bytes | None:
        """Return the manifest node with this digest, or None."""
        return self._get(tree_paths.MANIFESTS, digest)

    def problems(self) -> tuple[StoreProblem, ...]:
        """Return all entries that the store would not write. Reads every leaf."""
        found: list[StoreProblem] = []
        tip = self._tip()
        if tip is not None:
            bundles = {}
            for path, data in self._leaves((), found.append, tip):
                if path[0] == tree_paths.ATTESTATIONS:
                    bundles[tree_paths.leaf_name(path)] = data
            self._check_index(self.root(tip), bundles, found.append)
        return tuple(found)

    def _check_index(self, root: Oid, bundles: Mapping[str, bytes], report: Report) -> None:
        for name, data in bundles.items():
            try:
                paths = bundle_paths_of(data)
            except (MalformedError, LimitError) as error:
                report(
                    StoreProblem("/".join(tree_paths.content_path(tree_paths.ATTESTATIONS, name)), str(error))
                )
                continue
            for path in paths[1:]:
                if self.trees.find(root, path) is None:
                    report(StoreProblem("/".join(path), "attestation is missing from the index"))

    def _get(self, room: str, name: str, at: str | None = None) -> bytes | None:
        tip = self._tip() if at is None else Oid(at)
        if tip is None or not tree_paths.is_sha256(name):
            return None
        path = tree_paths.content_path(room, name)
        entry = self.trees.find(self.root(tip), path)
        return None if entry is None else self.trees.leaf(path, entry)

    def _leaves(self, start: Path, report: Report, tip: Oid | None) -> Iterator[tuple[Path, bytes]]:
        for path, entry in self._entries(start, report, tip):
            try:
                yield path, self.trees.leaf(path, entry)
            except UNREADABLE as error:
                report(StoreProblem.of(path, error))

    def _entries(
        self, start: Path, report: Report, tip: Oid | None
    ) -> Iterator[tuple[Path, StoredTreeEntry]]:
        if tip is None:
            return
        root = self.root(tip)
        if not start:
            yield from self._walk(root, start, report)
            return
        found = self._start(start, report, root)
        if found is not None:
            yield from self._walk(found, start, report)

    def _start(self, start: Path, report: Report, root: Oid) -> Oid | None:
        """Return the tree at a path, or None."""
        try:
            entry = self.trees.find(root, start)
        except UNREADABLE as error:
            report(StoreProblem.of(start, error))
            return None
        return None if entry is None else entry.oid

    def _walk(self, oid: Oid, start: Path, report: Report) -> Iterator[tuple[Path, StoredTreeEntry]]:
        for count, found in enumerate(self.trees.walk(oid, start, report), 1):
            if count > MAX_LEAVES:
                raise self._too_much(f"{MAX_LEAVES} entries")
            yield found


def bundle_paths_of(data: bytes) -> tuple[Path, ...]:
    """Return the paths under which a bundle is stored."""
    return attestation_paths(data, sha256_hex(data))


def _names_format(backend: Backend, version: StoredTreeEntry | None) -> bool:
    """Return True if VERSION has the form that gitchain writes, for any format."""
    if version is None or version.mode != BLOB_MODE:
        return False
    try:
        return _FORMAT.fullmatch(backend.read(version.oid, "blob", MAX_COMMIT_BYTES)) is not None
    except UNREADABLE:
        return False


class TreeNames:
    """The names of all attestations or manifest nodes of one repository, without reading them.

    A sync lists them several times, and between two times only a few change. So the names below a directory `att/<aa>`
    are kept by its tree: a tree that is the same has the same names.
    """

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._kept: dict[tuple[Path, Oid], tuple[str, ...]] = {}
        self._count = 0

    def below(self, path: Path, oid: Oid, report: Report) -> Iterator[str]:
        """Yield the names below `att` or `manifest`, sorted. Invalid entries are passed to `report`."""
        for inner, entry in self._trees.ahead(self._trees.children(path, oid, report)):
            known = self._kept.get((inner, entry.oid))
            yield from self._list(inner, entry.oid, report) if known is None else known

    def _list(self, path: Path, oid: Oid, report: Report) -> Iterator[str]:
        problems: list[StoreProblem] = []

        def note(problem: StoreProblem) -> None:
            problems.append(problem)
            report(problem)

        found = (leaf_name(inner) for inner, _ in self._trees.walk(oid, path, note))
        names = tuple(islice(found, MAX_KEPT))
        yield from names
        yield from found
        if not problems and self._count + len(names) < MAX_KEPT:
            self._kept[path, oid] = names
            self._count += len(names)
