"""A target: where in the evidence of a step it may stand."""

from __future__ import annotations

from dataclasses import replace

from gitchain.evidence.digest import DigestSet, Sha256, sha256_hex
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.layout.artifact import Artifact, Link, Manifests
from gitchain.verify.target import Target

X = Artifact(DigestSet({"sha256": sha256_hex(b"x")}))
MANIFEST = build_manifest([FileEntry("sub/x", False, 1, sha256_hex(b"x"))])
TREE = Artifact(DigestSet({"sha256": MANIFEST.digest}), directory=True)
MANIFESTS = Manifests(dict(MANIFEST.nodes).get)


def test_without_a_name_every_product_may_be_it() -> None:
    """Only products: a material of that content vouches for nothing that was made."""
    target = Target(sha256_hex(b"x"), directory=None)
    link = Link({"m": X}, {"a": X, "t": TREE})
    assert list(target.names_in(link, MANIFESTS)) == [("a", "a", X), ("t", "t", TREE)]


def test_with_a_name_the_product_that_holds_it_is_told() -> None:
    """The product itself, or the nearest directory above it; nothing where the name is not made."""
    named = Target(sha256_hex(b"x"), "t/sub/x")
    assert list(named.names_in(Link({}, {"t": TREE}), MANIFESTS)) == [("t/sub/x", "t", X)]
    assert list(named.names_in(Link({}, {"t/sub/x": X}), MANIFESTS)) == [("t/sub/x", "t/sub/x", X)]
    assert list(named.names_in(Link({"t": TREE}, {}), MANIFESTS)) == []
    assert list(named.names_in(Link({}, {"t": X}), MANIFESTS)) == []


def test_content_and_kind_both_count() -> None:
    """A file is no directory of that digest; a target whose kind is not known takes either."""
    digest = MANIFEST.digest
    assert Target(digest, directory=True).is_content_of(TREE)
    assert not Target(digest).is_content_of(TREE)
    assert Target(digest, directory=None).is_content_of(TREE)
    assert not Target(sha256_hex(b"y")).is_content_of(X)
    assert Target(digest, directory=True).content == f"directory sha256:{digest}"
    assert Target(sha256_hex(b"x")).content == f"sha256:{sha256_hex(b'x')}"
    assert Target(digest, directory=True).artifact == TREE
    assert str(Target(digest)) == f"sha256:{digest}"
    assert str(Target(digest, "t")) == "t"


def test_the_json_of_a_target() -> None:
    """Its name or the path that was given, its digest, and its kind where that is known."""
    digest = sha256_hex(b"x")
    shown = {"name": None, "digest": {"sha256": digest}, "kind": "file"}
    assert Target(digest).to_json() == shown
    assert Target(digest, "m", directory=True, given="../m").to_json() == {
        **shown,
        "name": "m",
        "kind": "directory",
    }
    assert Target(digest, directory=None, given="../m").to_json() == {**shown, "name": "../m", "kind": None}


def test_evidence_of_any_version_may_name_a_target() -> None:
    """A directory has a digest for each version of the manifest, where its bytes were hashed for both."""
    older = Target(Sha256("1" * 64), directory=True, version=1)
    both = Target(Sha256("2" * 64), "m", directory=True, older=lambda: older)
    assert (Target(Sha256("2" * 64)).digests, both.digests) == (("2" * 64,), ("2" * 64, "1" * 64))
    assert (both.upgrade(Sha256("1" * 64)), both.upgrade(Sha256("3" * 64))) == ("2" * 64, None)
    assert Target(Sha256("2" * 64)).upgrade(Sha256("2" * 64)) is None
    assert (both.under(2), both.under(1)) == (both, replace(older, name="m"))
    assert older.under(2) is older
