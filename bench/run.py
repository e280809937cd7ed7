"""Run every benchmark and print one table: each row a ratio, both sides interleaved in the same run.

A bench is a script that prints JSON lines {"name", "ours", "peer", "unit", "ratio", "goal"}: the ratio must be at most
the goal. A "note" says what else has to be known to judge a row.
`python bench/run.py [NAME…]` runs those named. Exits 1 when a goal is missed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
    "admission",
    "real_log",
)
SKIPPED = 3  # what a bench needs cannot be had on this machine: it says so in one line


def main(names: list[str]) -> int:
    rows = []
    for name in names or BENCHES:
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
        rows += [json.loads(line) for line in lines]
    print(f"{'what':<46} {'ours':>10} {'peer':>10} unit  {'ratio':>6} {'goal':>5}")
    for row in rows:
        verdict = "" if row["ratio"] <= row["goal"] else "  MISSED"
        verdict += f"  ({row['note']})" if row.get("note") else ""
        left, right = (f"{row[side]:>10.2f}" for side in ("ours", "peer"))
        print(
            f"{row['name']:<46} {left} {right} {row['unit']:<5} {row['ratio']:>6.2f} {row['goal']:>5}{verdict}"
        )
    return int(any(row["ratio"] > row["goal"] for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
