"""Check attestations and manifest nodes before they are taken from one store into another.

Each is read, must have its name, and must be well formed. Objects are read in batches, in the order of the pack, since
a request for each costs more than the object.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from gitchain.platform.forked import ForkedCall, can_fork
from gitchain.store import tree_paths
from gitchain.store.tree_paths import Oid, StoredTreeEntry, paths_under, subject_keys
from gitchain.store.trees import UNREADABLE, Path, Report, StoreProblem, Trees

FORK_FROM = 2000  # leaves of a batch: with fewer, the copies of the process cost more than they save
FORKED = 2  # copies at a time
SLICE = 1000  # bundles that a copy parses
SLICE_BYTES = 8 << 20
TOGETHER = 20_000  # leaves of a batch: the more, the fewer bases of deltas are unpacked twice

Listed = tuple[Path, StoredTreeEntry]


def within(
    listed: Iterable[Listed],
    size_of: Callable[[Oid], int | None],
    expect: Callable[[list[Oid]], object],
    room: int,
) -> tuple[list[Listed], int]:
    """Return the smallest entries, of at most `room` bytes in all, and the number of the others.

    `size_of` and `expect` are those of the backend.
    """
    sized = list[tuple[int, Path, StoredTreeEntry]]()
    for some in batches(listed):
        expect([entry.oid for _, entry in some])
        sized += ((size_of(entry.oid) or 0, path, entry) for path, entry in some)
    sized.sort()
    for number, (size, _, _) in enumerate(sized):
        room -= size
        if room < 0:
            return [one[1:] for one in sized[:number]], len(sized) - number
    return [one[1:] for one in sized], 0


def checked_leaves(trees: Trees, listed: Iterable[Listed], report: Report) -> dict[Path, Oid]:
    """Return the leaves of a store for these attestations and nodes; see `Trees.leaves_of`.

    Those that are not valid are passed to `report`.
    """
    leaves: dict[Path, Oid] = {}
    for some in batches(listed):
        if len(some) >= FORK_FROM and can_fork():
            leaves |= _checked_beside(trees, some, report)
        else:
            leaves |= _checked_here(trees, trees.in_fastest_order(some), report)
    return leaves


def _checked_here(trees: Trees, listed: Iterable[Listed], report: Report) -> dict[Path, Oid]:
    leaves: dict[Path, Oid] = {}
    for path, entry in listed:
        try:
            leaves |= trees.leaves_of(path, entry)
        except UNREADABLE as error:
            report(StoreProblem("/".join(path), str(error)))
    return leaves


def _checked_beside(trees: Trees, listed: Sequence[Listed], report: Report) -> dict[Path, Oid]:
    """Read here, and parse in a copy of this process meanwhile: that takes as long."""
    leaves: dict[Path, Oid] = {}
    waiting: deque[_LeafBatch] = deque()
    try:
        for one in _slices(trees, trees.in_fastest_order(listed), leaves, report):
            waiting.append(one)
            one.start()
            if len(waiting) > FORKED:
                leaves |= waiting.popleft().leaves(report)
        while waiting:
            leaves |= waiting.popleft().leaves(report)
    finally:
        for one in waiting:
            one.stop()
    return leaves


def _slices(
    trees: Trees, listed: Iterable[Listed], leaves: dict[Path, Oid], report: Report
) -> Iterator[_LeafBatch]:
    """Yield the attestations, read; the manifest nodes are checked and added to `leaves`."""
    current = _LeafBatch()
    for path, entry in listed:
        if path[0] != tree_paths.ATTESTATIONS:
            leaves |= _checked_here(trees, [(path, entry)], report)
            continue
        try:
            data = trees.leaf(path, entry)
        except UNREADABLE as error:
            report(StoreProblem("/".join(path), str(error)))
            continue
        current.add(path, entry.oid, data)
        if current.is_full:
            yield current
            current = _LeafBatch()
    if current.bundles:
        yield current


class _LeafBatch:
    """Attestations that were read, and are parsed together."""

    def __init__(self) -> None:
        self.bundles: list[bytes] = []
        self._listed: list[tuple[Path, Oid]] = []
        self._size = 0
        self._call: ForkedCall[list[list[tuple[str, str]] | str]] | None = None

    def add(self, path: Path, oid: Oid, data: bytes) -> None:
        """Add one that was read."""
        self._listed.append((path, oid))
        self.bundles.append(data)
        self._size += len(data)

    @property
    def is_full(self) -> bool:
        """Return True if the slice should be parsed before more is read."""
        return len(self.bundles) >= SLICE or self._size >= SLICE_BYTES

    def start(self) -> None:
        """Start to parse all."""
        self._call = ForkedCall(lambda: [_keys_or_problem(data) for data in self.bundles])

    def stop(self) -> None:
        """End the process that parses, if any."""
        if self._call is not None:
            self._call.stop()

    def leaves(self, report: Report) -> dict[Path, Oid]:
        """Wait, and return the leaves of those that are valid."""
        leaves: dict[Path, Oid] = {}
        found = self._call.result() if self._call is not None else []
        for (path, oid), keys in zip(self._listed, found, strict=True):
            if isinstance(keys, str):
                report(StoreProblem("/".join(path), keys))
            else:
                leaves |= dict.fromkeys(paths_under(keys, tree_paths.leaf_name(path)), oid)
        return leaves


def _keys_or_problem(data: bytes) -> list[tuple[str, str]] | str:
    try:
        return subject_keys(data)
    except UNREADABLE as error:
        return str(error)


def batches(listed: Iterable[Listed]) -> Iterator[list[Listed]]:
    """Yield the entries, TOGETHER at a time."""
    left = iter(listed)
    while some := list(islice(left, TOGETHER)):
        yield some


def count_attestations(leaves: Iterable[Path]) -> int:
    """Return the number of attestations among leaves."""
    return sum(path[0] == tree_paths.ATTESTATIONS for path in leaves)
