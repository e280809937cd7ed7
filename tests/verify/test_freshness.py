"""Freshness: a layout that asks for a new signed checkpoint of the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitchain.errors import LayoutError
from gitchain.evidence.statement import Statement
from gitchain.layout import Layout, parse_layout
from gitchain.verify.freshness import check_freshness, newest_checkpoint
from gitchain.verify.revocations import Revocations
from gitchain.verify.verified import NEVER, LogRef, VerifiedStatement
from tests.support.decision_input import LAYOUT, NOW, DecisionInput, codes, verified
from tests.support.decision_variants import POINT, SUPPLIER, checkpoint, fresh, revoked, supplier

WEEK = timedelta(days=7)


def world(*more: VerifiedStatement) -> DecisionInput:
    found = DecisionInput.honest().change(fresh)
    found.evidence |= {f"more{number}": one for number, one in enumerate(more)}
    return found


@pytest.mark.parametrize(
    ("age", "passes"),
    [(timedelta(), True), (WEEK, True), (WEEK + timedelta(seconds=1), False), (timedelta(minutes=-5), True),
     (timedelta(minutes=-6), False)],
    ids=str,
)  # fmt: skip
def test_check_freshness(age: timedelta, *, passes: bool) -> None:
    """To the second; a checkpoint ahead of the clock does not count."""
    decision = world(checkpoint(age=age)).verdict(explain=True)
    assert decision.passed is passes
    (check,) = (one for one in decision.checks if one.kind == "freshness")
    assert (check.passed, check.basis) == (passes, "proven")
    assert passes or codes(decision) == [("NOT_FRESH", "", "")]


def test_the_newest_checkpoint_counts() -> None:
    """An old one beside a new one changes nothing, and the finding names the newest of old ones."""
    old, older = checkpoint(age=2 * WEEK), checkpoint("bob", age=3 * WEEK)
    assert world(old, checkpoint()).verdict().passed
    (finding,) = world(old, older).verdict().findings
    assert finding.got == (NOW - 2 * WEEK).isoformat()
    assert finding.expected == f"a checkpoint signed not before {(NOW - WEEK).isoformat()}"
    assert "older than layout credit-model allows" in finding.message


def malformed() -> VerifiedStatement:
    predicate = {**POINT.predicate, "more": True}
    return verified(Statement.build(POINT.subject, POINT.predicate_type, predicate), "alice", NOW)


@pytest.mark.parametrize(
    "more",
    [
        (),
        (checkpoint("mallory"),),
        (malformed(),),
        (checkpoint(), revoked(checkpoint(), who="carol")),
        (checkpoint(), revoked("alice", who="carol", since=NOW - timedelta(hours=1))),
        (replace(checkpoint(), log=LogRef("log.example", 0, NEVER)),),
    ],
    ids=["none", "stranger", "malformed", "revoked", "revoked signer", "not cosigned"],
)
def test_what_is_no_checkpoint_that_counts(more: tuple[VerifiedStatement, ...]) -> None:
    """Nothing passes, and the finding says that there is none."""
    decision = world(*more).verdict()
    found = [one for one in decision.findings if one.code.name == "NOT_FRESH"]
    assert [(one.got, "has no signed checkpoint" in one.message) for one in found] == [("none", True)]
    assert not decision.passed


def test_a_layout_that_asks_for_nothing_needs_no_checkpoint() -> None:
    """As before."""
    found = DecisionInput.honest()
    assert found.verdict(explain=True).passed
    assert check_freshness(found.layout, (), (), NOW) is None
    assert "freshness" not in {one.kind for one in found.verdict(explain=True).checks}


def test_a_suppliers_layout_asks_for_its_own_checkpoint() -> None:
    """By one of the supplier's functionaries: the consumer's does not count for it."""
    found = supplier(SUPPLIER.replace("functionaries:", "freshness: P7D\nfunctionaries:", 1))
    assert "NOT_FRESH" in {code for code, _, _ in codes(found.verdict())}
    found.evidence["point"] = checkpoint("alice")
    assert not found.verdict().passed
    found.evidence["point"] = checkpoint("otto")
    assert found.verdict().passed


def layout(freshness: str) -> Layout:
    return parse_layout(fresh(LAYOUT).replace("P7D", freshness).encode())


def test_freshness_is_read_and_written() -> None:
    """A duration in days and hours, longer than nothing; parsing what is written gives an equal layout."""
    assert layout("P1DT12H").freshness == timedelta(hours=36)
    assert layout("P1DT12H").to_json()["freshness"] == "P1DT12H"
    assert "freshness" not in parse_layout(LAYOUT.encode()).to_json()
    for wrong in ("P0D", "7", "P7W", "-P1D"):
        with pytest.raises(LayoutError, match=r"freshness|duration"):
            layout(wrong)


def test_one_of_several_revocations_is_enough() -> None:
    """A layout that stands in another one has the revocations of both: either takes a checkpoint away."""
    layout = parse_layout(fresh(LAYOUT).encode())
    point = checkpoint()
    none, gone = Revocations.of(layout, [], NOW), Revocations.of(layout, [revoked(point, who="carol")], NOW)
    assert newest_checkpoint(layout, (none, none), [point], NOW) == point.time
    for both in ((none, gone), (gone, none)):
        assert newest_checkpoint(layout, both, [point], NOW) is None
