"""Read many leaves of a store whose paths are known: level by level, with a few requests for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from gitchain.store import tree_paths
from gitchain.store.backend import Backend
from gitchain.store.tree_paths import Oid, StoredTreeEntry
from gitchain.store.trees import UNREADABLE, Path, Trees

TOGETHER = 2000  # leaves whose trees are in memory at a time


def read_several(
    trees: Trees, backend: Backend, root: Oid, paths: Iterable[Path]
) -> Iterator[tuple[Path, bytes]]:
    """Yield path and bytes of the leaves at these paths, in any order; those that are missing or not valid are left out."""
    left = iter(paths)
    while some := list(islice(left, TOGETHER)):
        for path, entry in trees.in_fastest_order(list(_found(trees, backend, root, some).items())):
            try:
                yield path, trees.leaf(path, entry)
            except UNREADABLE:
                continue


def _found(trees: Trees, backend: Backend, root: Oid, paths: list[Path]) -> dict[Path, StoredTreeEntry]:
    """Return the leaves at these paths by path, unread."""
    level: dict[Path, Oid] = {(): root}
    leaves: dict[Path, StoredTreeEntry] = {}
    for depth in range(1, max(map(len, paths)) + 1):
        backend.expect(list(level.values()))
        wanted: dict[Path, set[str]] = {}
        for path in paths:
            if len(path) >= depth:
                wanted.setdefault(path[: depth - 1], set()).add(path[depth - 1])
        below: dict[Path, Oid] = {}
        for folder, oid in level.items():
            for name, entry in _entries(trees, folder, oid, wanted[folder]).items():
                if entry.is_tree:
                    below[*folder, name] = entry.oid
                else:
                    leaves[*folder, name] = entry
        level = below
    return {path: leaves[path] for path in paths if path in leaves}


def _entries(trees: Trees, folder: Path, oid: Oid, names: set[str]) -> dict[str, StoredTreeEntry]:
    """Return the valid entries of these names, the first of each, as `Trees.find` does."""
    found: dict[str, StoredTreeEntry] = {}
    try:
        for entry in trees.entries(folder, oid):
            if entry.name in names:
                found.setdefault(entry.name, entry)
    except UNREADABLE:
        pass
    return {name: entry for name, entry in found.items() if _is_valid(folder, entry)}


def _is_valid(folder: Path, entry: StoredTreeEntry) -> bool:
    try:
        tree_paths.check_entry(folder, entry)
    except UNREADABLE:
        return False
    return True
