"""Manifests: names and sizes are in the digest (modes under version 1), one change is O(depth), and nothing unchecked comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import GitchainError, LimitError, MalformedError, NoEvidenceError
from gitchain.evidence import manifest
from gitchain.evidence.canonical import canonical_json
from gitchain.evidence.digest import Sha256, sha256_hex
from gitchain.evidence.manifest import (
    SCHEMAS,
    FileEntry,
    Manifest,
    build_manifest,
    expand,
    media_type_of,
    parse_node,
    to_version_2,
)
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES, ManifestVersion

H = Sha256("ab" * 32)
FILES = (
    FileEntry("a/b/c.txt", False, 3, Sha256("1" * 64)),
    FileEntry("a/b/d.txt", True, 4, Sha256("2" * 64)),
    FileEntry("a/e.txt", False, 0, Sha256("3" * 64)),
    FileEntry("f.txt", False, 5, Sha256("4" * 64)),
)

PARTS = st.text(
    st.characters(
        min_codepoint=0x20, max_codepoint=0x24F, exclude_characters="/\\\x7f", exclude_categories=["Cc"]
    ),
    min_size=1,
    max_size=4,
).filter(lambda part: part not in {".", ".."})
TREES = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=4).map(tuple),
    st.tuples(st.booleans(), st.integers(0, 2**40)),
    max_size=12,
).filter(lambda tree: not any(a != b and a == b[: len(a)] for a in tree for b in tree))


def entries_of(tree: dict[tuple[str, ...], tuple[bool, int]]) -> list[FileEntry]:
    return [
        FileEntry("/".join(path), mode, size, sha256_hex(repr(path).encode()))
        for path, (mode, size) in tree.items()
    ]


def plain(entries: list[FileEntry]) -> list[FileEntry]:
    """The entries as version 2 knows them: without modes."""
    return [replace(entry, executable=False) for entry in entries]


@pytest.mark.parametrize("version", [1, 2])
@given(tree=TREES)
def test_expand_undoes_build(version: ManifestVersion, tree: dict[tuple[str, ...], tuple[bool, int]]) -> None:
    """Every tree comes back file by file, with its totals, and every node is canonical JSON."""
    entries = entries_of(tree)
    made = build_manifest(entries, version)
    found = expand(made.digest, made.nodes.get, version)
    expected = entries if version == 1 else plain(entries)
    assert sorted(found, key=lambda entry: entry.path) == sorted(expected, key=lambda entry: entry.path)
    assert made.version == version
    assert (made.files, made.size) == (len(entries), sum(entry.size for entry in entries))
    for digest, node in made.nodes.items():
        assert sha256_hex(node) == digest
        assert canonical_json(json.loads(node)) == node
        assert media_type_of(node) == MANIFEST_MEDIA_TYPES[version]


@given(TREES)
def test_to_version_2_is_the_digest_of_the_same_files(tree: dict[tuple[str, ...], tuple[bool, int]]) -> None:
    """For the root and each directory below, whatever the modes; and no digest of one version is one of the other."""
    entries = entries_of(tree)
    old, new = build_manifest(entries, 1), build_manifest(plain(entries))
    known: dict[str, Any] = {}
    assert to_version_2(old.digest, old.nodes.get, known) == new.digest == build_manifest(entries).digest
    assert {entry.sha256 for entry in known.values()} == set(new.nodes)
    assert set(known) == set(old.nodes)
    assert set(old.nodes).isdisjoint(new.nodes)


def test_to_version_2_takes_only_nodes_of_version_1() -> None:
    """A node of version 2, at the root or below, is refused under version 1, and the other way round."""
    old, new = build_manifest(FILES, 1), build_manifest(FILES)
    pairs: tuple[tuple[Literal[1, 2], Manifest], ...] = ((1, new), (2, old))
    for version, other in pairs:
        with pytest.raises(MalformedError, match="canonical"):
            list(expand(other.digest, other.nodes.get, version))
    with pytest.raises(MalformedError, match="canonical"):
        to_version_2(new.digest, new.nodes.get)
    below = build_manifest([FileEntry("x", False, 1, H)])
    mixed = node(
        {"type": "dir", "name": "d", "size": 1, "files": 1, "sha256": below.digest}, schema=SCHEMAS[1]
    )
    nodes = {**below.nodes, sha256_hex(mixed): mixed}
    for read in (
        lambda digest: to_version_2(digest, nodes.get),
        lambda digest: list(expand(digest, nodes.get, 1)),
    ):
        with pytest.raises(MalformedError, match="canonical"):
            read(sha256_hex(mixed))


def test_to_version_2_needs_every_node() -> None:
    """A missing node, a false sum, a tree that is too deep: no digest."""
    old = build_manifest(FILES, 1)
    for digest in old.nodes:
        left = {key: value for key, value in old.nodes.items() if key != digest}
        with pytest.raises(NoEvidenceError):
            to_version_2(old.digest, left.get)
    below = build_manifest([FileEntry("x", False, 1, H)], 1)
    for size, files in ((2, 1), (1, 2)):
        entry = {"type": "dir", "name": "d", "size": size, "files": files, "sha256": below.digest}
        root = node(entry, schema=SCHEMAS[1])
        nodes = {**below.nodes, sha256_hex(root): root}
        with pytest.raises(MalformedError, match="sums"):
            to_version_2(sha256_hex(root), nodes.get)


def test_to_version_2_depth_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As deep as a name allows converts; one level beyond the limit does not."""
    deep = build_manifest([FileEntry("/".join("a" * 512), False, 1, H)], 1)
    assert (
        to_version_2(deep.digest, deep.nodes.get)
        == build_manifest([FileEntry("/".join("a" * 512), True, 1, H)]).digest
    )
    made = build_manifest([FileEntry("a/b/c", False, 1, H)], 1)
    monkeypatch.setattr(manifest, "MAX_DEPTH", 2)
    assert to_version_2(made.digest, made.nodes.get)
    monkeypatch.setattr(manifest, "MAX_DEPTH", 1)
    with pytest.raises(LimitError, match="too deeply"):
        to_version_2(made.digest, made.nodes.get)


def test_media_type_of_an_unknown_node_is_that_of_version_1() -> None:
    """What names no known schema is carried like the nodes that were written first."""
    assert media_type_of(b"{}") == MANIFEST_MEDIA_TYPES[1]


@given(TREES, st.randoms())
def test_order_does_not_matter(tree: dict[tuple[str, ...], tuple[bool, int]], random: Any) -> None:
    """The digest depends on the files, not on the order in which they were found."""
    entries = entries_of(tree)
    shuffled = list(entries)
    random.shuffle(shuffled)
    assert build_manifest(entries) == build_manifest(shuffled)


def test_empty_directory() -> None:
    """A directory without files has a digest of its own."""
    made = build_manifest([])
    assert (made.files, made.size, len(made.nodes)) == (0, 0, 1)
    assert list(expand(made.digest, made.nodes.get)) == []


@pytest.mark.parametrize(
    "changed",
    [
        FileEntry("a/b/x.txt", False, 3, Sha256("1" * 64)),
        FileEntry("a/b/c.txt", True, 3, Sha256("1" * 64)),
        FileEntry("a/b/c.txt", False, 2, Sha256("1" * 64)),
        FileEntry("a/b/c.txt", False, 3, Sha256("5" * 64)),
        FileEntry("a/c.txt", False, 3, Sha256("1" * 64)),
    ],
    ids=["name", "mode", "size", "content", "place"],
)
def test_every_fact_is_in_the_digest(changed: FileEntry) -> None:
    """A rename, a size, a content or a move changes the digest; a mode does under version 1 alone."""
    assert build_manifest([changed, *FILES[1:]], 1).digest != build_manifest(FILES, 1).digest
    same = build_manifest([changed, *FILES[1:]]).digest == build_manifest(FILES).digest
    assert same == changed.executable


def test_one_change_touches_one_path() -> None:
    """Changing one file makes new nodes for its directories only."""
    base = [FileEntry(f"d{number}/x/y", False, 1, H) for number in range(50)]
    old = build_manifest(base)
    new = build_manifest([*base[:-1], FileEntry("d49/x/y", False, 1, Sha256("cd" * 32))])
    assert len(set(new.nodes) - set(old.nodes)) == 3


@pytest.mark.parametrize(
    "paths",
    [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b"), ("a/b", "a/b/c/d"), ("a/b/x", "a/b/y", "a/b")],
    ids=str,
)
def test_build_refuses_clashing_paths(paths: tuple[str, ...]) -> None:
    """A path is one file, never two, never file and directory."""
    with pytest.raises(MalformedError):
        build_manifest([FileEntry(path, False, 1, H) for path in paths])


@pytest.mark.parametrize(
    "make",
    [
        lambda: FileEntry("../x", False, 1, H),
        lambda: FileEntry("/x", False, 1, H),
        lambda: FileEntry("x", False, -1, H),
        lambda: FileEntry("x", False, 2**53, H),
        lambda: FileEntry("x", False, 1, Sha256(H.upper())),
        lambda: FileEntry("x", False, 1, Sha256("ab")),
        lambda: list(expand("zz", lambda _: None)),
    ],
)
def test_bad_values_are_refused(make: Callable[[], object]) -> None:
    """An entry is always valid."""
    with pytest.raises(MalformedError):
        make()


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many entries, too many bytes, too many files, too deep: each limit is enforced while building or reading."""
    made = build_manifest(FILES)
    with pytest.raises(LimitError, match="too many files"):
        list(expand(made.digest, made.nodes.get, max_files=3))
    monkeypatch.setattr(manifest, "MAX_DEPTH", 1)
    with pytest.raises(LimitError, match="too deeply"):
        list(expand(made.digest, made.nodes.get))
    monkeypatch.setattr(manifest, "MAX_DIRECTORY_ENTRIES", 1)
    with pytest.raises(LimitError, match="too many entries"):
        build_manifest(FILES)
    with pytest.raises(LimitError):
        parse_node(made.nodes[made.digest], made.digest)
    monkeypatch.setattr(manifest, "MAX_NODE_BYTES", 10)
    with pytest.raises(LimitError):
        build_manifest(FILES[:1])
    with pytest.raises(LimitError):
        parse_node(made.nodes[made.digest], made.digest)


def test_too_many_bytes_in_one_directory() -> None:
    """A total beyond 2^53-1 cannot be written as JSON and is refused."""
    with pytest.raises(LimitError) as told:
        build_manifest([FileEntry(name, False, 2**53 - 1, H) for name in "ab"])
    assert told.value.where == "''"
    with pytest.raises(LimitError) as told:
        build_manifest([FileEntry(f"d/{name}", False, 2**53 - 1, H) for name in "ab"])
    assert told.value.where == "'d'"
    assert build_manifest([FileEntry("a", False, 2**53 - 2, H), FileEntry("b", False, 1, H)]).nodes
    with pytest.raises(LimitError):
        build_manifest([FileEntry("a", False, 2**53 - 2, H), FileEntry("b", False, 2, H)])


def test_deepest_name_expands() -> None:
    """The deepest path that a name allows is built and read without exhausting the stack."""
    made = build_manifest([FileEntry("/".join("a" * 512), False, 1, H)])
    assert [entry.path for entry in expand(made.digest, made.nodes.get)] == ["/".join("a" * 512)]


def test_missing_node_is_no_evidence() -> None:
    """A node that is not there is absent evidence, not malformed evidence."""
    made = build_manifest(FILES)
    for digest in made.nodes:
        left = {key: value for key, value in made.nodes.items() if key != digest}
        with pytest.raises(NoEvidenceError):
            list(expand(made.digest, left.get))


def test_mangled_nodes_never_pass() -> None:
    """Any byte changed, any prefix, any deletion in any node is refused: the digest binds it."""
    made = build_manifest(FILES)
    for digest, node in made.nodes.items():
        for cut in range(len(node)):
            for bad in (node[:cut], node[:cut] + node[cut + 1 :], node[:cut] + b"~" + node[cut + 1 :]):
                if bad != node:
                    with pytest.raises(MalformedError):
                        list(expand(made.digest, {**made.nodes, digest: bad}.get))


def reseal(node: bytes) -> tuple[Sha256, Callable[[str], bytes | None]]:
    """What an author of false manifests can do: any bytes under their true digest."""
    digest = sha256_hex(node)
    known: dict[str, bytes] = {digest: node}
    return digest, known.get


def node(*entries: dict[str, Any], **changes: Any) -> bytes:
    return canonical_json({"schema": SCHEMAS[2], "entries": list(entries), **changes})


def file(name: str = "x", **changes: Any) -> dict[str, Any]:
    entry = {"type": "file", "name": name, "size": 1, "sha256": H, **changes}
    return {key: value for key, value in entry.items() if value is not ...}


@pytest.mark.parametrize(
    "bad",
    [
        node(file("b"), file("a")),
        node(file("a"), file("a")),
        node(file("a/b")),
        node(file("..")),
        node(file(mode="644")),
        node(file(mode=None)),
        node(file(size=-1)),
        node(file(size=1.5)),
        node(file(size=True)),
        node(file(sha256="AB" * 32)),
        node(file(type="link")),
        node(file(extra=1)),
        node(file(mode="644"), schema=SCHEMAS[1]),
        node(file(), schema="https://gitchain.dev/manifest/v3"),
        node(file(), extra=1),
        node(file(type="dir", files=0)),
        node(file(type="dir")),
        node(file()).replace(b":", b": ", 1),
        node(file()) + b"\n",
        b"[]",
        b"{}",
        b"",
        node(file(), entries={}),
        node(file()).replace(b'"x"', b'"\\u0078"'),
    ],
)
def test_false_nodes_are_refused(bad: bytes) -> None:
    """A node whose digest is right and whose content is not in the one form is refused."""
    root, fetch = reseal(bad)
    with pytest.raises(MalformedError):
        list(expand(root, fetch))


@pytest.mark.parametrize("mode", [..., "777", "0644", 644])
def test_false_modes_are_refused_under_version_1(mode: object) -> None:
    """A file of version 1 has one of two modes."""
    root, fetch = reseal(node(file(mode=mode), schema=SCHEMAS[1]))
    with pytest.raises(MalformedError):
        list(expand(root, fetch, 1))


def test_false_sums_are_refused() -> None:
    """A directory that states another size or count than its node has is refused: sums bound the walk."""
    below = build_manifest([FileEntry("x", False, 1, H)])
    for size, files in ((2, 1), (1, 2)):
        root = node({"type": "dir", "name": "d", "size": size, "files": files, "sha256": below.digest})
        nodes = {**below.nodes, sha256_hex(root): root}
        with pytest.raises(MalformedError, match="sums"):
            list(expand(sha256_hex(root), nodes.get))


def test_doubling_bomb_is_stopped_at_the_root() -> None:
    """Sixty shared nodes that stand for 2^60 files are refused by count, before the walk."""
    bottom = build_manifest([FileEntry("x", False, 0, H)])
    nodes, digest, files = dict(bottom.nodes), bottom.digest, 1
    fetched: list[str] = []

    def fetch(wanted: str) -> bytes | None:
        fetched.append(wanted)
        return nodes.get(wanted)

    for _ in range(50):
        entry = {"type": "dir", "size": 0, "files": files, "sha256": digest}
        made = node({**entry, "name": "a"}, {**entry, "name": "b"})
        digest, files = sha256_hex(made), files * 2
        nodes[digest] = made
    with pytest.raises(LimitError):
        list(expand(digest, fetch))
    assert fetched == [digest]


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_cleanly(data: bytes) -> None:
    """Arbitrary bytes raise errors of the project and nothing else."""
    root, fetch = reseal(data)
    with pytest.raises(GitchainError):
        list(expand(root, fetch))


def test_manifest_has_no_hidden_state() -> None:
    """Nodes cannot be changed through the manifest."""
    made: Manifest = build_manifest(FILES)
    with pytest.raises(TypeError):
        made.nodes["x"] = b""  # type: ignore[index]
