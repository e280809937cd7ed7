"""in-toto Statements v0.1 in the store: only a step that selects takes one, and no other part of gitchain either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gitchain.evidence.bundle import Bundle
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import RELEASE
from gitchain.instance import Instance
from gitchain.workspace.project import open_project
from gitchain.workspace.user_directory import local_directory
from tests.cli.test_report import NEW, workshop  # noqa: F401 - a fixture
from tests.support.foreign_statements import old, said, subject
from tests.support.forged_bundles import Forge, raw
from tests.support.model_versions import Workshop
from tests.support.prepared_repository import PreparedRepository

Gitchain = Callable[..., Any]
Git = Callable[..., str]
MODEL = subject("model", "model.txt")


def imported(gitchain: Gitchain, repo: Path, payload: bytes, by: Callable[[Instance], Forge] = Forge) -> None:
    """Sign the statement, by default as ada, and import it."""
    place = repo.parent / "old.sigstore.json"
    place.write_bytes(raw(by(Instance.open(local_directory())).bundle(payload)))
    done = gitchain("import", str(place), "--json", cwd=repo)
    assert (done.code, done.json["imported"]) == (0, 1), done.text


def statements(repo: Path) -> list[Statement]:
    return [Bundle.parse(one).statement() for one in open_project(repo).store.all()]


def test_old_statement_does_not_stand_for_an_attested_step(
    gitchain: Gitchain, world: PreparedRepository
) -> None:
    """`attest` signs the step: its Statement v0.1, equal in all else, is no evidence for it."""
    (train,) = (one for one in statements(world.repo) if "model.bin" in {item.name for item in one.subject})
    world.git("update-ref", "-d", "refs/gitchain/attestations")
    assert gitchain("trust", "forget-history", cwd=world.repo).code == 0
    imported(gitchain, world.repo, old(train.payload))
    done = gitchain("attest", cwd=world.repo)
    assert done.code == 0, done.text
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0


def test_old_release_is_no_tag(gitchain: Gitchain, tiny: Path, git: Git) -> None:
    """It neither names a tag in `models` nor keeps `sync` from attesting one, whoever signed it."""
    (tiny / "model.txt.dvc").write_text(
        "outs:\n- md5: 20f35e630daf44dbfa4c3f68f5399d8c\n  hash: md5\n  size: 5\n  path: model.txt\n"
    )
    (tiny / ".gitignore").write_text("/model.txt\n")
    assert gitchain("hooks", "install", "--tags", cwd=tiny).code == 0
    done = gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny)
    assert done.code == 0, done.text
    git(tiny, "add", "-A")
    git(tiny, "commit", "-qm", "all")
    git(tiny, "tag", "-a", "credit@v1.0.0", "-m", "first")
    content = git(tiny, "cat-file", "tag", "credit@v1.0.0").encode() + b"\n"
    tag = {"name": "git:tag:credit@v1.0.0", "digest": {"sha256": sha256_hex(content)}}
    purl = {"purl": "pkg:generic/repo@credit%40v1.0.0"}
    imported(gitchain, tiny, old(said(RELEASE, purl, tag, MODEL)))

    def tags() -> Any:
        return gitchain("models", "--json", cwd=tiny).json["models"][0]["tags"]

    assert tags() == []
    done = gitchain("sync", cwd=tiny)
    assert done.code == 0, done.text
    assert tag["digest"] in [
        dict(item.digest) for one in statements(tiny) if not one.is_old for item in one.subject
    ]
    assert tags() == ["credit@v1.0.0"]


def test_old_release_fills_no_gap_of_a_report(gitchain: Gitchain, workshop: Workshop) -> None:  # noqa: F811
    """Neither does the summary of a verification appear among the events."""
    workshop.add(NEW)
    model = subject("new", "new.bin")
    imported(gitchain, workshop.repo, old(said(RELEASE, {"purl": "pkg:generic/credit@2"}, model)))
    document = gitchain("report", "new.bin", "--json", cwd=workshop.repo).json
    assert "no-release" in {one["code"] for one in document["gaps"]}
    assert "release" not in {one["kind"] for one in document["timeline"]}
    imported(gitchain, workshop.repo, said(RELEASE, {"purl": "pkg:generic/credit@2"}, model))
    document = gitchain("report", "new.bin", "--json", cwd=workshop.repo).json
    assert "no-release" not in {one["code"] for one in document["gaps"]}
