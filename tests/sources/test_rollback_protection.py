"""What was seen of a store: rewound, truncated, forked, replaced and emptied stores are noticed, growth is not."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from gitchain.errors import ExitCode, RollbackError, StoreError, TrustError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.digest import Sha256, sha256_hex
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.produce.sync import begin, finish
from gitchain.sources.rollback_protection import (
    check_seen,
    forget,
    last_seen,
    recalled,
    remember,
    remember_exchange,
)
from gitchain.store.history import SEEN_REF
from gitchain.store.remote import sync
from gitchain.store.tree_paths import Oid
from gitchain.trust.profiles import SigningIdentity
from gitchain.workspace.project import Project, open_project
from tests.support.store_samples import bundle

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
REF = "refs/gitchain/attestations"
Git = Callable[..., str]


def add(project: Project, *names: str) -> Oid:
    """Add a bundle of each name, and return the store's commit."""
    project.store.add([bundle(name) for name in names])
    tip = project.store.tip()
    assert tip is not None
    return tip


@pytest.fixture
def project(git_repo: Path) -> Project:
    """Return a repository whose store held three bundles, added by two commits, when it was seen last."""
    found = open_project(git_repo)
    add(found, "one", "two")
    remember(found, add(found, "three"), NOW)
    return found


def again(project: Project) -> Project:
    return open_project(project.root)


def check(project: Project) -> None:
    fresh = again(project)
    check_seen(fresh, last_seen(fresh), fresh.store.tip())


def memory(home: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted((home / "seen").glob("*.json"))]


def test_what_is_remembered_satisfies_its_schema(project: Project, isolated: Path) -> None:
    """One file for the clone, private, with the commit, the tree of bundles and their number."""
    (found,) = memory(isolated)
    schema = Path(__file__).parents[2] / "schemas/seen.schema.json"
    Draft202012Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(found)
    assert (found["commit"], found["size"]) == (project.store.tip(), 3)
    assert found["of"] == f"repository {project.git.common_dir}"
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (isolated / "seen").glob("*.json"))


def test_a_store_that_grows_is_the_same_store(project: Project, isolated: Path) -> None:
    """Whatever is added, nothing is missing, and the new number is remembered without counting all again."""
    tip = add(project, "four", "five")
    check(project)
    remember(project, tip, NOW)
    assert [found["size"] for found in memory(isolated)] == [5]
    assert project.store.backend.read_ref(SEEN_REF) == tip


def test_check_seen_compares_with_the_state_before_reading(project: Project, git: Git) -> None:
    """Another process adds and remembers between reading and checking: nothing was lost then. A rewound ref is a loss."""
    own, tip = last_seen(project), project.store.tip()
    other = again(project)
    remember(other, add(other, "four"), NOW)
    check_seen(project, own, tip)
    remember(project, tip, NOW)
    assert [seen.size for seen in recalled(project)] == [4]
    git(project.root, "update-ref", REF, f"{REF}~1")
    with pytest.raises(RollbackError, match="1 missing"):
        check(project)


def test_the_first_look_remembers_nothing_to_compare_with(git_repo: Path) -> None:
    """A repository that was never seen, with a store or without: nothing is missing."""
    found = open_project(git_repo)
    check_seen(found, None, None)
    remember(found, None, NOW)
    check_seen(found, last_seen(found), add(found, "one"))
    assert recalled(found) == ()


def test_a_rewound_ref(project: Project, git: Git) -> None:
    """The ref goes back to a commit that it had: what is gone is named, by id and step."""
    git(project.root, "update-ref", REF, f"{REF}~1")
    with pytest.raises(RollbackError, match="lost attestations that it had") as caught:
        check(project)
    assert caught.value.exit_code == ExitCode.TRUST
    assert caught.value.got.startswith("1 missing: ")
    assert "3 attestations seen at 2026-11-22T12:00:00Z" in caught.value.expected
    assert "gitchain sync" in caught.value.help
    assert "forget-history" in caught.value.help


@pytest.mark.parametrize("how", ["deleted", "emptied", "replaced"])
def test_a_store_that_is_gone(project: Project, git: Git, tmp_path: Path, how: str) -> None:
    """The ref is deleted, points to an empty store, or to somebody else's: all three bundles are missing."""
    if how == "deleted":
        git(project.root, "update-ref", "-d", REF)
    else:
        other = tmp_path / "other"
        git(tmp_path, "init", "-q", str(other))
        foreign = open_project(other)
        add(foreign, "four")
        if how == "emptied":
            tree = git(other, "rev-parse", f"{REF}^{{tree}}")
            version = git(other, "ls-tree", tree, "VERSION")
            made = subprocess.run(
                ["git", "mktree"], cwd=other, input=version + "\n", text=True, capture_output=True, check=True
            )
            git(other, "update-ref", REF, git(other, "commit-tree", "-m", "x", made.stdout.strip()))
        git(project.root, "fetch", "-q", str(other), f"+{REF}:{REF}")
    with pytest.raises(RollbackError) as caught:
        check(project)
    assert caught.value.got.startswith("3 missing: ")


def test_a_fork_that_lacks_one(project: Project, git: Git) -> None:
    """A history that left the old one before its end, and went on: longer, but it lacks one."""
    git(project.root, "update-ref", REF, f"{REF}~1")
    fresh = again(project)
    add(fresh, "four")
    add(fresh, "five")
    with pytest.raises(RollbackError) as caught:
        check(project)
    assert caught.value.got.startswith("1 missing: ")
    lost = Bundle.parse(bundle("three")).attestation_id[:12]
    assert caught.value.got == f"1 missing: {lost} (dataset)"


def test_other_commits_with_the_same_bundles(project: Project, git: Git) -> None:
    """The set counts, not how its commits go: history that was squashed, or is united with another, holds all."""
    tree = git(project.root, "rev-parse", f"{REF}^{{tree}}")
    git(project.root, "update-ref", REF, git(project.root, "commit-tree", "-m", "x", tree))
    check(project)
    fresh = again(project)
    tip = add(fresh, "four")
    check(project)
    remember(fresh, tip, NOW)
    assert [one.size for one in recalled(fresh)] == [4]


def test_a_changed_bundle_is_missing(project: Project, git: Git) -> None:
    """A child commit that keeps a name and changes its bytes: the bundle that was seen is not there any more."""
    name = sha256_hex(bundle("one"))
    path = f"att/{name[:2]}/{name[2:4]}/{name[4:]}"
    index = {"GIT_INDEX_FILE": str(project.root / ".git/other-index")}

    def run(*args: str, stdin: str = "") -> str:
        done = subprocess.run(
            ["git", *args],
            cwd=project.root,
            env=os.environ | index,
            input=stdin,
            text=True,
            capture_output=True,
            check=True,
        )
        return done.stdout.strip()

    run("read-tree", REF)
    blob = run("hash-object", "-w", "--stdin", stdin="{}")
    run("update-index", "--cacheinfo", f"100644,{blob},{path}")
    run("update-ref", REF, run("commit-tree", "-p", REF, "-m", "x", run("write-tree")))
    with pytest.raises(RollbackError, match="lost") as caught:
        check(project)
    assert caught.value.got.startswith("1 missing: ")


def test_a_loss_is_not_remembered_away(project: Project, git: Git, isolated: Path) -> None:
    """Remembering a store that lacks something keeps what was known: the loss is told again and again."""
    before = memory(isolated)
    git(project.root, "update-ref", REF, f"{REF}~1")
    fresh = again(project)
    remember(fresh, fresh.store.tip(), NOW)
    remember(fresh, add(fresh, "four"), NOW)
    assert memory(isolated) == before
    with pytest.raises(RollbackError):
        check(project)


def test_the_old_commit_may_be_gone_too(project: Project, git: Git) -> None:
    """A clone that was replaced as a whole: what is missing cannot be named, but how much there was can."""
    git(project.root, "update-ref", "-d", REF)
    git(project.root, "update-ref", "-d", SEEN_REF)
    git(project.root, "gc", "-q", "--prune=now")
    with pytest.raises(RollbackError, match="not the one that was seen") as caught:
        check(project)
    assert caught.value.expected.startswith("3 attestations or more")


def test_the_seen_commit_survives_garbage_collection(project: Project, git: Git) -> None:
    """What was seen stays at hand, so that what is missing can be named."""
    git(project.root, "update-ref", REF, f"{REF}~1")
    git(project.root, "gc", "-q", "--prune=now")
    with pytest.raises(RollbackError, match="lost attestations that it had"):
        check(project)


def test_a_bundle_that_cannot_be_read_any_more(project: Project) -> None:
    """Listed is not held: what was whole when it was seen has to be whole now."""
    name = sha256_hex(bundle("one"))
    path = f"att/{name[:2]}/{name[2:4]}/{name[4:]}"
    with pytest.raises(RollbackError) as caught:
        check_seen(project, last_seen(project), project.store.tip(), [path])
    assert caught.value.got == f"1 missing: {path} cannot be read"
    with pytest.raises(RollbackError):
        check_seen(project, last_seen(project), project.store.tip(), [f"att/{name[:2]}"])


def test_what_could_never_be_read_is_not_missed(project: Project) -> None:
    """Junk that was there before, and junk that has never been a bundle."""
    name = sha256_hex(bundle("one"))
    path = f"att/{name[:2]}/{name[2:4]}/{name[4:]}"
    check_seen(project, last_seen(project), project.store.tip(), ["att/zz", "att/00/00/" + "0" * 60])
    remember(project, project.store.tip(), NOW, [path])
    check_seen(project, last_seen(project), project.store.tip(), [path])
    remember(project, add(project, "four"), NOW)  # by somebody who did not look
    check_seen(project, last_seen(project), project.store.tip(), [path])
    remember(project, project.store.tip(), NOW, [])
    with pytest.raises(RollbackError):
        check_seen(project, last_seen(project), project.store.tip(), [path])


def test_a_store_full_of_junk_is_not_remembered(project: Project, isolated: Path) -> None:
    """More broken leaves than one file should hold."""
    before = memory(isolated)
    remember(project, add(project, "four"), NOW, [f"att/{number}" for number in range(1001)])
    assert memory(isolated) == before


def test_forgetting_is_deliberate(project: Project, git: Git) -> None:
    """After it, what is there now is trusted again; what was forgotten is returned, to be told."""
    git(project.root, "update-ref", REF, f"{REF}~1")
    (forgotten,) = forget(again(project))
    assert forgotten.size == 3
    check(project)
    assert forget(again(project)) == ()


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"schema":"https://gitchain.dev/seen/v1"}', "wrong type", "another"]
)
def test_a_damaged_memory_is_no_memory_to_trust(project: Project, isolated: Path, text: str) -> None:
    """Exit 4, not a fresh start: whoever can damage it must not make it forget."""
    (path,) = (isolated / "seen").glob("*.json")
    value = json.loads(path.read_text())
    text = {"wrong type": json.dumps(value | {"size": "3"}), "another": json.dumps(value | {"of": "x"})}.get(
        text, text
    )
    path.write_text(text)
    with pytest.raises(TrustError, match="damaged"):
        check(project)


def test_a_memory_that_cannot_be_read(project: Project, isolated: Path) -> None:
    """No permission is no fresh start either."""
    (path,) = (isolated / "seen").glob("*.json")
    path.unlink()
    path.mkdir()
    with pytest.raises(TrustError, match="cannot read"):
        check(project)


def test_a_memory_that_cannot_be_written(git_repo: Path, isolated: Path) -> None:
    """The caller hears of it."""
    isolated.mkdir()
    (isolated / "seen").symlink_to("nowhere")
    found = open_project(git_repo)
    with pytest.raises(StoreError):
        remember(found, add(found, "one"), NOW)


@pytest.fixture
def clones(git_repo: Path, tmp_path: Path, git: Git) -> tuple[Project, Project, Path]:
    """Return two clones of one user that both have exchanged with a remote, which holds what the first made."""
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "-q", "--bare", str(remote))
    git(git_repo, "remote", "add", "origin", str(remote))
    git(git_repo, "push", "-q", "origin", "main")
    first = open_project(git_repo)
    add(first, "one")
    exchange(first)
    git(tmp_path, "clone", "-q", str(remote), "second")
    second = open_project(tmp_path / "second")
    exchange(second)
    return first, second, remote


def exchange(project: Project) -> None:
    result = sync(project.store, "origin")
    assert result.tip is not None
    remember_exchange(project, result.tip, NOW)


def test_an_exchange_is_remembered_for_every_clone(
    clones: tuple[Project, Project, Path], isolated: Path
) -> None:
    """By the first commit of the store, beside what each clone held."""
    keys = sorted(str(found["of"]) for found in memory(isolated))
    assert [key.split()[0] for key in keys] == ["repository", "repository", "store"]


def test_a_clone_that_lags_behind_is_honest(clones: tuple[Project, Project, Path]) -> None:
    """What the first clone has and the second has not fetched is no loss, before and after the second's exchange."""
    first, second, _ = clones
    add(first, "two")
    exchange(first)
    check(second)
    exchange(second)
    check(second)
    remember(first, add(first, "not pushed"), NOW)
    exchange(second)
    check(second)


def test_sync_fetches_what_another_clone_pushed_meanwhile(clones: tuple[Project, Project, Path]) -> None:
    """The other clone exchanged more after this one fetched: nothing was lost, and it is fetched too."""
    first, second, _ = clones
    begun = begin(second, "origin")
    add(first, "two")
    exchange(first)
    outcome = finish(second, begun, None, SigningIdentity("ada@example.com"), NOW, announce=lambda _: None)
    assert (outcome.result.fetched, outcome.result.tip) == (1, first.store.tip())
    check(second)


def test_sync_with_a_remote_that_lost_what_another_clone_pushed(
    clones: tuple[Project, Project, Path], git: Git
) -> None:
    """Fetching again does not hide a loss."""
    first, second, remote = clones
    old = git(remote, "rev-parse", REF)
    add(first, "a revocation")
    exchange(first)
    git(remote, "update-ref", REF, old)
    begun = begin(second, "origin")
    with pytest.raises(RollbackError):
        finish(second, begun, None, SigningIdentity("ada@example.com"), NOW, announce=lambda _: None)


def test_split_view_detected_between_two_clones(clones: tuple[Project, Project, Path], git: Git) -> None:
    """split_view_detected (A19): a remote that shows the second clone less than it showed the first."""
    first, second, remote = clones
    old = git(remote, "rev-parse", REF)
    add(first, "a revocation")
    exchange(first)
    git(remote, "update-ref", REF, old)
    with pytest.raises(RollbackError):
        exchange(again(second))
    with pytest.raises(RollbackError):
        check(second)
    git(remote, "update-ref", REF, git(first.root, "rev-parse", REF))
    git(first.root, "push", "-q", "origin", f"{REF}:{REF}")
    exchange(again(second))
    check(second)


def test_a_new_clone_of_a_truncated_remote(
    clones: tuple[Project, Project, Path], tmp_path: Path, git: Git
) -> None:
    """policy_rollback (A2) of the store: this user has seen more of it elsewhere, so the new clone is refused."""
    first, _, remote = clones
    old = git(remote, "rev-parse", REF)
    add(first, "a revocation")
    exchange(first)
    git(remote, "update-ref", REF, old)
    git(tmp_path, "clone", "-q", str(remote), "third")
    git(tmp_path / "third", "fetch", "-q", "origin", f"{REF}:{REF}")
    third = open_project(tmp_path / "third")
    with pytest.raises(RollbackError):
        check(third)
    assert [one.size for one in forget(third)] == [2]
    check(third)


def test_an_exchange_in_vain_is_not_remembered(clones: tuple[Project, Project, Path], isolated: Path) -> None:
    """The same tip again writes nothing."""
    first = clones[0]
    before = {path: path.stat().st_mtime_ns for path in (isolated / "seen").iterdir()}
    exchange(first)
    check(first)
    assert {path: path.stat().st_mtime_ns for path in (isolated / "seen").iterdir()} == before


def with_manifest(project: Project) -> tuple[str, str]:
    """Add a manifest node, remember it, and return its name and the store's commit before it."""
    before = project.store.tip()
    manifest = build_manifest([FileEntry("a.csv", False, 1, Sha256("a" * 64))])
    project.store.add([bundle("four")], manifest.nodes)
    tip = project.store.tip()
    assert before is not None
    assert tip is not None
    remember(project, tip, NOW)
    return manifest.digest, before


def without_manifests(project: Project, git: Git) -> None:
    """Take the manifests out of the store by a commit that keeps every bundle."""
    root = project.root
    listed = git(root, "ls-tree", REF).splitlines()
    kept = "".join(f"{line}\n" for line in listed if not line.endswith("manifest"))
    made = subprocess.run(["git", "mktree"], cwd=root, input=kept, text=True, capture_output=True, check=True)
    git(root, "update-ref", REF, git(root, "commit-tree", "-p", REF, "-m", "x", made.stdout.strip()))


def test_check_seen_misses_a_manifest(project: Project, git: Git, isolated: Path) -> None:
    """A child commit that keeps every bundle and lacks a manifest node has lost it, and is not remembered."""
    name, _ = with_manifest(project)
    (found,) = memory(isolated)
    assert found["manifests"] == git(project.root, "rev-parse", f"{REF}:manifest")
    check(project)
    without_manifests(project, git)
    with pytest.raises(RollbackError) as caught:
        check(project)
    assert caught.value.got == f"1 missing: manifest {name[:12]}"
    fresh = again(project)
    remember(fresh, fresh.store.tip(), NOW)
    assert memory(isolated) == [found]


def test_check_seen_names_five_manifests(project: Project, git: Git) -> None:
    """And counts the rest."""
    nodes = [build_manifest([FileEntry(f"{n}.csv", False, 1, Sha256("a" * 64))]).nodes for n in range(7)]
    project.store.add([bundle("four")], {name: data for one in nodes for name, data in one.items()})
    remember(project, project.store.tip(), NOW)
    without_manifests(project, git)
    with pytest.raises(RollbackError) as caught:
        check(project)
    assert caught.value.got.startswith("7 missing: manifest ")
    assert caught.value.got.endswith(", and 2 more manifests")
    assert caught.value.got.count("manifest ") == 5


def test_check_seen_reads_what_an_older_version_wrote(project: Project, git: Git, isolated: Path) -> None:
    """Without the manifests' tree it is compared by the commit, and written anew at the next growth."""
    with_manifest(project)
    (path,) = (isolated / "seen").glob("*.json")
    value = json.loads(path.read_text())
    del value["manifests"]
    path.write_text(json.dumps(value, separators=(",", ":"), sort_keys=True))
    check(project)
    without_manifests(project, git)
    with pytest.raises(RollbackError):
        check(project)
