"""Verifying 1,000 models in one process against verifying them one by one.

    python bench/verify_batch.py [--models 1000] [--sampled 20]

Fixture: one repository, a layout of four steps. Each model has its own training and its own evaluation; all share the data
and the preparation, as the runs of one pipeline do. The statements are signed in sessions of 250, so that many share a
certificate. Nothing has been verified before: both sides begin with an empty memory.

Ours is `verify_batch` over all models, the median of three. One by one is `verify`, the same call with nothing shared,
for a sample of the models, of which the mean counts: once in the same repository, and once in a repository that holds
nothing but one model's own four statements, so that there is nothing to read or to skip in it. What a process of its
own costs is printed beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path

from gitchain.cli.main import run
from gitchain.consume.load_layout import LayoutOptions
from gitchain.consume.verifier import verify, verify_batch
from gitchain.evidence import predicates
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.predicates import PROVENANCE, StepFacts
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.trust.load_profile import load_profile
from gitchain.trust.profiles import SigningIdentity as Signing
from gitchain.workspace.project import open_project

GOAL = 1 / 3  # three times the rate
SESSION = 250
WHO = "ada@example.com"
LAYOUT = """\
schema: https://gitchain.dev/layout/v1
name: bench
version: 1
expires: "2099-01-01T00:00:00Z"
functionaries:
  ada: {{identities: [{{issuer: "{issuer}", subject: ada@example.com}}]}}
steps:
  - name: data
    functionaries: [ada]
    expectedProducts: [[CREATE, data/raw.csv], [DISALLOW, "*"]]
  - name: prepare
    functionaries: [ada]
    expectedMaterials: [[MATCH, data/raw.csv, WITH, PRODUCTS, FROM, data], [DISALLOW, "*"]]
    expectedProducts: [[CREATE, data/clean.csv], [DISALLOW, "*"]]
  - name: train
    functionaries: [ada]
    expectedMaterials: [[MATCH, data/clean.csv, WITH, PRODUCTS, FROM, prepare], [DISALLOW, "*"]]
    expectedProducts: [[CREATE, "models/*"], [DISALLOW, "*"]]
  - name: evaluate
    functionaries: [ada]
    expectedMaterials:
      - [MATCH, "models/*", WITH, PRODUCTS, FROM, train]
      - [MATCH, data/clean.csv, WITH, PRODUCTS, FROM, prepare]
      - [DISALLOW, "*"]
    expectedProducts: [[CREATE, "metrics/*"], [DISALLOW, "*"]]
serve: [{{step: train, products: ["models/*"]}}]
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--models", type=int, default=1000)
    options.add_argument("--sampled", type=int, default=20)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="gitchain-bench-") as directory:
        for row in measure(Path(directory), given.models, given.sampled):
            print(json.dumps(row))


def measure(directory: Path, models: int, sampled: int) -> Iterable[dict[str, object]]:
    os.environ["GITCHAIN_HOME"] = str(directory / "home")
    many, one = directory / "many", directory / "one"
    for repo in (many, one):
        set_up(repo)
    shared, own = upstream(), [model(number) for number in range(models)]
    bundles = sign([*shared, *(statement for pair in own for statement in pair)])
    open_project(many).store.add(bundles)
    open_project(one).store.add(bundles[: len(shared) + 2])
    names = [name_of(number) for number in range(models)]
    for repo in (many, one):
        for number, name in enumerate(names):
            (repo / name).write_text(f"model {number}")
    batch = statistics.median(seconds(lambda: all_of(many, names)) for _ in range(3)) / models
    step = max(1, models // sampled)
    for label, repo, sample in (
        ("one by one", many, names[::step][:sampled]),
        ("each alone in its store", one, names[:1] * sampled),
    ):
        alone = seconds(lambda repo=repo, sample=sample: [single(repo, name) for name in sample]) / len(
            sample
        )
        yield {
            "name": f"verify {models} models / {label}",
            "ours": batch * 1000,
            "peer": alone * 1000,
            "unit": "ms",
            "ratio": batch / alone,
            "goal": round(GOAL, 3),
            "fixture": f"{len(bundles)} attestations in sessions of {SESSION}, {len(shared)} shared by all models",
            "one_process_each_ms": round(seconds(lambda repo=repo: process(repo, names[0])) * 1000),
        }


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time that the work took, with the processes that it started: other programs do not count."""
    start = sum(os.times()[:4])
    work()
    return sum(os.times()[:4]) - start


def all_of(repo: Path, names: Sequence[str]) -> None:
    with chdir(repo):
        for name, result in verify_batch(open_project(repo), names, LayoutOptions(), datetime.now(UTC)):
            if isinstance(result, Exception) or not all(one.passed for one in result.decisions):
                sys.exit(f"{name} was not verified: {result}")


def single(repo: Path, name: str) -> None:
    with chdir(repo):
        result = verify(open_project(repo), name, LayoutOptions(), datetime.now(UTC))
    if not all(one.passed for one in result.decisions):
        sys.exit(f"{name} was not verified")


def process(repo: Path, name: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "gitchain", "-q", "verify", name],
        cwd=repo,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def set_up(repo: Path) -> None:
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    for key, value in (("user.name", "Ada"), ("user.email", WHO)):
        subprocess.run(["git", "-C", str(repo), "config", key, value], check=True)
    (repo / "models").mkdir()
    with chdir(repo):
        must(run(["-q", "init", "--local", "--name", "bench", "--no-hooks"]))
        instance = load_profile("local").instance
        if instance is None:
            sys.exit("no embedded instance")
        (repo / ".gitchain/layout.yaml").write_text(LAYOUT.format(issuer=instance.issuer))
        must(run(["-q", "layout", "sign", "--no-lint"]))


def must(code: int) -> None:
    if code != 0:
        sys.exit(f"the repository was not set up: {code}")


def upstream() -> list[Statement]:
    return [
        statement("data", {}, {"data/raw.csv": "raw"}),
        statement("prepare", {"data/raw.csv": "raw"}, {"data/clean.csv": "clean"}),
    ]


def model(number: int) -> tuple[Statement, Statement]:
    made = {name_of(number): f"model {number}"}
    clean = {"data/clean.csv": "clean"}
    return (
        statement("train", clean, made),
        statement("evaluate", clean | made, {f"metrics/m{number:04}.json": f"metrics {number}"}),
    )


def name_of(number: int) -> str:
    return f"models/m{number:04}.pkl"


def statement(step: str, materials: dict[str, str], products: dict[str, str]) -> Statement:
    made, used = ([descriptor(*item) for item in side.items()] for side in (products, materials))
    run_id = sha256_hex(json.dumps([step, products]).encode())[:32]
    facts = StepFacts(step, run_id, "observed", "bench")
    return Statement.build(made, PROVENANCE, predicates.provenance(step=facts, materials=used))


def descriptor(name: str, content: str) -> ResourceDescriptor:
    return ResourceDescriptor(name, DigestSet({"sha256": sha256_hex(content.encode())}))


def sign(statements: Sequence[Statement]) -> list[bytes]:
    found: list[bytes] = []
    for start in range(0, len(statements), SESSION):
        with load_profile("local").signer(Signing(WHO)) as signer:
            found += signer.sign(statements[start : start + SESSION])
    return found


if __name__ == "__main__":
    main()
