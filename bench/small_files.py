"""What hashing a tree of many small files costs, against reading them and against model_signing.

    python bench/small_files.py [--files 50000] [--rounds 5]

Fixture: files of 4 KiB, 100 in a directory, with a warm cache. Time is wall time, as several processes read.

- read: two processes that open, read and close each file and compute nothing
- model_signing: its own hashing of the same directory, without a signature, over a tenth of the files
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gitchain.collect.files import hash_path
from gitchain.platform.forked import ForkedCall

SIZE = 4096
TOGETHER = 100
PART = 10  # model_signing is given every tenth directory


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--files", type=int, default=50_000)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="gitchain-bench-") as directory:
        top = Path(directory)
        folders = [make(top, number) for number in range(given.files // TOGETHER)]
        compare(
            f"hash {given.files:,} files of 4 KiB / read in two processes",
            lambda: hash_path(str(top), "all", md5=False),
            lambda: read_in_two(folders),
            1.5,
            given.rounds,
        )
        against_model_signing(top, given.rounds)


def make(top: Path, number: int) -> Path:
    folder = top / "all" / ("part" if number % PART == 0 else "rest") / f"{number:05}"
    folder.mkdir(parents=True)
    for file in range(TOGETHER):
        (folder / f"{file:03}").write_bytes(os.urandom(SIZE))
    return folder


def read_in_two(folders: list[Path]) -> None:
    other = ForkedCall(lambda: read(folders[1::2]))
    read(folders[::2])
    other.result()


def read(folders: list[Path]) -> int:
    for folder in folders:
        for file in range(TOGETHER):
            handle = os.open(folder / f"{file:03}", os.O_RDONLY)
            os.read(handle, SIZE + 1)
            os.close(handle)
    return len(folders)


def against_model_signing(top: Path, rounds: int) -> None:
    try:
        from model_signing.hashing import Config
    except ImportError:
        print("NOT RUN: small_files against model_signing: it is not installed", file=sys.stderr)
        return
    compare(
        f"hash {len(list((top / 'all/part').iterdir())) * TOGETHER:,} files of 4 KiB / model_signing",
        lambda: hash_path(str(top), "all/part", md5=False),
        lambda: Config().hash(top / "all/part"),
        0.05,
        rounds,
    )


def compare(
    name: str, left: Callable[[], object], right: Callable[[], object], goal: float, rounds: int
) -> None:
    left()
    right()
    pairs = [(seconds(left), seconds(right)) for _ in range(rounds)]
    mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(one / two for one, two in pairs)
    line = {"name": name, "ours": mine, "peer": other, "unit": "s", "ratio": ratio, "goal": goal}
    print(json.dumps(line), flush=True)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
