"""Directory manifests at their edges: exact limits, fixed names, and directories in any order."""

from __future__ import annotations

import itertools

import pytest

from gitchain.errors import MalformedError
from gitchain.evidence import manifest
from gitchain.evidence.digest import Sha256, sha256_hex
from gitchain.evidence.manifest import SCHEMAS, FileEntry, build_manifest, expand, to_version_2
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES

H = Sha256("ab" * 32)
FILES = tuple(FileEntry(path, False, 1, H) for path in ("a/x", "a/b/y", "a/b/c/z", "d/w"))


def test_schemas_and_media_types_never_change() -> None:
    """They are in every digest and every statement of a directory."""
    assert SCHEMAS == {1: "https://gitchain.dev/manifest/v1", 2: "https://gitchain.dev/manifest/v2"}
    assert MANIFEST_MEDIA_TYPES == {
        1: "application/vnd.gitchain.manifest.v1+json",
        2: "application/vnd.gitchain.manifest.v2+json",
    }


def test_directories_are_built_in_any_order() -> None:
    """A directory that is opened before the one below it has the same digest as after it."""
    made = [build_manifest(order) for order in itertools.permutations(FILES)]
    assert len({one.digest for one in made}) == 1
    assert sorted(one.path for one in expand(made[0].digest, made[0].nodes.get)) == sorted(
        one.path for one in FILES
    )
    with pytest.raises(MalformedError, match="both file and directory"):
        build_manifest([FileEntry("a/b", False, 1, H), *FILES])


def test_a_manifest_can_be_hashed() -> None:
    """Its nodes are a mapping, which has no hash: they follow from the digest."""
    assert len({build_manifest(FILES), build_manifest(FILES[::-1])}) == 1


def test_a_walk_goes_exactly_to_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many files and as many levels of directories as the limits say are read."""
    made = build_manifest(FILES)
    monkeypatch.setattr(manifest, "MAX_DEPTH", 3)
    assert len(list(expand(made.digest, made.nodes.get, max_files=4))) == 4


def test_to_version_2_converts_equal_directories_once() -> None:
    """Each node is fetched once, so that a manifest whose nodes name each other twice costs no more than its nodes."""
    old = build_manifest([FileEntry(f"{one}/{other}/x", True, 1, H) for one in "ab" for other in "cd"], 1)
    new = build_manifest([FileEntry(f"{one}/{other}/x", True, 1, H) for one in "ab" for other in "cd"])
    fetched: list[str] = []

    def fetch(digest: str) -> bytes | None:
        fetched.append(digest)
        return old.nodes.get(digest)

    assert to_version_2(old.digest, fetch) == new.digest
    assert sorted(fetched) == sorted(old.nodes)
    assert all(sha256_hex(node) == digest for digest, node in old.nodes.items())
