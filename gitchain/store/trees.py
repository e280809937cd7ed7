"""Read, extend and merge the store's trees.

Reading is lenient: an entry that the store never writes is reported and skipped, so that junk does not hide evidence.
Merging accepts only well-formed attestations and manifest nodes, and creates their index entries itself. Only the
current entry of a tree is kept in memory, and sizes are read from an object's header before decompression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError, LimitError, MalformedError, NoEvidenceError, StoreError
from gitchain.evidence.bundle import MAX_BUNDLE_BYTES
from gitchain.evidence.digest import sha256_hex
from gitchain.store import tree_paths
from gitchain.store.tree_paths import Oid, StoredTreeEntry, attestation_paths, parse_tree, render_tree

if TYPE_CHECKING:
    from gitchain.store.backend import Backend

MAX_TREE_BYTES = 8 << 20  # a directory of 90,000 leaves: the most for one subject's index
LARGE_BYTES = 16 << 20  # size of a manifest node beyond which it is streamed for the check
MAX_KEPT_BYTES = 32 << 10  # of a tree that is kept: 256 leaves have 26 kB
MAX_KEPT_TREES = 64
AHEAD = 256  # entries of a directory whose trees are prepared together
MAX_TOLD = 20  # problems reported one by one per directory
NODE_START = b'{"entries":['  # in every version of the format
_CONTENT = frozenset({tree_paths.ATTESTATIONS, tree_paths.MANIFESTS})
UNREADABLE = (MalformedError, LimitError, StoreError, NoEvidenceError)

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoreProblem:
    """An invalid entry in the store; other entries still count.

    `lacking` is set for an entry that a partial clone has not fetched: it exists elsewhere, and may count.
    """

    path: str
    message: str
    lacking: NoEvidenceError | None = None

    @classmethod
    def of(cls, path: Path, error: GitchainError) -> StoreProblem:
        """Return the problem of an unreadable entry at this path."""
        return cls("/".join(path), str(error), error if isinstance(error, NoEvidenceError) else None)

    def raise_lacking(self) -> None:
        """Raise NoEvidenceError for an entry that a partial clone has not fetched."""
        if self.lacking is not None:
            raise self.lacking


Report = Callable[[StoreProblem], None]


class Trees:
    """The trees of one repository."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._kept: dict[Oid, dict[str, StoredTreeEntry]] = {}

    def entries(self, path: Path, oid: Oid) -> Iterator[StoredTreeEntry]:
        """Yield the entries of a tree, not checked against `tree_paths`. Raises the errors of `Backend.read`.

        Raises MalformedError, after the earlier entries, for a truncated tree.
        """
        data = self._backend.read(oid, "tree", MAX_TREE_BYTES)
        yield from self._parsed(path, data)

    def find(self, root: Oid, path: Path) -> StoredTreeEntry | None:
        """Return the entry at a path, or None.

        Raises MalformedError for an unexpected kind of entry on the way.
        """
        oid = root
        for depth, name in enumerate(path):
            found = self._entry(path[:depth], oid, name)
            if found is None:
                return None
            tree_paths.check_entry(path[:depth], found)
            oid = found.oid
        return found

    def _entry(self, path: Path, oid: Oid, name: str) -> StoredTreeEntry | None:
        """Return the first entry of this name in a tree, or None. Small trees are kept: leaves are found in order."""
        if oid in self._kept:
            return self._kept[oid].get(name)
        data = self._backend.read(oid, "tree", MAX_TREE_BYTES)
        entries = self._parsed(path, data)
        if len(data) > MAX_KEPT_BYTES:
            return next((entry for entry in entries if entry.name == name), None)
        kept: dict[str, StoredTreeEntry] = {}
        try:
            for entry in entries:
                kept.setdefault(entry.name, entry)
        except MalformedError:
            if name in kept:
                return kept[name]
            raise
        if len(self._kept) == MAX_KEPT_TREES:
            del self._kept[next(iter(self._kept))]
        self._kept[oid] = kept
        return kept.get(name)

    def _parsed(self, path: Path, data: bytes) -> Iterator[StoredTreeEntry]:
        return parse_tree(data, self._backend.oid_bytes, "/".join(path) or "the store's tree")

    def children(
        self, path: Path, oid: Oid, report: Report | None = None
    ) -> Iterator[tuple[Path, StoredTreeEntry]]:
        """Yield path and entry of the valid entries in a directory, in order.

        Invalid ones are passed to `report`: the first MAX_TOLD one by one, then their number. Without `report`, the
        first one raises.
        """
        reported = 0
        try:
            for entry in self.entries(path, oid):
                try:
                    inner = tree_paths.check_entry(path, entry)
                except MalformedError as error:
                    reported += 1
                    if reported <= MAX_TOLD:
                        _tell(report, (*path, entry.name), error)
                    continue
                yield inner, entry
        except UNREADABLE as error:
            _tell(report, path, error)
        if reported > MAX_TOLD:
            more = MalformedError(f"{reported - MAX_TOLD} more entries that this store never writes")
            _tell(report, (*path, "…"), more)

    def walk(
        self, oid: Oid, path: Path, report: Report | None = None
    ) -> Iterator[tuple[Path, StoredTreeEntry]]:
        """Yield the leaves under a tree, sorted by name.

        Raises at the first problem unless `report` is given.
        """
        for inner, entry in self.ahead(self.children(path, oid, report)):
            if entry.is_tree:
                yield from self.walk(entry.oid, inner, report)
            else:
                yield inner, entry

    def ahead(
        self,
        found: Iterable[tuple[Path, StoredTreeEntry]],
        beside: Mapping[str, StoredTreeEntry] = {},
    ) -> Iterator[tuple[Path, StoredTreeEntry]]:
        """Yield entries, AHEAD at a time, after requesting their trees, and those in `beside`, in one batch."""
        left = iter(found)
        while some := list(islice(left, AHEAD)):
            others = (beside.get(entry.name) for _, entry in some)
            trees = [one.oid for one in (*(entry for _, entry in some), *others) if one and one.is_tree]
            if trees:
                self._backend.expect(trees)
            yield from some

    def in_fastest_order(
        self, leaves: Sequence[tuple[Path, StoredTreeEntry]]
    ) -> list[tuple[Path, StoredTreeEntry]]:
        """Prepare to read these leaves, and return them in the order in which they are read fastest."""
        oids = self._backend.expect([entry.oid for _, entry in leaves])
        order = {oid: number for number, oid in enumerate(oids)}
        return sorted(leaves, key=lambda one: order[one[1].oid])

    def leaf(self, path: Path, entry: StoredTreeEntry) -> bytes:
        """Return a leaf's bytes, checked against its name.

        Raises MalformedError, LimitError, StoreError, NoEvidenceError.
        """
        data = self._backend.read(entry.oid, "blob", _max_bytes(path))
        if path == (tree_paths.VERSION_NAME,):
            _check_version(data)
        elif (digest := sha256_hex(data)) != tree_paths.leaf_name(path):
            raise MalformedError(
                "leaf's name is not the sha256 of its bytes", where="/".join(path), got=digest
            )
        return data

    def insert(self, root: Oid | None, leaves: Mapping[Path, Oid], path: Path = ()) -> Oid:
        """Return the tree with the leaves added; the same tree if it has them all.

        A leaf's name is a function of its bytes: a different object or kind of entry at its path is junk and is
        replaced.
        """
        entries = {} if root is None else {entry.name: entry for entry in self.entries(path, root)}
        before = dict(entries)
        grouped = _by_first(leaves)
        olds = [one.oid for one in map(entries.get, grouped) if one is not None and one.is_tree]
        if olds:
            self._backend.expect(olds)
        for name, below in grouped.items():
            if () in below:
                entries[name] = StoredTreeEntry(name, tree_paths.BLOB_MODE, below[()])
                continue
            old = entries.get(name)
            inside = old.oid if old is not None and old.is_tree else None
            entries[name] = StoredTreeEntry(
                name, tree_paths.TREE_MODE, self.insert(inside, below, (*path, name))
            )
        if root is not None and entries == before:
            return root
        return self._backend.write("tree", render_tree(entries.values()))

    def added(self, left: Oid | None, right: Oid, report: Report) -> Iterator[tuple[Path, StoredTreeEntry]]:
        """Yield the attestations and manifest nodes listed in the right store but not in the left one, unread.

        Includes those with a different object in the left store. Invalid entries of the right one are passed to
        `report`. Its index is ignored: `leaves_of` creates the index entries.
        """
        yield from self._added((), left, right, report)

    def _added(
        self, path: Path, left: Oid | None, right: Oid, report: Report
    ) -> Iterator[tuple[Path, StoredTreeEntry]]:
        mine = {} if left is None else {entry.name: entry for entry in self.entries(path, left)}
        changed = (
            (inner, entry)
            for inner, entry in self.children(path, right, report)
            if inner[0] in _CONTENT and mine.get(entry.name) != entry
        )
        for inner, entry in self.ahead(changed, mine):
            if entry.is_tree:
                old = mine.get(entry.name)
                below = old.oid if old is not None and old.is_tree else None
                yield from self._added(inner, below, entry.oid, report)
            else:
                yield inner, entry

    def leaves_of(self, path: Path, entry: StoredTreeEntry) -> dict[Path, Oid]:
        """Return all leaves of a store for one attestation or manifest node, which is read.

        Raises MalformedError, LimitError, StoreError, NoEvidenceError if the bytes do not match its name, are no
        attestation, or cannot be read.
        """
        if path[0] == tree_paths.MANIFESTS:
            self._check_node(path, entry)
            return {path: entry.oid}
        data = self.leaf(path, entry)
        return dict.fromkeys(attestation_paths(data, tree_paths.leaf_name(path)), entry.oid)

    def _check_node(self, path: Path, entry: StoredTreeEntry) -> None:
        """Check that a leaf matches its name and starts like a manifest node. A large one is streamed."""
        size = self._backend.size(entry.oid)
        if size is not None and size > _max_bytes(path):
            raise LimitError("manifest node is too large", where="/".join(path), got=str(size))
        if size is not None and size > LARGE_BYTES:
            digest, first = self._backend.digest(entry.oid)
        else:
            data = self.leaf(path, entry)
            digest, first = sha256_hex(data), data[: len(NODE_START)]
        if digest != tree_paths.leaf_name(path) or not first.startswith(NODE_START):
            raise MalformedError("not a node of a directory manifest", where="/".join(path))


def _by_first(leaves: Mapping[Path, Oid]) -> dict[str, dict[Path, Oid]]:
    grouped: dict[str, dict[Path, Oid]] = {}
    for path, oid in leaves.items():
        grouped.setdefault(path[0], {})[path[1:]] = oid
    return grouped


def _check_version(data: bytes) -> None:
    if data != tree_paths.VERSION_BYTES:
        raise StoreError(
            "the store has a format that this version does not know",
            where=tree_paths.VERSION_NAME,
            expected=repr(tree_paths.VERSION_BYTES),
            got=repr(data[:40]),
            help="use a newer gitchain",
        )


def _tell(report: Report | None, path: Path, error: GitchainError) -> None:
    if report is None:
        raise error
    report(StoreProblem.of(path, error))


def _max_bytes(path: Path) -> int:
    """Return the size of the largest bundle, or of the largest manifest node."""
    if path[0] != tree_paths.MANIFESTS:
        return MAX_BUNDLE_BYTES
    from gitchain.evidence.manifest import MAX_NODE_BYTES

    return MAX_NODE_BYTES
