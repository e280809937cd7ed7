"""Lay out a directed graph in layers, from the top down. Pure geometry: any text is another module's.

 1. Edges that close a cycle are ignored for the layers: they are drawn upwards.
 2. Every node is one layer below the lowest of its predecessors; a source is one above the highest of its successors.
 3. Edges over several layers get a bend in each, as long as there are few bends, so that they pass between the nodes.
 4. Sweeps down and up order each layer by the mean place of the neighbours (the barycenter heuristic of Sugiyama, 1981).
 5. Places become coordinates: each layer is centred.

The same graph has the same layout, whatever the order of a set or dictionary.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MAX_BENDS = 2000
"""Most bends of long edges; with more, long edges are straight."""

SWEEPS = 6

Node = int
Edge = tuple[Node, Node]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Placed:
    """A layout: the centre of each node in units of one node and its gaps, and the points of each edge."""

    width: float
    height: float
    nodes: Sequence[Point]
    edges: Mapping[Edge, Sequence[Point]]


def placed(count: int, edges: Iterable[Edge]) -> Placed:
    """Return the layout of a graph with the nodes 0 to `count` - 1. Edges from a node to itself are left out."""
    known = sorted({edge for edge in edges if edge[0] != edge[1]})
    forward = _without_cycles(count, known)
    layers = _layers(count, forward)
    paths, total = _bent(count, forward, layers)
    ordered = _ordered(total, layers, paths)
    widest = max(map(len, ordered), default=0)
    points = dict[Node, Point]()
    for row, layer in enumerate(ordered):
        for place, node in enumerate(layer):
            points[node] = (place + (widest - len(layer)) / 2 + 0.5, row + 0.5)
    drawn = {}
    for edge in known:
        path = paths.get(edge) or [*reversed(paths[edge[1], edge[0]])]
        drawn[edge] = [points[node] for node in path]
    return Placed(float(widest), float(len(ordered)), [points[node] for node in range(count)], drawn)


def _without_cycles(count: int, edges: Sequence[Edge]) -> Sequence[Edge]:
    """Return the edges, with those turned around that lead back to a node on the way to them."""
    after: defaultdict[Node, list[Node]] = defaultdict(list)
    entered = set[Node]()
    for start, end in edges:
        after[start].append(end)
        entered.add(end)
    state = [0] * count  # 1 on the way, 2 done
    found = set[Edge]()
    for root in sorted(range(count), key=lambda node: (node in entered, node)):
        waiting = [(root, iter(after[root]))] if not state[root] else []
        state[root] = state[root] or 1
        while waiting:
            node, successors = waiting[-1]
            for end in successors:
                found.add((end, node) if state[end] == 1 else (node, end))
                if not state[end]:
                    state[end] = 1
                    waiting.append((end, iter(after[end])))
                    break
            else:
                state[node] = 2
                waiting.pop()
    return sorted(found)


def _layers(count: int, edges: Sequence[Edge]) -> list[int]:
    """Return the layer of each node: the longest way from a source; sources stand just above what they lead to."""
    after: defaultdict[Node, list[Node]] = defaultdict(list)
    open_edges = [0] * count
    for start, end in edges:
        after[start].append(end)
        open_edges[end] += 1
    layers = [0] * count
    sources = [node for node in range(count) if not open_edges[node]]
    waiting = list(sources)
    while waiting:
        node = waiting.pop()
        for end in after[node]:
            layers[end] = max(layers[end], layers[node] + 1)
            open_edges[end] -= 1
            if not open_edges[end]:
                waiting.append(end)
    for node in sources:
        if after[node]:
            layers[node] = min(layers[end] for end in after[node]) - 1
    return layers


def _bent(count: int, edges: Sequence[Edge], layers: list[int]) -> tuple[Mapping[Edge, Sequence[Node]], Node]:
    """Return the nodes that each edge passes, with a new node in each layer between; `layers` gets these too."""
    needed = sum(layers[end] - layers[start] - 1 for start, end in edges)
    paths: dict[Edge, Sequence[Node]] = {}
    for start, end in edges:
        path = [start]
        for layer in range(layers[start] + 1, layers[end]) if needed <= MAX_BENDS else ():
            layers.append(layer)
            path.append(count)
            count += 1
        paths[start, end] = [*path, end]
    return paths, count


def _ordered(
    count: int, layers: Sequence[int], paths: Mapping[Edge, Sequence[Node]]
) -> Sequence[Sequence[Node]]:
    """Return the nodes of each layer in an order with few crossings."""
    above: defaultdict[Node, list[Node]] = defaultdict(list)
    below: defaultdict[Node, list[Node]] = defaultdict(list)
    for path in paths.values():
        for start, end in itertools.pairwise(path):
            below[start].append(end)
            above[end].append(start)
    ordered: list[list[Node]] = [[] for _ in range(max(layers, default=-1) + 1)]
    for node in range(count):
        ordered[layers[node]].append(node)
    places = _places(ordered)
    for sweep in range(SWEEPS):
        near, rows = (above, ordered) if sweep % 2 == 0 else (below, list(reversed(ordered)))
        for layer in rows:
            layer.sort(key=lambda node: (_mean(places, near[node], places[node]), places[node], node))
            places.update(_places([layer]))
    return ordered


def _places(ordered: Iterable[Sequence[Node]]) -> dict[Node, float]:
    """Return the place of each node in its layer, from -1 to 1."""
    return {node: (2 * place + 1) / len(layer) - 1 for layer in ordered for place, node in enumerate(layer)}


def _mean(places: Mapping[Node, float], near: Sequence[Node], own: float) -> float:
    return sum(places[node] for node in near) / len(near) if near else own
