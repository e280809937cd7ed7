"""A store that somebody else wrote: junk is named and passed over, nothing is followed or run."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.errors import GitchainError, LimitError, MalformedError, ProjectError, StoreError
from gitchain.evidence import bundle as bundle_module
from gitchain.platform.git import Git as Runner
from gitchain.store import trees
from gitchain.store.git_ref import DEFAULT_REF, AttestationStore
from gitchain.store.tree_paths import (
    Commit,
    NewObject,
    Oid,
    StoredTreeEntry,
    check_entry,
    content_path,
    parse_commit,
    parse_tree,
    render_commit,
    render_tree,
    subject_path,
)
from tests.support.store_samples import bundle, digest_of, manifest, name_of

Git = Callable[..., str]
GOOD = bundle("good")


@pytest.fixture
def store(git_repo: Path) -> AttestationStore:
    """A store that holds one good bundle."""
    made = AttestationStore.open(git_repo)
    made.add([GOOD], manifest("a").nodes)
    return made


def plant(store: AttestationStore, git: Git, path: str, mode: str, oid: str) -> None:
    """Put an entry into the store's tree, below the rules of the store."""

    def placed(tree: str | None, parts: list[str]) -> str:
        entries = (
            {}
            if tree is None
            else {e.name: e for e in parse_tree(store.backend.read(Oid(tree), "tree", 1 << 20), 20, "")}
        )
        name, rest = parts[0], parts[1:]
        below = entries[name].oid if name in entries else None
        entries[name] = (
            StoredTreeEntry(name, "40000", Oid(placed(below, rest)))
            if rest
            else StoredTreeEntry(name, mode, Oid(oid))
        )
        return store.backend.write("tree", render_tree(entries.values()))

    tip = Oid(str(store.tip()))
    root = parse_commit(store.backend.read(tip, "commit", 1 << 20), "").tree
    commit = store.commit(Oid(placed(root, path.split("/"))), (tip,), "planted")
    store.backend.flush()
    git(store.path, "update-ref", DEFAULT_REF, commit)


def blob(store: AttestationStore, data: bytes) -> str:
    oid = store.backend.write("blob", data)
    store.backend.flush()
    return oid


def blob_oid(data: bytes, oid_bytes: int = 20) -> str:
    return NewObject.of("blob", data, oid_bytes).oid


NAME = name_of(GOOD)
LEAF = "/".join(content_path("att", NAME))
INDEX = "/".join((*subject_path("sha256", digest_of("good")), NAME))
OTHER = "0" * 64


@pytest.mark.parametrize(
    ("path", "mode", "message"),
    [
        ("extra", "100644", "name that this store never writes"),
        ("by-type", "40000", "name that this store never writes"),
        ("att/zz", "40000", "name that this store never writes"),
        ("att/AA", "40000", "name that this store never writes"),
        ("att/abc", "40000", "name that this store never writes"),
        ("att/ab/cd/ef", "40000", "name that this store never writes"),
        ("att/link", "120000", "name that this store never writes"),
        (f"att/ab/cd/{'1' * 60}", "120000", "wrong kind of entry"),
        (f"att/ab/cd/{'1' * 60}", "160000", "wrong kind of entry"),
        (f"att/ab/cd/{'1' * 60}", "100755", "wrong kind of entry"),
        (f"att/ab/cd/{'1' * 60}", "40000", "wrong kind of entry"),
        (f"att/ab/cd/{'1' * 60}", "100644", "not the sha256 of its bytes"),
        ("att/ab", "100644", "wrong kind of entry"),
        ("by-subject/md5", "40000", "name that this store never writes"),
        (f"by-subject/sha256/ab/cd/{'1' * 60}/{OTHER}", "100644", "not the sha256 of its bytes"),
        (f"by-subject/sha256/ab/cd/{'1' * 59}", "40000", "name that this store never writes"),
        (f"by-subject/sha256/ab/cd/{'1' * 60}/{OTHER}/deep", "100644", "wrong kind of entry"),
        (f"manifest/ab/cd/{'1' * 60}", "100644", "not the sha256 of its bytes"),
    ],
)
def test_junk_is_reported_and_hides_nothing(
    store: AttestationStore, git: Git, path: str, mode: str, message: str
) -> None:
    """What the store never writes is named by `problems`; the good evidence beside it is still found."""
    oid = store.backend.write("tree", b"") if mode == "40000" else blob(store, b"junk")
    plant(store, git, path, mode, oid)
    found = store.problems()
    assert [problem.message for problem in found if message in problem.message], found
    assert list(store.all()) == [GOOD]
    assert store.by_subject("sha256", digest_of("good")) == (GOOD,)
    assert store.get(NAME) == GOOD


@pytest.mark.parametrize("path", [LEAF, INDEX])
def test_replaced_bundle_is_never_returned(store: AttestationStore, git: Git, path: str) -> None:
    """A leaf with other bytes is reported by its path, and is not evidence."""
    plant(store, git, path, "100644", blob(store, bundle("evil")))
    found: list[trees.StoreProblem] = []
    returned = [*store.all(found.append), *store.by_subject("sha256", digest_of("good"), found.append)]
    assert set(returned) <= {GOOD}
    assert [problem.path for problem in found] == [path]
    if path == LEAF:
        with pytest.raises(MalformedError, match=f"not the sha256 of its bytes, in {LEAF}"):
            store.get(NAME)


def test_bundle_that_is_none_is_reported(store: AttestationStore, git: Git) -> None:
    """A leaf of the right name that holds no bundle is a problem; readers see its bytes and judge them."""
    data = b"no bundle"
    plant(store, git, "/".join(content_path("att", name_of(data))), "100644", blob(store, data))
    assert any("bundle" in problem.message for problem in store.problems())


def test_attestation_missing_from_the_index_is_reported(store: AttestationStore, git: Git) -> None:
    """An index that hides an attestation is seen by `problems`, and `all` does not depend on it."""
    data = bundle("hidden")
    plant(store, git, "/".join(content_path("att", name_of(data))), "100644", blob(store, data))
    assert store.by_subject("sha256", digest_of("hidden")) == ()
    assert set(store.all()) == {GOOD, data}
    assert [problem.message for problem in store.problems()] == ["attestation is missing from the index"]


@pytest.mark.parametrize("mode", ["120000", "160000", "100644"])
def test_foreign_kind_on_the_way_is_not_followed(store: AttestationStore, git: Git, mode: str) -> None:
    """A link, a submodule or a file in the place of a directory is not followed, and gives way to what is added."""
    plant(store, git, "att", mode, blob(store, b"/etc"))
    assert list(store.all()) == []
    with pytest.raises(MalformedError, match="wrong kind of entry in the store, in att"):
        store.get(NAME)
    store.add([bundle("more")])
    assert list(store.all()) == [bundle("more")]


@pytest.mark.parametrize("what", ["bundle", "manifest node"])
def test_leaf_with_another_object_gives_way(store: AttestationStore, git: Git, what: str) -> None:
    """Nobody can keep an attestation out by putting other bytes at the place that its digest gives it."""
    data, (digest, node) = bundle("next"), next(iter(manifest("squatted").nodes.items()))
    place = content_path("att", name_of(data)) if what == "bundle" else content_path("manifest", digest)
    plant(store, git, "/".join(place), "100644", blob(store, b"squatter"))
    store.add([data], {digest: node})
    assert (store.get(name_of(data)), store.manifest(digest)) == (data, node)
    assert store.problems() == ()


@pytest.mark.parametrize("name", ["\u00e9", "\udcff", "a b", ".git", "x" * 5000])
def test_name_that_is_not_ascii_hides_nothing(store: AttestationStore, git: Git, name: str) -> None:
    """An entry with a strange name is reported; the evidence in the same directory counts, and more can be added."""
    plant(store, git, f"att/{name}", "100644", blob(store, b"junk"))
    plant(store, git, name, "40000", store.backend.write("tree", b""))
    found: list[trees.StoreProblem] = []
    assert list(store.all(found.append)) == [GOOD]
    assert [problem.message for problem in found] == [
        f"name that this store never writes, in {problem.path}" for problem in found
    ]
    assert store.get(NAME) == GOOD
    store.add([bundle("more")])
    assert set(store.all()) == {GOOD, bundle("more")}


def test_problems_of_one_directory_are_counted(store: AttestationStore, git: Git) -> None:
    """The first are named, of the others the number: nobody is to read thousands of lines."""
    entries = b"".join(b"100644 j%04d\0" % number + b"\1" * 20 for number in range(1000))
    plant(store, git, "att/00", "40000", store.backend.write("tree", entries))
    found: list[trees.StoreProblem] = []
    assert list(store.all(found.append)) == [GOOD]
    assert len(found) == trees.MAX_TOLD + 1
    assert (found[-1].path, found[-1].message) == (
        "att/00/…",
        "980 more entries that this store never writes",
    )


@pytest.mark.parametrize("version", [b"2\n", b"", b"1", b"1\n\n"])
def test_unknown_format_is_refused(store: AttestationStore, git: Git, version: bytes) -> None:
    """A store of a later format is neither read nor written by halves."""
    plant(store, git, "VERSION", "100644", blob(store, version))
    for work in (
        lambda: list(store.all()),
        lambda: store.add([bundle("x")]),
        lambda: store.get(NAME),
        store.problems,
    ):
        with pytest.raises(StoreError, match="format that this version does not know"):
            work()


def test_missing_object_is_named(store: AttestationStore) -> None:
    """A blob that is gone is reported with the command that looks into it, and the rest is read."""
    store.add([bundle("lost")])
    oid = blob_oid(bundle("lost"), 20)
    (store.path / ".git/objects" / oid[:2] / oid[2:]).unlink()
    found: list[trees.StoreProblem] = []
    assert list(AttestationStore.open(store.path).all(found.append)) == [GOOD]
    assert ["is missing" in problem.message for problem in found] == [True]


def test_broken_object_is_named(store: AttestationStore) -> None:
    """A blob whose file is damaged is reported, and the rest is read."""
    store.add([bundle("broken")])
    oid = blob_oid(bundle("broken"), 20)
    path = store.path / ".git/objects" / oid[:2] / oid[2:]
    path.chmod(0o644)
    path.write_bytes(b"damage")
    found: list[trees.StoreProblem] = []
    assert list(AttestationStore.open(store.path).all(found.append)) == [GOOD]
    assert len(found) == 1


def test_oversized_leaf_is_not_inflated(
    store: AttestationStore, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blob beyond the limit is reported by its size alone."""
    monkeypatch.setattr(trees, "MAX_BUNDLE_BYTES", 5000)
    data = b"x" * 5001
    plant(store, git, "/".join(content_path("att", name_of(data))), "100644", blob(store, data))
    found: list[trees.StoreProblem] = []
    assert list(store.all(found.append)) == [GOOD]
    assert ["too large" in problem.message for problem in found] == [True]
    with pytest.raises(LimitError, match="too large"):
        store.get(name_of(data))


def test_oversized_object_is_refused_by_the_git_binary_too(tmp_path: Path, git: Git) -> None:
    """The limit holds for both backends, and reading goes on after it."""
    git(tmp_path, "init", "-q", "--object-format=sha256", "two")
    backend = AttestationStore.open(tmp_path / "two").backend
    large, small = backend.write("blob", b"x" * 3000), backend.write("blob", b"y")
    backend.flush()
    with pytest.raises(LimitError, match="too large"):
        backend.read(large, "blob", 2999)
    assert backend.read(small, "blob", 10) == b"y"
    with pytest.raises(StoreError, match="wrong kind"):
        backend.read(small, "tree", 10)
    with pytest.raises(StoreError, match="is missing"):
        backend.read(Oid("1" * 64), "blob", 10)


def test_bundle_beyond_its_limit_is_not_added(
    store: AttestationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle too large to read is too large to write."""
    monkeypatch.setattr(bundle_module, "MAX_BUNDLE_BYTES", 100)
    with pytest.raises(LimitError):
        store.add([bundle("m")])


def test_replaced_objects_are_not_honoured(store: AttestationStore, git: Git) -> None:
    """`git replace` cannot put other bytes in a bundle's place, for neither backend."""
    other = blob(store, bundle("evil"))
    git(store.path, "replace", blob_oid(GOOD, 20), other)
    assert AttestationStore.open(store.path).get(NAME) == GOOD
    assert Runner(store.path).run("cat-file", "blob", blob_oid(GOOD, 20)).stdout == GOOD


def raw_tree(*entries: tuple[bytes, bytes]) -> bytes:
    return b"".join(mode + b" " + name + b"\0" + b"\1" * 20 for mode, name in entries)


@pytest.mark.parametrize("data", [b"x", b"100644 a", b"100644 a\0" + b"\1" * 19, b"100644\0a " + b"\1" * 20])
def test_parse_tree_tells_where_a_tree_is_cut(data: bytes) -> None:
    """What is before the cut is yielded, then the fault is raised."""
    found = parse_tree(raw_tree((b"40000", b"att")) + data, 20, "tree")
    assert next(found) == StoredTreeEntry("att", "40000", Oid("01" * 20))
    with pytest.raises(MalformedError, match="cut short, in tree"):
        list(found)


@pytest.mark.parametrize(
    ("mode", "name"),
    [(b"100644", b""), (b"100644", b"a/b"), (b"100644", b"\xff"), (b"1006x4", b"a"), (b"", b"a")],
)
def test_parse_tree_yields_what_git_would_not_write(mode: bytes, name: bytes) -> None:
    """Such an entry has no place in the store, comes back as the same bytes, and hides nothing behind it."""
    data = raw_tree((mode, name), (b"40000", b"att"))
    odd, good = parse_tree(data, 20, "tree")
    with pytest.raises(MalformedError):
        check_entry((), odd)
    assert good.name == "att"
    assert render_tree([odd]) == raw_tree((mode, name))


class Served:
    """A backend that holds trees by number, and counts how often it is read."""

    oid_bytes = 20

    def __init__(self, *held: bytes) -> None:
        self.held = held
        self.reads = 0

    def read(self, oid: str, kind: str, limit: int) -> bytes:
        assert (kind, limit) == ("tree", trees.MAX_TREE_BYTES)
        self.reads += 1
        return self.held[int(oid)]


def found(read: trees.Trees, name: str, tree: int = 0) -> str | None:
    entry = read.find(Oid(str(tree)), (name,))
    return None if entry is None else entry.oid


def test_find_reads_a_small_tree_once_and_a_large_one_each_time() -> None:
    """The first entry of a name counts; memory is bounded by the number and by the size of the trees."""
    small = b"40000 att\0" + b"a" * 20 + raw_tree((b"40000", b"att"))
    large = small + raw_tree((b"100644", b"x" * trees.MAX_KEPT_BYTES))
    served = Served(small, large, *[small] * trees.MAX_KEPT_TREES)
    read = trees.Trees(served)  # type: ignore[arg-type]
    for _ in range(3):
        assert (found(read, "att"), found(read, "man")) == ("61" * 20, None)
    assert served.reads == 1
    for _ in range(3):
        assert (found(read, "att", 1), found(read, "man", 1)) == ("61" * 20, None)
    assert served.reads == 7
    for number in range(trees.MAX_KEPT_TREES):
        found(read, "att", number + 2)
    found(read, "att", trees.MAX_KEPT_TREES + 1)
    assert served.reads == 7 + trees.MAX_KEPT_TREES
    found(read, "att")
    assert served.reads == 8 + trees.MAX_KEPT_TREES


def test_find_in_a_tree_that_is_cut_short_finds_what_precedes_the_cut() -> None:
    cut = raw_tree((b"40000", b"att")) + b"40000 ind"
    read = trees.Trees(Served(cut))  # type: ignore[arg-type]
    for _ in range(2):
        assert found(read, "att") == "01" * 20
        with pytest.raises(MalformedError, match="cut short"):
            found(read, "ind")


def test_tree_parser_is_total_and_exact() -> None:
    """Whatever the bytes, a tree is cut short or its entries, in their order, are the very same bytes."""
    rng = random.Random(7)
    whole = raw_tree((b"100644", b"VERSION"), (b"40000", b"att"), (b"40000", b"by-subject"))
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        cut = bytes(data[: rng.randint(0, len(data))])
        try:
            entries = list(parse_tree(cut, 20, "tree"))
        except MalformedError:
            continue
        assert b"".join(render_tree([entry]) for entry in entries) == cut


def test_trees_are_what_git_makes(git_repo: Path, git: Git) -> None:
    """Directories sort as git sorts them."""
    names = ["a", "a-b", "a0", "ab"]
    for name in names:
        (git_repo / name).mkdir()
        (git_repo / name / "f").write_text("x")
    for name in ("a.c", "a1"):
        (git_repo / name).write_text("y")
    git(git_repo, "add", ".")
    tree = git(git_repo, "write-tree")
    data = AttestationStore.open(git_repo).backend.read(Oid(tree), "tree", 1 << 20)
    assert render_tree(parse_tree(data, 20, "tree")) == data


@pytest.mark.parametrize(
    "data",
    [b"", b"tree x\n", b"tree " + b"1" * 40 + b"\nparent x\nauthor ", b"tree " + b"1" * 41 + b"\nauthor "],
)
def test_malformed_commit_is_refused(data: bytes) -> None:
    """Only tree, parents and author are read, and only in git's order."""
    with pytest.raises(MalformedError):
        parse_commit(data, "commit")


def test_commit_renders_and_parses() -> None:
    """A commit's tree and parents come back."""
    commit = Commit(Oid("1" * 40), (Oid("2" * 40), Oid("3" * 40)))
    assert parse_commit(render_commit(commit, "a <b>", 5, "m"), "") == commit


@pytest.mark.parametrize("name", ["..", ".git", "a\nb", "a" * 10_000, "con", "ａ"])
def test_no_name_of_the_tree_becomes_a_path(name: str) -> None:
    """Names come from a closed grammar: hex of fixed lengths under fixed directories."""
    for parent in (
        (),
        ("att",),
        ("att", "ab"),
        ("att", "ab", "cd"),
        ("by-subject",),
        ("by-subject", "sha256"),
    ):
        for mode in ("40000", "100644"):
            with pytest.raises(MalformedError):
                check_entry(parent, StoredTreeEntry(name, mode, Oid("1" * 40)))


def test_not_a_repository_is_told(tmp_path: Path) -> None:
    """Outside of a repository the error says what to type."""
    with pytest.raises(ProjectError, match="not a git repository") as error:
        AttestationStore.open(tmp_path)
    assert "git init" in error.value.help
    with pytest.raises(ProjectError, match="no such directory"):
        AttestationStore.open(tmp_path / "nowhere")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_repository_of_another_user_is_told(store: AttestationStore) -> None:
    """A repository that git does not trust is not opened; the error says how to trust it."""
    for path in (store.path, *store.path.rglob("*")):
        os.chown(path, 12345, 12345)
    with pytest.raises(ProjectError, match="dubious ownership") as error:
        AttestationStore.open(store.path)
    assert "safe.directory" in error.value.help


def test_unknown_repository_format_is_told(git_repo: Path, git: Git) -> None:
    """A repository that neither pygit2 nor this git can read is refused in one line."""
    git(git_repo, "config", "core.repositoryFormatVersion", "1")
    git(git_repo, "config", "extensions.unknownThing", "true")
    with pytest.raises(ProjectError, match="unknown repository extension"):
        AttestationStore.open(git_repo)


def test_broken_configuration_is_told(git_repo: Path) -> None:
    """A configuration file that does not parse is one error of ours."""
    (git_repo / ".git/config").write_text("[core\n")
    with pytest.raises(GitchainError):
        AttestationStore.open(git_repo)


def test_worktrees_share_one_store(store: AttestationStore, tmp_path: Path, git: Git) -> None:
    """A linked worktree reads and writes the same store and the same lock."""
    git(store.path, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    side = AttestationStore.open(tmp_path / "side")
    assert side.backend.common_dir == (store.path / ".git").resolve()
    side.add([bundle("side")])
    assert set(store.all()) == {GOOD, bundle("side")}
    assert list((store.path / ".git").rglob("store.lock")) == [store.path / ".git/gitchain/store.lock"]


def test_submodule_has_its_own_store(store: AttestationStore, tmp_path: Path, git: Git) -> None:
    """Inside a submodule, the submodule's repository is meant."""
    git(tmp_path, "init", "-q", "inner")
    git(tmp_path / "inner", "commit", "-q", "--allow-empty", "-m", "x")
    git(
        store.path,
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "-q",
        str(tmp_path / "inner"),
        "inner",
    )
    inner = AttestationStore.open(store.path / "inner")
    inner.add([bundle("inner")])
    assert list(inner.all()) == [bundle("inner")]
    assert list(store.all()) == [GOOD]


def test_subdirectory_and_common_dir_open_the_same_store(store: AttestationStore) -> None:
    """Any path inside the repository will do, and so will its common directory."""
    (store.path / "sub").mkdir()
    for path in (store.path / "sub", store.path / ".git"):
        assert list(AttestationStore.open(path).all()) == [GOOD]


def test_git_variables_of_a_hook_do_not_lead_astray(
    store: AttestationStore, tmp_path: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIT_DIR and its kin, which every hook inherits, do not point the store elsewhere."""
    git(tmp_path, "init", "-q", "elsewhere")
    git(tmp_path, "init", "-q", "--object-format=sha256", "two")
    for key in (
        "GIT_DIR",
        "GIT_COMMON_DIR",
        "GIT_WORK_TREE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
    ):
        monkeypatch.setenv(key, str(tmp_path / "elsewhere/.git"))
    assert list(AttestationStore.open(store.path).all()) == [GOOD]
    two = AttestationStore.open(tmp_path / "two")
    two.add([bundle("two")])
    assert two.backend.common_dir == tmp_path / "two/.git"
    assert not (tmp_path / "elsewhere/.git/refs/gitchain").exists()


def test_digest_of_nothing_is_not_confused() -> None:
    """A blob's id is git's own."""
    assert blob_oid(b"", 20) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert blob_oid(b"", 32) == hashlib.sha256(b"blob 0\0").hexdigest()


def test_pipe_in_the_place_of_the_ref_is_refused_while_the_store_is_open(git_repo: Path) -> None:
    """Also by a process that has looked at the repository before, and libgit2 would wait for it."""
    store = AttestationStore.open(git_repo)
    place = git_repo / ".git" / store.ref
    place.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(place)
    with pytest.raises(StoreError, match="special file"):
        store.tip()
