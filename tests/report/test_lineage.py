"""The bounds of a lineage: artifacts with the same neighbours are one node, then only what is near to the model is kept."""

from __future__ import annotations

from itertools import pairwise

from gitchain.report.lineage import MAX_EDGES, MAX_NODES, Key, Lineage, Node


def chain(count: int) -> Lineage:
    """Return a chain of steps and artifacts that ends with a model."""
    keys: list[Key] = [(str(number),) for number in range(count)]
    nodes = {key: Node("step" if number % 2 else "artifact", f"n{number}") for number, key in enumerate(keys)}
    nodes[keys[-1]] = Node("model", "model")
    return Lineage(nodes, dict.fromkeys(pairwise(keys)))


def test_lineage_is_whole_up_to_the_limit() -> None:
    """Nothing is left out of a graph that fits."""
    found = chain(MAX_NODES).to_json()
    assert (len(found["nodes"]), len(found["edges"])) == (MAX_NODES, MAX_NODES - 1)
    assert (found["folded"], found["complete"]) == (False, True)


def test_lineage_keeps_the_nearest_to_the_model() -> None:
    """Of a chain of 1,000 nodes the last 200 are drawn, and the document has the true totals."""
    found = chain(1000).to_json()
    assert [one["name"] for one in found["nodes"]] == [f"n{number}" for number in range(800, 999)] + ["model"]
    assert (found["nodesTotal"], found["edgesTotal"], found["complete"]) == (1000, 999, False)


def test_lineage_folds_artifacts_with_the_same_neighbours() -> None:
    """Revoked artifacts, steps and models stay alone."""
    graph = chain(4)
    for number in range(500):
        graph.nodes[(f"in{number}",)] = Node("input", f"in{number}", revoked=number == 7)
        graph.edges[(f"in{number}",), ("1",)] = None
    found = graph.to_json()
    assert sorted(one["members"] for one in found["nodes"]) == [1, 1, 1, 1, 1, 499]
    assert [one["name"] for one in found["nodes"] if one["revoked"]] == ["in7"]
    assert (found["folded"], found["complete"]) == (True, True)


def test_lineage_has_a_bounded_number_of_edges() -> None:
    """Every artifact with every step is more than is drawn."""
    steps: list[Key] = [("step", str(number)) for number in range(90)]
    inputs: list[Key] = [("input", str(number)) for number in range(90)]
    nodes = {key: Node("step", key[1]) for key in steps} | {key: Node("input", key[1]) for key in inputs}
    edges = dict.fromkeys((one, step) for one in inputs for step in steps)
    found = Lineage(nodes, edges).to_json()
    assert (len(found["edges"]), found["edgesTotal"], found["complete"]) == (MAX_EDGES, 8100, False)
