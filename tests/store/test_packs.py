"""Batches are written as packs: the same store as with loose objects, as durable, and as safe from `git gc`."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.errors import StoreError
from gitchain.store import pack
from gitchain.store.git_binary import GitBinary
from gitchain.store.git_ref import DEFAULT_REF, AttestationStore, open_backend
from gitchain.store.libgit2 import Libgit2
from gitchain.store.remote import sync
from gitchain.store.tree_paths import Oid
from tests.store.test_writers import in_child
from tests.support.store_samples import bundle, manifest, name_of

Git = Callable[..., str]
ROOT = Path(__file__).parents[2]
WRITER = ROOT / "tests/support/pack_writer.py"
BATCH = [bundle(f"model-{number}", "data.csv", note=str(number)) for number in range(40)]


def packs(repo: Path, end: str = "pack") -> list[Path]:
    folder = repo / "objects" if (repo / "objects").is_dir() else repo / ".git/objects"
    return list((folder / "pack").glob(f"*.{end}"))


def loose(repo: Path) -> list[Path]:
    return list((repo / ".git/objects").glob("[0-9a-f][0-9a-f]/*"))


def store_at(repo: Path) -> AttestationStore:
    return AttestationStore(open_backend(repo, offline=True), repo, offline=True, clock=lambda: 1.0)


@pytest.fixture(params=["sha1", "sha256"])
def repository(tmp_path: Path, git: Git, request: pytest.FixtureRequest) -> Path:
    git(tmp_path, "init", "-q", f"--object-format={request.param}", "project")
    return tmp_path / "project"


def test_batch_is_one_pack_and_one_commit(repository: Path, git: Git) -> None:
    """Nothing is loose, nothing stays kept from git gc, and everything is found."""
    store = store_at(repository)
    store.add(BATCH, manifest("x", "y/z").nodes)
    assert (len(packs(repository)), packs(repository, "keep"), loose(repository)) == (1, [], [])
    assert git(repository, "rev-list", "--count", DEFAULT_REF).strip() == "1"
    assert set(store_at(repository).all()) == set(BATCH)
    assert store.problems() == ()
    git(repository, "fsck", "--full", "--strict")


def test_packed_store_equals_a_loose_one(tmp_path: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees and commits are the same, object for object, by both backends."""
    tips = set()
    for name, start in (("packed", 1), ("loose", 1 << 30)):
        monkeypatch.setattr(pack, "PACK_FROM", start)
        for kind in (Libgit2, GitBinary):
            repo = tmp_path / f"{name}-{kind.__name__}"
            git(tmp_path, "init", "-q", str(repo))
            git(repo, "config", "user.name", "Ada")
            git(repo, "config", "user.email", "ada@example.com")
            store = AttestationStore(kind(repo, offline=True), repo, offline=True, clock=lambda: 1.0)
            store.add(BATCH[:20], manifest("x", "y/z").nodes)
            store.add(BATCH[10:])
            tips.add(store.tip())
            assert bool(packs(repo)) == (name == "packed")
    assert len(tips) == 1


def test_few_objects_are_written_loose(git_repo: Path) -> None:
    """A pack for every attestation would make reading slow."""
    store_at(git_repo).add(BATCH[:2])
    assert packs(git_repo) == []


@pytest.mark.parametrize("backend", [Libgit2, GitBinary])
@pytest.mark.parametrize("command", [("gc", "-q", "--prune=now"), ("repack", "-a", "-d", "-q")])
def test_gc_before_the_ref_moves_takes_nothing(
    git_repo: Path,
    git: Git,
    monkeypatch: pytest.MonkeyPatch,
    backend: type[Libgit2],
    command: tuple[str, ...],
) -> None:
    """A pack that no ref reaches yet is kept, also from a gc that prunes at once."""
    store = AttestationStore(backend(git_repo, offline=True), git_repo, offline=True)
    store.add(BATCH[:1])
    swap = backend.swap_ref
    seen = []

    def late(self: Libgit2, name: str, new: Oid, old: Oid | None) -> bool:
        seen.append(len(packs(git_repo, "keep")))
        git(git_repo, *command)
        return swap(self, name, new, old)

    monkeypatch.setattr(backend, "swap_ref", late)
    store.add(BATCH)
    monkeypatch.undo()
    assert seen == [1]
    assert packs(git_repo, "keep") == []
    git(git_repo, "gc", "-q", "--prune=now")
    assert set(store_at(git_repo).all()) == set(BATCH)
    git(git_repo, "fsck", "--full", "--strict")


def test_pack_is_flushed_with_its_directory(git_repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power may fail once the ref has moved: the directory that names the pack is on disk before."""
    flushed: set[int] = set()
    fsync, swap = os.fsync, Libgit2.swap_ref

    def recording(descriptor: int) -> None:
        fsync(descriptor)
        flushed.add(os.fstat(descriptor).st_ino)

    def checked(self: Libgit2, name: str, new: Oid, old: Oid | None) -> bool:
        objects = git_repo / ".git/objects"
        assert {objects.stat().st_ino, (objects / "pack").stat().st_ino} <= flushed
        assert len(packs(git_repo, "idx")) == 1
        return swap(self, name, new, old)

    monkeypatch.setattr(os, "fsync", recording)
    monkeypatch.setattr(Libgit2, "swap_ref", checked)
    store_at(git_repo).add(BATCH)


def test_full_disk_leaves_the_store_as_it_was(repository: Path, git: Git) -> None:
    """No room for a pack: StoreError, the ref is unmoved, no pack counts, and the next batch works."""
    store = store_at(repository)
    store.add(BATCH[:1])
    tip = store.tip()

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        store_at(repository).add([*BATCH, bundle("large", note=os.urandom(9000).hex())])

    assert in_child(work) in {7, 98}  # git is killed by the limit, without words of its own
    assert store.tip() == tip
    assert packs(repository, "idx") == packs(repository, "keep") == []
    git(repository, "fsck", "--full", "--strict")
    store.add(BATCH)
    assert set(store_at(repository).all()) == set(BATCH)


def test_directory_that_cannot_be_flushed_moves_no_ref(
    git_repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the disk after git is done is an error of the writer."""
    store = store_at(git_repo)

    def refuse(_descriptors: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(pack, "flush_all", refuse)
    with pytest.raises(StoreError, match="cannot write a pack"):
        store.add(BATCH)
    assert store.tip() is None
    assert packs(git_repo, "keep") == []


def start(repo: Path, label: str, rounds: int) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(WRITER), str(repo), label, str(rounds), "40"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def test_batches_of_two_processes_at_once(repository: Path, git: Git) -> None:
    """Every attestation of both is there."""
    writers = [start(repository, label, 4) for label in "ab"]
    names = {name for writer in writers for name in writer.communicate()[0].split()}
    assert [writer.returncode for writer in writers] == [0, 0]
    store = store_at(repository)
    assert len(names) == 320
    assert set(store.names()) == names
    assert packs(repository, "keep") == []
    git(repository, "fsck", "--full", "--strict")


def test_killed_writers_of_packs_lose_nothing(git_repo: Path, git: Git) -> None:
    """kill -9 at random moments of a batch: what was acknowledged is there, and a later writer and gc tidy up."""
    acknowledged: set[str] = set()
    for seed in range(12):
        writer = start(git_repo, f"kill-{seed}", 1000)
        assert writer.stdout is not None
        acknowledged.update(writer.stdout.readline().split())
        time.sleep(random.Random(seed).uniform(0, 0.1))
        writer.kill()
        for line in writer.communicate()[0].splitlines(keepends=True):
            acknowledged.update(line.split() if line.endswith("\n") else ())
        assert acknowledged <= set(store_at(git_repo).names())
    time.sleep(0.5)  # git of the last writer may still be at work
    for path in packs(git_repo, "keep"):
        os.utime(path, (1, 1))
    batch = [bundle("after", note=str(number)) for number in range(40)]
    store_at(git_repo).add(batch)
    assert packs(git_repo, "keep") == []
    git(git_repo, "gc", "-q", "--prune=now")
    assert acknowledged | set(map(name_of, batch)) <= set(store_at(git_repo).names())
    git(git_repo, "fsck", "--full", "--strict")


@pytest.mark.parametrize(
    ("text", "age", "stays"), [("gitchain", 0, True), ("mine", 1e6, True), ("gitchain", 1e6, False)]
)
def test_keep_files_of_others_stay(git_repo: Path, text: str, age: float, stays: bool) -> None:
    """Only an old file of a gitchain that was killed is removed."""
    folder = git_repo / ".git/objects/pack"
    folder.mkdir(exist_ok=True)
    path = folder / f"pack-{'0' * 40}.keep"
    path.write_text(text + "\n")
    then = time.time() - age
    os.utime(path, (then, then))
    store_at(git_repo).add(BATCH)
    assert path.exists() is stays


@pytest.fixture
def clones(tmp_path: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AttestationStore]:
    """Return a function that clones a server; every write makes a pack."""
    monkeypatch.setattr(pack, "PACK_FROM", 1)
    server = tmp_path / "server.git"
    git(tmp_path, "init", "-q", "--bare", str(server))
    git(server, "config", "uploadpack.allowFilter", "true")
    git(server, "config", "uploadpack.allowAnySHA1InWant", "true")

    def make(name: str, *options: str) -> AttestationStore:
        git(tmp_path, "clone", "-q", *options, server.as_uri(), name)
        return AttestationStore.open(tmp_path / name)

    return make


@pytest.mark.parametrize("options", [(), ("--filter=blob:none",), ("--depth=1",), ("--sparse",)])
def test_exchange_writes_packs(
    clones: Callable[..., AttestationStore], git: Git, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Two stores that both grew are united by a pack, in ordinary, partial, shallow and sparse clones."""
    ours, theirs = clones("ours"), clones("theirs", *options)
    ours.add(BATCH[:20])
    sync(ours, "origin")
    theirs.add(BATCH[20:])
    result = sync(theirs, "origin")
    assert (result.fetched, result.pushed) == (20, 20)
    assert sync(ours, "origin").fetched == 20
    assert set(ours.all()) == set(theirs.all()) == set(BATCH)
    assert ours.root(Oid(str(ours.tip()))) == theirs.root(Oid(str(theirs.tip())))
    for name in ("ours", "theirs"):
        assert packs(tmp_path / name, "keep") == []
        git(tmp_path / name, "fsck", "--full")


def test_first_fetch_writes_no_object(clones: Callable[..., AttestationStore], tmp_path: Path) -> None:
    """A clone that takes the remote's store as it is writes nothing of its own."""
    ours = clones("ours")
    ours.add(BATCH)
    sync(ours, "origin")
    theirs = clones("theirs")
    sync(theirs, "origin")
    assert theirs.tip() == ours.tip()
    assert len(packs(tmp_path / "theirs")) == 1  # of git fetch
    assert theirs.backend.is_staged(Oid(str(theirs.tip()))) is False
