"""Sorting: which statements are read as evidence for which step, and what becomes of the others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import LAYOUT
from gitchain.layout import parse_layout
from gitchain.layout.artifact import Manifests
from gitchain.verify.authorization import Authorizer
from gitchain.verify.chain import EvidenceGroups
from gitchain.verify.classify import sort_claims
from gitchain.verify.findings import FindingCode
from gitchain.verify.verified import StepReader
from tests.support.decision_input import NOW, DecisionInput, codes, descriptor, run, verified
from tests.support.decision_variants import SUPPLIER, saying, signed_layout, summary, supplier
from tests.verify.test_negative_evidence_decisions import evaluated
from tests.verify.test_negative_evidence_decisions import world as evaluations
from tests.verify.test_vsa_steps import vendored

PRODUCTS: dict[str, Any] = {"data/raw.csv": "raw"}


def claims_of(world: DecisionInput) -> EvidenceGroups:
    authorizer = Authorizer(world.layout, world.now)
    return sort_claims(authorizer, world.evidence.values(), Manifests(world.nodes.get), StepReader())[0]


def accepted(world: DecisionInput) -> set[str]:
    return {name for name, groups in claims_of(world).groups.items() if groups}


def unreadable(who: str = "alice", **step: Any) -> Any:
    odd = Statement.build(
        [descriptor("x", "x")], "https://slsa.dev/provenance/v1", {"gitchain_step": step or {"name": 7}}
    )
    return verified(odd, who, NOW)


def test_sort_claims_lists_what_cannot_be_read_and_goes_on() -> None:
    """A malformed claim belongs to no step; the statements after it are read all the same."""
    world = DecisionInput.honest()
    world.evidence = {"odd": unreadable()} | world.evidence
    claims = claims_of(world)
    assert [(one.code, one.attested, one.expected) for one in claims.rejected] == [
        (FindingCode.MALFORMED_CLAIM, None, "")
    ]
    assert claims.rejected[0].got
    assert accepted(world) == {"data", "prepare", "train", "evaluate", "approve"}


def test_sort_claims_does_not_read_a_layout_as_evidence_for_a_step() -> None:
    """A signed layout that also says to be a step's evidence, and names a product, would stand in for a whole chain."""
    world = supplier()
    del world.evidence["layout"]
    clean = world.evidence["acme-clean"].statement
    step = {**run()["approve"].statement.predicate["gitchain_step"], "name": "data"}  # type: ignore[dict-item]
    forged = Statement.build(clean.subject, LAYOUT, {"gitchain_step": step})
    world.evidence["forged"] = verified(forged, "acme", NOW - timedelta(hours=1))
    claims = claims_of(world)
    assert claims.groups["data"] == ()
    assert not world.verdict().passed


def test_sort_claims_skips_a_layout_and_goes_on() -> None:
    """A layout among the evidence is no claim, and no reason to stop reading."""
    world = DecisionInput.honest()
    world.evidence = {"layout": signed_layout(parse_layout(SUPPLIER.encode()))} | world.evidence
    assert len(accepted(world)) == 5
    assert claims_of(world).rejected == ()


def test_sort_claims_takes_a_summary_that_names_its_step_as_that_steps() -> None:
    """What a summary says of its step goes before its verifier: approval by the vendor is no evidence for the data."""
    approve = run()["approve"].statement.predicate["gitchain_step"]
    world = vendored(summary(PRODUCTS, gitchain_step=approve))
    claims = claims_of(world)
    assert claims.groups["data"] == ()
    assert [one.attested.step.name for one in claims.rejected if one.attested] == ["approve"]


def test_sort_claims_takes_a_summary_without_a_verifier_as_no_steps() -> None:
    """Steps without a verifier do not become its steps."""
    claims = claims_of(vendored(summary(PRODUCTS, verifier=None)))
    assert claims.rejected == ()
    assert claims.groups["data"] == ()


def test_an_unreadable_statement_speaks_against_what_its_type_may_reject() -> None:
    """A summary that cannot be read denies its subjects; a statement of another type than the step's does not."""
    odd = saying(summary(PRODUCTS), gitchain_step={"name": 7})
    assert ("DENIED", "prepare", "data/raw.csv") in codes(vendored(summary(PRODUCTS), odd).verdict())
    honest = evaluations(evaluated(0.95))
    assert honest.verdict().passed
    other = Statement.build(
        evaluated(0.95).statement.subject, "https://example.com/other/v1", {"gitchain_step": {"name": 7}}
    )
    honest.evidence["odd"] = verified(other, "alice", NOW)
    assert honest.verdict().passed
