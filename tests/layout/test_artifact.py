"""Artifacts: what equals what, and what is seen of directories whose manifests are at hand or not."""

from __future__ import annotations

import pytest

from gitchain.evidence.digest import DigestSet, Sha256, sha256_hex
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.layout import artifact as module
from gitchain.layout.artifact import Artifact, Link, Manifests, closed_above, contents, lookup


def file(content: str) -> Artifact:
    return Artifact(DigestSet({"sha256": sha256_hex(content.encode())}))


def directory(*paths: str) -> tuple[Artifact, dict[str, bytes]]:
    manifest = build_manifest(FileEntry(path, False, 1, sha256_hex(path.encode())) for path in paths)
    return Artifact(DigestSet({"sha256": manifest.digest}), directory=True), dict(manifest.nodes)


def test_an_artifact_equals_artifacts_alone() -> None:
    """A digest, however equal, is no artifact; and an equality that is not transitive has no hash."""
    one = file("x")
    assert one == file("x")
    assert one != one.digest
    assert one.__eq__(one.digest) is NotImplemented
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


@pytest.mark.parametrize(
    ("digest", "is_directory", "shown"),
    [
        ({"sha256": "a" * 64, "sha512": "b" * 128}, False, "sha256:" + "a" * 64),
        ({"sha256": "a" * 64}, True, "directory sha256:" + "a" * 64),
        ({"sha512": "b" * 128, "sha384": "c" * 96}, False, "sha384:" + "c" * 96),
        ({"md5": "d" * 32}, False, "md5:" + "d" * 32),
    ],
)
def test_messages_show_one_digest(digest: dict[str, str], is_directory: bool, shown: str) -> None:
    """sha256 where there is one, else the first by name; a directory says so."""
    assert str(Artifact(DigestSet(digest), is_directory)) == shown


def test_a_tree_ends_at_its_limit() -> None:
    """The limit counts the directory itself, and one artifact more is too many."""
    top, nodes = directory("a", "b/c")
    manifests = Manifests(nodes.get)
    found = manifests.tree(top, 4)
    assert found is not None
    assert found[0] == top
    assert [one.directory for one in found] == [True, False, True, False]
    assert file("b/c") in found
    assert manifests.tree(top, 3) is None


def test_contents_are_the_digests_of_both_lists_and_inside() -> None:
    """Files of both lists, directories and what lies in them; weak digests are nothing in common."""
    top, nodes = directory("a", "b/c")
    weak = Artifact(DigestSet({"md5": "0" * 32}))
    found = contents(Link({"x": file("x"), "w": weak}, {"top": top}), Manifests(nodes.get))
    assert found is not None
    assert {("sha256", sha256_hex(text)) for text in (b"x", b"a", b"b/c")} < found
    assert ("sha256", top.digest["sha256"]) in found
    assert len(found) == 5
    assert not any(digest == "0" * 32 for _, digest in found)


def test_contents_beyond_the_limit_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many digests, in a directory or in a list, give None and not a part of them."""
    top, nodes = directory("a", "b/c")
    files = {name: file(name) for name in "abcd"}
    monkeypatch.setattr(module, "MAX_CONTENTS", 3)
    assert contents(Link({"top": top}, {}), Manifests(nodes.get)) is None
    assert contents(Link(dict(list(files.items())[:3]), {}), Manifests(nodes.get)) is not None
    assert contents(Link(files, {}), Manifests(nodes.get)) is None
    assert contents(Link(files, {"e": file("e")}), Manifests(nodes.get)) is None
    monkeypatch.setattr(module, "MAX_CONTENTS", 4)
    assert contents(Link({"top": top}, {}), Manifests(nodes.get)) is not None


def test_a_directory_is_closed_if_its_own_node_is_missing_or_wrong() -> None:
    """At hand means: bytes that the digest names. A file's digest in place of a node is no node."""
    top, nodes = directory("b/c")
    digest = top.digest["sha256"]
    assert not Manifests(nodes.get).is_closed(top)
    assert Manifests(lambda _: None).is_closed(top)
    assert Manifests(lambda name: b"{}" if name == digest else None).is_closed(top)
    assert Manifests(lambda _: None).entries(Artifact(DigestSet({"md5": "0" * 32}), directory=True)) == {}


def test_files_are_all_or_none() -> None:
    """Every file below by its path; with any node missing, none at all; both answers are remembered."""
    top, nodes = directory("a", "b/c")
    asked: list[str] = []

    def fetch(digest: str) -> bytes | None:
        asked.append(digest)
        return nodes.get(digest)

    manifests = Manifests(fetch)
    assert manifests.files(top) == {"a": file("a"), "b/c": file("b/c")}
    count = len(asked)
    assert manifests.files(top) is manifests.files(top)
    assert len(asked) == count
    root = top.digest["sha256"]
    partial = Manifests(lambda name: nodes[root] if name == root else None)
    assert partial.files(top) is None
    assert partial.files(top) is None


def test_too_many_files_do_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory over the limit stays closed."""
    top, nodes = directory("a", "b", "c")
    monkeypatch.setattr(module, "MAX_OPENED_FILES", 3)
    assert Manifests(nodes.get).files(top) is not None
    monkeypatch.setattr(module, "MAX_OPENED_FILES", 2)
    assert Manifests(nodes.get).files(top) is None


def test_a_lookup_goes_through_the_nearest_directory() -> None:
    """Of two directories above a name, the nearer one in the list answers, also where it says no."""
    outer, outer_nodes = directory("in/a", "in/b")
    inner, inner_nodes = directory("a")
    manifests = Manifests({**outer_nodes, **inner_nodes}.get)
    both = {"d": outer, "d/in": inner}
    assert lookup(both, "d/in/a", manifests) == file("a")
    assert lookup(both, "d/in/b", manifests) is None
    assert lookup({"d": outer}, "d/in/b", manifests) == file("in/b")
    assert lookup({"d": outer}, "e/in/b", manifests) is None
    assert lookup({"d": outer}, "d", manifests) == outer


def test_the_closed_directory_above_is_named() -> None:
    """The first directory on the way whose manifest is not at hand; none if a lookup could simply not find it."""
    outer, nodes = directory("in/a")
    inner = lookup({"d": outer}, "d/in", Manifests(nodes.get))
    assert inner is not None
    withheld = {key: value for key, value in nodes.items() if key != inner.digest["sha256"]}
    assert closed_above({"d": outer}, "d/in/a", Manifests(lambda _: None)) == "d"
    assert closed_above({"d": outer}, "d/in/a", Manifests(withheld.get)) == "d/in"
    assert closed_above({"d": outer}, "d/in/a", Manifests(nodes.get)) is None
    assert closed_above({"d": outer}, "d", Manifests(lambda _: None)) is None
    assert closed_above({"d": file("d")}, "d/in/a", Manifests(lambda _: None)) is None
    assert closed_above({}, "d/in/a", Manifests(lambda _: None)) is None


def test_the_digests_of_an_artifact_are_listed_once() -> None:
    """Its accepted ones, and for a directory of version 1 that is at hand the digest under version 2."""
    files = [FileEntry("a", True, 1, Sha256("1" * 64))]
    older, newer = build_manifest(files, 1), build_manifest(files)
    digest = DigestSet({"sha256": older.digest})
    upgrade = Manifests(older.nodes.get).upgrade
    assert list(file("x").digests) == [("sha256", sha256_hex(b"x"))]
    assert list(Artifact(DigestSet({"sha256": newer.digest}), True).digests) == [("sha256", newer.digest)]
    assert list(Artifact(digest, True, 1).digests) == [("sha256", older.digest)]
    assert list(Artifact(digest, True, 1, upgrade).digests) == [
        ("sha256", older.digest),
        ("sha256", newer.digest),
    ]
