"""`gitchain --version` against the barest Python that there is, whole processes, interleaved."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 25
GOAL = 4
BIN = Path(sys.executable).parent


def once(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    sides = ([str(BIN / "gitchain"), "--version"], [sys.executable, "-I", "-S", "-c", "pass"])
    ours, peer = (
        statistics.median(side)
        for side in zip(*[[once(command) for command in sides] for _ in range(ROUNDS)], strict=True)
    )
    row = {"name": "gitchain --version / python -I -S -c pass", "ours": ours, "peer": peer, "unit": "ms"}
    print(json.dumps(row | {"ratio": ours / peer, "goal": GOAL}))


if __name__ == "__main__":
    main()
