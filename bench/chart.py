"""Draw the history of the benchmarks: for each row its ratio against its goal, over all runs in `bench/history/`.

    python bench/chart.py [--check]

A run is added by `python bench/run.py --json bench/history/DATE-COMMIT.json` on a quiet machine. Writes docs/benchmarks.svg;
with `--check` it writes nothing and exits with 1 if that file is another one. Only ratios are drawn: times of different
machines cannot be compared.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs" / "benchmarks.svg"
WIDTH, LINE, TOP = 860, 26, 64
LEFT, RIGHT = 460, 700
"""The part of each line with one dot for each run, in pixels."""

OCTAVES = 2
"""A dot at an edge of its line has a ratio of its goal times four, or divided by four, or beyond."""

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1c1c28 }
.small { font-size: 11px; fill: #5a5a68 }
.goal { stroke: #8a8a98; stroke-dasharray: 3 3 }
path { fill: none; stroke: #8a8a98 }
.met { fill: #0b6b2e } .missed { fill: #a1281b }
@media (prefers-color-scheme: dark) {
  text { fill: #e8e8ef } .small { fill: #a8a8b8 } .met { fill: #58c07d } .missed { fill: #f08a7c }
}
"""


def main(arguments: Sequence[str]) -> int:
    drawn = "\n".join(picture(read_runs(HERE / "history"))) + "\n"
    if "--check" in arguments:
        return int(not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != drawn)
    PICTURE.write_text(drawn, encoding="utf-8")
    return 0


def read_runs(directory: Path) -> list[Mapping[str, Any]]:
    """Return the runs, oldest first."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in directory.glob("*.json")]
    return sorted(runs, key=lambda run: str(run["time"]))


def picture(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of an SVG picture: rows of the newest run first, each with its ratios, oldest on the left."""
    rows: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for run in reversed(runs):
        for row in run["rows"]:
            rows.setdefault(row["name"], [])
    for number, run in enumerate(runs):
        for row in run["rows"]:
            rows[row["name"]].append((number, row))
    height = TOP + LINE * len(rows) + 12
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t">'
    yield '<title id="t">Ratios of the benchmarks against their goals, for each run</title>'
    yield f"<style>{STYLE}</style>"
    shown = " → ".join(f"{run['time'][:10]} {str(run['commit'])[:7]}" for run in runs)
    yield f'<text x="12" y="22">Ratio against goal, {len(runs)} runs</text>'
    yield f'<text x="12" y="42" class="small">{escape(shown)}. Right of the dashed line a goal is missed.</text>'
    for line, (name, found) in enumerate(rows.items()):
        yield from _line(name, found, TOP + LINE * line + 14, len(runs))
    yield "</svg>"


def _line(name: str, found: Sequence[tuple[int, Mapping[str, Any]]], y: int, runs: int) -> Iterator[str]:
    middle, newest = (LEFT + RIGHT) / 2, found[-1][1]
    yield f'<text x="12" y="{y + 4}">{escape(name)}</text>'
    yield f'<path class="goal" d="M{middle:.0f} {y - 11}V{y + 11}"/>'
    places = [(_place(row), y - 7 + 14 * (number + 1) / (runs + 1)) for number, row in found]
    yield '<path d="M' + "L".join(f"{x:.1f} {at:.1f}" for x, at in places) + '"/>'
    for (x, at), (_, row) in zip(places, found, strict=True):
        kind = "met" if row["ratio"] <= row["goal"] else "missed"
        yield f'<circle class="{kind}" cx="{x:.1f}" cy="{at:.1f}" r="{4 if row is newest else 2.5}"/>'
    yield f'<text x="{RIGHT + 16}" y="{y + 4}">{newest["ratio"]:.2f}, goal {newest["goal"]:g}</text>'


def _place(row: Mapping[str, Any]) -> float:
    octaves = math.log2(max(row["ratio"], 1e-6) / row["goal"])
    return (LEFT + RIGHT) / 2 + max(-OCTAVES, min(OCTAVES, octaves)) / OCTAVES * (RIGHT - LEFT) / 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
