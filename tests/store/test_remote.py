"""Two clones and a server: the union ends up everywhere, whatever the order, and nothing is ever lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from store_samples import bundle, digest_of, manifest, name_of

from gitchain.errors import ConflictError, MalformedError, ProjectError, StoreError, TransportError
from gitchain.store import remote as remote_module
from gitchain.store.git_ref import DEFAULT_REF, AttestationStore
from gitchain.store.remote import sync

Git = Callable[..., str]
ROOT = Path(__file__).parents[2]
TRACKING = "refs/gitchain-remotes/origin/attestations"


def at_once(_attempt: int) -> None:
    """Do not wait between the rounds."""


@pytest.fixture
def server(tmp_path: Path, git: Git) -> Path:
    """A bare repository to push to."""
    git(tmp_path, "init", "-q", "--bare", "server.git")
    return tmp_path / "server.git"


@pytest.fixture
def clone(tmp_path: Path, git: Git, server: Path) -> Callable[[str], AttestationStore]:
    """Return a function that makes a clone and opens its store."""

    def make(name: str, *options: str) -> AttestationStore:
        git(tmp_path, "clone", "-q", *options, server.as_uri(), name)
        return AttestationStore.open(tmp_path / name)

    return make


Clone = Callable[..., AttestationStore]


def test_union_reaches_both_clones(clone: Clone, server: Path, git: Git) -> None:
    """What either clone added is in both after each has synchronised, and on the server."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("a"), bundle("b")], manifest("x", "y/z").nodes)
    theirs.add([bundle("c"), bundle("a")])
    first, second, third = sync(ours, "origin"), sync(theirs, "origin"), sync(ours, "origin")
    assert (first.fetched, first.pushed) == (0, 4)
    assert (second.fetched, second.pushed) == (3, 1)
    assert (third.fetched, third.pushed) == (1, 0)
    expected = {bundle("a"), bundle("b"), bundle("c")}
    for store in (ours, theirs, AttestationStore.open(server)):
        assert set(store.all()) == expected
        assert store.problems() == ()
    assert ours.tip() == theirs.tip()
    git(server, "fsck", "--full", "--strict")


def test_synchronising_again_changes_nothing(clone: Clone, server: Path, git: Git) -> None:
    """With nothing new, no commit is made and nothing is pushed."""
    ours = clone("ours")
    ours.add([bundle("a")])
    sync(ours, "origin")
    tip = ours.tip()
    result = sync(ours, "origin")
    assert (result.fetched, result.pushed, result.attempts, result.rewound) == (0, 0, 1, False)
    assert ours.tip() == tip == git(server, "rev-parse", DEFAULT_REF)


def test_new_clone_takes_the_remote_as_it_is(clone: Clone) -> None:
    """A clone that has nothing of its own makes no commit of its own."""
    ours = clone("ours")
    ours.add([bundle("a")])
    sync(ours, "origin")
    theirs = clone("theirs")
    assert sync(theirs, "origin").fetched == 1
    assert theirs.tip() == ours.tip()


def test_nothing_anywhere_is_no_error(clone: Clone, server: Path, git: Git) -> None:
    """Two empty stores are in step."""
    ours = clone("ours")
    assert sync(ours, "origin").pushed == 0
    assert ours.tip() is None
    assert git(server, "for-each-ref") == ""


def test_no_remote_and_unknown_remote_are_told(git_repo: Path, git: Git) -> None:
    """Without a remote the error says how to add one; a misspelt one lists what there is."""
    store = AttestationStore.open(git_repo)
    with pytest.raises(ProjectError, match="has no remote") as error:
        sync(store, "origin")
    assert "git remote add" in error.value.help
    git(git_repo, "remote", "add", "origin", "nowhere")
    with pytest.raises(ProjectError, match=r"no such remote.*expected origin"):
        sync(store, "orgin")
    with pytest.raises(ProjectError, match=r"no such remote"):
        sync(store, "--upload-pack=touch /tmp/x")


def test_unreachable_remote_is_a_transport_error(git_repo: Path, git: Git) -> None:
    """A remote that is not there says so, and the store keeps what it has."""
    store = AttestationStore.open(git_repo)
    store.add([bundle("a")])
    git(git_repo, "remote", "add", "origin", str(git_repo / "nowhere"))
    with pytest.raises(TransportError, match="cannot reach the remote"):
        sync(store, "origin")
    assert store.count() == 1


def test_offline_store_does_not_talk(clone: Clone, tmp_path: Path) -> None:
    """--offline is kept, even with a remote that is a directory."""
    clone("ours")
    with pytest.raises(TransportError, match="needs the network"):
        sync(AttestationStore.open(tmp_path / "ours", offline=True), "origin")


def test_push_that_lost_the_race_is_run_again(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another clone that pushes between our fetch and our push is united with, not overwritten."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("ours")])
    plain = remote_module._Sync._push
    rounds = []

    def race(self: remote_module._Sync, tip: str) -> object:
        if self._store is ours and len(rounds) < 3:
            rounds.append(tip)
            theirs.add([bundle("theirs", note=str(len(rounds)))])
            sync(theirs, "origin", wait=at_once)
        return plain(self, tip)

    monkeypatch.setattr(remote_module._Sync, "_push", race)
    result = sync(ours, "origin", wait=at_once)
    assert result.attempts == 4
    assert result.fetched == 3
    sync(theirs, "origin")
    expected = {bundle("ours"), *(bundle("theirs", note=str(number)) for number in (1, 2, 3))}
    assert set(ours.all()) == set(theirs.all()) == expected


def test_remote_ref_made_after_our_fetch_is_fetched(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another clone that makes the ref between our fetch and our question whether it exists is united with."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("ours")])
    theirs.add([bundle("theirs")])
    plain = remote_module._Sync._remote_has_ref

    def late(self: remote_module._Sync) -> bool:
        if self._store is ours:
            sync(theirs, "origin", wait=at_once)
        return plain(self)

    monkeypatch.setattr(remote_module._Sync, "_remote_has_ref", late)
    assert sync(ours, "origin", wait=at_once).fetched == 1
    assert set(ours.all()) == {bundle("ours"), bundle("theirs")}


def test_rounds_are_bounded(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone that never wins gives up with an error that says to try again."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("ours")])
    plain = remote_module._Sync._push
    rounds = []

    def race(self: remote_module._Sync, tip: str) -> object:
        if self._store is ours:
            rounds.append(tip)
            theirs.add([bundle("theirs", note=str(len(rounds)))])
            sync(theirs, "origin", wait=at_once)
        return plain(self, tip)

    monkeypatch.setattr(remote_module._Sync, "_push", race)
    monkeypatch.setattr(remote_module, "MAX_ATTEMPTS", 3)
    with pytest.raises(ConflictError, match="kept pushing"):
        sync(ours, "origin", wait=at_once)
    assert len(rounds) == 3
    assert set(ours.all()) >= {bundle("ours"), bundle("theirs", note="1")}


def test_server_that_refuses_is_told_with_its_reason(clone: Clone, server: Path) -> None:
    """A server that forbids the ref is not tried for ever, and its reason is shown."""
    hook = server / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    ours = clone("ours")
    ours.add([bundle("a")])
    with pytest.raises(TransportError, match=r"refused the push.*pre-receive hook declined"):
        sync(ours, "origin", wait=at_once)
    hook.unlink()
    assert sync(ours, "origin").pushed == 1


@pytest.mark.parametrize("how", ["rewound", "deleted"])
def test_rewound_remote_gets_everything_back(clone: Clone, server: Path, git: Git, how: str) -> None:
    """A remote that lost what was seen there is told of and mended."""
    ours = clone("ours")
    ours.add([bundle("a")])
    ours.add([bundle("b")])
    sync(ours, "origin")
    if how == "rewound":
        git(server, "update-ref", DEFAULT_REF, git(server, "rev-parse", DEFAULT_REF + "~"))
    else:
        git(server, "update-ref", "-d", DEFAULT_REF)
    result = sync(ours, "origin")
    assert result.rewound
    assert set(AttestationStore.open(server).all()) == {bundle("a"), bundle("b")}
    assert not sync(ours, "origin").rewound


def test_interrupted_after_the_fetch_loses_nothing(
    clone: Clone, server: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fetched and not yet united survives even a remote that is rewound afterwards."""
    ours, theirs = clone("ours"), clone("theirs")
    theirs.add([bundle("a")])
    sync(theirs, "origin")
    plain = remote_module._Sync._unite

    def stop(self: remote_module._Sync, tip: str | None) -> int:
        if tip is not None:
            raise KeyboardInterrupt
        return plain(self, tip)

    monkeypatch.setattr(remote_module._Sync, "_unite", stop)
    with pytest.raises(KeyboardInterrupt):
        sync(ours, "origin")
    monkeypatch.undo()
    assert ours.tip() is None
    git(server, "update-ref", "-d", DEFAULT_REF)
    result = sync(ours, "origin")
    assert (result.fetched, result.pushed, result.rewound) == (1, 1, True)


def forge(store: AttestationStore, path: tuple[str, ...], data: bytes, git: Git) -> None:
    """Put bytes at a path that the store itself would refuse, and push them."""
    leaves = {path: store.backend.write("blob", data), ("VERSION",): store.backend.write("blob", b"1\n")}
    tip = store.tip()
    tree = store.trees.insert(None if tip is None else store.root(tip), leaves)  # type: ignore[arg-type]
    commit = store.commit(tree, () if tip is None else (tip,), "forged")  # type: ignore[arg-type]
    store.backend.flush()
    git(store.path, "update-ref", DEFAULT_REF, commit)
    git(store.path, "push", "-q", "origin", DEFAULT_REF)


def test_leaf_with_other_bytes_is_refused_by_name(clone: Clone, git: Git) -> None:
    """A leaf whose bytes do not have its name is not taken over, and the error names it."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("a")])
    tip = ours.tip()
    forge(theirs, ("att", "ab", "cd", "0" * 60), b"junk", git)
    with pytest.raises(MalformedError, match="not the sha256 of its bytes, in att/ab/cd/0"):
        sync(ours, "origin")
    assert ours.tip() == tip


def test_one_name_with_two_contents_is_an_attack(clone: Clone, git: Git) -> None:
    """Equal names with different objects stop the union, and the error names the leaf."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("a")])
    name = name_of(bundle("a"))
    forge(theirs, ("att", name[:2], name[2:4], name[4:]), b"other bytes", git)
    with pytest.raises(StoreError, match=f"one name stands for two contents.*att/{name[:2]}/{name[2:4]}"):
        sync(ours, "origin")
    assert list(ours.all()) == [bundle("a")]


def test_remote_ref_with_something_else_is_refused(clone: Clone, server: Path, git: Git) -> None:
    """A remote whose ref holds code is not united with."""
    ours, theirs = clone("ours"), clone("theirs")
    (theirs.path / "code").write_text("x")
    git(theirs.path, "add", "code")
    git(theirs.path, "commit", "-q", "-m", "code")
    git(theirs.path, "push", "-q", "origin", f"HEAD:{DEFAULT_REF}")
    ours.add([bundle("a")])
    with pytest.raises(MalformedError, match="does not hold an attestation store"):
        sync(ours, "origin")
    assert ours.count() == 1


def test_sync_touches_nothing_else(clone: Clone, server: Path, git: Git) -> None:
    """No branch, tag, work tree file, FETCH_HEAD or configuration changes, and no hook runs."""
    ours, theirs = clone("ours"), clone("theirs")
    git(theirs.path, "commit", "-q", "--allow-empty", "-m", "code")
    git(theirs.path, "tag", "v1")
    git(theirs.path, "push", "-q", "origin", "HEAD:refs/heads/main", "v1")
    theirs.add([bundle("a")])
    sync(theirs, "origin")
    ours.add([bundle("b")])
    for hook in ("pre-push", "reference-transaction", "post-merge"):
        (ours.path / ".git/hooks" / hook).write_text("#!/bin/sh\ntouch ran\nexit 1\n")
        (ours.path / ".git/hooks" / hook).chmod(0o755)
    config = (ours.path / ".git/config").read_text()
    sync(ours, "origin")
    refs = git(ours.path, "for-each-ref", "--format=%(refname)").splitlines()
    assert refs == [TRACKING, DEFAULT_REF]
    assert (ours.path / ".git/config").read_text() == config
    assert not list(ours.path.rglob("ran"))
    assert not (ours.path / ".git/FETCH_HEAD").exists()
    assert git(server, "for-each-ref", "--format=%(refname)").splitlines() == [
        DEFAULT_REF,
        "refs/heads/main",
        "refs/tags/v1",
    ]


SYNCER = """
import sys
from pathlib import Path
from store_samples import bundle
from gitchain.store.git_ref import AttestationStore
from gitchain.store.remote import sync
store = AttestationStore.open(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    store.add([bundle(f"{sys.argv[2]}-{number}")])
    sync(store, "origin")
"""


def test_clones_that_sync_at_once_lose_nothing(clone: Clone, server: Path, git: Git) -> None:
    """Clones that add and synchronise at the same time all end with the union, and so does the server."""
    stores = [clone(f"clone-{number}") for number in range(3)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}"}
    running = [
        subprocess.Popen([sys.executable, "-c", SYNCER, str(store.path), str(number), "4"], env=env)
        for number, store in enumerate(stores)
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    for store in stores:
        sync(store, "origin")
    expected = {bundle(f"{number}-{item}") for number in range(3) for item in range(4)}
    for store in (*stores, AttestationStore.open(server)):
        assert set(store.all()) == expected
    git(server, "fsck", "--full", "--strict")


def test_sha256_repositories_synchronise(tmp_path: Path, git: Git) -> None:
    """The protocol does not depend on the object format."""
    git(tmp_path, "init", "-q", "--bare", "--object-format=sha256", "server.git")
    stores = []
    for name in ("ours", "theirs"):
        git(tmp_path, "init", "-q", "--object-format=sha256", name)
        git(tmp_path / name, "remote", "add", "origin", str(tmp_path / "server.git"))
        stores.append(AttestationStore.open(tmp_path / name))
        stores[-1].add([bundle(name)])
    for store in (*stores, stores[0]):
        sync(store, "origin")
    assert set(stores[0].all()) == set(stores[1].all()) == {bundle("ours"), bundle("theirs")}


@pytest.fixture
def partial(clone: Clone, server: Path, git: Git, tmp_path: Path) -> Path:
    """A clone without blobs of a server that has a store."""
    git(server, "config", "uploadpack.allowFilter", "true")
    git(server, "config", "uploadpack.allowAnySHA1InWant", "true")
    full = clone("full")
    full.add([bundle("a"), bundle("b")])
    sync(full, "origin")
    clone("partial", "--filter=blob:none", "--no-checkout")
    git(tmp_path / "partial", "fetch", "-q", "origin", f"{DEFAULT_REF}:{DEFAULT_REF}")
    return tmp_path / "partial"


def test_partial_clone_fetches_what_it_lacks(partial: Path) -> None:
    """A blob that the clone left at the server is fetched when it is read."""
    store = AttestationStore.open(partial)
    assert store.by_subject("sha256", digest_of("a")) == (bundle("a"),)
    assert store.get(name_of(bundle("b"))) == bundle("b")


def test_partial_clone_offline_says_what_is_missing(partial: Path) -> None:
    """Offline, the missing blob is reported and nothing is contacted."""
    store = AttestationStore.open(partial, offline=True)
    found = []
    assert store.by_subject("sha256", digest_of("a"), found.append) == ()
    assert ["partial clone lacks" in problem.message for problem in found] == [True]


def test_sync_fetches_whole_objects_into_a_partial_clone(partial: Path, clone: Clone) -> None:
    """After a synchronisation a partial clone can verify offline."""
    other = clone("other")
    sync(other, "origin")
    other.add([bundle("c")])
    sync(other, "origin")
    store = AttestationStore.open(partial, offline=True)
    assert list(store.all()) == []
    sync(AttestationStore.open(partial), "origin")
    store = AttestationStore.open(partial, offline=True)
    assert set(store.all()) == {bundle("a"), bundle("b"), bundle("c")}


def test_shallow_clone_gets_the_whole_store(clone: Clone, server: Path, git: Git) -> None:
    """A clone of depth one has the full union after a synchronisation."""
    ours = clone("ours")
    git(ours.path, "commit", "-q", "--allow-empty", "-m", "one")
    git(ours.path, "commit", "-q", "--allow-empty", "-m", "two")
    git(ours.path, "push", "-q", "origin", "HEAD:refs/heads/main")
    ours.add([bundle("a")])
    ours.add([bundle("b")])
    sync(ours, "origin")
    shallow = clone("shallow", "--depth=1")
    shallow.add([bundle("c")])
    result = sync(shallow, "origin")
    assert (result.fetched, result.pushed) == (2, 1)
    assert shallow.count() == 3
