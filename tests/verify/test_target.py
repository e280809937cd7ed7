"""A target: where in the evidence of a step it may stand."""

from __future__ import annotations

from gitchain.evidence.digest import DigestSet, sha256_hex
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
