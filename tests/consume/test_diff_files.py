"""How `gitchain diff` compares directories: file by file, bounded, and across versions of manifests."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gitchain.consume import diff_files
from gitchain.consume.diff_files import FileComparison
from gitchain.consume.diff_sides import SideStep
from gitchain.consume.diff_values import Group
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.manifest import FileEntry, Manifest, build_manifest
from gitchain.evidence.predicates import PROVENANCE, StepFacts, provenance
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES, ManifestVersion
from gitchain.layout.artifact import Manifests

EMPTY: tuple[set[tuple[str | None, str]], set[tuple[str | None, str]]] = (set(), set())


def manifest(files: Mapping[str, str], version: ManifestVersion = 2) -> Manifest:
    entries = (
        FileEntry(name, False, len(content), sha256_hex(content.encode())) for name, content in files.items()
    )
    return build_manifest(entries, version)


def step(*items: ResourceDescriptor) -> SideStep:
    facts = StepFacts("prepare", "1", "observed")
    made = Statement.build(list(items), PROVENANCE, provenance(step=facts, materials=()))
    return SideStep("prepare", "observed", (), (made,))


def directory(made: Manifest) -> ResourceDescriptor:
    digest = DigestSet({"sha256": made.digest})
    return ResourceDescriptor("data", digest, media_type=MANIFEST_MEDIA_TYPES[made.version])


def compared(old: Manifest, new: Manifest, nodes: Mapping[str, bytes]) -> Group:
    comparison = FileComparison(Manifests(nodes.get))
    return comparison.group([step(directory(old))], [step(directory(new))], EMPTY)


def test_directory_without_its_manifest_is_one_change() -> None:
    """Files of a directory whose manifest is not stored cannot be listed: its digest is compared."""
    old, new = manifest({"a": "1", "b": "2"}), manifest({"a": "1", "b": "3"})
    (change,) = compared(old, new, old.nodes).changes
    assert (change.name, change.a, change.b) == (
        "data",
        f"directory sha256:{old.digest}",
        f"directory sha256:{new.digest}",
    )
    assert [one.name for one in compared(old, new, {**old.nodes, **new.nodes}).changes] == ["data/b"]


def test_directory_under_two_versions_of_manifests_is_the_same() -> None:
    """The same files have another digest under each version of manifests; they do not differ."""
    files = {"a": "1", "deep/b": "2"}
    old, new = manifest(files, 1), manifest(files)
    assert old.digest != new.digest
    assert compared(old, new, {**old.nodes, **new.nodes}).changes == ()
    other = manifest(files | {"deep/b": "3"})
    found = compared(old, other, {**old.nodes, **other.nodes}).changes
    assert [one.name for one in found] == ["data/deep/b"]


def test_listed_files_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond MAX_LISTED files of directories the group is marked as not complete."""
    monkeypatch.setattr(diff_files, "MAX_LISTED", 5)
    old, new = (manifest({f"{number}": content for number in range(9)}) for content in ("1", "2"))
    group = compared(old, new, {**old.nodes, **new.nodes})
    assert (len(group.changes), group.complete, group.to_json()["complete"]) == (5, False, False)


def test_imported_material_is_compared_by_what_fixes_it() -> None:
    """A material with a URI has a digest, or the annotation that fixes its content, or neither."""
    url = "https://example.com/data.csv"
    items = [
        ResourceDescriptor(None, DigestSet({"gitCommit": "a" * 40}), "git+https://example.com/d"),
        ResourceDescriptor(None, DigestSet(), url, annotations={"etag": "1"}),
        ResourceDescriptor(None, DigestSet(), url, annotations={"etag": "2"}),
        ResourceDescriptor(None, DigestSet(), url),
    ]
    model = ResourceDescriptor("m", DigestSet({"sha256": "0" * 64}))
    sides = []
    for item in items:
        facts = StepFacts("prepare", "1", "observed")
        made = Statement.build([model], PROVENANCE, provenance(step=facts, materials=[item]))
        sides.append([SideStep("prepare", "observed", (), (made,))])
    comparison = FileComparison(Manifests(lambda _digest: None))
    (changed,) = comparison.group(sides[1], sides[2], EMPTY).changes
    assert (changed.name, changed.a, changed.b) == (url, "etag 1", "etag 2")
    (unfixed,) = comparison.group(sides[1], sides[3], EMPTY).changes
    assert unfixed.b == "without a digest"
    assert {one.kind for one in comparison.group(sides[0], sides[1], EMPTY).changes} == {"added", "removed"}
