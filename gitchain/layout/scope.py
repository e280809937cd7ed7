"""The steps that a served product needs: all steps of the layout, or those under `steps` in its `serve` entry.

A layout about several independent models uses `steps`. Nothing is inferred: only the signed layout can leave a step out
of a verdict.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from gitchain.layout.model import Layout
from gitchain.layout.parts import ServedProducts


def step_names(layout: Layout, entry: ServedProducts) -> tuple[str, ...]:
    """Return the names of the steps that a `serve` entry needs, in the layout's order."""
    return tuple(step.name for step in layout.steps if not entry.steps or step.name in entry.steps)


def scopes(layout: Layout, served: Collection[str]) -> Iterator[Layout]:
    """Yield the layout reduced to the steps and entries of each set of steps that `serve` entries need.

    Only for entries of the steps in `served`. A layout without `steps` in its entries has one scope: itself.
    """
    groups: dict[tuple[str, ...], list[ServedProducts]] = {}
    for entry in layout.serve:
        groups.setdefault(step_names(layout, entry), []).append(entry)
    for names, entries in groups.items():
        if any(entry.step in served for entry in entries):
            yield _within(layout, frozenset(names), entries)


def _within(layout: Layout, names: frozenset[str], entries: Collection[ServedProducts]) -> Layout:
    if len(names) == len(layout.steps) and len(entries) == len(layout.serve):
        return layout
    data = layout.datasets
    if data is not None:
        artifacts = tuple(one for one in data.artifacts if one.step in names)
        data = replace(data, artifacts=artifacts) if artifacts else None
    return replace(
        layout,
        steps=tuple(step for step in layout.steps if step.name in names),
        serve=tuple(replace(entry, steps=()) for entry in entries),
        datasets=data,
        same_run=tuple(group for group in layout.same_run if not names.isdisjoint(group)),
    )


def all_needed_steps(layout: Layout, served: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return, for each served step, the steps related to its products, in the layout's order.

    These are the steps that use the products, directly or not, such as evaluations and approvals, and every step that
    any of these uses.
    """
    place = {one.name: number for number, one in enumerate(layout.steps)}
    sources = {one.name: one.sources for one in layout.steps}
    takers: dict[str, list[str]] = {name: [] for name in sources}
    for name, taken in sources.items():
        for source in taken:
            takers[source].append(name)
    return {
        step: tuple(sorted(_reached(_reached({step}, takers), sources), key=place.__getitem__))
        for step in dict.fromkeys(served)
    }


def _reached(start: Collection[str], edges: dict[str, list[str]] | dict[str, tuple[str, ...]]) -> set[str]:
    found, waiting = set(start), list(start)
    while waiting:
        for name in edges[waiting.pop()]:
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found
