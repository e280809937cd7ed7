"""Bring an index up to a commit of an attestation store: read what was added since, and nothing else.

An index holds at least what the commit holds: it follows additions alone, and is made anew if anything is gone. So
a reader of an older state, while others follow, finds more than its state held and never less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError, LimitError, MalformedError, StoreError
from gitchain.evidence.vocabulary import MANIFEST_VERSION
from gitchain.sources.bundle_facts import Facts, facts_of
from gitchain.sources.bundle_index import BundleIndex
from gitchain.store.git_ref import AttestationStore
from gitchain.store.history import room_of
from gitchain.store.store_reader import MAX_LEAVES, MAX_STORE_BYTES
from gitchain.store.tree_paths import (
    ATTESTATIONS,
    MANIFESTS,
    Oid,
    StoredTreeEntry,
    check_entry,
    content_path,
    leaf_name,
)
from gitchain.store.trees import UNREADABLE, Path, StoreProblem, Trees

if TYPE_CHECKING:
    from gitchain.evidence.manifest import NodeEntry

OPEN_BYTES = 64 << 20  # of manifest nodes that are opened while following; the rest is opened when needed
OPEN_ENTRIES = 1_000_000
READ_TOGETHER = (
    20_000  # bundles that are read together: the more, the fewer bases of deltas are unpacked twice
)
NODE_BYTES = 16 << 20  # a larger node is opened when needed

MAX_MENTIONS = (
    10_000_000  # of artifacts by the bundles that one reading indexes; each costs some 50 bytes on disk
)

WRITTEN_TOGETHER = 20_000  # rows that are written together


class Indexer:
    """Adds bundles to an index. Raises LimitError beyond MAX_MENTIONS."""

    def __init__(self, index: BundleIndex) -> None:
        self.index = index
        self._mentions = 0
        self._rows = 0
        self._waiting: dict[str, Facts] = {}

    def add(self, name: str, place: str, raw: bytes) -> None:
        """Index the bundle with this name (the SHA-256 of its bytes), unless the index has it. `write` completes it."""
        if name in self._waiting or self.index.has_bundle(name):
            return
        found = self._waiting[name] = facts_of(name, place, raw)
        self._mentions += len(found[1])
        self._rows += len(found[1]) + 1
        if self._mentions > MAX_MENTIONS:
            raise LimitError(
                "the attestations name more artifacts than can be looked at",
                expected=f"at most {MAX_MENTIONS} names",
                help="gitchain sync --prune-junk   removes what is no attestation",
            )
        if self._rows >= WRITTEN_TOGETHER:
            self.write()

    def write(self) -> None:
        """Write the added bundles that are not in the index yet."""
        if self._waiting:
            self.index.add_all(self._waiting.values())
        self._waiting.clear()
        self._rows = 0


class MustRebuildError(Exception):
    """Raised if an index cannot follow: something that it holds is not in the store any more."""


@dataclass
class IndexUpdater:
    """Adds the attestations to an index that a store got between two states."""

    store: AttestationStore
    index: BundleIndex
    max_leaves: int = MAX_LEAVES
    max_bytes: int = MAX_STORE_BYTES
    incomplete: bool = False
    """Whether something could not be read now, and may be readable later."""
    _leaves: int = 0
    _bytes: int = 0
    _waiting: list[tuple[Path, StoredTreeEntry]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._indexer = Indexer(self.index)
        self._troubled = self.index.problem_folders()

    def follow(self, tip: Oid) -> None:
        """Add the attestations in the commit `tip`.

        Raises MustRebuildError, NoEvidenceError if a partial clone lacks a bundle, LimitError beyond `max_bytes`
        of bundles and `max_leaves` entries that were added.
        """
        root = self.store.root(Oid(tip))
        for room in (ATTESTATIONS, MANIFESTS):
            old, new = self.index.value(room) or "", self._room(root, room)
            if new and new != old:
                self._folder((room,), Oid(old) if old else None, Oid(new))
            elif old and not new:
                raise MustRebuildError
            self.index.set_value(room, new)
        self._read()
        DirectoryIndexer(self.store, self.index, root).open_all()

    def _room(self, root: Oid, room: str) -> str:
        """Return the object id of one of the store's trees; empty if it is missing or has a problem."""
        try:
            found = room_of(self.store, root, room)
        except UNREADABLE as error:
            self.incomplete |= isinstance(error, StoreError)
            problem = StoreProblem.of((room,), error)
            problem.raise_lacking()
            self.index.replace_problems(room, [(problem.path, problem.message)])
            self._troubled.add(room)
            return ""
        return found or ""

    def _folder(self, path: Path, old: Oid | None, new: Oid) -> None:
        trees: Trees = self.store.trees
        problems: list[StoreProblem] = []
        try:
            before = {} if old is None else {entry.name: entry for entry in trees.entries(path, old)}
        except UNREADABLE as error:
            raise MustRebuildError from error
        same, changed = set[Path](), []
        for inner, entry in trees.children(path, new, problems.append):
            if (known := before.pop(entry.name, None)) == entry:
                same.add(inner)
            else:
                changed.append((inner, known, entry))
        if any(_is_valid(path, entry) for entry in before.values()):
            raise MustRebuildError
        for problem in problems:
            problem.raise_lacking()  # it may be a revocation
        self._replace_problems("/".join(path), same, problems)
        self.store.backend.expect([entry.oid for _, _, entry in changed if entry.is_tree])
        for inner, known, entry in changed:
            self._entry(inner, known, entry)

    def _replace_problems(self, folder: str, same: set[Path], problems: Sequence[StoreProblem]) -> None:
        """Replace the problems of a folder; those of entries that are the same as before are kept."""
        if not problems and folder not in self._troubled:
            return
        paths = {"/".join(path) for path in same}
        kept = [one for one in self.index.problems(folder) if one[0] in paths]
        self.index.replace_problems(folder, [*kept, *((one.path, one.message) for one in problems)])
        self._troubled.add(folder)

    def _entry(self, path: Path, old: StoredTreeEntry | None, new: StoredTreeEntry) -> None:
        if old is not None and not (old.is_tree and new.is_tree):
            raise MustRebuildError
        if new.is_tree:
            self._folder(path, old.oid if old else None, new.oid)
            return
        self._leaves += 1
        if self._leaves > self.max_leaves:
            raise self._too_much(f"{self.max_leaves} entries")
        if path[0] == MANIFESTS:
            self.index.add_nodes([leaf_name(path)])
            return
        self._waiting.append((path, new))
        if len(self._waiting) == READ_TOGETHER:
            self._read()

    def _read(self) -> None:
        """Index the bundles that were found and not read yet."""
        for path, entry in self.store.trees.in_fastest_order(self._waiting):
            try:
                data = self.store.trees.leaf(path, entry)
            except UNREADABLE as error:
                self.incomplete |= isinstance(error, StoreError)
                problem = StoreProblem.of(path, error)
                problem.raise_lacking()
                self.index.add_problem("/".join(path[:-1]), problem.path, problem.message)
                continue
            self._bytes += len(data)
            if self._bytes > self.max_bytes:
                raise self._too_much(f"{self.max_bytes} bytes")
            self._indexer.add(leaf_name(path), entry.oid, data)
        self._indexer.write()
        self._waiting.clear()

    def _too_much(self, expected: str) -> LimitError:
        return LimitError(
            "the store holds too much",
            where=self.store.ref,
            expected=f"at most {expected}",
            help="gitchain sync --prune-junk   removes what is neither an attestation nor a manifest",
        )


@dataclass
class DirectoryIndexer:
    """Indexes the contents of directories, within limits: beyond them a directory is opened when it is needed."""

    store: AttestationStore
    index: BundleIndex
    root: Oid
    _bytes: int = 0
    _entries: int = 0
    _left: set[str] = field(default_factory=set)

    def open_all(self) -> None:
        """Open every directory that a bundle mentions and that is not open yet."""
        for digest, version in self.index.closed_directories():
            is_stored = version == MANIFEST_VERSION and self.index.has_node(digest)
            if is_stored and not self._open(digest):
                self._left.add(digest)

    def _open(self, digest: str) -> bool:
        """Open a directory and all in it, the innermost first. Return False if a node is left."""
        waiting: list[tuple[str, tuple[NodeEntry, ...] | None]] = [(digest, None)]
        while waiting:
            name, entries = waiting.pop()
            if entries is not None:
                self.index.open_directory(name, (entry.sha256 for entry in entries))
                continue
            if self.index.is_opened(name):
                continue
            found = None if name in self._left else self._node(name)
            if found is None:
                self._left.add(name)
                return False
            waiting.append((name, found))
            waiting += ((entry.sha256, None) for entry in found if entry.is_directory)
        return True

    def _node(self, digest: str) -> tuple[NodeEntry, ...] | None:
        """Return the entries of a node; None if it is missing, invalid or too large to be opened now."""
        from gitchain.evidence.manifest import parse_node

        path = content_path(MANIFESTS, digest)
        try:
            entry = self.store.trees.find(self.root, path)
            size = None if entry is None else self.store.backend.size(entry.oid)
            if entry is None or size is None or size > min(NODE_BYTES, OPEN_BYTES - self._bytes):
                return None
            self._bytes += size
            found = parse_node(self.store.trees.leaf(path, entry), digest)
        except GitchainError:
            return None
        self._entries += len(found)
        return found if self._entries <= OPEN_ENTRIES else None


def add_bundles(index: BundleIndex, bundles: Iterable[tuple[str, bytes]]) -> None:
    """Add bundles in memory, by name."""
    indexer = Indexer(index)
    for name, raw in bundles:
        indexer.add(name, "", raw)
    indexer.write()


def _is_valid(path: Path, entry: StoredTreeEntry) -> bool:
    """Return True if an entry was one that the index took from this folder."""
    try:
        check_entry(path, entry)
    except MalformedError:
        return False
    return True
