"""Reading, adding to and uniting the store's trees.

Reading is lenient where asked: an entry that the store never writes is reported and passed over, so that junk
beside the evidence does not hide it. Writing and uniting are strict: what they touch must have the store's
shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from gitchain.errors import GitchainError, LimitError, MalformedError, NoEvidenceError, StoreError
from gitchain.evidence.bundle import MAX_BUNDLE_BYTES
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.manifest import MAX_NODE_BYTES
from gitchain.store import shape
from gitchain.store.backend import Backend
from gitchain.store.objects import BLOB_MODE, TREE_MODE, Entry, Oid, parse_tree, render_tree

MAX_TREE_BYTES = 32 << 20  # a directory of 300,000 leaves: the most for one subject's index
UNREADABLE = (MalformedError, LimitError, StoreError, NoEvidenceError)

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the store that is not as the store writes it; the good entries beside it still count."""

    path: str
    message: str


Report = Callable[[Problem], None]


class Trees:
    """The trees of one repository."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def entries(self, path: Path, oid: Oid) -> tuple[Entry, ...]:
        """Return the entries of a tree, unchecked against the store's shape."""
        where = "/".join(path) or "the store's tree"
        return parse_tree(self._backend.read(oid, "tree", MAX_TREE_BYTES), self._backend.oid_bytes, where)

    def find(self, root: Oid, path: Path) -> Entry | None:
        """Return the entry at a path, None where there is none.

        MalformedError for a wrong kind on the way.
        """
        oid = root
        for depth, name in enumerate(path):
            found = next((entry for entry in self.entries(path[:depth], oid) if entry.name == name), None)
            if found is None:
                return None
            shape.check_entry(path[:depth], found)
            oid = found.oid
        return found

    def walk(self, oid: Oid, path: Path, report: Report | None = None) -> Iterator[tuple[Path, Entry]]:
        """Yield the leaves under a tree in order of their names.

        Raise at the first fault unless `report` takes it.
        """
        try:
            entries = self.entries(path, oid)
        except UNREADABLE as error:
            _tell(report, path, error)
            return
        for entry in entries:
            try:
                inner = shape.check_entry(path, entry)
            except MalformedError as error:
                _tell(report, (*path, entry.name), error)
                continue
            if entry.is_tree:
                yield from self.walk(entry.oid, inner, report)
            else:
                yield inner, entry

    def leaf(self, path: Path, entry: Entry) -> bytes:
        """Return a leaf's bytes, checked against its name.

        MalformedError, LimitError, StoreError, NoEvidenceError.
        """
        limit = MAX_NODE_BYTES if path[0] == shape.MANIFESTS else MAX_BUNDLE_BYTES
        data = self._backend.read(entry.oid, "blob", limit)
        if path == (shape.VERSION_NAME,):
            _check_version(data)
        elif (digest := sha256_hex(data)) != shape.leaf_name(path):
            raise MalformedError(
                "leaf's name is not the sha256 of its bytes", where="/".join(path), got=digest
            )
        return data

    def insert(self, root: Oid | None, leaves: Mapping[Path, Oid], path: Path = ()) -> Oid:
        """Return the tree with the leaves added.

        The same tree if it has them all; StoreError if one differs.
        """
        entries = {} if root is None else {entry.name: entry for entry in self.entries(path, root)}
        before = dict(entries)
        for name, below in _by_first(leaves).items():
            old = entries.get(name)
            if old is not None:
                shape.check_entry(path, old)
            entries[name] = self._inserted((*path, name), old, below)
        if root is not None and entries == before:
            return root
        return self._write(entries)

    def _inserted(self, path: Path, old: Entry | None, below: Mapping[Path, Oid]) -> Entry:
        if () in below:
            new = Entry(path[-1], BLOB_MODE, below[()])
            if old is not None and old != new:
                raise _conflict(path, old, new)
            return new
        return Entry(path[-1], TREE_MODE, self.insert(None if old is None else old.oid, below, path))

    def unite(self, left: Oid | None, right: Oid) -> tuple[Oid, int]:
        """Return the union of two stores and how many bundles and manifests the left one gains.

        Every leaf that is new to the left is checked against its name. StoreError where one name stands for
        two contents, MalformedError where the right tree holds what the store never writes: nothing is taken
        then.
        """
        taken: dict[Path, Entry] = {}
        root = self._united((), left, right, taken)
        checked: set[tuple[str, Oid]] = set()
        for path, entry in taken.items():
            if (key := (shape.leaf_name(path), entry.oid)) not in checked:
                self.leaf(path, entry)
                checked.add(key)
        return root, sum(path[0] in {shape.ATTESTATIONS, shape.MANIFESTS} for path in taken)

    def count_new(self, old: Oid | None, new: Oid) -> int:
        """Return how many bundles and manifest nodes `new` has that `old` has not."""
        if old == new:
            return 0
        before = {} if old is None else {entry.name: entry for entry in self.entries((), old)}
        return sum(
            self._count_new((entry.name,), before.get(entry.name), entry)
            for entry in self.entries((), new)
            if entry.name in {shape.ATTESTATIONS, shape.MANIFESTS}
        )

    def _count_new(self, path: Path, old: Entry | None, new: Entry) -> int:
        if old == new:
            return 0
        if not new.is_tree:
            return 1
        before = {} if old is None else {entry.name: entry for entry in self.entries(path, old.oid)}
        inside = self.entries(path, new.oid)
        return sum(self._count_new((*path, entry.name), before.get(entry.name), entry) for entry in inside)

    def _united(self, path: Path, left: Oid | None, right: Oid, taken: dict[Path, Entry]) -> Oid:
        if left == right:
            return right
        mine = {} if left is None else {entry.name: entry for entry in self.entries(path, left)}
        before = dict(mine)
        for entry in self.entries(path, right):
            inner = shape.check_entry(path, entry)
            old = mine.get(entry.name)
            if old is None:
                taken.update(self.walk(entry.oid, inner) if entry.is_tree else [(inner, entry)])
                mine[entry.name] = entry
            elif old != entry:
                if not (old.is_tree and entry.is_tree):
                    raise _conflict(inner, old, entry)
                mine[entry.name] = Entry(
                    entry.name, TREE_MODE, self._united(inner, old.oid, entry.oid, taken)
                )
        return left if left is not None and mine == before else self._write(mine)

    def _write(self, entries: Mapping[str, Entry]) -> Oid:
        return self._backend.write("tree", render_tree(entries.values()))


def _by_first(leaves: Mapping[Path, Oid]) -> dict[str, dict[Path, Oid]]:
    grouped: dict[str, dict[Path, Oid]] = {}
    for path, oid in leaves.items():
        grouped.setdefault(path[0], {})[path[1:]] = oid
    return grouped


def _conflict(path: Path, old: Entry, new: Entry) -> StoreError:
    return StoreError(
        "one name stands for two contents: a store was tampered with",
        where="/".join(path),
        expected=old.oid,
        got=new.oid,
        help="compare both with git cat-file -p and tell whoever may write to the store",
    )


def _check_version(data: bytes) -> None:
    if data != shape.VERSION_BYTES:
        raise StoreError(
            "the store has a format that this version does not know",
            where=shape.VERSION_NAME,
            expected=repr(shape.VERSION_BYTES),
            got=repr(data[:40]),
            help="use a newer gitchain",
        )


def _tell(report: Report | None, path: Path, error: GitchainError) -> None:
    if report is None:
        raise error
    report(Problem("/".join(path), str(error)))
