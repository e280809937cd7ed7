"""What DVC reads, gitchain reads; what DVC refuses, gitchain refuses in one sentence. DVC itself is the oracle."""

from __future__ import annotations

import fnmatch
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitchain.collect import repro
from gitchain.collect.dvc_api import load_stages
from gitchain.errors import ExitCode
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.predicates import claim_of
from gitchain.evidence.statement import Statement
from gitchain.layout.load import parse_layout
from gitchain.workspace.project import open_project
from tests.support.dvc_projects import Shape, dvc_stages, forked_dvc, new_project, shapes
from tests.support.fuzzing import sized
from tests.support.prepared_repository import git

ALL = shapes()
STORE = "refs/gitchain/attestations"
RUN = ("run", "--", "dvc", "repro", "-q", "--all-pipelines")
Gitchain = Callable[..., Any]


@pytest.fixture
def dvc_codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Run DVC in forks of this process; return the list that gets the exit code of each run."""
    codes: list[int] = []

    def run(*args: Any, **kwargs: Any) -> Any:
        done = forked_dvc(*args, **kwargs)
        codes.append(done[0])
        return done

    monkeypatch.setattr(repro, "run_plain", run)
    return codes


def ended(done: Any, *codes: int) -> None:
    """The command ended with one of the codes: no bug, no traceback, and one error at most where none was left."""
    assert "Traceback" not in done.text, done.text
    assert "a bug in gitchain" not in done.text, done.text
    assert done.code in codes, done.text


def stated(root: Path) -> set[str]:
    """Return the steps that statements in the store and the outbox are about."""
    project = open_project(root)
    statements = [Bundle.parse(raw).statement() for raw in project.store.all()]
    statements += [Statement.parse(item.payload) for item in project.outbox.items()]
    return {claim_of(one).step or "" for one in statements if "provenance" in one.predicate_type}


def products_of(root: Path, outs: set[str]) -> list[str]:
    """Return the outs that the drafted layout serves."""
    served = parse_layout((root / ".gitchain/layout.yaml").read_bytes()).serve
    return sorted(
        out for out in outs for one in served for pattern in one.products if fnmatch.fnmatchcase(out, pattern)
    )


@pytest.mark.parametrize("name", ALL)
def test_shapes(name: str, gitchain: Gitchain, tmp_path: Path, dvc_codes: list[int]) -> None:
    """`init`, `layout draft`, `run -- dvc repro`, `verify` and `attest` succeed or fail as DVC does."""
    shape, root = ALL[name], tmp_path / "p"
    new_project(root, shape)
    stages = dvc_stages(root)
    outs = {address: names for address, names in (stages or {}).items() if names}
    refused = int(shape.says.get("draft", ExitCode.OK if stages is not None else ExitCode.USAGE))

    done = gitchain("init", "--local", "--name", "shape", "--no-hooks", "--no-git-signing", cwd=root)
    ended(done, refused)
    if refused:
        assert done.err.startswith("error: "), done.err
        assert not (root / ".gitchain").exists()
        return
    if stages is not None:
        assert {one.name: tuple(sorted(one.outs)) for one in load_stages(root)} == stages
    ended(gitchain("layout", "draft", cwd=root), ExitCode.OK if outs or stages is None else ExitCode.USAGE)

    done = gitchain(*RUN, cwd=root)
    if stages is not None or dvc_codes:
        ended(done, *dvc_codes)
    else:
        ended(done, ExitCode.RUN)  # what cannot be read is found before DVC starts
    if dvc_codes == [0] and outs:
        ended(gitchain("layout", "sign", cwd=root), ExitCode.OK)
        for model in products_of(root, {out for names in outs.values() for out in names}):
            ended(gitchain("verify", model, cwd=root), int(shape.says.get("verify", ExitCode.OK)))

    git(root, "update-ref", "-d", STORE)  # then everything that DVC recorded can be declared anew
    done = gitchain("attest", "--dry-run", cwd=root)
    if dvc_codes == [0]:
        ended(done, ExitCode.OK)
        lines = [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]
        steps = {line["predicate"]["buildDefinition"]["externalParameters"]["step"] for line in lines}
        assert steps == set(outs)
    else:
        ended(done, ExitCode.OK, ExitCode.USAGE)


def test_frozen_stage_is_declared_in_the_draft(
    gitchain: Gitchain, tmp_path: Path, dvc_codes: list[int]
) -> None:
    """DVC never runs it, not even with --force: a layout that asks for observed evidence could never be met."""
    root = tmp_path / "p"
    new_project(root, ALL["a frozen stage that is up to date"])
    init = ("init", "--local", "--name", "shape", "--no-hooks", "--no-git-signing")
    for command in (init, ("layout", "sign"), (*RUN, "--force"), ("attest",), ("verify", "model.bin")):
        ended(gitchain(*command, cwd=root), ExitCode.OK)
    assert dvc_codes == [0]
    evidence = {
        step.name: step.evidence for step in parse_layout((root / ".gitchain/layout.yaml").read_bytes()).steps
    }
    assert evidence == {"prepare": "declared", "after": "observed"}


def test_shapes_are_many() -> None:
    """The corpus does not shrink unseen."""
    assert len(ALL) >= 150


@pytest.fixture(scope="session")
def set_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository that is set up and holds nothing else, with the user's directory beside it."""
    from gitchain.cli.main import run
    from tests.support.prepared_repository import GIT_IDENTITY

    top = tmp_path_factory.mktemp("shapes")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**GIT_IDENTITY, "HOME": str(top), "GITCHAIN_HOME": str(top / "home")}.items():
            patch.setenv(key, value)
        (top / "repo").mkdir()
        git(top / "repo", "init", "-q")
        patch.chdir(top / "repo")
        assert run(("-q", "init", "--local", "--name", "shape", "--no-hooks", "--no-git-signing")) == 0
        git(top / "repo", "add", "-A")
        git(top / "repo", "commit", "-q", "-m", "set up")
    return top


ODD = [
    b"null", b"5", b"[]", b"{}", b"''", b"true", b"2020-01-01", b"1e400", b"-1", b"*x", b"&x a", b"${item}", b"${", b"!!set {a}",
    b"'..'", b"../../x", b"/etc/passwd", b"s3://b/k", b"ds://d", b"\xc3\xa4", b"\xff", b"\x07", b"a\tb", b"|", b"? a", b"<<", b"- ",
    b"[" * 70, b"9" * 500, b"a" * 5000, b"e\xcc\x81", b"\xe2\x80\xae", b"a\\b", b"'a\n\n  b'", b"{a: 1, a: 2}", b"'@'", b"a:b",
]  # fmt: skip
"""Values that a person, a merge or an attacker may leave in a file."""


def mutate(dice: random.Random, data: bytes) -> bytes:
    """Change a file as a slip of the hand, a bad merge or malice would."""
    lines = data.splitlines(keepends=True) or [b"\n"]
    at, to = dice.randrange(len(lines)), dice.randrange(len(lines))
    line = lines[at].rstrip(b"\n")
    indent = line[: len(line) - len(line.lstrip())]
    head, colon, _ = line.partition(b":")
    match dice.randrange(11):
        case 0:
            del lines[at]
        case 1:
            lines.insert(to, lines[at])
        case 2:
            lines[at], lines[to] = lines[to], lines[at]
        case 3 | 4 | 5:
            value = dice.choice(ODD)
            lines[at] = (head + b": " if colon else indent + b"- ") + value + b"\n"
        case 6:
            lines[at] = dice.choice([b"  ", b"", b"\t"]) + line.lstrip() + b"\n"
        case 7:
            lines[at] = indent + dice.choice(ODD) + colon + line.partition(b":")[2] + b"\n"
        case 8:
            cut = dice.randrange(len(data) + 1)
            return data[:cut]
        case 9:
            cut = dice.randrange(len(data) + 1)
            return data[:cut] + bytes([dice.randrange(256)]) + data[cut + 1 :]
        case _:
            lines.insert(at, indent + dice.choice(ODD) + b": " + dice.choice(ODD) + b"\n")
    return b"".join(lines)


def locked(root: Path) -> dict[str, Any]:
    """Return the stages that dvc.lock records with outs, by address; nothing where it cannot be read."""
    found: dict[str, Any] = {}
    for lock in root.rglob("dvc.lock"):
        folder = lock.parent.relative_to(root).as_posix()
        try:
            stages = yaml.safe_load(lock.read_bytes())["stages"]
            made = {
                key: stage
                for key, stage in stages.items()
                if any("://" not in out["path"] for out in stage.get("outs") or ())
            }
        except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
            continue
        for key, stage in made.items():
            found[key if folder == "." else f"{folder}/dvc.yaml:{key}"] = stage
    return found


BATCH = 4


@pytest.mark.parametrize("batch", range(sized(6, 130)))
def test_mutated_shapes(
    batch: int, gitchain: Gitchain, set_up: Path, isolated: Path, tmp_path: Path, dvc_codes: list[int]
) -> None:
    """No mutation makes a bug of ours, and no stage that ran goes without its statement."""
    shutil.copytree(set_up / "home", isolated, symlinks=True)
    readable = [shape for shape in ALL.values() if "draft" not in shape.says and "outside" not in shape.says]
    for turn in range(BATCH):
        seed = batch * BATCH + turn
        dice = random.Random(seed)
        shape = dice.choice(readable)
        names = [
            name for name in shape.files if name.endswith((".yaml", ".lock", ".dvc", ".json", ".toml", ".py"))
        ]
        if names:
            name = dice.choice(names)
            data = shape.files[name]
            for _ in range(dice.choice([1, 1, 2, 3])):
                data = mutate(dice, data)
            shape = shape.mutated(name, data)
        check_mutation(seed, shape, gitchain, set_up / "repo", tmp_path / f"p{seed}", dvc_codes)


def check_mutation(
    seed: int, shape: Shape, gitchain: Gitchain, template: Path, root: Path, dvc_codes: list[int]
) -> None:
    try:
        new_project(root, shape, template)
    except OSError:
        return  # a file name that this system does not have
    before = locked(root)
    dvc_codes.clear()
    codes = {ExitCode.OK, ExitCode.USAGE, ExitCode.LIMIT, ExitCode.FAILED, ExitCode.LAYOUT}
    ended(gitchain("layout", "draft", cwd=root), *codes)
    done = gitchain(*RUN, cwd=root)
    ended(done, *dvc_codes, ExitCode.RUN)
    ran = {address for address, stage in locked(root).items() if before.get(address) != stage}
    assert ran <= stated(root), (seed, shape.files, done.text)
    ended(gitchain("attest", cwd=root), *codes)
    shutil.rmtree(root, ignore_errors=True)
