"""A writer in a process of its own: adds `rounds` batches and prints the names of each once it is stored."""

from __future__ import annotations

import sys
from pathlib import Path

from gitchain.store.git_ref import AttestationStore
from tests.support.store_samples import bundle


def main(repo: str, label: str, rounds: str, size: str) -> None:
    store = AttestationStore.open(Path(repo))
    for turn in range(int(rounds)):
        batch = [bundle(f"{label}-{turn}-{number}") for number in range(int(size))]
        sys.stdout.write(" ".join(store.add(batch)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
