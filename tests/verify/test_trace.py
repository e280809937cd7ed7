"""--explain: every check that was made, in order, who signed, and the way from the model to the broken link."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.evidence.statement import Statement
from gitchain.verify.chain import Chain, Chains
from gitchain.verify.decide import Decision, decide
from gitchain.verify.findings import FindingCode
from gitchain.verify.report import ReportedCheck
from gitchain.verify.step_diagnostics import MAX_PER_STEP
from tests.support.decision_input import (
    NOW,
    PREPARED,
    DecisionInput,
    codes,
    descriptor,
    model,
    run,
    statement,
    verified,
)
from tests.support.decision_variants import revoked, summary
from tests.verify.test_vsa_steps import vendored

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "verify.schema.json").read_text())


def failed(decision: Decision) -> list[tuple[str, str]]:
    return [(check.kind, check.step) for check in decision.checks if not check.passed]


def of(decision: Decision, kind: str, step: str = "") -> list[ReportedCheck]:
    return [check for check in decision.checks if check.kind == kind and check.step == step]


def test_a_pass_lists_every_check_in_order() -> None:
    """Layout first, then each step in the layout's order, then the target; all passed."""
    decision = DecisionInput.honest().verdict(explain=True)
    kinds = [check.kind for check in decision.checks if check.step in {"", "data"}]
    assert kinds == [
        *("signature", "expiry", "revocation", "evidence", "layout", "predicate type", "functionary", "time"),
        *("revocation", "revocation", "strength", "threshold", "fault", "rule", "rule", "rule", "chain"),
    ]
    steps = [check.step for check in decision.checks if check.kind == "evidence"]
    assert steps == ["data", "prepare", "train", "evaluate", "approve"]
    assert all(check.passed for check in decision.checks)
    assert decision.path == ()


def test_each_check_says_what_was_compared_and_by_whose_word() -> None:
    """A rule lists what it took, an edge what it ties, a condition both sides; evidence who, when, where logged."""
    decision = DecisionInput.honest().verdict(explain=True)
    rules = {check.expected: check.artifacts for check in of(decision, "rule", "prepare")}
    assert rules["MATCH data/raw.csv WITH PRODUCTS FROM data"] == ("data/raw.csv",)
    assert rules["ALLOW src/*"] == ("src/p.py",)
    assert [(one.got, one.artifacts) for one in of(decision, "edge", "train")] == [
        ("prepare", ("data/prepared/train.csv",))
    ]
    [who] = of(decision, "functionary", "approve")
    assert "bob" in who.expected
    assert "carol" in who.expected
    assert who.got.startswith("bob")
    [evidence] = of(decision, "evidence", "approve")
    [one] = evidence.attestations
    approve = run()["approve"]
    assert (one.id, one.signer, one.time) == (approve.attestation_id, approve.identity, approve.time)
    assert (one.origin, one.index) == (approve.log.origin, approve.log.index)
    assert of(decision, "age", "approve")[0].passed
    assert not of(decision, "age", "train")
    assert of(decision, "serve", "train")[0].attestations[0].id == run()["train"].attestation_id


def test_a_failure_lists_what_passed_and_what_did_not() -> None:
    """The rule that refused, the edge that is missing, the step that is absent; and the path to the first break."""
    world = DecisionInput.honest()
    world.evidence["prepare"] = statement("prepare", {"data/raw.csv": "x"}, {"data/prepared": PREPARED})
    del world.evidence["approve"]
    decision = world.verdict(explain=True)
    assert failed(decision) == [
        ("edge", "data"),
        ("rule", "prepare"),
        ("edge", "prepare"),
        ("evidence", "approve"),
        ("chain", "approve"),
    ]
    assert decision.path == ("train", "prepare")
    refused = next(check for check in decision.checks if check.kind == "rule" and not check.passed)
    assert (refused.expected, refused.artifacts) == ("DISALLOW *", ("data/raw.csv",))


def test_evidence_that_does_not_count_is_asked_in_turn() -> None:
    """A stranger's attestation: what it is passes up to who signed it; nothing after that is asked."""
    world = DecisionInput.honest()
    world.evidence["evaluate"] = statement(
        "evaluate", {"models/model.pkl": "model 1"}, {"metrics.json": "metrics 1"}, who="mallory"
    )
    decision = world.verdict(explain=True)
    about = [(check.kind, check.passed) for check in decision.checks if check.step == "evaluate"]
    asked = [("layout", True), ("predicate type", True), ("functionary", False)]
    assert about == [("evidence", False), *asked, ("chain", False)]
    assert decision.path == ("train", "evaluate")


def test_a_short_threshold_is_a_failed_check() -> None:
    """Who signed, how many are asked for, and what was rejected beside them."""
    world = DecisionInput.honest().change(
        lambda text: text.replace(
            "functionaries: [bob, carol]\n", "functionaries: [bob, carol]\n    threshold: 2\n"
        )
    )
    world.evidence["stranger"] = statement("approve", {"metrics.json": "metrics 1"}, who="mallory")
    decision = world.verdict(explain=True)
    [threshold] = of(decision, "threshold", "approve")
    assert (threshold.passed, threshold.expected, threshold.got) == (False, "2 of bob, carol", "bob")
    assert ("functionary", "approve") in failed(decision)


def test_an_unknown_target_is_a_failed_check() -> None:
    """Nothing made it: the path is the step that should have, or empty where no finding names a step."""
    decision = DecisionInput.honest().verdict(model("other"), explain=True)
    assert failed(decision) == [("serve", ""), ("chain", "train")]
    assert decision.path == ("train",)
    nothing = DecisionInput().verdict(explain=True)
    assert nothing.path == ()
    assert ("serve", "") in failed(nothing)


def test_a_closed_directory_is_the_rules_fault() -> None:
    """A list that has to be opened and cannot: the rule that reaches inside is the one that failed."""
    world = DecisionInput.honest().change(
        lambda text: text.replace(
            "[CREATE, data/prepared], [DISALLOW", '[CREATE, "data/prepared/*"], [DISALLOW'
        )
    )
    world.nodes.clear()
    decision = world.verdict(explain=True)
    refused = [check for check in of(decision, "rule", "prepare") if not check.passed]
    assert refused[0].expected == "CREATE data/prepared/*"
    assert refused[0].artifacts == ("data/prepared",)
    assert {one.message for one in decision.findings} >= {
        f"rules of step {step} reach into data/prepared, whose manifest is missing"
        for step in ("prepare", "train")
    }


@pytest.mark.parametrize("target", ["model 1", "other"])
def test_the_checks_are_json_under_the_schema(target: str) -> None:
    """With explain the document holds checks and path, without neither; both are valid, the rest is the same."""
    world = DecisionInput.honest()
    documents = [
        json.loads(json.dumps(world.verdict(model(target), explain=on).to_json())) for on in (True, False)
    ]
    for document in documents:
        Draft202012Validator(SCHEMA).validate(document)
    explained, plain = documents
    assert len(explained.pop("checks")) > 3
    assert explained.keys() - plain.keys() == {"path", "unknown"}
    assert explained | plain == explained


def test_a_decision_cannot_contradict_its_checks() -> None:
    """PASSED with a failed check, or FAILED with none, cannot be built."""
    decision = DecisionInput.honest().verdict(explain=True)
    bad = ReportedCheck("rule", passed=False, message="x")
    with pytest.raises(ValueError, match="contradicts its own checks"):
        Decision("PASSED", decision.target, decision.signed, NOW, decision.steps, (), (*decision.checks, bad))
    wrong = DecisionInput.honest().verdict(model("other"), explain=True)
    good = tuple(check for check in wrong.checks if check.passed)
    with pytest.raises(ValueError, match="contradicts its own checks"):
        Decision("FAILED", wrong.target, wrong.signed, NOW, (), wrong.findings, good)


def test_the_verdict_is_the_same_when_asked_why() -> None:
    """Explaining changes nothing but what is told."""
    world = DecisionInput.honest()
    assert codes(world.verdict(model("x"))) == codes(world.verdict(model("x"), explain=True))
    assert decide.__kwdefaults__ == {"explain": False, "beside": ()}


def test_enough_people_are_enough_where_something_else_forbids_the_evidence() -> None:
    """A rejection of what a step took is a fault of its own: one of one signed, which nobody calls too few."""
    world = vendored(summary({"data/raw.csv": "raw"}, result="FAILED"))
    decision = world.verdict(explain=True)
    assert [(one.passed, one.message) for one in of(decision, "threshold", "prepare")] == [
        (True, "enough people signed for step prepare: 1 of 1")
    ]
    assert ("fault", "prepare") in failed(decision)


def test_a_short_threshold_lists_each_of_the_people_who_signed() -> None:
    """Two of three signed: both are named, in order."""
    world = DecisionInput.honest().change(
        lambda text: text.replace(
            "functionaries: [bob, carol]\n", "functionaries: [alice, bob, carol]\n    threshold: 3\n"
        )
    )
    world.evidence["again"] = statement("approve", {"metrics.json": "metrics 1"}, who="carol")
    [threshold] = of(world.verdict(explain=True), "threshold", "approve")
    assert (threshold.expected, threshold.got) == ("3 of alice, bob, carol", "bob, carol")


def test_explain_counts_all_that_was_revoked() -> None:
    """Attestations, signers and artifacts together."""
    world = DecisionInput.honest().change(
        lambda text: text.replace("steps:\n", "revokers: [carol]\nsteps:\n", 1)
    )
    unused = [statement("train", {}, {"m": name}) for name in ("x", "y", "z")]
    gone: list[Any] = [*unused, "mallory", "eve", {"m": "revoked"}]
    world.evidence |= {f"gone{at}": revoked(one, who="carol") for at, one in enumerate(gone)}
    got = [one.got for one in of(world.verdict(explain=True), "revocation")]
    assert got == ["6 attestations, signers and artifacts revoked"]


def test_explain_asks_the_newest_of_what_does_not_count() -> None:
    """Of many strangers' attestations the newest MAX_PER_STEP are gone through, the newest first."""
    world = DecisionInput.honest()
    del world.evidence["evaluate"]
    for number in reversed(range(MAX_PER_STEP + 2)):
        at = NOW - timedelta(minutes=number)
        materials = {"models/model.pkl": "model 1"}
        one = statement("evaluate", materials, {"metrics.json": "m"}, who=f"mallory{number}", at=at)
        world.evidence[f"odd{number}"] = one
    asked = of(world.verdict(explain=True), "functionary", "evaluate")
    assert [one.got.split()[0] for one in asked] == [f"mallory{number}" for number in range(MAX_PER_STEP)]


def test_explain_of_an_unknown_target_asks_the_newest_evidence_that_counts() -> None:
    """No chain says which: the newest is what the person is working on."""
    world = DecisionInput.honest()
    later = statement(
        "evaluate", {"models/model.pkl": "model 2"}, {"metrics.json": "m"}, at=NOW - timedelta(minutes=1)
    )
    for evidence in ({"later": later, **world.evidence}, {**world.evidence, "later": later}):
        world.evidence = evidence
        decision = world.verdict(model("other"), explain=True)
        [asked] = of(decision, "evidence", "evaluate")
        assert [one.id for one in asked.attestations] == [later.attestation_id]


def test_explain_asks_the_layout_s_demands_of_a_chain_with_every_step() -> None:
    """Without evidence for one of the steps nobody can say whether a demand on several of them holds."""
    demand = "constraints: [{name: c, expression: \"steps.approve.time > '2026'\"}]\nserve:"
    world = DecisionInput.honest().change(lambda text: text.replace("serve:", demand))
    assert [one.passed for one in of(world.verdict(explain=True), "demand")] == [True]
    assert of(world.verdict(model("other"), explain=True), "demand") == []
    del world.evidence["approve"]
    assert of(world.verdict(explain=True), "demand") == []


def test_explain_asks_once_which_steps_are_loose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for each step, the time of a long chain would grow with the square of its steps."""
    asked: list[str] = []

    def loose(self: Chains, chain: Chain, start: str) -> tuple[str, ...]:
        asked.append(start)
        return of_chains(self, chain, start)

    of_chains = Chains.loose
    monkeypatch.setattr(Chains, "loose", loose)
    assert DecisionInput.honest().verdict(explain=True).passed
    assert len(asked) == 1


def test_a_warning_breaks_no_chain() -> None:
    """Two contents under one MD5 are told, and the evidence makes one chain all the same."""
    world = DecisionInput.honest()
    train = world.evidence["train"].statement
    for number, content in enumerate(("a", "b")):
        same = replace(descriptor("models/x.pkl", content), annotations={"dvc.md5": "0" * 32})
        built = Statement.build([same], train.predicate_type, train.predicate)
        world.evidence[f"x{number}"] = verified(built, "alice", NOW)
    decision = world.verdict(explain=True)
    assert [one.code for one in decision.findings] == [FindingCode.SAME_MD5]
    assert of(decision, "chain")[0].passed
