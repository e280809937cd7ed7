"""`gitchain sync`: in which order it does its parts, what it says before it publishes, and how it ends."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.errors import ExitCode, StoreError
from gitchain.evidence.bundle import Bundle
from gitchain.store.git_ref import AttestationStore
from gitchain.store.tree_paths import Oid
from gitchain.workspace.project import open_project
from tests.support.prepared_repository import refused

Gitchain = Callable[..., Any]
Git = Callable[..., str]
LAYOUTS = 2  # attestations that signing the layouts has made before the first sync
REF = "refs/gitchain/attestations"
SCHEMAS = Path(__file__).parents[2] / "schemas"


@pytest.fixture
def shared(gitchain: Gitchain, tiny: Path, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the tiny repository, everything committed and pushed to a remote, nothing attested yet."""
    monkeypatch.setenv("GITCHAIN_HOOKS_OFF", "1")
    layout = tiny / ".gitchain/layout.yaml"
    layout.write_text(layout.read_text().replace("version: 1\n", "version: 2\nrevokers: [ada]\n", 1))
    assert gitchain("layout", "sign", cwd=tiny).code == 0
    (tiny / ".dvc").mkdir()
    (tiny / ".dvc/config").write_text("")
    md5 = hashlib.md5(b"model", usedforsecurity=False).hexdigest()
    (tiny / "model.txt.dvc").write_text(f"outs:\n- md5: {md5}\n  size: 5\n  hash: md5\n  path: model.txt\n")
    (tiny / ".gitignore").write_text("/model.txt\n")
    git(tiny, "add", "-A")
    git(tiny, "commit", "-q", "--no-verify", "-m", "all")
    git(tiny, "tag", "v1")
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(tiny, "remote", "add", "origin", str(tmp_path / "remote.git"))
    git(tiny, "push", "-q", "--no-verify", "origin", "main", "v1")
    return tiny


def synced(gitchain: Gitchain, repo: Path, *args: str) -> Any:
    done = gitchain("sync", "--json", *args, cwd=repo)
    assert done.code == 0, done.text
    Draft202012Validator(json.loads((SCHEMAS / "cli.schema.json").read_text())).validate(done.json)
    return done.json


def clone(git: Git, tmp_path: Path, name: str) -> Path:
    git(tmp_path, "clone", "-q", str(tmp_path / "remote.git"), name)
    return tmp_path / name


def spoil(git: Git, server: Path, name: str = "README") -> None:
    """Add an entry to the server's store that no store has."""
    theirs = AttestationStore.open(server)
    tip = Oid(str(theirs.tip()))
    leaves: dict[tuple[str, ...], Oid] = {(name,): theirs.backend.write("blob", b"junk")}
    commit = theirs.commit(theirs.trees.insert(theirs.root(tip), leaves), (tip,), "spoilt")
    theirs.backend.flush()
    git(server, "update-ref", REF, commit)


def test_sync_fetches_before_it_signs(gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path) -> None:
    """Fresh clones of one commit and tag do not attest them again."""
    assert synced(gitchain, shared)["attested"] == 2
    for name in ("one", "two"):
        found = synced(gitchain, clone(git, tmp_path, name))
        assert (found["attested"], found["remote"]["pushed"]) == (0, 0)
        assert found["remote"]["fetched"] == AttestationStore.open(shared).count()


def test_sync_signs_no_commits_after_a_failed_fetch(gitchain: Gitchain, shared: Path, tmp_path: Path) -> None:
    """The remote may have them attested already: it exits with the error, and says how to go on without a remote."""
    (tmp_path / "remote.git").rename(tmp_path / "away")
    done = gitchain("sync", cwd=shared)
    refused(done, 7, "cannot reach the remote", "git ls-remote origin")
    assert "gitchain sync --no-remote" in done.err
    assert AttestationStore.open(shared).count() == LAYOUTS
    assert synced(gitchain, shared, "--no-remote")["attested"] == 2


def test_sync_counts_as_log_does(gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path) -> None:
    """Attestations, the checkpoint among them, and nothing else: no manifests, no index entries."""
    folder = shared / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/x").write_text("x")
    assert gitchain("attest", "prepare", "-p", "data", cwd=shared).code == 0
    found = synced(gitchain, shared)
    events = len(gitchain("log", "--json", cwd=shared).json["events"])
    assert (found["attested"], found["remote"]["pushed"], events) == (2, LAYOUTS + 4, LAYOUTS + 4)
    other = clone(git, tmp_path, "other")
    done = gitchain("sync", cwd=other)
    assert f"origin: {events} fetched, 0 pushed" in done.out
    assert f"store     {events} attestations" in done.out
    assert len(gitchain("log", "--json", cwd=other).json["events"]) == events


def test_sync_announces_its_first_push_once(
    gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path, isolated: Path
) -> None:
    """It says what it publishes and where, once for each remote, and without the password of its address."""
    said = gitchain("sync", cwd=shared).err
    assert f"first push to origin ({tmp_path / 'remote.git'}): publishes {LAYOUTS + 3} attestations" in said
    assert REF in said
    told = json.loads((isolated / "told.json").read_text())
    Draft202012Validator(json.loads((SCHEMAS / "told.schema.json").read_text())).validate(told)
    git(shared, "commit", "-q", "--no-verify", "--allow-empty", "-m", "more")
    assert "first push" not in gitchain("sync", cwd=shared).err
    git(tmp_path, "init", "-q", "--bare", "second.git")
    git(shared, "remote", "add", "second", str(tmp_path / "second.git"))
    assert "first push to second" in gitchain("sync", "second", cwd=shared).err
    from gitchain.produce.sync import remote_address
    from gitchain.workspace.project import open_project

    git(shared, "remote", "set-url", "second", "https://ada:secret@example.com/x.git")
    assert remote_address(open_project(shared), "second") == "https://example.com/x.git"


def test_sync_dry_run_changes_nothing(
    gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path, isolated: Path
) -> None:
    """It says what would be attested, fetched and pushed; refs, outbox and memory stay as they are."""
    synced(gitchain, shared)
    other = clone(git, tmp_path, "other")
    git(other, "commit", "-q", "--no-verify", "--allow-empty", "-m", "mine")

    def state() -> tuple[str, str, list[str], str]:
        # SQLite's own files beside a database come and go with the connection, whenever that is collected
        names = (str(path) for path in isolated.rglob("*"))
        files = sorted(name for name in names if not name.endswith((".db-wal", ".db-shm")))
        return (
            git(other, "for-each-ref"),
            git(tmp_path / "remote.git", "for-each-ref"),
            files,
            (isolated / "told.json").read_text(),
        )

    before = state()
    for _ in range(2):
        found = synced(gitchain, other, "--dry-run")
        assert (found["dryRun"], found["attested"], found["waiting"]) == (True, 1, 0)
        assert (found["remote"]["fetched"], found["remote"]["pushed"]) == (LAYOUTS + 3, 1)
    assert state() == before
    done = gitchain("sync", "--dry-run", cwd=other)
    assert [line.split()[:3] for line in done.out.splitlines()] == [
        ["would", "attest", "1,"],
        ["would", "fetch", str(LAYOUTS + 3)],
        ["would", "push", "1"],
    ]
    found = synced(gitchain, other, "--dry-run", "--no-remote")
    assert (found["remote"], found["attested"]) == (None, 1)
    assert synced(gitchain, other)["attested"] == 1


def test_sync_fails_with_its_parts(gitchain: Gitchain, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that cannot be stored, as on a full disk, is an error of the whole; the rest is done."""
    plain = AttestationStore.add

    def full(self: AttestationStore, bundles: Any, manifests: Any = None) -> tuple[str, ...]:
        if manifests is None:  # so does nobody but who adds a checkpoint
            raise StoreError("cannot write to the repository", got="No space left on device")
        return plain(self, bundles, manifests)

    monkeypatch.setattr(AttestationStore, "add", full)
    done = gitchain("sync", cwd=shared)
    assert done.code == 7, done.text
    assert "no checkpoint signed: cannot write to the repository, got No space left on device" in done.err
    assert f"{LAYOUTS + 2} pushed" in done.out


def test_sync_without_rights_to_sign_checkpoints_is_no_failure(gitchain: Gitchain, shared: Path) -> None:
    """Somebody whom the layout does not name exchanges attestations without one."""
    done = gitchain("sync", "--as", "eve@example.com", cwd=shared)
    assert (done.code, "no functionary" in done.err) == (0, True)


def test_sync_shows_what_a_server_says(
    gitchain: Gitchain, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that allows branches only: the ref, its own words, and what to type."""
    from gitchain.store import remote

    monkeypatch.setattr(remote, "MAX_REFUSALS", 1)
    hook = tmp_path / "remote.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'POLICY-42: only branches may be pushed' >&2\nexit 1\n")
    hook.chmod(0o755)
    done = gitchain("sync", cwd=shared)
    refused(
        done, 7, REF, "POLICY-42: only branches may be pushed", "pre-receive hook declined", "allow pushes"
    )
    assert AttestationStore.open(shared).count() == LAYOUTS + 3


def test_sync_delivers_a_revocation_beside_junk(
    gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path, isolated: Path
) -> None:
    """Whoever may push cannot keep a revocation back with an entry that no store has."""
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=shared).code == 0
    synced(gitchain, shared)
    consumer = clone(git, tmp_path, "consumer")
    assert gitchain("trust", "pin", "--signer", "ada@example.com", cwd=consumer).code == 0
    synced(gitchain, consumer)
    shutil.copy(shared / "model.txt", consumer / "model.txt")
    assert gitchain("verify", "model.txt", cwd=consumer).code == 0
    spoil(git, tmp_path / "remote.git")
    assert gitchain("revoke", "artifact", "in.txt", "--reason", "withdrawn", cwd=shared).code == 0
    done = gitchain("sync", cwd=shared)
    assert (done.code, "README" in done.err, "--prune-junk" in done.err) == (0, True, True)
    assert synced(gitchain, consumer)["remote"]["junk"] == 1
    assert gitchain("verify", "model.txt", cwd=consumer).code == 1
    assert gitchain("sync", "--prune-junk", cwd=shared).code == 0
    assert AttestationStore.open(tmp_path / "remote.git").problems() == ()
    assert synced(gitchain, consumer)["remote"]["junk"] == 0
    assert gitchain("verify", "model.txt", cwd=consumer).code == 1
    assert gitchain("doctor", cwd=consumer).code == 0


def test_sync_prunes_planted_junk_without_a_rollback(
    gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path
) -> None:
    """Junk that verification has seen in the store is not missed when it goes; an attestation is."""
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=shared).code == 0
    synced(gitchain, shared)
    store = AttestationStore.open(shared)
    tip = Oid(str(store.tip()))
    data = b'{"x": 1}'
    from gitchain.evidence.digest import sha256_hex
    from gitchain.store.tree_paths import content_path

    leaves = {content_path("att", sha256_hex(data)): store.backend.write("blob", data)}
    spoilt = store.commit(store.trees.insert(store.root(tip), leaves), (tip,), "spoilt")
    store.backend.flush()
    git(shared, "update-ref", REF, spoilt)
    assert gitchain("verify", "model.txt", cwd=shared).code == 0
    assert synced(gitchain, shared, "--prune-junk")["remote"]["pushed"] == 0
    assert AttestationStore.open(shared).problems() == ()
    assert gitchain("verify", "model.txt", cwd=shared).code == 0
    name = next(iter(AttestationStore.open(shared).names()))
    git(shared, "update-ref", REF, without(AttestationStore.open(shared), name))
    assert gitchain("verify", "model.txt", cwd=shared).code == 4


def test_sync_that_could_not_read_the_remote_is_told_by_verify(
    gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path
) -> None:
    """A remote that makes every sync fail keeps revocations back: verify, guard and doctor say so until one works."""
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=shared).code == 0
    synced(gitchain, shared)
    remote = tmp_path / "remote.git"
    good = git(remote, "rev-parse", REF)
    assert "warning" not in gitchain("verify", "model.txt", cwd=shared).err
    (tmp_path / "version").write_bytes(b"2\n")
    blob = git(remote, "hash-object", "-w", str(tmp_path / "version"))
    listed = [line for line in git(remote, "ls-tree", REF).splitlines() if not line.endswith("VERSION")]
    (tmp_path / "tree").write_text("\n".join([*listed, f"100644 blob {blob}\tVERSION", ""]))
    with (tmp_path / "tree").open() as lines:
        tree = subprocess.run(
            ["git", "mktree"], cwd=remote, stdin=lines, capture_output=True, check=True
        ).stdout
    identity = ("-c", "user.name=x", "-c", "user.email=x@x.example")
    evil = git(remote, *identity, "commit-tree", tree.decode().strip(), "-p", good, "-m", "x")
    git(remote, "update-ref", REF, evil)
    refused(gitchain("sync", cwd=shared), 7, "format that this version does not know")
    told = "warning   the last sync did not read all of the remote's attestations, so a revocation may be missing: origin: "
    for command, code in ((("verify", "model.txt"), 0), (("guard", "in.txt", "--", "true"), 125)):
        done = gitchain(*command, cwd=shared)
        assert (done.code, told in done.err) == (code, True), done.text
    for more in ((), ("in.txt",)):  # one target, and several
        said = json.loads(gitchain("verify", "model.txt", *more, "--json", cwd=shared).out)
        assert said["unread"].startswith(told.removeprefix("warning   ")), said
    fetched = json.loads(gitchain("fetch", "model.txt", str(tmp_path / "to"), "--json", cwd=shared).out)
    assert fetched["unread"].startswith(told.removeprefix("warning   "))
    Draft202012Validator(json.loads((SCHEMAS / "verify.schema.json").read_text())).validate(fetched)
    assert "sync: origin: the store has a format" in gitchain("doctor", cwd=shared).text
    git(remote, "update-ref", REF, good)
    assert gitchain("sync", "--no-remote", cwd=shared).code == 0
    assert told in gitchain("verify", "model.txt", cwd=shared).err
    synced(gitchain, shared)
    assert "unread" not in json.loads(gitchain("verify", "model.txt", "--json", cwd=shared).out)
    fetched = json.loads(gitchain("fetch", "model.txt", str(tmp_path / "to2"), "--json", cwd=shared).out)
    assert "unread" not in fetched
    assert "warning" not in gitchain("verify", "model.txt", cwd=shared).err


def test_sync_that_left_entries_unread_is_told_by_verify(
    gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is beyond the limits of an exchange may be a revocation, too."""
    from gitchain.store import remote

    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=shared).code == 0
    synced(gitchain, shared)
    consumer = clone(git, tmp_path, "consumer")
    monkeypatch.setattr(remote, "MAX_NEW", 1)
    assert gitchain("sync", cwd=consumer).code != 0
    assert "entries that were not read" in gitchain("verify", "in.txt", cwd=consumer).err
    monkeypatch.undo()


def without(store: AttestationStore, name: str) -> str:
    """Return a commit of the store without one bundle."""
    from gitchain.store.tree_paths import attestation_paths, content_path

    leaves = {
        path: store.backend.write("blob", data)
        for one, data in store.items(store.tip())
        if one != name
        for path in attestation_paths(data, one)
    }
    assert content_path("att", name) not in leaves
    version = {("VERSION",): store.backend.write("blob", b"1\n")}
    commit = store.commit(store.trees.insert(None, leaves | version), (), "less")
    store.backend.flush()
    return commit


@pytest.fixture
def verifier(
    gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return a clone on a second machine that pinned the first machine's trust and has no instance of its own."""
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=shared).code == 0
    synced(gitchain, shared)
    (tmp_path / "trust.json").write_text(gitchain("local", "trust", cwd=shared).out)
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "second"))
    place = clone(git, tmp_path, "verifier")
    pin = ("--trust", str(tmp_path / "trust.json"), "trust", "pin", "--signer", "ada@example.com")
    assert gitchain(*pin, cwd=place).code == 0
    return place


def test_sync_fetches_on_a_machine_that_only_verifies(
    gitchain: Gitchain, verifier: Path, git: Git, tmp_path: Path
) -> None:
    """Nothing is signed, which is no failure; what it fetched verifies, and doctor finds no problem."""
    before = git(tmp_path / "remote.git", "rev-parse", REF)
    done = gitchain("sync", cwd=verifier)
    assert done.code == 0, done.text
    assert "this machine verifies this repository and cannot sign for it" in done.err
    assert git(tmp_path / "remote.git", "rev-parse", REF) == before
    assert synced(gitchain, verifier)["attested"] == 0
    git(verifier, "commit", "-q", "--no-verify", "--allow-empty", "-m", "mine")
    git(verifier, "tag", "v2")
    rehearsed = gitchain("sync", "--dry-run", cwd=verifier)
    assert "would attest   0," in rehearsed.out
    assert "this machine verifies this repository and cannot sign for it" in rehearsed.err
    assert gitchain("sync", "--no-remote", cwd=verifier).code == 0
    (verifier / "model.txt").write_text("model")
    assert gitchain("verify", "model.txt", cwd=verifier).code == 0
    checks = {check["name"]: check for check in gitchain("doctor", "--json", cwd=verifier).json["checks"]}
    assert (checks["trust"]["state"], "cannot sign" in checks["trust"]["detail"]) == ("ok", True)


def test_sync_fails_without_an_instance_where_no_other_trust_is_pinned(
    gitchain: Gitchain, shared: Path, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that pinned nothing, and one that lost the instance that it pinned, say that it is missing."""
    synced(gitchain, shared)
    place = clone(git, tmp_path, "lost")
    home = Path(os.environ["GITCHAIN_HOME"])
    (home / "local").rename(home / "gone")
    refused(gitchain("sync", cwd=shared), ExitCode.TRUST, "the local instance is missing")
    assert "problem  trust" in gitchain("doctor", cwd=shared).out
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "second"))
    refused(gitchain("sync", cwd=place), ExitCode.TRUST, "the local instance is missing")


def test_sync_fails_on_a_machine_that_only_verifies_if_statements_wait(
    gitchain: Gitchain, verifier: Path
) -> None:
    """What waits for a signature is not passed over."""
    waiting = Bundle.parse((verifier / ".gitchain/layout.sigstore.json").read_bytes()).statement()
    open_project(verifier).outbox.put(waiting.payload, {}, {"trust": "local"})
    refused(gitchain("sync", cwd=verifier), ExitCode.TRUST, "the local instance is missing")
