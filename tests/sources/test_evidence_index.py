"""What the index finds is what a look at every bundle finds, and an index that followed is one that was made anew."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from gitchain.errors import SignatureError
from gitchain.evidence.bundle import Bundle
from gitchain.sources import evidence as module
from gitchain.sources.bundle_facts import artifacts_in
from gitchain.sources.evidence import Evidence
from gitchain.sources.gather import gather
from gitchain.sources.interface import Snapshot
from gitchain.workspace.project import open_project
from tests.support.fuzzing import sized
from tests.support.generated_stores import DIRECTORIES, FILES, STEPS, Generated, Known, Model, is_signed
from tests.support.store_samples import digest_of, manifest

STORES = sized(25, 10_000)
TRUST: Any = SimpleNamespace(witnesses=None)
TABLES = ("bundle", "mention", "directory", "opened", "entry", "node", "problem", "meta")
ASKED = [*map(digest_of, FILES), *(manifest(*paths).digest for paths in DIRECTORIES)]


@pytest.fixture
def some_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let some of the bundles verify: what the index does with them does not depend on how."""

    def verify(raw: bytes, *_: Any) -> Any:
        if not is_signed(raw):
            raise SignatureError("nobody signed this")
        return SimpleNamespace(raw=raw, statement=Bundle.parse(raw).statement())

    monkeypatch.setattr(module, "verify_bundle", verify)
    monkeypatch.setattr(module, "verify_uncosigned", verify)


@pytest.mark.parametrize("seed", range(STORES))
def test_evidence_finds_what_a_look_at_all_finds(
    seed: int, tmp_path: Path, isolated: Path, some_verify: None
) -> None:
    random = Random(seed)
    subprocess.run(["git", "init", "-q", str(tmp_path / "repo")], check=True)
    project = open_project(tmp_path / "repo", configured=False)
    world = Generated(random, version_1=seed % 4 == 0)
    for _ in range(random.randint(1, 3)):
        bundles, nodes = world.grow()
        if random.random() < 0.8:
            project.store.add(bundles, nodes)
            beside: tuple[Snapshot, ...] = ()
        else:  # what another source holds
            beside = (
                Snapshot({Known(one).name: one for one in bundles}, nodes.get, "1", nodes=frozenset(nodes)),
            )
        evidence = gather(project, TRUST, snapshots=beside)
        compare(evidence, Model([*map(Known, world.bundles.values())], world.nodes), random)
        if beside:
            project.store.add(bundles, nodes)
            gather(project, TRUST)
    followed = dump(isolated)
    for file in (isolated / "index").iterdir():
        file.unlink()
    gather(project, TRUST)
    assert dump(isolated) == followed


def compare(evidence: Evidence, model: Model, random: Random) -> None:
    assert {one.raw for one in evidence.candidates} == {one.raw for one in model.known}
    for _ in range(6):
        steps = random.choice([None, frozenset(STEPS), frozenset(STEPS[:1])])
        digests = random.sample(ASKED, random.randint(1, 2))
        assert {one.raw for one in evidence.around(digests, steps)} == model.around(digests, steps)
        chain = [
            Bundle.parse(one.raw).statement() for one in random.sample(model.known, min(2, len(model.known)))
        ]
        items = tuple(item for one in chain for item in artifacts_in(one))
        assert {one.raw for one in evidence.against(chain, steps)} == model.against(items, steps)
        assert {one.raw for one in evidence.made_of(digests[0])} == model.made_of(digests[0])
        assert {one.raw for one in evidence.about(digests[0])} == model.about(digests[0])


def dump(home: Path) -> dict[str, list[Any]]:
    """Return everything that the kept index holds, but for the order in which it came."""
    (file,) = (home / "index").glob("*.sqlite")
    with sqlite3.connect(file) as connection:
        ids = dict(connection.execute("SELECT id, hex(name) FROM bundle"))
        found: dict[str, list[Any]] = {}
        for table in TABLES:
            rows = connection.execute(f"SELECT * FROM {table}")
            names = [one[0] for one in rows.description]
            found[table] = sorted(
                [
                    repr(
                        [
                            ids.get(value) if name in {"id", "bundle"} else value
                            for name, value in zip(names, row, strict=True)
                        ]
                    )
                    for row in rows
                ]
            )
    return found


def test_evidence_of_steps_is_bounded(
    git_repo: Path, some_verify: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statements that nothing connects to the target are verified up to a number, and the rest is told once."""
    world = Generated(Random(1), version_1=False)
    while sum(Known(raw).claim.step == "train" and is_signed(raw) for raw in world.bundles.values()) < 5:
        world.grow()
    project = open_project(git_repo, configured=False)
    project.store.add([*world.bundles.values()])
    evidence = gather(project, TRUST)
    number = sum(Known(raw).claim.step == "train" for raw in world.bundles.values())
    before = len(evidence.refused)
    assert len(evidence.of_steps({"train"})) == sum(
        Known(raw).claim.step == "train" and is_signed(raw) for raw in world.bundles.values()
    )
    monkeypatch.setattr(module, "MAX_OTHERS", 3)
    for _ in range(2):
        assert len(evidence.of_steps({"train"})) <= 3
        assert len(evidence.of_steps(None)) <= 3
    lines = [one.reason for one in evidence.refused[before:] if "share an artifact" in one.reason]
    assert lines[0].startswith(f"{number - 3} more statements of step train")
    assert len(lines) == 2
