"""Predicates at their edges: the longest texts, ids of both lengths, every result."""

from __future__ import annotations

import pytest

from gitchain.errors import MalformedError
from gitchain.evidence.digest import Sha256
from gitchain.evidence.predicates import VersionArtifact, svr, test_result, version

WHEN = "2026-11-22T12:00:00Z"


def test_every_result_of_a_test_can_be_written() -> None:
    """Warnings and failures are results; a result with failures is not PASSED."""
    assert test_result(result="WARNED", configuration=[], warned=["a"])["warnedTests"] == ["a"]
    assert test_result(result="FAILED", configuration=[], failed=["a"])["result"] == "FAILED"
    with pytest.raises(MalformedError, match="PASSED although tests failed"):
        test_result(result="PASSED", configuration=[], failed=["a"])


def test_a_property_has_at_most_200_characters() -> None:
    """The longest is written, one more character is refused."""
    assert svr(verifier="https://v", created=WHEN, properties=["p" * 200])["properties"] == ["p" * 200]
    with pytest.raises(MalformedError):
        svr(verifier="https://v", created=WHEN, properties=["p" * 201])


@pytest.mark.parametrize(("length", "good"), [(39, False), (40, True), (41, False), (64, True), (65, False)])
def test_a_commit_s_id_is_sha_1_or_sha_256(length: int, good: bool) -> None:
    """40 or 64 digits; the tree's id, too."""
    for ids in (("a" * length, "b" * 40), ("a" * 40, "b" * length)):
        if good:
            made = version(commit=ids[0], tree=ids[1], commit_sha256=Sha256("c" * 64), artifacts=[])
            assert (made["commit"], made["tree"]) == ids
        else:
            with pytest.raises(MalformedError):
                version(commit=ids[0], tree=ids[1], commit_sha256=Sha256("c" * 64), artifacts=[])


def test_a_tracked_artifact_has_a_name_and_a_file_that_defines_it() -> None:
    """Both are paths below the repository's root."""
    for names in (("../x", "dvc.lock"), ("x", "../dvc.lock")):
        with pytest.raises(MalformedError):
            VersionArtifact(*names)
