"""Negative evidence, one function at a time: what a statement is about, what is taken back, what a directory hides."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from gitchain.evidence.claim import claim_of
from gitchain.layout import parse_layout
from gitchain.layout.artifact import Link, Manifests
from gitchain.verify.authorization import Authorizer
from gitchain.verify.findings import FindingCode
from gitchain.verify.negative_evidence import (
    NegativeEvidence,
    Rejection,
    contents_of,
    digests_about,
    standing,
)
from gitchain.verify.revocations import Revocations
from gitchain.verify.verified import StepStatement
from tests.support.decision_input import LAYOUT, NOW, DecisionInput, descriptor, directory, statement
from tests.support.decision_variants import revoked

NOTHING = Manifests(lambda _: None)
MODEL, OTHER = (NOTHING.artifact(descriptor("x", text)) for text in ("model", "other"))
HOUR = timedelta(hours=1)


def train(hours: int) -> StepStatement:
    """Return a training that counts for alice, this many hours after NOW."""
    one = statement("train", {}, {"m": "model"}, at=NOW + hours * HOUR)
    step = DecisionInput().layout.step("train")
    return StepStatement(step, one, claim_of(one.statement), Link({}, {"m": MODEL}), "alice", "alice")


def rejection(*artifacts: object) -> Rejection:
    about = frozenset(pair for one in artifacts or (MODEL,) for pair in one.digests)  # type: ignore[attr-defined]
    return Rejection("train", "alice", statement("train", {}, {"m": "model"}, at=NOW), about, "is bad")


def test_digests_about_are_the_products_or_else_the_materials() -> None:
    """A statement that made something speaks of that alone; an evaluation speaks of what it took."""
    assert digests_about(Link({"a": OTHER}, {"m": MODEL})) == frozenset(MODEL.digests)
    assert digests_about(Link({"a": OTHER}, {})) == frozenset(OTHER.digests)


@pytest.mark.parametrize(
    ("hours", "stands"),
    [([], True), ([-1], True), ([0], True), ([1], False), ([-1, 1], False), ([1, -1], False)],
)
def test_standing_rejection_is_taken_back_by_the_signer_s_newest_statement(
    hours: Sequence[int], *, stands: bool
) -> None:
    """A later one takes it back, whatever else the signer said before and in whichever order it is read."""
    found = standing([rejection()], [train(one) for one in hours])
    assert bool(found) is stands


def negative(
    *rejected: dict[object, list[Rejection]], revocations: Sequence[Revocations] = ()
) -> NegativeEvidence:
    return NegativeEvidence(Authorizer(DecisionInput().layout, NOW, revocations), NOTHING, rejected)  # type: ignore[arg-type]


def codes_of(found: NegativeEvidence, link: Link) -> list[FindingCode]:
    reasons = found.faults(DecisionInput().layout.step("train"), link)
    return [one.code for one in reasons()] if reasons else []


def test_faults_tell_a_rejection_once_however_many_artifacts_it_is_about() -> None:
    """One statement that rejects two files of a step is one reason."""
    known = standing([rejection(MODEL, OTHER)], [])
    link = Link({"a": OTHER}, {"m": MODEL})
    rejected: tuple[Any, ...]
    for rejected in ((known,), (known, {}), ({}, known)):
        assert codes_of(negative(*rejected), link) == [FindingCode.DENIED]
    assert codes_of(negative(), link) == []


def test_faults_see_what_any_of_several_layouts_revoked() -> None:
    """The revocations of the layouts around count like the layout's own, whichever of them is first."""
    layout = parse_layout(LAYOUT.replace("steps:\n", "revokers: [carol]\nsteps:\n", 1).encode())
    gone = Revocations.of(layout, [revoked({"x": "model"}, who="carol")], NOW)
    none = Revocations.of(layout, [], NOW)
    link = Link({}, {"m": MODEL})
    for both in ((gone, none), (none, gone), (gone,)):
        assert codes_of(negative(revocations=both), link) == [FindingCode.REVOKED_ARTIFACT]
    assert codes_of(negative(revocations=(none, none)), link) == []


@pytest.mark.parametrize("closed", ["a", "b"])
def test_contents_of_a_directory_are_closed_by_any_manifest_that_is_missing(closed: str) -> None:
    """One open directory beside a closed one does not hide that something may be in the closed one."""
    whole = directory(**{"a/x": "1", "b/y": "2"})
    top = NOTHING.artifact(descriptor("d", whole))
    assert contents_of(top, Manifests(whole.nodes.get))[1] is False
    inner = directory(**{{"a": "x", "b": "y"}[closed]: {"a": "1", "b": "2"}[closed]}).digest
    assert inner in whole.nodes
    nodes = {digest: node for digest, node in whole.nodes.items() if digest != inner}
    assert contents_of(top, Manifests(nodes.get))[1] is True
