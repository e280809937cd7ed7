"""Append to a large attestation store against append to an empty one.

    python bench/store_append.py [--entries 100000] [--rounds 60]

Both stores lie on the same disk; the appends are interleaved, one after the other, in one run. Prints one JSON line with
the two medians and their ratio; the goal is a ratio of at most 3. The large store is made of pack files, as a clone of it
would be, by writing the same trees that the store itself writes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gitchain.store.git_ref import DEFAULT_REF, AttestationStore
from gitchain.store.tree_paths import content_path, subject_path
from tests.support.store_samples import bundle, digest_of

GOAL = 3.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--entries", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=60)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="gitchain-bench-") as directory:
        print(json.dumps(measure(Path(directory), given.entries, given.rounds)))


def measure(directory: Path, entries: int, rounds: int) -> dict[str, object]:
    small, large = new_repository(directory / "small"), new_repository(directory / "large")
    started = time.perf_counter()
    fill(large, entries)
    setup = time.perf_counter() - started
    stores = {"empty": AttestationStore.open(small), "large": AttestationStore.open(large)}
    if stores["large"].count() != entries:
        sys.exit("the large store was not set up")
    times: dict[str, list[float]] = {"empty": [], "large": []}
    for number in range(rounds + 5):
        for name in ("empty", "large") if number % 2 else ("large", "empty"):
            data = bundle(f"model-{number}", note=name)
            started = time.perf_counter()
            stores[name].add([data])
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values[5:]) for name, values in times.items()}
    ratio = medians["large"] / medians["empty"]
    return {
        "name": f"store append, {entries} entries / empty",
        "ours": medians["large"] * 1000,
        "peer": medians["empty"] * 1000,
        "unit": "ms",
        "ratio": ratio,
        "goal": GOAL,
        "setup_seconds": round(setup, 1),
    }


def new_repository(path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(path)], check=True)
    return path


def fill(repo: Path, entries: int) -> None:
    """Load a store of so many distinct bundles with `git fast-import`."""
    process = subprocess.Popen(
        ["git", "-C", str(repo), "fast-import", "--quiet", "--depth=0"], stdin=subprocess.PIPE
    )
    if process.stdin is None:
        sys.exit("no pipe to git fast-import")
    for chunk in stream(entries):
        process.stdin.write(chunk)
    process.stdin.close()
    if process.wait() != 0:
        sys.exit("git fast-import failed")


def stream(entries: int) -> Iterator[bytes]:
    places = [b"M 100644 inline VERSION\n" + blob(b"1\n")]
    template = bundle("@@@@")
    for number in range(entries):
        data = template + str(number).encode()  # of a bundle's size; nothing here reads what is inside
        digest, name = digest_of(f"artifact-{number}"), hashlib.sha256(data).hexdigest()
        yield f"blob\nmark :{number + 1}\n".encode() + blob(data)
        paths = (content_path("att", name), (*subject_path("sha256", digest), name))
        places += [f"M 100644 :{number + 1} {'/'.join(path)}\n".encode() for path in paths]
    yield f"commit {DEFAULT_REF}\ncommitter b <b@example.com> 1 +0000\n".encode() + blob(b"fill\n")
    yield from places
    yield b"done\n"


def blob(data: bytes) -> bytes:
    return b"data %d\n" % len(data) + data + b"\n"


if __name__ == "__main__":
    main()
