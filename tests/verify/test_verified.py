"""What verification makes can be kept in sets and compared."""

from __future__ import annotations

from dataclasses import replace

from gitchain.evidence.gitobject import GitObject
from gitchain.verify.verified import VerifiedArtifact, VerifiedObject
from tests.support.decision_input import DecisionInput


def test_what_was_verified_can_be_kept_in_sets() -> None:
    """Claims are no part of the hash: a map has none. They are a part of what is compared."""
    one = DecisionInput.honest().evidence["train"]
    artifact = VerifiedArtifact(one.identity, one.time, one.log, {"a": "b"})
    commit = b"tree " + b"0" * 40 + b"\nauthor a <a> 0 +0000\ncommitter a <a> 0 +0000\n\nx"
    signed = VerifiedObject(GitObject.parse("commit", "0" * 40, commit), one.identity, None, None, {"a": "b"})
    for made in (one, artifact, signed):
        assert len({made, replace(made, claims={"c": "d"})}) == 2
        assert len({made, replace(made)}) == 1
