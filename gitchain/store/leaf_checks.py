"""Check attestations and manifest nodes before they are taken from one store into another.

Each is read, must have its name, and must be well formed. Objects are read in batches, in the order of the pack, since
a request for each costs more than the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from gitchain.store import tree_paths
from gitchain.store.objects import Oid, StoredTreeEntry
from gitchain.store.trees import UNREADABLE, Path, Report, StoreProblem, Trees

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
        for path, entry in trees.in_fastest_order(some):
            try:
                leaves |= trees.leaves_of(path, entry)
            except UNREADABLE as error:
                report(StoreProblem("/".join(path), str(error)))
    return leaves


def batches(listed: Iterable[Listed]) -> Iterator[list[Listed]]:
    """Yield the entries, TOGETHER at a time."""
    left = iter(listed)
    while some := list(islice(left, TOGETHER)):
        yield some


def count_attestations(leaves: Iterable[Path]) -> int:
    """Return the number of attestations among leaves."""
    return sum(path[0] == tree_paths.ATTESTATIONS for path in leaves)
