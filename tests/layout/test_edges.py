"""Corners of rules and artifacts that few layouts reach."""

from __future__ import annotations

import pytest

from gitchain.errors import LayoutError
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.layout import artifact as artifact_module
from gitchain.layout.artifact import Artifact, Link, Manifests, contents
from gitchain.layout.rule import parse_rule
from gitchain.layout.rules import match_name


def test_an_artifact_equals_artifacts_alone() -> None:
    """Comparing with anything else is left to the other side, and is unequal."""
    one = Artifact(DigestSet({"sha256": "0" * 64}))
    assert one != "0" * 64
    assert one.__eq__("0" * 64) is NotImplemented


def test_a_directory_beyond_the_limit_has_no_list_of_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many files to list are compared by rules alone: None, which never says that nothing is in common."""
    manifest = build_manifest(FileEntry(f"f{n}", False, 1, sha256_hex(bytes([n]))) for n in range(9))
    manifests = Manifests(manifest.nodes.get)
    directory = Artifact(DigestSet({"sha256": manifest.digest}), directory=True)
    whole = manifests.tree(directory, 10)
    assert whole is not None
    assert len(whole) == 10
    assert manifests.tree(directory, 9) is None
    link = Link({}, {"d": directory})
    assert len(contents(link, manifests) or ()) == 10
    monkeypatch.setattr(artifact_module, "MAX_CONTENTS", 9)
    assert contents(link, manifests) is None
    files = {str(n): Artifact(DigestSet({"sha256": sha256_hex(bytes([n]))})) for n in range(11)}
    assert contents(Link(files, {}), manifests) is None


@pytest.mark.parametrize(
    "tokens",
    [
        ["MATCH", "x"],
        ["MATCH", "x", "WITH"],
        ["MATCH", "x", "WITH", "PRODUCTS", "FROM"],
        ["MATCH", "x", "WITH", "PRODUCTS", "FROM", ""],
        ["MATCH", "x", "WITH", "PRODUCTS", "FROM", "a\x00b"],
        ["MATCH", "x", "IN", "", "WITH", "PRODUCTS", "FROM", "a"],
    ],
    ids=range(6),
)
def test_a_match_that_is_cut_short_is_refused(tokens: list[str]) -> None:
    """Every part has its value, and the step a name that a step can have."""
    with pytest.raises(LayoutError):
        parse_rule(tokens)


def test_a_required_name_may_be_a_uri() -> None:
    """What provenance names by uri alone can be required by it."""
    assert parse_rule(["REQUIRE", "pkg:pypi/x@1"]).pattern == "pkg:pypi/x@1"


@pytest.mark.parametrize(
    ("rule", "name", "found"),
    [
        ("MATCH * IN a WITH PRODUCTS IN b FROM s", "a/x", "b/x"),
        ("MATCH * IN a WITH PRODUCTS FROM s", "a/x", "x"),
        ("MATCH * IN a WITH PRODUCTS FROM s", "ab/x", None),
        ("MATCH y IN a WITH PRODUCTS FROM s", "a/x", None),
        ("MATCH x WITH PRODUCTS FROM s", "x", "x"),
        ("ALLOW x", "x", None),
    ],
    ids=range(6),
)
def test_where_a_match_looks(rule: str, name: str, found: str | None) -> None:
    """The source prefix is taken off, the other put on; no pattern applies to either."""
    assert match_name(parse_rule(rule.split()), name) == found
