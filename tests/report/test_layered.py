"""Layered layouts: nothing overlaps, edges go down, cycles end, and equal graphs have equal layouts."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gitchain.report import layered
from gitchain.report.layered import Placed, placed

CHAIN = [(0, 1), (1, 2), (2, 3)]


def rows(found: Placed) -> list[float]:
    return [y for _, y in found.nodes]


def test_placed_puts_each_node_below_its_predecessors() -> None:
    """A chain is one column; its height counts the layers."""
    found = placed(4, CHAIN)
    assert rows(found) == [0.5, 1.5, 2.5, 3.5]
    assert (found.width, found.height) == (1, 4)
    assert found.edges[0, 1] == [(0.5, 0.5), (0.5, 1.5)]


def test_placed_puts_a_late_source_beside_what_uses_it() -> None:
    """An artifact that only the last step uses is not at the top."""
    assert rows(placed(5, [*CHAIN, (4, 3)]))[4] == 2.5


def test_placed_bends_long_edges() -> None:
    """An edge over several layers has a bend in each, which no node covers."""
    found = placed(4, [*CHAIN, (0, 3)])
    assert [y for _, y in found.edges[0, 3]] == [0.5, 1.5, 2.5, 3.5]
    assert not set(found.edges[0, 3][1:-1]) & set(found.nodes)


def test_placed_has_straight_edges_beyond_the_limit() -> None:
    """Thousands of long edges do not make a layout slow."""
    count = 300
    chain = [(node, node + 1) for node in range(count - 1)]
    found = placed(count, [*chain, *((0, node) for node in range(2, count))])
    assert count * count / 2 > layered.MAX_BENDS
    assert len(found.edges[0, count - 1]) == 2


def test_placed_orders_layers_to_avoid_crossings() -> None:
    """Neighbours stand below each other."""
    found = placed(6, [(0, 5), (1, 4), (2, 3)])
    assert [found.nodes[a][0] == found.nodes[b][0] for a, b in ((0, 5), (1, 4), (2, 3))] == [True] * 3


def test_placed_ends_with_cycles() -> None:
    """A cycle, and a node that leads to itself, are drawn; the edge that closes the cycle goes up."""
    found = placed(3, [(0, 1), (1, 2), (2, 0), (1, 1)])
    assert sorted(rows(found)) == [0.5, 1.5, 2.5]
    assert set(found.edges) == {(0, 1), (1, 2), (2, 0)}
    assert found.edges[2, 0][0] == found.nodes[2]
    assert found.edges[2, 0][-1] == found.nodes[0]


def test_placed_draws_both_edges_between_two_nodes() -> None:
    """A step that changes a file in place has an edge in both directions."""
    assert set(placed(2, [(0, 1), (1, 0)]).edges) == {(0, 1), (1, 0)}


def test_placed_of_nothing_is_empty() -> None:
    """A graph without nodes has no size."""
    assert placed(0, []) == Placed(0, 0, [], {})


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=40))
def test_placed_never_overlaps(count: int, edges: list[tuple[int, int]]) -> None:
    """Of any graph: each node has a place of its own, in the picture, and the order of the edges does not matter."""
    known = [(a, b) for a, b in edges if a < count and b < count]
    found = placed(count, known)
    assert len(set(found.nodes)) == count
    assert all(0 < x < found.width and 0 < y < found.height for x, y in found.nodes)
    assert set(found.edges) == {(a, b) for a, b in known if a != b}
    for (start, end), path in found.edges.items():
        assert (path[0], path[-1]) == (found.nodes[start], found.nodes[end])
    shuffled = random.Random(count).sample(known, len(known))
    assert placed(count, shuffled) == found
