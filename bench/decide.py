"""Decide about a layout of 200 steps whose evidence names 10,000 artifacts, against the limit of one second.

    python bench/decide.py [--steps 200] [--artifacts 10000] [--runs 1] [--rounds 5]

Each step takes every product of the step before it. With several runs, each has that many artifacts, and one chain has to
be found among so many choices a step. The second row's peer parses the same statements' JSON, beside each decision:
to decide about evidence costs a few times what it costs to read it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.statement import Statement
from gitchain.layout import Layout, parse_layout
from gitchain.verify.decide import Target
from tests.support.decision_input import NOW, DecisionInput, statement

LIMIT_MS = 1000.0
PARSE_GOAL = 3.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--artifacts", type=int, default=10_000)
    options.add_argument("--runs", type=int, default=1)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    world, target = make(given.steps, given.artifacts // given.steps, given.runs)
    payloads = [one.statement.payload for one in world.evidence.values()]
    ours, peer = [], []
    for _ in range(given.rounds):
        ours.append(timed(lambda: passed(world, target)))
        peer.append(timed(lambda: [Statement.parse(payload) for payload in payloads]))
    decided, parsed = statistics.median(ours), statistics.median(peer)
    what = f"decide, {given.steps} steps, {given.artifacts} artifacts"
    for name, other, goal in (("1 s", LIMIT_MS, 1.0), ("parsing its evidence", parsed, PARSE_GOAL)):
        row = {"name": f"{what} / {name}", "ours": decided, "peer": other, "unit": "ms"}
        print(json.dumps(row | {"ratio": decided / other, "goal": goal}))


def make(steps: int, each: int, runs: int = 1) -> tuple[DecisionInput, Target]:
    """Return a world with runs of a chain of steps, and the last product of the first run."""
    evidence = {}
    for run in map(str, range(runs)):
        before: dict[str, str] = {}
        for number in range(steps):
            made = {f"s{number}/{item}.bin": f"{run} {number} {item}" for item in range(each)}
            evidence[f"{run}-{number}"] = statement(f"s{number}", before, made, run=run)
            before = made
    world = DecisionInput(evidence, layout(steps))
    return world, Target(sha256_hex(f"0 {steps - 1} 0".encode()), f"s{steps - 1}/0.bin")


def layout(steps: int) -> Layout:
    def step(number: int) -> dict[str, object]:
        match = (
            [["MATCH", f"s{number - 1}/*", "WITH", "PRODUCTS", "FROM", f"s{number - 1}"]] if number else []
        )
        return {
            "name": f"s{number}",
            "functionaries": ["alice"],
            "evidence": "observed",
            "maxAge": "P30D",
            "expectedMaterials": [*match, ["DISALLOW", "*"]],
            "expectedProducts": [
                ["REQUIRE", f"s{number}/0.bin"],
                ["CREATE", f"s{number}/*"],
                ["DISALLOW", "*"],
            ],
        }

    document = {
        "schema": "https://gitchain.dev/layout/v1",
        "name": "credit-model",
        "version": 1,
        "expires": "2027-11-22T00:00:00Z",
        "functionaries": {
            "alice": {"identities": [{"issuer": "https://issuer.example", "subject": "alice"}]}
        },
        "steps": [step(number) for number in range(steps)],
        "serve": [{"step": f"s{steps - 1}", "products": ["*"]}],
    }
    return parse_layout(json.dumps(document).encode())


def passed(world: DecisionInput, target: Target) -> None:
    decision = world.verdict(target)
    if not decision.passed:
        sys.exit(f"the decision must pass at {NOW}: {decision.findings}")


def timed(act: Callable[[], object]) -> float:
    """Return the processor's time: deciding waits for nothing, so on a free machine it is the clock's too."""
    started = time.process_time()
    act()
    return (time.process_time() - started) * 1000


if __name__ == "__main__":
    main()
