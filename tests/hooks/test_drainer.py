"""From what the hooks queued to attestations in the store: real Git, the embedded instance, DVC's files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gitchain.consume.dvc_tracked_artifacts import pinned_artifacts
from gitchain.errors import GitchainError, NoEvidenceError, ProjectError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.predicates import claim_of
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import RELEASE, VERSION
from gitchain.hooks import install, remove, troubles
from gitchain.hooks.__main__ import main
from gitchain.hooks.drainer import drain
from gitchain.hooks.events import catch_up
from gitchain.produce.init import initialise
from gitchain.store.git_ref import AttestationStore
from gitchain.store.tree_paths import Oid
from gitchain.trust.load_profile import load_profile
from gitchain.verify.bundle import verify_bundle
from gitchain.workspace.project import open_project
from tests.support.prepared_repository import GIT_IDENTITY, PreparedRepository, repoint
from tests.support.prepared_repository import git as run_git

Git = Callable[..., str]
MODEL = b"weights\n"
DATA = {"a.csv": b"1\n", "sub/b.csv": b"2\n"}


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def into_cache(repo: Path, data: bytes, suffix: str = "") -> str:
    name = md5(data) + suffix
    path = repo / ".dvc/cache/files/md5" / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return name


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> PreparedRepository:
    """Return a repository with a model, a data directory and a configuration, made once; tests work on copies of it."""
    top = tmp_path_factory.mktemp("initialised")
    repo = top / "repo"
    repo.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**GIT_IDENTITY, "HOME": str(top), "GITCHAIN_HOME": str(top / "home")}.items():
            patch.setenv(key, value)
        (repo / "README.md").write_text("a repository\n", encoding="utf-8")
        for command in (("init", "-q"), ("add", "README.md"), ("commit", "-q", "-m", "first")):
            run_git(repo, *command)
        write_files(repo)
        initialise(repo, "local", name="credit", signer=(None, "ada@example.com"))
    config = repo / ".gitchain/config.toml"
    config.write_text(config.read_text("utf-8") + 'identity = "ada@example.com"\n', "utf-8")
    return PreparedRepository(repo, top / "home")


@pytest.fixture
def project(
    initialised: PreparedRepository, isolated: Path, tmp_path: Path, git: Git, started: object
) -> Path:
    """Return a copy of the repository with hooks, and a commit of all that."""
    repo = tmp_path / "repo"
    shutil.copytree(initialised.repo, repo, symlinks=True)
    shutil.copytree(initialised.home, isolated, symlinks=True)
    repoint(isolated, initialised.repo, repo)
    install(repo, tags=True)
    commit(git, repo, "model")
    return repo


def write_files(repo: Path) -> None:
    """Write the files that DVC makes for a model and a data directory."""
    listing = [{"md5": into_cache(repo, data), "relpath": name} for name, data in DATA.items()]
    folder = into_cache(repo, json.dumps(listing).encode(), ".dir")
    (repo / "data.dvc").write_text(
        f"outs:\n- md5: {folder}\n  nfiles: 2\n  hash: md5\n  path: data\n", "utf-8"
    )
    (repo / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: x\n    wdir: out\n    outs: [model.bin]\n", "utf-8"
    )
    (repo / "dvc.lock").write_text(
        f"schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n    - path: model.bin\n      hash: md5\n      md5: {md5(MODEL)}\n",
        "utf-8",
    )
    (repo / "out").mkdir()
    (repo / "out/model.bin").write_bytes(MODEL)
    for name, data in DATA.items():
        (repo / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / "data" / name).write_bytes(data)
    (repo / ".gitignore").write_text("/data\n/out\n/.dvc\n", "utf-8")


def commit(git: Git, repo: Path, message: str = "more", *flags: str) -> str:
    git(repo, "add", ".")
    git(repo, "commit", "-q", "--allow-empty", "-m", message, *flags)
    return git(repo, "rev-parse", "HEAD")


def run_drain(repo: Path) -> int:
    return drain(repo / ".git", linger=0)


def stored(repo: Path, kind: str) -> list[Statement]:
    """Return the statements of one type in the store, each of them verified."""
    trust = load_profile("local").trust
    store = open_project(repo).store
    found = [verify_bundle(raw, trust).statement for raw in store.all()]
    return [statement for statement in found if statement.predicate_type == kind]


def subjects(statement: Statement) -> dict[str | None, str]:
    return {one.name: one.digest["sha256"] for one in statement.subject}


def test_commit_gets_a_version_attestation(project: Path, git: Git) -> None:
    """The drainer signs which artifacts the commit pins, with sha256 of the bytes, and clears the queue."""
    assert run_drain(project) == 1
    (version,) = stored(project, VERSION)
    head = git(project, "rev-parse", "HEAD")
    raw = subprocess.run(
        ["git", "cat-file", "commit", head], cwd=project, check=True, capture_output=True
    ).stdout
    found = subjects(version)
    assert found[f"git:commit:{head}"] == sha256_hex(raw)
    assert found["out/model.bin"] == sha256_hex(MODEL)
    assert version.predicate["commit"] == head
    artifacts: Any = version.predicate["artifacts"]
    listed = {item["name"]: item for item in artifacts}
    assert listed["out/model.bin"] == {
        "name": "out/model.bin",
        "definedIn": "dvc.lock",
        "md5": md5(MODEL),
        "sha256": sha256_hex(MODEL),
    }
    assert listed["data"]["sha256"] == found["data"]
    assert not (project / ".git/gitchain/wake").exists()
    assert troubles(project) == ()


def test_events_are_hints(project: Path, git: Git) -> None:
    """Doubled, phantom and false events make no second attestation, and none of what does not exist."""
    git(project, "tag", "v1")
    assert run_drain(project) == 2
    git(project, "pack-refs", "--all")
    queue = project / ".git/gitchain/queue"
    head = git(project, "rev-parse", "HEAD")
    with queue.open("a", encoding="utf-8") as file:
        file.write(
            f"v1 post-commit {head}\nv1 post-commit {'1' * 40}\nv1 post-commit -\nv1 tag refs/tags/none\nrubbish\n"
        )
    assert run_drain(project) == 0


def test_tags_get_release_attestations(project: Path, git: Git) -> None:
    """A tag releases the models of its commit: a light one by the commit, an annotated one by the tag object too."""
    git(project, "tag", "light")
    git(project, "tag", "-a", "-m", "x", "model@v1.0")
    assert run_drain(project) == 3
    found = {statement.predicate["purl"]: statement for statement in stored(project, RELEASE)}
    assert set(found) == {"pkg:generic/repo@light", "pkg:generic/repo@model%40v1.0"}
    annotated = found["pkg:generic/repo@model%40v1.0"]
    names = subjects(annotated)
    tag = subprocess.run(
        ["git", "cat-file", "tag", "model@v1.0"], cwd=project, check=True, capture_output=True
    ).stdout
    assert names["git:tag:model@v1.0"] == sha256_hex(tag)
    assert names["out/model.bin"] == sha256_hex(MODEL)
    claim = claim_of(annotated)
    assert (claim.step, claim.layout, claim.evidence) == ("release", "credit", "declared")


def test_tags_older_than_gitchain_are_left_alone(project: Path, git: Git) -> None:
    """A tag of a commit that has no version attestation is released only when a hook saw it being made."""
    old = git(project, "rev-parse", "HEAD")
    commit(git, project)
    (project / ".git/gitchain/queue").unlink()
    git(project, "update-ref", "refs/tags/old", old)
    (project / ".git/gitchain/queue").unlink(missing_ok=True)
    assert run_drain(project) == 1
    assert stored(project, RELEASE) == []
    git(project, "tag", "seen", old)
    run_drain(project)
    assert [one.predicate["purl"] for one in stored(project, RELEASE)] == ["pkg:generic/repo@seen"]


def test_amended_commit_is_nobodys_version(project: Path, git: Git) -> None:
    """A commit that was amended away before the drainer came is not attested; its successor is."""
    commit(git, project, "better", "--amend")
    assert run_drain(project) == 1
    assert [one.predicate["commit"] for one in stored(project, VERSION)] == [
        git(project, "rev-parse", "HEAD")
    ]


def test_catch_up_finds_what_the_hooks_missed(project: Path, git: Git) -> None:
    """Commits made with the hooks off are found between HEAD and the newest attested one."""
    run_drain(project)
    made = [git(project, "-c", "core.hooksPath=/dev/null", "rev-parse", "HEAD")]
    for number in range(2):
        git(project, "-c", "core.hooksPath=/dev/null", "commit", "-q", "--allow-empty", "-m", str(number))
        made.append(git(project, "rev-parse", "HEAD"))
    assert len(catch_up(open_project(project)).recorded.stored) == 2
    assert {one.predicate["commit"] for one in stored(project, VERSION)} == set(made)


def test_commit_that_pins_nothing_gets_none(project: Path, git: Git) -> None:
    """Without DVC's files there is no version to attest, and no release."""
    git(project, "rm", "-q", "data.dvc", "dvc.yaml", "dvc.lock")
    commit(git, project)
    git(project, "tag", "empty")
    run_drain(project)
    assert len(stored(project, VERSION)) == 1
    assert stored(project, RELEASE) == []


def test_bytes_come_from_the_cache_when_the_work_tree_has_others(project: Path) -> None:
    """A directory that is only in DVC's cache has the same sha256 as the one in the work tree."""
    run_drain(project)
    before = {
        one.name: one.descriptor.digest["sha256"] for one in pinned_artifacts(open_project(project), "HEAD")
    }
    (project / "data/a.csv").write_bytes(b"changed\n")
    after = {
        one.name: one.descriptor.digest["sha256"] for one in pinned_artifacts(open_project(project), "HEAD")
    }
    assert after == before


def test_bytes_that_are_not_here_have_no_sha256(project: Path, git: Git) -> None:
    """What is neither in the work tree nor in the cache is named by md5 alone, and cannot be verified."""
    (project / "out/model.bin").write_bytes(b"another")
    assert run_drain(project) == 1
    (version,) = stored(project, VERSION)
    assert "out/model.bin" not in subjects(version)
    artifacts: Any = version.predicate["artifacts"]
    listed = {item["name"]: item for item in artifacts}
    assert "sha256" not in listed["out/model.bin"]
    with pytest.raises(NoEvidenceError, match="not here"):
        pinned_artifacts(open_project(project), "HEAD")
    assert [
        one.name for one in pinned_artifacts(open_project(project), "HEAD", lambda name: name == "data")
    ] == ["data"]


def test_broken_dvc_file_is_told_and_stops_nothing_else(project: Path, git: Git) -> None:
    """A commit with merge markers in dvc.lock has no version; the next one has, and doctor hears of it."""
    good = (project / "dvc.lock").read_text("utf-8")
    (project / "dvc.lock").write_text("<<<<<<< HEAD\n" + good, "utf-8")
    commit(git, project, "broken")
    (project / "dvc.lock").write_text(good, "utf-8")
    head = commit(git, project, "mended")
    run_drain(project)
    assert head in {one.predicate["commit"] for one in stored(project, VERSION)}
    assert any("dvc.lock" in line for line in troubles(project))


def test_what_comes_while_the_drainer_works_is_attested(project: Path, git: Git) -> None:
    """A commit and a tag that follow while the drainer lingers need no other drainer."""
    ticks: Iterator[Callable[[], object]] = iter(
        [lambda: commit(git, project), lambda: git(project, "tag", "late")]
    )

    def sleep(_seconds: float) -> None:
        next(ticks, lambda: None)()

    assert drain(project / ".git", linger=1, sleep=sleep) == 3


def test_second_drainer_leaves_at_once(project: Path) -> None:
    """While one drainer works, another one does nothing."""
    inner: list[int] = []
    drain(project / ".git", linger=0.5, sleep=lambda _seconds: inner.append(run_drain(project)))
    assert inner == [0]


def test_several_at_once_sign_once(project: Path) -> None:
    """A drainer, a sync and a push at the same moment leave one attestation of the commit, not three."""
    code = "from pathlib import Path; from gitchain.hooks.events import catch_up; from gitchain.workspace.project import open_project; catch_up(open_project(Path()))"
    jobs = [subprocess.Popen([sys.executable, "-I", "-c", code], cwd=project) for _ in range(3)]
    assert [job.wait() for job in jobs] == [0, 0, 0]
    assert len(stored(project, VERSION)) == 1


def test_killed_drainer_leaves_its_events_to_the_next(project: Path) -> None:
    """kill -9 between taking the queue and signing loses nothing."""
    code = "import time; from pathlib import Path; from gitchain.store.queue import HookQueue; b = HookQueue(Path('.git/gitchain')).take(); print(len(b.events), flush=True); time.sleep(600)"
    taker = subprocess.Popen([sys.executable, "-I", "-c", code], cwd=project, stdout=subprocess.PIPE)
    assert taker.stdout is not None
    assert taker.stdout.readline() == b"1\n"
    taker.kill()
    taker.communicate()
    assert run_drain(project) == 1
    assert troubles(project) == ()


def test_events_stay_when_nothing_can_be_signed(project: Path, isolated: Path) -> None:
    """With the instance gone, the drainer says why and the events wait for the next one."""
    moved = (isolated / "local").rename(isolated / "elsewhere")
    with pytest.raises(GitchainError):
        run_drain(project)
    assert any("hook: " in line for line in troubles(project))
    assert "events wait and no drainer works on them: gitchain sync" in troubles(project)
    moved.rename(isolated / "local")
    assert run_drain(project) == 1
    assert troubles(project) == ()


def test_drainer_finds_the_work_tree_from_anywhere(
    project: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drainer starts where a linked work tree was removed meanwhile, and finds another one."""
    git(project, "worktree", "add", "-q", "../linked", "-b", "w")
    oid = commit(git, project.parent / "linked", "there")
    monkeypatch.chdir(project.parent)
    assert run_drain(project) == 2
    assert oid in {one.predicate["commit"] for one in stored(project, VERSION)}


def test_no_work_tree_left_is_a_clear_error(tmp_path: Path, git: Git) -> None:
    """A drainer of a bare repository says what it lacks."""
    git(tmp_path, "init", "-q", "--bare", "server.git")
    (tmp_path / "server.git/gitchain").mkdir()
    with pytest.raises(ProjectError, match="no work tree"):
        drain(tmp_path / "server.git", linger=0)


def test_push_sends_the_attestations_along(project: Path, git: Git) -> None:
    """The pre-push hook signs what is queued and pushes the attestations to the same remote."""
    git(project, "init", "-q", "--bare", "../server.git")
    git(project, "remote", "add", "origin", "../server.git")
    done = subprocess.run(
        ["git", "push", "-q", "origin", "main"], cwd=project, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0
    said = done.stderr.splitlines()
    assert [line.partition(" attestations")[0] for line in said] == [
        "gitchain: first push to origin (../server.git): publishes 1"
    ]
    assert git(project.parent / "server.git", "rev-parse", "refs/gitchain/attestations") == git(
        project, "rev-parse", "refs/gitchain/attestations"
    )
    assert len(stored(project, VERSION)) == 1


@pytest.mark.parametrize("setting", [None, "team"])
def test_push_exchanges_with_the_configured_remote_alone(
    project: Path, git: Git, tmp_path: Path, setting: str | None
) -> None:
    """A push to a fork sends no attestations there; git config gitchain.remote names the one that gets them."""
    for name in ("origin", "fork", "team"):
        git(tmp_path, "init", "-q", "--bare", f"{name}.git")
        git(project, "remote", "add", name, str(tmp_path / f"{name}.git"))
    if setting:
        git(project, "config", "gitchain.remote", setting)
    for name in ("fork", "origin", "team"):
        git(project, "push", "-q", name, "main")
    holders = {
        name
        for name in ("origin", "fork", "team")
        if git(tmp_path / f"{name}.git", "for-each-ref", "refs/gitchain")
    }
    assert holders == {setting or "origin"}


def test_push_takes_nothing_over(project: Path, git: Git, tmp_path: Path) -> None:
    """What the remote's ref holds, junk included, does not come into the own store by a push."""
    git(tmp_path, "init", "-q", "--bare", "server.git")
    git(project, "remote", "add", "origin", str(tmp_path / "server.git"))
    git(project, "push", "-q", "origin", "main")
    theirs = AttestationStore.open(tmp_path / "server.git")
    readme = theirs.backend.write("blob", b"hello")
    version = theirs.backend.write("blob", b"1\n")
    tip = Oid(str(theirs.tip()))
    tree = theirs.trees.insert(theirs.root(tip), {("README",): readme, ("VERSION",): version})
    commit = theirs.commit(tree, (tip,), "spoilt")
    theirs.backend.flush()
    git(tmp_path / "server.git", "update-ref", "refs/gitchain/attestations", commit)
    git(project, "commit", "-q", "--allow-empty", "-m", "more")
    git(project, "push", "-q", "origin", "main")
    ours = AttestationStore.open(project)
    assert ours.problems() == ()
    assert set(theirs.all()) == set(ours.all())
    assert [problem.path for problem in theirs.problems()] == ["README"]


@pytest.mark.parametrize(("mode", "pushed"), [("warn", True), ("block", False)])
def test_failed_attesting_warns_or_blocks_a_push(
    project: Path, git: Git, isolated: Path, mode: str, pushed: bool
) -> None:
    """A push goes on without attestations, with a warning, unless gitchain.prePush says block."""
    (isolated / "local").rename(isolated / "elsewhere")
    git(project, "init", "-q", "--bare", "../server.git")
    git(project, "config", "gitchain.prePush", mode)
    done = subprocess.run(
        ["git", "push", "../server.git", "main"], cwd=project, check=False, capture_output=True, text=True
    )
    assert (done.returncode == 0) is pushed
    assert "later: gitchain sync" in done.stderr


def test_push_does_not_wait_for_ever(
    project: Path, git: Git, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Attesting that takes longer than gitchain.prePushTimeout is given up, and the push goes on."""
    git(project, "config", "gitchain.prePushTimeout", "1")
    monkeypatch.chdir(project)
    read, _write = os.pipe()
    monkeypatch.setattr("gitchain.hooks.drainer.flush", lambda _common, _remote: len(os.read(read, 1)))
    assert main(["push", str(project / ".git"), "origin"]) == 0
    assert "took too long" in capsys.readouterr().err


def test_usage_of_the_entry_point(capsys: pytest.CaptureFixture[str]) -> None:
    """Anything but the two forms is refused."""
    assert main(["else"]) == 2
    assert "usage" in capsys.readouterr().err


def test_remove_after_draining_leaves_the_evidence_alone(project: Path) -> None:
    """Removing the hooks takes the queue's spent files away, and nothing that was signed."""
    run_drain(project)
    remove(project)
    home = project / ".git/gitchain"
    assert not [path for path in home.iterdir() if path.name.startswith(("queue", "wake", "drain"))]
    assert len(stored(project, VERSION)) == 1


def test_hooks_and_drainer_end_to_end(project: Path) -> None:
    """The very command that the hook starts signs what the hook queued."""
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            "import sys; from gitchain.hooks.drainer import drain; drain(__import__('pathlib').Path(sys.argv[1]), linger=0)",
            ".git",
        ],
        cwd=project,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    raw = next(open_project(project).store.all())
    assert Bundle.parse(raw).statement().predicate_type == VERSION
