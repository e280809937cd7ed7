"""Reading, adding to and uniting the store's trees.

Reading is lenient: an entry that the store never writes is reported and passed over, so that junk beside the evidence
does not hide it. Uniting takes well-formed attestations and manifest nodes only, and makes their index entries itself.
Nothing is kept of a tree but the entry at hand, and sizes are read from an object's header before it is inflated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from gitchain.errors import GitchainError, LimitError, MalformedError, NoEvidenceError, StoreError
from gitchain.evidence.bundle import MAX_BUNDLE_BYTES, Bundle
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.manifest import MAX_NODE_BYTES
from gitchain.store import shape
from gitchain.store.backend import Backend
from gitchain.store.objects import BLOB_MODE, TREE_MODE, Entry, Oid, parse_tree, render_tree

MAX_TREE_BYTES = 8 << 20  # a directory of 90,000 leaves: the most for one subject's index
LARGE_BYTES = 16 << 20  # of a manifest node, beyond which it is streamed to be checked
MAX_TOLD = 20  # problems that are reported one by one of each directory
NODE_START = b'{"entries":['  # of every version of the format
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

    def entries(self, path: Path, oid: Oid) -> Iterator[Entry]:
        """Yield the entries of a tree, unchecked against the store's shape; raises what `Backend.read` raises.

        MalformedError, after the entries before it, where the tree is cut short.
        """
        data = self._backend.read(oid, "tree", MAX_TREE_BYTES)
        yield from parse_tree(data, self._backend.oid_bytes, "/".join(path) or "the store's tree")

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

    def children(self, path: Path, oid: Oid, report: Report | None = None) -> Iterator[tuple[Path, Entry]]:
        """Yield path and entry of what the store may have in a directory, in order.

        The rest goes to `report`: the first MAX_TOLD one by one, then their number. Without `report`, raises at the
        first problem.
        """
        told = 0
        try:
            for entry in self.entries(path, oid):
                try:
                    inner = shape.check_entry(path, entry)
                except MalformedError as error:
                    told += 1
                    if told <= MAX_TOLD:
                        _tell(report, (*path, entry.name), error)
                    continue
                yield inner, entry
        except UNREADABLE as error:
            _tell(report, path, error)
        if told > MAX_TOLD:
            more = MalformedError(f"{told - MAX_TOLD} more entries that this store never writes")
            _tell(report, (*path, "…"), more)

    def walk(self, oid: Oid, path: Path, report: Report | None = None) -> Iterator[tuple[Path, Entry]]:
        """Yield the leaves under a tree in order of their names.

        Raise at the first fault unless `report` takes it.
        """
        for inner, entry in self.children(path, oid, report):
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
        """Return the tree with the leaves added; the same tree if it has them all.

        A leaf's name is a function of its bytes: another object at its place, or another kind of entry on the way, is
        junk and gives way.
        """
        entries = {} if root is None else {entry.name: entry for entry in self.entries(path, root)}
        before = dict(entries)
        for name, below in _by_first(leaves).items():
            if () in below:
                entries[name] = Entry(name, BLOB_MODE, below[()])
                continue
            old = entries.get(name)
            inside = old.oid if old is not None and old.is_tree else None
            entries[name] = Entry(name, TREE_MODE, self.insert(inside, below, (*path, name)))
        if root is not None and entries == before:
            return root
        return self._backend.write("tree", render_tree(entries.values()))

    def added(self, left: Oid | None, right: Oid, report: Report) -> Iterator[tuple[Path, Entry]]:
        """Yield the attestations and manifest nodes that the right store lists and the left one does not, unread.

        What stands in the left store as another object is yielded too. Entries of the right one that no store has go to
        `report`. Its index is not looked at: `leaves_of` makes index entries of what is taken.
        """
        yield from self._added((), left, right, report)

    def _added(
        self, path: Path, left: Oid | None, right: Oid, report: Report
    ) -> Iterator[tuple[Path, Entry]]:
        mine = {} if left is None else {entry.name: entry for entry in self.entries(path, left)}
        for inner, entry in self.children(path, right, report):
            if inner[0] not in {shape.ATTESTATIONS, shape.MANIFESTS}:
                continue
            old = mine.get(entry.name)
            if old == entry:
                continue
            if entry.is_tree:
                below = old.oid if old is not None and old.is_tree else None
                yield from self._added(inner, below, entry.oid, report)
            else:
                yield inner, entry

    def leaves_of(self, path: Path, entry: Entry) -> dict[Path, Oid]:
        """Return everything that a store holds because of one attestation or manifest node, which is read.

        MalformedError, LimitError, StoreError, NoEvidenceError if the bytes do not have its name, are no attestation,
        or cannot be read.
        """
        if path[0] == shape.MANIFESTS:
            self._check_node(path, entry)
            return {path: entry.oid}
        data = self.leaf(path, entry)
        return dict.fromkeys(attestation_paths(data, shape.leaf_name(path)), entry.oid)

    def _check_node(self, path: Path, entry: Entry) -> None:
        """Check that a leaf has its name and begins as a manifest node does: a large one is not held in memory."""
        size = self._backend.size(entry.oid)
        if size is not None and size > MAX_NODE_BYTES:
            raise LimitError("manifest node is too large", where="/".join(path), got=str(size))
        if size is not None and size > LARGE_BYTES:
            digest, first = self._backend.digest(entry.oid)
        else:
            data = self.leaf(path, entry)
            digest, first = sha256_hex(data), data[: len(NODE_START)]
        if digest != shape.leaf_name(path) or not first.startswith(NODE_START):
            raise MalformedError("not a node of a directory manifest", where="/".join(path))


def attestation_paths(data: bytes, name: str) -> tuple[Path, ...]:
    """Return where a bundle stands in a store, its own place first, then those of the index.

    MalformedError, LimitError if these bytes are no bundle with a statement.
    """
    keys = dict.fromkeys(
        (alg, value)
        for subject in Bundle.parse(data).statement().subject
        for alg, value in subject.digest.items()
        if shape.is_indexed(alg, value)
    )
    index = ((*shape.subject_path(alg, value), name) for alg, value in keys)
    return (shape.content_path(shape.ATTESTATIONS, name), *index)


def _by_first(leaves: Mapping[Path, Oid]) -> dict[str, dict[Path, Oid]]:
    grouped: dict[str, dict[Path, Oid]] = {}
    for path, oid in leaves.items():
        grouped.setdefault(path[0], {})[path[1:]] = oid
    return grouped


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
