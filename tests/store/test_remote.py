"""Two clones and a server: the union ends up everywhere, whatever the order, and nothing is ever lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.errors import (
    ConflictError,
    LimitError,
    MalformedError,
    ProjectError,
    StoreError,
    TransportError,
)
from gitchain.store import remote as remote_module
from gitchain.store.git_ref import DEFAULT_REF, AttestationStore
from gitchain.store.remote import sync
from gitchain.store.remote_git import RemoteGit
from gitchain.store.remote_names import configured_remote
from gitchain.store.tree_paths import Oid, StoredTreeEntry, parse_commit, render_tree
from gitchain.store.trees import StoreProblem
from tests.support.store_samples import bundle, digest_of, manifest, name_of

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
    assert (first.fetched, first.pushed) == (0, 2)
    assert (second.fetched, second.pushed) == (1, 1)
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
    plain = RemoteGit.push
    rounds: list[Oid] = []

    def race(self: RemoteGit, tip: Oid) -> object:
        if self._git.directory == ours.git().directory and len(rounds) < 3:
            rounds.append(tip)
            theirs.add([bundle("theirs", note=str(len(rounds)))])
            sync(theirs, "origin", wait=at_once)
        return plain(self, tip)

    monkeypatch.setattr(RemoteGit, "push", race)
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
    plain = RemoteGit._remote_has_ref

    def late(self: RemoteGit) -> bool:
        if self._git.directory == ours.git().directory:
            sync(theirs, "origin", wait=at_once)
        return plain(self)

    monkeypatch.setattr(RemoteGit, "_remote_has_ref", late)
    assert sync(ours, "origin", wait=at_once).fetched == 1
    assert set(ours.all()) == {bundle("ours"), bundle("theirs")}


def test_rounds_are_bounded(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone that never wins gives up with an error that says to try again."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("ours")])
    plain = RemoteGit.push
    rounds: list[Oid] = []

    def race(self: RemoteGit, tip: Oid) -> object:
        if self._git.directory == ours.git().directory:
            rounds.append(tip)
            theirs.add([bundle("theirs", note=str(len(rounds)))])
            sync(theirs, "origin", wait=at_once)
        return plain(self, tip)

    monkeypatch.setattr(RemoteGit, "push", race)
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
    plain = remote_module.RemoteExchange._take

    def stop(self: remote_module.RemoteExchange, tip: Oid | None) -> None:
        if tip is not None:
            raise KeyboardInterrupt
        plain(self, tip)

    monkeypatch.setattr(remote_module.RemoteExchange, "_take", stop)
    with pytest.raises(KeyboardInterrupt):
        sync(ours, "origin")
    monkeypatch.undo()
    assert ours.tip() is None
    git(server, "update-ref", "-d", DEFAULT_REF)
    result = sync(ours, "origin")
    assert (result.fetched, result.pushed, result.rewound) == (1, 1, True)


JUNK = {
    "file beside the rooms": "README",
    "leaf of no bundle": "att/ab/cd/" + "0" * 60,
    "index": "by-subject/md5/x",
    "manifest": "manifest/ab/cd/" + "0" * 60,
    "not ASCII": "att/\u00e9",
    "file for a directory": "att/00",
    "what git refuses": "att/.git",
}


def spoil(store: AttestationStore, git: Git, path: str, mode: str = "100644", data: bytes = b"junk") -> None:
    """Add an entry to the server's store, as anybody may do who can push there, behind the store's back."""
    backend = store.backend

    def placed(tree: str | None, parts: list[str]) -> str:
        entries = {} if tree is None else {one.name: one for one in store.trees.entries((), Oid(tree))}
        below = entries.get(parts[0])
        inner = below.oid if below is not None and below.is_tree else None
        new = (
            StoredTreeEntry(parts[0], "40000", Oid(placed(inner, parts[1:])))
            if parts[1:]
            else StoredTreeEntry(parts[0], mode, backend.write("blob", data))
        )
        return backend.write("tree", render_tree([*(entries | {parts[0]: new}).values()]))

    tip = store.tip()
    root = None if tip is None else parse_commit(backend.read(Oid(tip), "commit", 1 << 20), "").tree
    parents = () if tip is None else (Oid(tip),)
    commit = store.commit(Oid(placed(root, path.split("/"))), parents, "spoilt")
    backend.flush()
    git(store.path, "update-ref", DEFAULT_REF, commit)


@pytest.mark.parametrize("path", JUNK.values(), ids=JUNK)
def test_sync_takes_evidence_beside_junk(clone: Clone, server: Path, git: Git, path: str) -> None:
    """Junk is reported, stays where it is, and comes into no clone; what stands beside it gets everywhere."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("a")], manifest("x").nodes)
    sync(ours, "origin")
    spoil(AttestationStore.open(server), git, path)
    ours.add([bundle("b")])
    result = sync(ours, "origin")
    assert result.pushed == 1
    assert [problem.path for problem in result.junk] == ([] if path.startswith("by-subject") else [path])
    assert sync(theirs, "origin").fetched == 2
    for store in (ours, theirs):
        assert set(store.all()) == {bundle("a"), bundle("b")}
        assert store.problems() == ()
    assert set(AttestationStore.open(server).all()) == {bundle("a"), bundle("b")}
    assert AttestationStore.open(server).problems() != ()
    tips = [store.tip() for store in (ours, theirs)]
    assert [sync(store, "origin").pushed for store in (ours, theirs)] == [0, 0]
    assert [store.tip() for store in (ours, theirs)] == tips


@pytest.mark.parametrize("mode", ["100644", "100755", "120000", "160000"])
def test_sync_heals_a_leaf_that_was_replaced(clone: Clone, server: Path, git: Git, mode: str) -> None:
    """An attestation that was overwritten at the remote is not lost here, and is there again after a push."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("a")])
    sync(ours, "origin")
    name = name_of(bundle("a"))
    leaf = f"att/{name[:2]}/{name[2:4]}/{name[4:]}"
    spoil(AttestationStore.open(server), git, leaf, mode, b"other bytes")
    result = sync(ours, "origin")
    assert ([problem.path for problem in result.junk], result.pushed) == ([leaf], 1)
    assert sync(theirs, "origin").fetched == 1
    assert list(theirs.all()) == list(ours.all()) == [bundle("a")]


@pytest.mark.parametrize("version", ["removed", b"", b"x\n", b"1\n2\n"])
def test_sync_goes_on_without_a_version(clone: Clone, server: Path, git: Git, version: str | bytes) -> None:
    """A VERSION that names no format is junk; the next push puts it right."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("a")])
    sync(ours, "origin")
    if isinstance(version, bytes):
        spoil(AttestationStore.open(server), git, "VERSION", data=version)
    else:
        spoil(AttestationStore.open(server), git, "VERSION", mode="120000")
    result = sync(theirs, "origin")
    assert (result.fetched, [problem.path for problem in result.junk]) == (1, ["VERSION"])
    theirs.add([bundle("b")])
    sync(theirs, "origin")
    assert AttestationStore.open(server).problems() == ()


def test_sync_stops_at_another_format(clone: Clone, server: Path, git: Git) -> None:
    """A later version's store is not written to."""
    ours = clone("ours")
    ours.add([bundle("a")])
    sync(ours, "origin")
    spoil(AttestationStore.open(server), git, "VERSION", data=b"2\n")
    with pytest.raises(StoreError, match="format that this version does not know"):
        sync(ours, "origin")


def test_sync_makes_its_own_index(clone: Clone, server: Path, git: Git) -> None:
    """Index entries of a remote are not taken over: those of an attestation are made of its subjects."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("a")])
    sync(ours, "origin")
    planted = AttestationStore.open(server)
    name = name_of(bundle("a"))
    spoil(planted, git, f"by-subject/sha256/00/00/{'0' * 60}/{name}", data=bundle("a"))
    assert sync(theirs, "origin").fetched == 1
    assert theirs.by_subject("sha256", "0" * 64) == ()
    assert theirs.by_subject("sha256", digest_of("a")) == (bundle("a"),)


def test_sync_reads_the_small_first_and_within_limits(
    clone: Clone, server: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large junk is left unread, is counted, and does not hold up what is smaller; it is not removed unread."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("a")])
    sync(ours, "origin")
    for number in range(3):
        data = b"%d" % number + b" " * 50_000
        name = name_of(data)
        spoil(AttestationStore.open(server), git, f"att/{name[:2]}/{name[2:4]}/{name[4:]}", data=data)
    monkeypatch.setattr(remote_module, "MAX_NEW_BYTES", 60_000)
    result = sync(theirs, "origin")
    assert (result.fetched, len(result.junk), result.unread) == (1, 1, 2)
    with pytest.raises(LimitError, match=r"more than can be read.*2 entries"):
        sync(theirs, "origin", prune=True)
    monkeypatch.undo()
    monkeypatch.setattr(remote_module, "MAX_NEW", 2)
    assert sync(clone("third"), "origin").unread == 1


def test_sync_prunes_junk_on_demand(clone: Clone, server: Path, git: Git) -> None:
    """What is no evidence leaves both stores, in commits on top of what was there; clones take no notice."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("a")], manifest("x", "y/z").nodes)
    sync(ours, "origin")
    sync(theirs, "origin")
    for path in JUNK.values():
        spoil(AttestationStore.open(server), git, path)
        spoil(ours, git, path, data=b"own junk")
    before = git(server, "rev-parse", DEFAULT_REF)
    result = sync(ours, "origin", prune=True)
    assert len(result.junk) == len(JUNK) - 1
    for store in (ours, AttestationStore.open(server)):
        assert store.problems() == ()
        assert list(store.all()) == [bundle("a")]
        assert {name for name, _ in store.items(store.tip(), room="manifest")} == set(
            manifest("x", "y/z").nodes
        )
    git(server, "merge-base", "--is-ancestor", before, DEFAULT_REF)
    again = sync(theirs, "origin")
    assert (again.fetched, again.pushed, again.rewound, again.junk) == (0, 0, False, ())
    assert sync(ours, "origin", prune=True).pushed == 0


def test_push_of_junk_stays_here(clone: Clone, server: Path, git: Git) -> None:
    """Junk in one's own store is not sent to a remote."""
    ours = clone("ours")
    ours.add([bundle("a")])
    spoil(ours, git, "README")
    assert sync(ours, "origin").pushed == 1
    assert AttestationStore.open(server).problems() == ()


def test_exchange_without_imports_takes_nothing(clone: Clone, server: Path, git: Git) -> None:
    """A push adds to what the remote has; the own store stays as it is, and the next exchange takes over the rest."""
    ours, theirs = clone("ours"), clone("theirs")
    theirs.add([bundle("b")])
    sync(theirs, "origin")
    ours.add([bundle("a")])
    tip = ours.tip()
    exchange = remote_module.RemoteExchange(ours, "origin", imports=False)
    exchange.fetch()
    assert exchange.push().pushed == 1
    assert ours.tip() == tip
    assert set(AttestationStore.open(server).all()) == {bundle("a"), bundle("b")}
    result = sync(ours, "origin")
    assert (result.fetched, result.pushed, result.rewound) == (1, 0, False)


def test_configured_remote_is_one(git_repo: Path, git: Git) -> None:
    """It is what Git's configuration names, else origin, else the only one; anything else has to be said."""
    assert configured_remote(AttestationStore.open(git_repo)) is None
    git(git_repo, "remote", "add", "fork", "x")
    assert configured_remote(AttestationStore.open(git_repo)) == "fork"
    git(git_repo, "remote", "add", "team", "x")
    with pytest.raises(ProjectError, match=r"several remotes.*expected one of fork, team") as error:
        configured_remote(AttestationStore.open(git_repo))
    assert error.value.help == "git config gitchain.remote NAME"
    git(git_repo, "remote", "add", "origin", "x")
    assert configured_remote(AttestationStore.open(git_repo)) == "origin"
    git(git_repo, "config", "gitchain.remote", "team")
    assert configured_remote(AttestationStore.open(git_repo)) == "team"
    git(git_repo, "remote", "remove", "team")
    with pytest.raises(ProjectError, match="no such remote"):
        configured_remote(AttestationStore.open(git_repo))


def test_refusal_passes_on_the_servers_words(clone: Clone, server: Path) -> None:
    """The ref, what the server said, bounded and without control characters, and what to allow."""
    hook = server / "hooks/pre-receive"
    hook.write_text(
        "#!/bin/sh\nprintf 'POLICY-42: \\033[31monly branches\\n' >&2\n"
        "for i in 1 2 3 4 5 6 7 8 9; do printf '%01000d\\n' 7 >&2; done\nexit 1\n"
    )
    hook.chmod(0o755)
    ours = clone("ours")
    ours.add([bundle("a")])
    with pytest.raises(TransportError) as error:
        sync(ours, "origin", wait=at_once)
    assert error.value.where == f"origin {DEFAULT_REF}"
    assert "pre-receive hook declined" in error.value.got
    assert "POLICY-42: [31monly branches" in error.value.got
    assert len(error.value.got) < 2500
    assert error.value.got.isprintable()
    assert DEFAULT_REF in error.value.help


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


@pytest.mark.parametrize("kind", ["blob", "tree", "tag", "code", "format"])
def test_sync_works_again_after_a_remote_that_held_no_store(
    clone: Clone, server: Path, git: Git, kind: str
) -> None:
    """A ref that led to something else is refused each time; once it is put right a clone that fetched it goes on."""
    ours, theirs = clone("ours"), clone("theirs")
    ours.add([bundle("a")])
    sync(ours, "origin")
    sync(theirs, "origin")
    good = git(server, "rev-parse", DEFAULT_REF)
    identity = ("-c", "user.name=x", "-c", "user.email=x@x.example")
    git(server, *identity, "tag", "-a", "-m", "x", "evil", good)
    empty = git(server, "hash-object", "-t", "tree", "-w", "/dev/null")
    evil = {
        "blob": git(server, "hash-object", "-w", "HEAD"),
        "tree": git(server, "rev-parse", f"{good}^{{tree}}"),
        "tag": git(server, "rev-parse", "evil"),
        "code": git(server, *identity, "commit-tree", empty, "-m", "code"),
    }.get(kind)
    if evil:
        git(server, "update-ref", DEFAULT_REF, evil)
    else:
        spoil(AttestationStore.open(server), git, "VERSION", data=b"2\n")
    for _ in range(2):
        with pytest.raises((MalformedError, StoreError)):
            sync(theirs, "origin")
    git(server, "update-ref", DEFAULT_REF, good)
    ours.add([bundle("b")])
    sync(ours, "origin")
    assert sync(theirs, "origin").fetched == 1


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
from tests.support.store_samples import bundle
from gitchain.store.git_ref import AttestationStore
from gitchain.store.remote import sync
from gitchain.store.remote_names import configured_remote
from gitchain.store.remote_git import RemoteGit
store = AttestationStore.open(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    store.add([bundle(f"{sys.argv[2]}-{number}")])
    sync(store, "origin")
"""


def test_clones_that_sync_at_once_lose_nothing(clone: Clone, server: Path, git: Git) -> None:
    """Clones that add and synchronise at the same time all end with the union, and so does the server."""
    stores = [clone(f"clone-{number}") for number in range(3)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
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
    found: list[StoreProblem] = []
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
