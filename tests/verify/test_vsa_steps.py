"""A verification summary in place of the chain behind a step: whose, about what, and that it says PASSED."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gitchain.layout.model import Identity
from gitchain.verify.verified import VerifiedStatement
from tests.support.decision_input import NOW, DecisionInput, codes, run, statement
from tests.support.decision_variants import by, saying, summary, supplied, supplier, with_supplier

VERIFIER = "https://vendor.example/verifier"


def vendored(*evidence: VerifiedStatement, more: str = "") -> DecisionInput:
    """The honest world in which a vendor's summary stands behind the data."""
    behind = f"""predicateType: https://slsa.dev/verification_summary/v1
    verifier: {VERIFIER}{more}"""
    world = DecisionInput(run()).change(lambda text: with_supplier(text, behind).replace("acme", "vendor"))
    del world.evidence["data"]
    world.evidence |= {f"vsa{number}": one for number, one in enumerate(evidence)}
    return world


def test_a_summary_stands_behind_the_step() -> None:
    """It names no step of ours: its verifier says for which step it counts. Its subjects are the products."""
    decision = vendored(summary({"data/raw.csv": "raw"})).verdict(explain=True)
    assert decision.passed, decision.findings
    report = decision.steps[0]
    assert (report.name, report.functionaries, report.evidence) == ("data", ("vendor",), None)
    kinds = [(one.kind, one.passed) for one in decision.checks if one.step == "data"]
    assert kinds[:8] == [
        ("evidence", True),
        ("layout", True),
        ("predicate type", True),
        ("verifier", True),
        ("result", True),
        ("summary", True),
        ("resource", True),
        ("summary", True),
    ]


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        (summary({"data/raw.csv": "raw"}, result="FAILED"), "NOT_PASSED"),
        (summary({"data/raw.csv": "raw"}, result="passed"), "NOT_PASSED"),
        (summary({"data/raw.csv": "raw"}, result=True), "NOT_PASSED"),
        (summary({"data/raw.csv": "raw"}, result=["PASSED"]), "NOT_PASSED"),
        (summary({"data/raw.csv": "raw"}, who="mallory"), "UNAUTHORISED"),
        (summary({"data/raw.csv": "raw"}, verifier={"id": "https://evil.example"}), "STEP_MISSING"),
        (summary({"data/raw.csv": "raw"}, verifier={"id": ["x"]}), "STEP_MISSING"),
        (summary({"data/raw.csv": "raw"}, verifier="https://vendor.example/verifier"), "STEP_MISSING"),
        (summary({"data/raw.csv": "raw"}, verifier={"id": f"{VERIFIER}/"}), "STEP_MISSING"),
    ],
    ids=["failed", "lower case", "true", "list", "stranger", "verifier", "no id", "no verifier", "longer id"],
)
def test_only_the_named_verifiers_passed_counts(evidence: VerifiedStatement, code: str) -> None:
    """Another verifier, another signer, another result: nothing stands behind the step."""
    found = codes(vendored(evidence).verdict())
    denied = [("DENIED", "prepare", "data/raw.csv")] if code == "NOT_PASSED" else []
    assert found == [(code, "data", ""), *denied]


def test_a_summary_of_something_else_ties_to_nothing() -> None:
    """It vouches for what it names by digest and for nothing else."""
    decision = vendored(summary({"data/raw.csv": "other"})).verdict()
    assert codes(decision) == [("MISMATCH", "prepare", "data/raw.csv")]


def test_a_summary_that_names_a_step_counts_for_that_step_alone() -> None:
    """With our step facts a summary is bound to its step, layout and verifier like any evidence."""
    named = {"name": "data", "run": "r", "evidence": "observed", "layout": "credit-model"}
    right = summary({"data/raw.csv": "raw"}, gitchain_step=named)
    assert vendored(right).verdict().passed
    for wrong, code in (
        ({**named, "name": "prepare"}, "STEP_MISSING"),
        ({**named, "name": "elsewhere"}, "STEP_MISSING"),
        ({**named, "layout": "other"}, "OTHER_LAYOUT"),
    ):
        found = codes(vendored(summary({"data/raw.csv": "raw"}, gitchain_step=wrong)).verdict())
        assert (code, "data", "") in found
    for said, got in (
        ({"id": "https://evil.example"}, "https://evil.example"),
        ({"id": ["x"]}, "no verifier"),
    ):
        one = summary({"data/raw.csv": "raw"}, gitchain_step=named, verifier=said)
        assert got in {finding.got for finding in vendored(one).verdict().findings}
    other = summary({"data/raw.csv": "raw"}, gitchain_step=named, verifier={"id": "https://evil.example"})
    assert codes(vendored(other).verdict()) == [("VERIFIER", "data", "")]


def test_a_summary_can_grow_stale_and_be_constrained() -> None:
    """maxAge and constraints see a summary as they see any evidence."""
    old = summary({"data/raw.csv": "raw"}, timeVerified="2026-11-22T11:00:00Z")
    old = by(old, Identity(old.identity.issuer, "vendor"))
    stale = vendored(old, more="\n    maxAge: PT1H")
    assert stale.verdict().passed
    stale.now = NOW + timedelta(seconds=1)
    assert codes(stale.verdict()) == [("STALE", "data", "")]
    level = (
        "\n    constraints: [{name: level, expression: \"'SLSA_BUILD_LEVEL_3' in predicate.verifiedLevels\"}]"
    )
    assert ("CONSTRAINT", "data", "") in codes(vendored(old, more=level).verdict())


def test_evidence_of_another_type_does_not_count_as_a_summary() -> None:
    """Provenance for the step is no summary."""
    direct = statement("data", {}, {"data/raw.csv": "raw"}, who="carol", evidence="declared")
    assert codes(vendored(direct).verdict()) == [("PREDICATE_TYPE", "data", "")]


def test_a_summary_may_stand_inside_another_layout() -> None:
    """It cannot name that layout; its verifier does for it."""
    world = supplier(
        SUPPLIER_WITH_SUMMARY,
    )
    del world.evidence["acme-collect"]
    world.evidence["vsa"] = summary({"raw/all.csv": "all raw"}, who="anna")
    assert world.verdict().passed, world.verdict().findings
    del world.evidence["vsa"]
    assert not world.verdict().passed
    assert saying(supplied()["clean"]).identity.subject == "otto"


SUPPLIER_WITH_SUMMARY = f"""
schema: https://gitchain.dev/layout/v1
name: acme-data
version: 2
expires: "2027-01-01T00:00:00Z"
functionaries:
  anna: {{identities: [{{issuer: "https://issuer.example", subject: anna}}]}}
  otto: {{identities: [{{issuer: "https://issuer.example", subject: otto}}]}}
steps:
  - name: collect
    functionaries: [anna]
    predicateType: https://slsa.dev/verification_summary/v1
    verifier: {VERIFIER}
    expectedProducts: [[REQUIRE, raw/all.csv], [ALLOW, "raw/*"], [DISALLOW, "*"]]
  - name: clean
    functionaries: [otto]
    expectedMaterials: [[REQUIRE, raw/all.csv], [MATCH, "raw/*", WITH, PRODUCTS, FROM, collect], [DISALLOW, "*"]]
    expectedProducts: [[REQUIRE, data/raw.csv], [CREATE, "data/*"], [DISALLOW, "*"]]
serve: [{{step: clean, products: ["data/*"]}}]
"""
