"""Run every benchmark and print one table: each row a ratio, both sides interleaved in the same run.

    python bench/run.py [--json FILE] [NAME…]

A bench is a script that prints JSON lines {"name", "ours", "peer", "unit", "ratio", "goal"}: the ratio must be at most
the goal. A "note" is what a reader has to know about the row. Exits 1 if a goal is missed, unless `bench/missed.toml`
names the page that explains it, and the ratio is at most the one that is explained there. `bench/README.md` tells how
to read the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BENCHES = (
    "version",
    "git_commit",
    "store_append",
    "store_size",
    "store_sync",
    "verify_start",
    "verify_model",
    "small_files",
    "attest",
    "verify_bundle",
    "verify_batch",
    "decide",
    "report",
    "admission",
    "real_log",
    "fleet_query",
)
SKIPPED = 3  # what a bench needs is not on this machine: one line on stderr names it
SCHEMA = "https://gitchain.dev/bench/v1"

Row = Mapping[str, Any]


def main(arguments: Sequence[str]) -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("names", nargs="*", metavar="NAME")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the rows and the machine to FILE")
    given = options.parse_args(arguments)
    rows: list[Row] = []
    for name in given.names or BENCHES:
        print(f"running {name} …", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py")], capture_output=True, text=True, check=False
        )
        if done.returncode == SKIPPED:
            print(done.stderr.strip().splitlines()[-1], file=sys.stderr, flush=True)
            continue
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode not in (0, 1) or not lines:
            print(done.stdout, done.stderr, file=sys.stderr)
            return 2
        rows += [{"bench": name, **json.loads(line)} for line in lines]
    explained = read_explained(HERE / "missed.toml")
    print(f"{'what':<46} {'ours':>10} {'peer':>10} unit  {'ratio':>6} {'goal':>5}")
    for row in rows:
        left, right = (f"{row[side]:>10.2f}" for side in ("ours", "peer"))
        end = "  ".join(
            filter(None, (verdict(row, explained), f"({row['note']})" if row.get("note") else ""))
        )
        print(
            f"{row['name']:<46} {left} {right} {row['unit']:<5} {row['ratio']:>6.2f} {row['goal']:>5}  {end}".rstrip()
        )
    if given.json is not None:
        given.json.write_text(json.dumps(report(rows), indent=2) + "\n", encoding="utf-8")
    return int(any(verdict(row, explained) == "MISSED" for row in rows))


def read_explained(path: Path) -> dict[str, Row]:
    """Return the explained misses by the names of their rows: `most`, the highest ratio, and `page`."""
    return {one["name"]: one for one in tomllib.loads(path.read_text(encoding="utf-8"))["missed"]}


def verdict(row: Row, explained: Mapping[str, Row]) -> str:
    """Return an empty text for a goal that is met, MISSED, or the page that explains why it is missed."""
    if row["ratio"] <= row["goal"]:
        return ""
    known = explained.get(row["name"])
    return "MISSED" if known is None or row["ratio"] > known["most"] else f"missed: {known['page']}"


def report(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the document of --json: the rows, and where and when they were measured."""
    commit = subprocess.run(
        ["git", "-C", str(HERE), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "schema": SCHEMA,
        "commit": commit.stdout.strip() or None,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": {"processors": len(os.sched_getaffinity(0)), "architecture": platform.machine()},
        "load": os.getloadavg()[0],
        "rows": list(rows),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
