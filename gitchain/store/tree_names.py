"""Names of all attestations or manifest nodes of a store, without reading them.

A sync lists them several times, and between two times only a few change. So the names below a directory `att/<aa>` are
kept by its tree: a tree that is the same has the same names.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from gitchain.store.objects import Oid
from gitchain.store.tree_paths import leaf_name
from gitchain.store.trees import Path, Report, StoreProblem, Trees

MAX_KEPT = 200_000  # names that are kept, some 110 bytes each


class TreeNames:
    """The names in the trees of one repository."""

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
