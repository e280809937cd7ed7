"""Turn a lineage and courses of numbers into coordinates for SVG. The templates write the SVG: no markup is made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from gitchain.report.layered import Point, placed
from gitchain.report.text import cut_middle, shown

BOX_WIDTH, BOX_HEIGHT = 178, 46
UNIT_WIDTH, UNIT_HEIGHT = 196, 92
COLUMNS = 22
"""Widest label of a box, in columns of a monospaced font."""

PLOT_WIDTH, PLOT_HEIGHT, PLOT_EDGE = 240, 72, 8
DIGITS = 12

Document = Mapping[str, Any]


def drawn_lineage(lineage: Document) -> dict[str, Any]:
    """Return size, boxes and paths of the picture of a lineage."""
    nodes = lineage["nodes"]
    found = placed(len(nodes), [(start, end) for start, end in lineage["edges"]])
    boxes = [_box(node, point) for node, point in zip(nodes, found.nodes, strict=True)]
    return {
        "width": round(found.width * UNIT_WIDTH),
        "height": round(found.height * UNIT_HEIGHT),
        "boxes": boxes,
        "paths": [_path(points) for _, points in sorted(found.edges.items())],
    }


def _box(node: Document, point: Point) -> dict[str, Any]:
    """Return the place and the two lines of a box."""
    centre, middle = point[0] * UNIT_WIDTH, point[1] * UNIT_HEIGHT
    return {
        "kind": node["kind"],
        "revoked": node["revoked"],
        "x": round(centre - BOX_WIDTH / 2),
        "y": round(middle - BOX_HEIGHT / 2),
        "width": BOX_WIDTH,
        "height": BOX_HEIGHT,
        "name": cut_middle(node_name(node), COLUMNS),
        "detail": cut_middle(_detail(node), COLUMNS + 2),
    }


def node_name(node: Document) -> str:
    """Return the label of a node: its name, and how many artifacts it represents."""
    name = shown(node["name"], 200)
    return name if node["members"] == 1 else f"{node['members']} like {name}"


def _detail(node: Document) -> str:
    if node["kind"] == "step":
        words = f"step, {node['detail']}" if node["detail"] else "step"
    else:
        algorithm, _, digest = node["detail"].partition(":")
        known = node["kind"] if not digest or algorithm == "gitCommit" else f"{node['kind']}"
        words = f"{known} {digest[:DIGITS]}" if digest else known
    return f"REVOKED {words}" if node["revoked"] else words


def _path(points: Sequence[Point]) -> dict[str, Any]:
    """Return one edge as an SVG path of vertical curves, and whether it goes up, which closes a cycle."""
    is_up = points[0][1] > points[-1][1]
    ends = [(x * UNIT_WIDTH, y * UNIT_HEIGHT) for x, y in points]
    half = BOX_HEIGHT / 2 * (-1 if is_up else 1)
    ends[0] = (ends[0][0], ends[0][1] + half)
    ends[-1] = (ends[-1][0], ends[-1][1] - half)
    text = f"M{ends[0][0]:.0f} {ends[0][1]:.0f}"
    for (x, y), (to_x, to_y) in pairwise(ends):
        bend = (y + to_y) / 2
        text += f"C{x:.0f} {bend:.0f} {to_x:.0f} {bend:.0f} {to_x:.0f} {to_y:.0f}"
    return {"d": text, "up": is_up}


def drawn_series(values: Sequence[float | None], current: Sequence[bool]) -> dict[str, Any]:
    """Return the points of one course of numbers, its line, and its lowest and highest number."""
    known = [value for value in values if value is not None]
    lowest, highest = min(known), max(known)
    span = (highest - lowest) or 1
    across = (PLOT_WIDTH - 2 * PLOT_EDGE) / max(len(values) - 1, 1)
    points = [
        {
            "x": round(PLOT_EDGE + place * across, 1),
            "y": round(PLOT_EDGE + (highest - value) / span * (PLOT_HEIGHT - 2 * PLOT_EDGE), 1)
            if highest > lowest
            else PLOT_HEIGHT / 2,
            "current": current[place],
        }
        for place, value in enumerate(values)
        if value is not None
    ]
    return {
        "width": PLOT_WIDTH,
        "height": PLOT_HEIGHT,
        "points": points,
        "line": " ".join(f"{one['x']},{one['y']}" for one in points),
        "lowest": lowest,
        "highest": highest,
    }


def used_and_made(lineage: Document) -> list[dict[str, Any]]:
    """Return for each drawn step the artifacts that lead to it and that it leads to: the picture as a table."""
    nodes = lineage["nodes"]
    rows: dict[int, dict[str, Any]] = {
        number: {"step": node, "used": [], "made": []}
        for number, node in enumerate(nodes)
        if node["kind"] == "step"
    }
    for start, end in lineage["edges"]:
        if end in rows:
            rows[end]["used"].append(nodes[start])
        if start in rows:
            rows[start]["made"].append(nodes[end])
    return list(rows.values())
