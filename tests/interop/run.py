"""`make interop`: ask every peer in both directions, against real services, and print one table.

Exit codes: 0 every case that was asked agrees; 1 one does not; 3 there are no services here, so nothing was asked.
`python -m tests.interop.run PEER...` asks those peers alone; the demo's chain is made in any case.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.interop import (
    rows_chain,
    rows_cosign,
    rows_gitsign,
    rows_keys,
    rows_logs,
    rows_models,
    rows_sigstore,
)
from tests.interop.interop_run import InteropRun
from tests.interop.table import Result, run, text
from tests.stack.build import Builder, seconds_allowed
from tests.stack.processes import Failed
from tests.stack.stack import Missing, Stack

MODULES = (
    rows_cosign,
    rows_sigstore,
    rows_models,
    rows_gitsign,
    rows_keys,
    rows_logs,
)
CHAIN, *ATTACKED = rows_chain.ROWS  # the first makes the project; others then sign in the names of its people
ROWS = (CHAIN, *rows_logs.WATCHED, *ATTACKED, *(row for module in MODULES for row in module.ROWS))


def main(peers: list[str]) -> int:
    """Ask, print, and say whether all agree."""
    if unknown := set(peers) - {row.peer for row in ROWS}:
        print(
            f"no peer {', '.join(unknown)}: there are {', '.join(row.peer for row in ROWS)}", file=sys.stderr
        )
        return 2
    try:
        builder = Builder(seconds_allowed())
        with (
            Stack.start(builder, witnessed=True) as stack,
            tempfile.TemporaryDirectory(prefix="gitchain-interop-") as folder,
        ):
            world = InteropRun(stack, Path(folder), builder)
            results = ask(world, peers)
    except Missing as problem:
        print(f"SKIPPED interop, nothing was asked: {problem}", file=sys.stderr)
        return 3
    except Failed as problem:
        print(f"FAILED {problem}", file=sys.stderr)
        return 1
    print(text(results))
    return int(any(not result.agreed for result in results if not result.missing))


def ask(world: InteropRun, peers: list[str]) -> list[Result]:
    """Ask each row that is wanted, one after the other."""
    results = []
    for row in ROWS:
        if peers and row.peer not in peers and row is not ROWS[0]:
            continue
        print(f"asking {row.peer}: {row.direction}", file=sys.stderr, flush=True)
        results.append(run(row, world))
    return results


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
