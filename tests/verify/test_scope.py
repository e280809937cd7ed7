"""Independent models under one layout: each needs its own steps, all of them, and no approval becomes optional."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gitchain.errors import LayoutError
from gitchain.evidence.predicates import REVOCATION
from gitchain.evidence.statement import Statement
from gitchain.layout import parse_layout
from gitchain.layout.scope import scopes
from gitchain.verify.decide import Decision
from gitchain.verify.report import StepReport
from tests.support.decision_input import NOW, DecisionInput, codes, model, statement, verified
from tests.support.decision_variants import facts, revoked, saying

STEPS = ("prep", "train-us", "approve-us", "train-gb")
LAYOUT = """
schema: https://gitchain.dev/layout/v1
name: credit-model
version: 1
expires: "2027-11-22T00:00:00Z"
functionaries:
  alice: {identities: [{issuer: "https://issuer.example", subject: alice}]}
  bob: {identities: [{issuer: "https://issuer.example", subject: bob}]}
  carol: {identities: [{issuer: "https://issuer.example", subject: carol}]}
revokers: [carol]
steps:
  - name: prep
    functionaries: [alice]
    expectedProducts: [[REQUIRE, clean.csv], [CREATE, clean.csv], [DISALLOW, "*"]]
  - name: train-us
    functionaries: [alice]
    expectedMaterials: [[REQUIRE, clean.csv], [MATCH, clean.csv, WITH, PRODUCTS, FROM, prep], [DISALLOW, "*"]]
    expectedProducts: [[CREATE, us.bin], [DISALLOW, "*"]]
  - name: approve-us
    functionaries: [bob]
    predicateType: https://in-toto.io/attestation/svr/v0.2
    expectedMaterials: [[REQUIRE, us.bin], [MATCH, us.bin, WITH, PRODUCTS, FROM, train-us], [DISALLOW, "*"]]
  - name: train-gb
    functionaries: [alice]
    expectedMaterials: [[REQUIRE, clean.csv], [MATCH, clean.csv, WITH, PRODUCTS, FROM, prep], [DISALLOW, "*"]]
    expectedProducts: [[CREATE, gb.bin], [DISALLOW, "*"]]
serve:
  - {step: train-us, products: [us.bin], steps: [prep, train-us, approve-us]}
  - {step: train-gb, products: [gb.bin], steps: [prep, train-gb]}
"""
US, GB = model("us 1", "us.bin"), model("gb 1", "gb.bin")


def evidence(us: str = "us 1", gb: str = "gb 1") -> dict[str, Any]:
    """A whole run: both models, made of the same data."""
    return {
        "prep": statement("prep", {}, {"clean.csv": "clean"}),
        "train-us": statement("train-us", {"clean.csv": "clean"}, {"us.bin": us}),
        "approve-us": statement("approve-us", {"us.bin": us}, who="bob"),
        "train-gb": statement("train-gb", {"clean.csv": "clean"}, {"gb.bin": gb}),
    }


def world(*left: str, more: str = "") -> DecisionInput:
    """Return the world with the evidence of these steps alone, of all if none is named."""
    found = {name: one for name, one in evidence().items() if not left or name in left}
    return DecisionInput(found, parse_layout((LAYOUT + more).encode()))


def steps(decision: Decision) -> list[str]:
    return [one.name for one in decision.steps]


def test_each_model_passes_on_its_own_steps() -> None:
    """With all evidence both pass, and the report names the steps that each of them needs and no others."""
    assert steps(world().verdict(US)) == ["prep", "train-us", "approve-us"]
    assert steps(world().verdict(GB, explain=True)) == ["prep", "train-gb"]


def test_a_model_needs_nothing_of_its_sibling() -> None:
    """One model passes although the other was never made."""
    assert world("prep", "train-us", "approve-us").verdict(US).passed
    assert world("prep", "train-gb").verdict(GB).passed


@pytest.mark.parametrize("gone", ["prep", "train-us", "approve-us"])
def test_a_model_needs_every_step_of_its_own(gone: str) -> None:
    """Not one of the steps that its entry names is optional, and only these are asked for."""
    decision = world(*(name for name in STEPS if name not in {gone, "train-gb"})).verdict(US, explain=True)
    assert not decision.passed
    assert {step for _, step, _ in codes(decision)} <= {gone, ""}
    assert not any(check.step == "train-gb" for check in decision.checks)


def test_a_sibling_s_chain_does_not_stand_in() -> None:
    """A model that has the name of one entry and the chain of the other passes under neither."""
    hostile = world()
    hostile.evidence["train-gb"] = statement("train-gb", {"clean.csv": "clean"}, {"us.bin": "bad"})
    assert not hostile.verdict(model("bad", "us.bin")).passed
    assert not hostile.verdict(model("bad", None)).passed
    hostile.evidence["train-us"] = statement("train-us", {"clean.csv": "clean"}, {"gb.bin": "bad"})
    assert not hostile.verdict(model("bad", "gb.bin")).passed


def test_a_target_without_a_name_passes_under_either_entry() -> None:
    """A digest is looked for under every entry; one whole chain is enough."""
    same = evidence(us="same", gb="same")
    del same["approve-us"]
    both = DecisionInput(same, parse_layout(LAYOUT.encode()))
    assert steps(both.verdict(model("same", None))) == ["prep", "train-gb"]
    del same["train-gb"]
    assert not both.verdict(model("same", None)).passed


def test_an_entry_without_steps_needs_all_of_them() -> None:
    """Beside entries that name steps, one that names none still needs every step of the layout."""
    text = LAYOUT.replace(", steps: [prep, train-gb]", "")
    mixed = DecisionInput(evidence(), parse_layout(text.encode()))
    assert steps(mixed.verdict(GB)) == list(STEPS)
    del mixed.evidence["approve-us"]
    assert not mixed.verdict(GB).passed
    assert not mixed.verdict(US).passed


def test_a_target_that_nothing_made_is_told_about_its_own_steps() -> None:
    """The reasons are those of the entry that serves its name; without a name, of the whole layout."""
    empty = DecisionInput({}, parse_layout(LAYOUT.encode()))
    assert {code for code, _, _ in codes(empty.verdict(US))} == {"NO_EVIDENCE"}
    declared = world("train-us")
    declared.evidence["train-us"] = statement(
        "train-us", {"clean.csv": "clean"}, {"us.bin": "us 1"}, who="bob"
    )
    assert {step for _, step, _ in codes(declared.verdict(US))} == {"prep", "train-us", "approve-us"}
    other = world("train-gb")
    other.evidence["train-gb"] = statement("train-gb", {"clean.csv": "clean"}, {"gb.bin": "gb 1"}, who="bob")
    assert {step for _, step, _ in codes(other.verdict(GB))} == {"prep", "train-gb"}
    everything = {step for _, step, _ in codes(declared.verdict(model("us 1", None)))}
    assert everything == {"prep", "train-us", "approve-us", "train-gb"}


def test_problems_of_the_whole_layout_count_for_every_model() -> None:
    """A revocation that cannot be read blocks each entry: what counts against a target is never left out."""
    broken = world()
    honest = revoked({"other": "x"}, who="carol")
    predicate = {**honest.statement.predicate, "more": True}
    broken.evidence["revocation"] = verified(
        Statement.build(honest.statement.subject, REVOCATION, predicate), "carol", NOW
    )
    for target in (US, GB):
        assert "MALFORMED_REVOCATION" in {code for code, _, _ in codes(broken.verdict(target, explain=True))}


def test_data_sets_and_runs_of_other_steps_are_not_asked_for() -> None:
    """`datasets` and `sameRun` bind an entry as far as they are about its steps."""
    more = """
datasets:
  functionaries: [carol]
  artifacts: [{step: train-gb, products: [gb.bin]}]
  constraints: [{name: licence, expression: "dataset.licence == 'CC0-1.0'"}]
sameRun: [[prep, train-us]]
"""
    text = LAYOUT.replace("steps: [prep, train-gb]}", "steps: [prep, train-us, train-gb]}")
    found = DecisionInput(evidence(), parse_layout((text + more).encode()))
    assert found.verdict(US).passed
    assert {code for code, _, _ in codes(found.verdict(GB))} == {"NO_FACTS"}
    found.evidence["facts"] = facts({"gb.bin": "gb 1"}, who="carol")
    assert found.verdict(GB).passed, found.verdict(GB).findings
    other = statement("train-us", {"clean.csv": "clean"}, {"us.bin": "us 1"}, run="other")
    found.evidence["train-us"] = other
    assert {code for code, _, _ in codes(found.verdict(US))} == {"SAME_RUN"}


def test_a_constraint_over_a_step_that_is_left_out_does_not_hold() -> None:
    """What a constraint cannot look at is not satisfied: it fails closed."""
    more = "constraints: [{name: c, expression: \"steps.'approve-us'.time >= steps.prep.time\"}]".replace(
        "steps.'approve-us'", "steps['approve-us']"
    )
    found = world(more=more)
    assert found.verdict(US).passed, found.verdict(US).findings
    assert {code for code, _, _ in codes(found.verdict(GB))} == {"CONSTRAINT_ERROR"}


def test_constraints_of_a_chain_hold_under_every_entry() -> None:
    """One that every entry can answer is asked of each."""
    found = world(more="constraints: [{name: c, expression: \"target.name == 'us.bin'\"}]")
    assert found.verdict(US).passed
    assert {code for code, _, _ in codes(found.verdict(GB))} == {"CHAIN_CONSTRAINT"}


def test_a_denied_statement_counts_within_its_entry() -> None:
    """An approval that says no spoils the model that it is about, and not the other one."""
    text = LAYOUT.replace(
        "    predicateType: https://in-toto.io",
        "    constraints: [{name: ok, expression: \"predicate.properties == ['OK']\"}]\n"
        "    predicateType: https://in-toto.io",
    )
    found = DecisionInput(evidence(), parse_layout(text.encode()))
    found.evidence["approve-us"] = saying(found.evidence["approve-us"], properties=["NO"])
    assert not found.verdict(US).passed
    assert found.verdict(GB).passed


def test_a_decision_that_lacks_a_needed_step_cannot_be_built() -> None:
    """PASSED with the steps of no entry contradicts itself."""
    decision = world().verdict(GB)
    fewer: tuple[StepReport, ...] = decision.steps[:1]
    with pytest.raises(ValueError, match="contradicts"):
        replace(decision, steps=fewer)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps: [prep, train-gb]", "steps: []", "no step is named"),
        ("steps: [prep, train-gb]", "steps: [prep, train-gb, prep]", "listed twice"),
        ("steps: [prep, train-gb]", "steps: [prep, train-gb, other]", "not defined"),
        ("steps: [prep, train-gb]", "steps: [prep]", "leaves out a step"),
        ("steps: [prep, train-gb]", "steps: [train-gb]", "leaves out a step"),
        ("revokers: [carol]", "revokers: [carol]\nsameRun: [[train-us, train-gb]]", "leaves out a step"),
    ],
)
def test_steps_of_an_entry_are_closed(old: str, new: str, message: str) -> None:
    """An entry that names steps names its own, all that their rules name, and whole runs."""
    assert old in LAYOUT
    with pytest.raises(LayoutError, match=message) as caught:
        parse_layout(LAYOUT.replace(old, new).encode())
    assert caught.value.where.startswith("serve[")


def test_data_sets_take_no_steps() -> None:
    """`steps` belongs to `serve` alone."""
    more = (
        "datasets: {functionaries: [carol], artifacts: [{step: prep, products: [clean.csv], steps: [prep]}]}"
    )
    with pytest.raises(LayoutError, match="steps"):
        parse_layout((LAYOUT + more).encode())


def test_steps_are_part_of_what_is_signed() -> None:
    """The canonical layout holds them, and one without them has the digest that it had before."""
    layout = parse_layout(LAYOUT.encode())
    served: Any = layout.to_json()["serve"]
    assert served[1] == {
        "step": "train-gb",
        "products": ("gb.bin",),
        "steps": ("prep", "train-gb"),
    }
    plain = parse_layout(LAYOUT.replace(", steps: [prep, train-gb]", "").encode())
    served = plain.to_json()["serve"]
    assert "steps" not in served[1]
    assert plain.digest != layout.digest


def test_scopes_are_the_layout_s_own_parts() -> None:
    """A layout whose entries name no steps is its own only scope; each other scope has its own entries and steps."""
    plain = parse_layout(
        LAYOUT.replace(", steps: [prep, train-us, approve-us]", "")
        .replace(", steps: [prep, train-gb]", "")
        .encode()
    )
    assert [one is plain for one in scopes(plain, {"train-us"})] == [True]
    mixed = parse_layout(LAYOUT.replace(", steps: [prep, train-us, approve-us]", "").encode())
    found = [
        ([step.name for step in one.steps], [entry.step for entry in one.serve])
        for one in scopes(mixed, STEPS)
    ]
    assert found == [(list(STEPS), ["train-us"]), (["prep", "train-gb"], ["train-gb"])]
    assert [one.steps for one in scopes(mixed, {"train-gb"})] == [
        (mixed.step("prep"), mixed.step("train-gb"))
    ]
    assert list(scopes(mixed, {"prep"})) == []
