"""Count the commits between the commits of two sides, in the local repository if it has both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gitchain.collect.git import OID, start
from gitchain.consume.diff_values import Value
from gitchain.errors import GitchainError
from gitchain.evidence.canonical import Json

MAX_COMMITS = 100_000
"""Most commits that are counted: Linux has a million, two releases of a model fewer."""

SECONDS = 5.0


def commit_range(root: Path | None, a: Value, b: Value) -> Mapping[str, Json]:
    """Return how many commits only A and only B have: `{"onlyA": 0, "onlyB": 3}`.

    Empty without a repository, if it lacks one of the commits, or if counting takes too long.
    """
    if root is None or not (isinstance(a, str) and isinstance(b, str)):
        return {}
    if not (OID.fullmatch(a) and OID.fullmatch(b)):
        return {}
    counting = ("rev-list", "--left-right", "--count", f"--max-count={MAX_COMMITS}", "--stdin")
    try:
        done = start(str(root), *counting, stdin=f"{a}...{b}\n".encode(), seconds=SECONDS).finish(None)
    except GitchainError:
        return {}
    counts = done.stdout.split()
    if done.code != 0 or len(counts) != 2 or not all(count.isdigit() for count in counts):
        return {}
    left, right = map(int, counts)
    return {} if left + right >= MAX_COMMITS else {"onlyA": left, "onlyB": right}
