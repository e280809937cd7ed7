"""The store as one process sees it: adding, finding, and what it is on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.errors import MalformedError, ProjectError, StoreError
from gitchain.store.git_binary import GitBinary
from gitchain.store.git_ref import DEFAULT_REF, AttestationStore
from gitchain.store.libgit2 import Libgit2
from gitchain.store.tree_paths import BLOB_MODE, TREE_MODE, Oid, StoredTreeEntry, render_tree
from gitchain.store.trees import StoreProblem
from tests.support.store_samples import bundle, digest_of, manifest, name_of

Git = Callable[..., str]


@pytest.fixture(params=["sha1", "sha256"])
def repo(request: pytest.FixtureRequest, tmp_path: Path, git: Git) -> Path:
    """An empty repository, once for each backend."""
    path = tmp_path / "project"
    path.mkdir()
    git(path, "init", "-q", f"--object-format={request.param}")
    return path


def test_each_object_format_has_its_backend(tmp_path: Path, git: Git) -> None:
    """pygit2 serves SHA-1; the git binary what pygit2 cannot open."""
    git(tmp_path, "init", "-q", "one")
    git(tmp_path, "init", "-q", "--object-format=sha256", "two")
    assert isinstance(AttestationStore.open(tmp_path / "one").backend, Libgit2)
    assert isinstance(AttestationStore.open(tmp_path / "two").backend, GitBinary)


def test_empty_store_has_nothing(repo: Path) -> None:
    """A repository without the ref reads as an empty store, and reading creates nothing."""
    store = AttestationStore.open(repo)
    assert (store.tip(), store.count(), list(store.all()), store.problems()) == (None, 0, [], ())
    assert store.by_subject("sha256", digest_of("x")) == ()
    assert store.get("0" * 64) is None
    assert not (repo / ".git/gitchain").exists()


def test_what_is_added_is_found(repo: Path, git: Git) -> None:
    """A bundle is found by its name, by each of its subjects' digests, and among all; git finds no fault."""
    store = AttestationStore.open(repo)
    first, second = bundle("model.pkl", "data.csv"), bundle("model.pkl", note="again")
    assert store.add([first, second]) == (name_of(first), name_of(second))
    assert set(store.by_subject("sha256", digest_of("model.pkl"))) == {first, second}
    assert store.by_subject("sha256", digest_of("data.csv")) == (first,)
    assert store.get(name_of(second)) == second
    assert set(store.all()) == {first, second}
    assert store.count() == 2
    assert store.problems() == ()
    assert git(repo, "rev-list", "--count", DEFAULT_REF) == "1"
    git(repo, "fsck", "--full", "--strict")


def test_tree_has_the_documented_shape(repo: Path, git: Git) -> None:
    """The tree is the one of the format page: anybody can read it with git alone."""
    data, digest = bundle("m"), digest_of("m")
    nodes = manifest("a")
    AttestationStore.open(repo).add([data], nodes.nodes)
    name, root = name_of(data), nodes.digest
    assert git(repo, "ls-tree", "-r", "--name-only", DEFAULT_REF).splitlines() == [
        "VERSION",
        f"att/{name[:2]}/{name[2:4]}/{name[4:]}",
        f"by-subject/sha256/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{name}",
        f"manifest/{root[:2]}/{root[2:4]}/{root[4:]}",
    ]
    assert git(repo, "show", f"{DEFAULT_REF}:VERSION") == "1"


def test_adding_again_makes_no_commit(repo: Path) -> None:
    """What is there already is not added again."""
    store = AttestationStore.open(repo)
    nodes = manifest("a", "b/c")
    store.add([bundle("m")], nodes.nodes)
    tip = store.tip()
    assert store.add([bundle("m")], nodes.nodes) == (name_of(bundle("m")),)
    assert store.tip() == tip
    store.add([], {})
    assert store.tip() == tip


def test_only_the_new_part_of_a_batch_is_added(repo: Path) -> None:
    """A batch that is partly there adds the rest."""
    store = AttestationStore.open(repo)
    store.add([bundle("a")])
    store.add([bundle("a"), bundle("b"), bundle("b")])
    assert store.count() == 2


def test_manifest_nodes_are_found_by_digest(repo: Path) -> None:
    """Every node of a directory's manifest can be had by its digest."""
    store = AttestationStore.open(repo)
    nodes = manifest("a", "b/c", "b/d/e").nodes
    store.add([bundle("dir")], nodes)
    assert {digest: store.manifest(digest) for digest in nodes} == dict(nodes)
    assert store.manifest("0" * 64) is None


def test_git_digests_are_indexed_and_md5_is_not(repo: Path) -> None:
    """A commit's attestation is found by the commit; md5 is never a key."""
    store = AttestationStore.open(repo)
    data = bundle("m", digests={"gitCommit": "a" * 40, "md5": "b" * 32})
    store.add([data])
    assert store.by_subject("gitCommit", "a" * 40) == (data,)
    assert store.by_subject("md5", "b" * 32) == ()


@pytest.mark.parametrize(
    ("alg", "value"),
    [("sha256", "../../x"), ("sha256", "A" * 64), ("sha256", ""), ("../att", "a" * 64), ("", "")],
)
def test_no_key_leads_out_of_the_index(repo: Path, alg: str, value: str) -> None:
    """A key that is no digest finds nothing."""
    store = AttestationStore.open(repo)
    store.add([bundle("m")])
    assert store.by_subject(alg, value) == ()
    assert store.get(value) is None


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"mediaType":"x"}'])
def test_no_bundle_is_refused_and_nothing_added(repo: Path, data: bytes) -> None:
    """One bad bundle refuses the batch."""
    store = AttestationStore.open(repo)
    with pytest.raises(MalformedError):
        store.add([bundle("m"), data])
    assert store.tip() is None


def test_manifest_under_another_digest_is_refused(repo: Path) -> None:
    """A manifest node must have the digest it is handed over with."""
    store = AttestationStore.open(repo)
    with pytest.raises(MalformedError, match="does not have its digest"):
        store.add([], {"0" * 64: b"{}"})
    assert store.tip() is None


def test_ref_can_be_set_by_config(repo: Path, git: Git) -> None:
    """`gitchain.ref` moves the store, for hosts that refuse other refs."""
    git(repo, "config", "gitchain.ref", "refs/heads/gitchain")
    AttestationStore.open(repo).add([bundle("m")])
    assert git(repo, "rev-parse", "refs/heads/gitchain")
    assert git(repo, "for-each-ref", DEFAULT_REF) == ""


@pytest.mark.parametrize(
    "name",
    [
        "gitchain",
        "refs/heads/../x/y",
        "refs/a/b.lock",
        "refs/a b/c",
        "-refs/x/y",
        "refs/x\n/y",
        "refs//x/y",
        "refs/x/é",
    ],
)
def test_bad_ref_name_is_refused(git_repo: Path, git: Git, name: str) -> None:
    """A name that is no ref is the project's fault, told before anything is written."""
    git(git_repo, "config", "gitchain.ref", name)
    with pytest.raises(ProjectError, match="not a name for a ref"):
        AttestationStore.open(git_repo)


def test_a_branch_of_code_is_not_taken_for_a_store(git_repo: Path, git: Git) -> None:
    """A ref that holds something else is neither read as evidence nor written to."""
    git(git_repo, "config", "gitchain.ref", "refs/heads/main")
    before = git(git_repo, "rev-parse", "main")
    store = AttestationStore.open(git_repo)
    with pytest.raises(MalformedError, match="does not hold"):
        store.add([bundle("m")])
    assert git(git_repo, "rev-parse", "main") == before


def test_symbolic_ref_is_refused(repo: Path, git: Git) -> None:
    """A symbolic ref would let the store write to a branch."""
    AttestationStore.open(repo).add([bundle("m")])
    git(repo, "update-ref", "refs/heads/main", git(repo, "rev-parse", DEFAULT_REF))
    git(repo, "symbolic-ref", DEFAULT_REF, "refs/heads/main")
    store = AttestationStore.open(repo)
    with pytest.raises(StoreError, match="symbolic ref"):
        store.add([bundle("n")])
    with pytest.raises(StoreError, match="symbolic ref"):
        store.by_subject("sha256", digest_of("m"))


def test_commits_carry_the_users_name_and_the_given_time(git_repo: Path, git: Git) -> None:
    """Hosts that check committers see the user; newlines and brackets cannot break the commit."""
    git(git_repo, "config", "user.name", "Ada <x>\nparent")
    git(git_repo, "config", "user.email", "ada@example.com")
    store = AttestationStore(
        AttestationStore.open(git_repo).backend, git_repo, offline=True, clock=lambda: 1234.5
    )
    store.add([bundle("m")])
    assert (
        git(git_repo, "log", "-1", "--format=%an|%ae|%at|%P", DEFAULT_REF)
        == "Ada xparent|ada@example.com|1234|"
    )


def test_packed_refs_and_gc_keep_everything(repo: Path, git: Git) -> None:
    """Packing refs and pruning at once loses nothing, and adding goes on."""
    store = AttestationStore.open(repo)
    store.add([bundle("a"), bundle("b")], manifest("x").nodes)
    git(repo, "pack-refs", "--all")
    git(repo, "gc", "-q", "--prune=now")
    store.add([bundle("c")])
    git(repo, "gc", "-q", "--prune=now")
    assert set(AttestationStore.open(repo).all()) == {bundle("a"), bundle("b"), bundle("c")}
    assert set(store.all()) == {bundle("a"), bundle("b"), bundle("c")}
    assert store.problems() == ()


def test_clone_mirror_carries_the_store(repo: Path, tmp_path: Path, git: Git) -> None:
    """A mirror, which is bare, is a full store: it reads and writes."""
    AttestationStore.open(repo).add([bundle("a")])
    git(tmp_path, "clone", "-q", "--mirror", str(repo), "mirror.git")
    store = AttestationStore.open(tmp_path / "mirror.git")
    store.add([bundle("b")])
    assert set(store.all()) == {bundle("a"), bundle("b")}


def test_names_are_listed_again_where_something_changed(git_repo: Path) -> None:
    """Names are kept by tree: a second listing has what was added since, and the problems of unknown entries again."""
    store = AttestationStore.open(git_repo)
    first = [bundle(f"m{number}") for number in range(30)]
    store.add(first, manifest("x", "y/z").nodes)
    assert list(store.names()) == sorted(map(name_of, first))
    store.add([bundle("more")])
    assert list(store.names()) == sorted(map(name_of, [*first, bundle("more")]))
    assert set(store.names(room="manifest")) == manifest("x", "y/z").nodes.keys()
    assert list(store.all_names(None)) == []


def test_names_in_two_directories_with_one_tree_are_not_mixed_up(git_repo: Path, git: Git) -> None:
    """A hostile store may use a tree twice: its names there are others, and problems are reported each time."""
    store = AttestationStore.open(git_repo)
    store.add([bundle("m")])
    name = name_of(bundle("m"))
    tree = Oid(git(git_repo, "rev-parse", f"{store.ref}:att/{name[:2]}"))
    other = "00" if name[:2] != "00" else "11"

    def change(tip: Oid | None) -> Oid:
        assert tip is not None
        write = store.backend.write
        junk = StoredTreeEntry("junk", BLOB_MODE, write("blob", b"junk"))
        bad = write("tree", render_tree([junk]))
        folders = {name[:2]: tree, other: tree, "ff": bad}
        att = write("tree", render_tree(StoredTreeEntry(key, TREE_MODE, oid) for key, oid in folders.items()))
        version = StoredTreeEntry("VERSION", BLOB_MODE, write("blob", b"1\n"))
        root = write("tree", render_tree([version, StoredTreeEntry("att", TREE_MODE, att)]))
        return store.commit(root, (tip,), "hostile")

    store.advance(change)
    for _ in range(2):
        problems: list[StoreProblem] = []
        assert set(store.names(problems.append)) == {name, other + name[2:]}
        assert [one.path for one in problems] == ["att/ff/junk"]
