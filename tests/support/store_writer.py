"""A writer in a process of its own: adds `count` bundles one by one and prints each name once it is stored."""

from __future__ import annotations

import sys
from pathlib import Path

from gitchain.store.git_ref import AttestationStore
from tests.support.store_samples import bundle


def main(repo: str, label: str, count: str) -> None:
    store = AttestationStore.open(Path(repo))
    for number in range(int(count)):
        (name,) = store.add([bundle("model.pkl", f"{label}-{number}", note=label)])
        sys.stdout.write(name + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
