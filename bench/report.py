"""`gitchain report` of lineages of 1,000 artifacts and steps, against the limits of 3 seconds and 5 MiB.

    python bench/report.py [--rounds 3]

The wide lineage has three steps: 995 data files, which training uses, and an approval. The deep one is a chain of 100
steps; each uses the product of the one before and 8 files. The time is the processor time of the process with all that
it starts, the median of the rounds; the index of the evidence is there after the first run, which does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gitchain.cli.main import run
from gitchain.evidence import predicates
from gitchain.evidence.predicates import PROVENANCE, StepFacts
from gitchain.evidence.statement import Statement
from gitchain.report.page import MAX_BYTES
from tests.support.model_versions import Version, Workshop, descriptor, workshop_in

SECONDS = 3.0
FILES = 995
STEPS = 100
USED = 8
WHO = "ada@example.com"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="gitchain-bench-") as directory:
        for name, set_up in (("wide", wide), ("deep", deep)):
            os.environ["GITCHAIN_HOME"] = str(Path(directory) / f"home-{name}")
            repo = repository(Path(directory) / name)
            target = set_up(repo)
            for row in rows(name, repo, target, rounds):
                print(json.dumps(row))


def rows(name: str, repo: Path, target: str, rounds: int) -> Iterator[dict[str, object]]:
    """Yield the rows of time and size, after one run that does not count."""
    page = repo / "report.html"
    times = [seconds(repo, target, page) for _ in range(rounds + 1)][1:]
    for what, ours, limit, unit in (
        ("time", statistics.median(times), SECONDS, "s"),
        ("size", page.stat().st_size / 2**20, MAX_BYTES / 2**20, "MiB"),
    ):
        label = f"report of a {name} lineage of 1,000 nodes, {what} / limit"
        yield {"name": label, "ours": ours, "peer": limit, "unit": unit, "ratio": ours / limit, "goal": 1}


def seconds(repo: Path, target: str, page: Path) -> float:
    """Return the processor time of one report, with the processes that it starts."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "gitchain", "-q", "report", target, "-o", str(page)],
        cwd=repo,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def repository(path: Path) -> Path:
    """Return a new repository with the embedded instance."""
    subprocess.run(["git", "init", "-q", str(path)], check=True)
    for key, value in (("user.name", "Ada"), ("user.email", WHO)):
        subprocess.run(["git", "-C", str(path), "config", key, value], check=True)
    with chdir(path):
        must("-q", "init", "--local", "--name", "tiny", "--no-hooks")
    return path


def must(*arguments: str) -> None:
    if (code := run(arguments)) != 0:
        sys.exit(f"gitchain {' '.join(arguments)} ended with {code}")


def wide(repo: Path) -> str:
    """Sign a model that was made of many files, and return its name."""
    with chdir(repo):
        workshop = workshop_in(repo, lambda: must("-q", "layout", "sign", "--no-lint"))
    workshop.add(
        Version("new.bin", "new", data={f"data/{number}.csv": str(number) for number in range(FILES)})
    )
    return "new.bin"


def deep(repo: Path) -> str:
    """Sign a model at the end of a long chain of steps, and return its name."""
    steps = "".join(
        f"  - name: s{number}\n    functionaries: [ada]\n"
        + (
            f"    expectedMaterials: [[MATCH, f{number - 1}, WITH, PRODUCTS, FROM, s{number - 1}]]\n"
            if number
            else ""
        )
        for number in range(STEPS)
    )
    layout = repo / ".gitchain/layout.yaml"
    with chdir(repo):
        workshop_in(repo, lambda: None)
        head = layout.read_text().split("steps:\n")[0]
        serve = f"serve: [{{step: s{STEPS - 1}, products: [f{STEPS - 1}]}}]\n"
        layout.write_text(f"{head}steps:\n{steps}{serve}")
        must("-q", "layout", "sign", "--no-lint")
    Workshop(repo).sign(WHO, [statement(number) for number in range(STEPS)])
    (repo / f"f{STEPS - 1}").write_text(str(STEPS - 1))
    return f"f{STEPS - 1}"


def statement(number: int) -> Statement:
    used = [descriptor(f"in{number}/{place}", f"{number} {place}") for place in range(USED)]
    used += [descriptor(f"f{number - 1}", str(number - 1))] if number else []
    facts = StepFacts(f"s{number}", "r1", "observed", "tiny")
    made = [descriptor(f"f{number}", str(number))]
    return Statement.build(made, PROVENANCE, predicates.provenance(step=facts, materials=used))


if __name__ == "__main__":
    main()
