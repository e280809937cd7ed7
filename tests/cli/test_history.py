"""Checkpoints of the attestation set: signed by sync, carried by tags, and demanded of a store that nobody here has seen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.errors import ExitCode
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.statement import Statement
from gitchain.evidence.store_checkpoint import StoreCheckpoint, read_checkpoint
from gitchain.evidence.vocabulary import CARRIED, CHECKPOINT, RELEASE
from gitchain.store.git_ref import AttestationStore
from tests.support.prepared_repository import refused

Gitchain = Callable[..., Any]
Git = Callable[..., str]
REF = "refs/gitchain/attestations"
SCHEMA = Path(__file__).parents[2] / "schemas/checkpoint.schema.json"


@pytest.fixture
def shared(gitchain: Gitchain, tiny: Path, git: Git, tmp_path: Path) -> Path:
    """Return the tiny repository with a revoker, its model attested, and a remote with which it was synced."""
    layout = tiny / ".gitchain/layout.yaml"
    layout.write_text(layout.read_text().replace("version: 1\n", "version: 2\nrevokers: [ada]\n", 1))
    assert gitchain("layout", "sign", cwd=tiny).code == 0
    git(tiny, "add", "-A")
    git(tiny, "commit", "-q", "--no-verify", "-m", "all")
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(tiny, "remote", "add", "origin", str(tmp_path / "remote.git"))
    git(tiny, "push", "-q", "--no-verify", "origin", "main")
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    sync(gitchain, tiny)
    return tiny


def sync(gitchain: Gitchain, repo: Path, *args: str) -> str | None:
    """Exchange with the remote, and return the checkpoint that was signed."""
    done = gitchain("sync", "--json", *args, cwd=repo)
    assert done.code == 0, done.text
    found: str | None = done.json["remote"]["checkpoint"]
    return found


def statements(repo: Path, kind: str) -> dict[str, Statement]:
    found = (Bundle.parse(raw).statement() for raw in AttestationStore.open(repo).all())
    return {one.attestation_id: one for one in found if one.predicate_type == kind}


def inventories(repo: Path) -> dict[str, StoreCheckpoint]:
    return {name: read_checkpoint(one) for name, one in statements(repo, CHECKPOINT).items()}


def drop(git: Git, remote: Path, *names: str) -> None:
    """Take bundles out of a store, as whoever owns the remote can: a new commit without them."""
    index = str(remote / "other-index")
    env = ["-c", "core.bare=false", "--work-tree=."]

    def run(*args: str) -> str:
        done = subprocess.run(
            ["git", *env, *args],
            cwd=remote,
            env=os.environ | {"GIT_INDEX_FILE": index, "GIT_DIR": str(remote)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    run("read-tree", REF)
    paths = [
        path for path in run("ls-files").splitlines() if any(name in path.replace("/", "") for name in names)
    ]
    assert paths
    run("update-index", "--force-remove", "--", *paths)
    run("update-ref", REF, run("commit-tree", "-m", "x", run("write-tree")))


def fresh(gitchain: Gitchain, git: Git, tmp_path: Path, isolated: Path) -> Path:
    """Return a new clone with the remote's attestations, of somebody who has never seen them."""
    shutil.rmtree(isolated / "seen", ignore_errors=True)
    git(tmp_path, "clone", "-q", str(tmp_path / "remote.git"), "fresh")
    repo = tmp_path / "fresh"
    git(repo, "fetch", "-q", "origin", f"{REF}:{REF}")
    assert gitchain("trust", "pin", "--signer", "ada@example.com", cwd=repo).code == 0
    return repo


def bundle_of(repo: Path, name: str) -> str:
    store = AttestationStore.open(repo)
    return next(one for one in store.names() if Bundle.parse(store.get(one) or b"").attestation_id == name)


def test_sync_signs_a_checkpoint_of_all(gitchain: Gitchain, shared: Path) -> None:
    """It covers every bundle that is there but itself, and satisfies its schema."""
    ((name, inventory),) = inventories(shared).items()
    assert set(inventory.added) == set(AttestationStore.open(shared).names()) - {bundle_of(shared, name)}
    predicate = json.loads(statements(shared, CHECKPOINT)[name].payload)["predicate"]
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(predicate)
    assert gitchain("verify", "model.txt", cwd=shared).code == 0


def test_nothing_new_is_no_new_checkpoint(gitchain: Gitchain, shared: Path) -> None:
    """A checkpoint alone is nothing to cover: clones that sync in turn come to an end."""
    assert [sync(gitchain, shared) for _ in range(2)] == [None, None]
    assert len(inventories(shared)) == 1


def test_the_next_checkpoint_follows(gitchain: Gitchain, shared: Path) -> None:
    """It names the one before, and adds only what is new, the checkpoint before included."""
    ((first, before),) = inventories(shared).items()
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=shared).code == 0
    second = sync(gitchain, shared)
    assert second is not None
    found = inventories(shared)[second]
    assert found.previous == (first,)
    assert bundle_of(shared, first) in found.added
    assert (len(found.added), found.size) == (2, before.size + 2)


def test_who_is_no_functionary_signs_none(gitchain: Gitchain, shared: Path) -> None:
    """It would not count: nothing is logged for nothing, and the exchange goes on."""
    assert gitchain("attest", "x", "-p", "model.txt", cwd=shared).code == 0
    done = gitchain("sync", "--as", "eve@example.com", cwd=shared)
    assert (done.code, "no functionary" in done.err) == (0, True)
    assert len(inventories(shared)) == 1


def test_without_a_pinned_layout_there_is_none(gitchain: Gitchain, shared: Path) -> None:
    """Nobody has said whose would count."""
    (shared / ".gitchain/layout.sigstore.json").unlink()
    assert gitchain("attest", "x", "-p", "model.txt", cwd=shared).code == 0
    assert sync(gitchain, shared) is None


def test_a_stranger_notices_what_a_checkpoint_covers(
    gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path, isolated: Path
) -> None:
    """A revocation that was taken out of the remote: a new clone of somebody new gives no verdict."""
    assert gitchain("revoke", "attestation", "0" * 64, "--reason", "mistaken", cwd=shared).code == 0
    (name,) = statements(shared, "https://gitchain.dev/predicate/revocation/v0.1")
    bundle = bundle_of(shared, name)
    sync(gitchain, shared)
    drop(git, tmp_path / "remote.git", bundle)
    repo = fresh(gitchain, git, tmp_path, isolated)
    target = shared / "model.txt"
    refused(
        gitchain("verify", str(target), cwd=repo),
        ExitCode.TRUST,
        "lacks evidence that a checkpoint covers",
        bundle[:12],
    )


def test_a_checkpoint_that_is_gone_is_noticed_by_the_next(
    gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path, isolated: Path
) -> None:
    """Taking out a checkpoint with what it covers does not help while a later one is there."""
    ((first, _),) = inventories(shared).items()
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=shared).code == 0
    sync(gitchain, shared)
    drop(git, tmp_path / "remote.git", bundle_of(shared, first))
    repo = fresh(gitchain, git, tmp_path, isolated)
    done = gitchain("verify", str(shared / "model.txt"), cwd=repo)
    refused(done, ExitCode.TRUST, f"checkpoint {first[:12]}")


def test_a_demanded_checkpoint(
    gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path, isolated: Path
) -> None:
    """What a store alone cannot show, truncated with all of its checkpoints, a name given from outside does."""
    old = git(shared, "rev-parse", f"{REF}~1")
    ((name, _),) = inventories(shared).items()
    raw = AttestationStore.open(shared).get(bundle_of(shared, name))
    assert raw is not None
    (tmp_path / "checkpoint.sigstore.json").write_bytes(raw)
    target = str(shared / "model.txt")
    assert gitchain("verify", "--checkpoint", name, target, cwd=shared).code == 0
    assert (
        gitchain(
            "verify", "--checkpoint", str(tmp_path / "checkpoint.sigstore.json"), target, cwd=shared
        ).code
        == 0
    )
    git(tmp_path / "remote.git", "update-ref", REF, f"{old}")
    repo = fresh(gitchain, git, tmp_path, isolated)
    assert gitchain("verify", target, cwd=repo).code == 0, "nothing in the store tells"
    refused(gitchain("verify", "--checkpoint", name, target, cwd=repo), ExitCode.TRUST, "no such checkpoint")
    refused(gitchain("verify", "--checkpoint", "nosuch", target, cwd=repo), ExitCode.USAGE)
    git(repo, "update-ref", REF, f"{old}~1")
    shutil.rmtree(isolated / "seen")
    file = str(tmp_path / "checkpoint.sigstore.json")
    refused(gitchain("verify", "--checkpoint", file, target, cwd=repo), ExitCode.TRUST, "1 missing")


def test_a_revoked_checkpoint_demands_nothing(gitchain: Gitchain, shared: Path) -> None:
    """A functionary who erred, or lied, does not stop verification for ever."""
    ((name, _),) = inventories(shared).items()
    assert gitchain("revoke", "attestation", name, "--reason", "mistaken", cwd=shared).code == 0
    target = str(shared / "model.txt")
    assert gitchain("verify", target, cwd=shared).code == 0
    refused(
        gitchain("verify", "--checkpoint", name, target, cwd=shared),
        ExitCode.TRUST,
        "checkpoints of its signer do not count",
    )
    second = sync(gitchain, shared)
    assert second is not None
    assert inventories(shared)[second].previous == (), "nobody builds on what was revoked"


def test_a_tag_carries_the_checkpoint(
    gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path, isolated: Path
) -> None:
    """The release of a tag names the newest checkpoint: without it, there is no verdict."""
    (shared / "model.txt.dvc").write_text(
        "outs:\n- md5: 20f35e630daf44dbfa4c3f68f5399d8c\n  size: 5\n  hash: md5\n  path: model.txt\n"
    )
    (shared / ".dvc").mkdir()
    (shared / ".dvc/config").write_text("")
    git(shared, "add", "-A")
    git(shared, "commit", "-q", "--no-verify", "-m", "track")
    sync(gitchain, shared)
    tops = set(inventories(shared)) - {one for each in inventories(shared).values() for one in each.previous}
    git(shared, "tag", "-a", "v1", "-m", "v1")
    sync(gitchain, shared)
    (release,) = statements(shared, RELEASE).values()
    assert set(release.predicate[CARRIED]) == tops  # type: ignore[arg-type]
    bundles = [bundle_of(shared, name) for name in inventories(shared)]
    drop(git, tmp_path / "remote.git", *bundles)
    repo = fresh(gitchain, git, tmp_path, isolated)
    done = gitchain("verify", str(shared / "model.txt"), cwd=repo)
    refused(done, ExitCode.TRUST, "that a release names")


def test_a_removed_manifest_hides_no_revocation(
    gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path, isolated: Path
) -> None:
    """A checkpoint covers the manifests too: a new clone of somebody new gives no verdict without one of them."""
    (shared / "data").mkdir()
    (shared / "data/a.csv").write_text("1")
    assert gitchain("attest", "x", "-p", "data", cwd=shared).code == 0
    (node,) = AttestationStore.open(shared).names(room="manifest")
    point = sync(gitchain, shared)
    assert point is not None
    assert node in inventories(shared)[point].added
    assert sync(gitchain, shared) is None
    repo = fresh(gitchain, git, tmp_path, isolated)
    assert gitchain("verify", str(shared / "model.txt"), cwd=repo).code == 0
    drop(git, tmp_path / "remote.git", node)
    shutil.rmtree(repo)
    repo = fresh(gitchain, git, tmp_path, isolated)
    done = gitchain("verify", str(shared / "model.txt"), cwd=repo)
    refused(done, ExitCode.TRUST, "lacks evidence that a checkpoint covers", f"manifest {node[:12]}")


@pytest.mark.parametrize("given", ["zzzzzz", "abcdeg", os.fsdecode(b"abcdef\xff"), "%%%%%%", "a" * 10_000])
def test_show_of_what_is_no_id(gitchain: Gitchain, tiny: Path, given: str) -> None:
    """Bytes that are no text included: one error."""
    assert gitchain("attest", "x", "-p", "model.txt", cwd=tiny).code == 0
    done = gitchain("show", given, cwd=tiny)
    assert (done.code, "a bug" in done.text) == (ExitCode.NOTHING, False)
