"""What a layout demands of several steps at once: constraints over the chain, one run, facts about data sets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gitchain.verify.verified import VerifiedStatement
from tests.support.decision_input import NOW, PREPARED, DecisionInput, codes, directory, model, run, statement
from tests.support.decision_variants import facts, revoked, saying


def demanding(text: str, *, world: DecisionInput | None = None) -> DecisionInput:
    found = world or DecisionInput.honest()
    return found.change(lambda layout: layout.replace("serve:", f"{text}\nserve:"))


def constraint(expression: str) -> str:
    return f'constraints: [{{name: c, expression: "{expression}"}}]'


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        ("steps.evaluate.materials['models/model.pkl'].sha256 == target.sha256", True),
        ("steps.evaluate.products['metrics.json'].sha256 == target.sha256", False),
        ("steps.train.time <= steps.approve.time", True),
        ("steps.train.time < steps.approve.time", False),
        ("steps.approve.principals.exists(p, !(p in steps.train.principals))", True),
        ("steps.evaluate.predicate.nothing >= 1", False),
        ("target.name", False),
    ],
    ids=range(7),
)
def test_constraints_see_the_whole_chain(expression: str, *, passes: bool) -> None:
    """Exactly true, or a finding; the report shows the same as a check."""
    decision = demanding(constraint(expression)).verdict(explain=True)
    assert decision.passed == passes
    assert [one.passed for one in decision.checks if one.kind == "demand"] == [passes]
    assert passes or {code for code, _, _ in codes(decision)} <= {"CHAIN_CONSTRAINT", "CONSTRAINT_ERROR"}


def test_the_search_goes_on_to_a_chain_that_satisfies_the_constraints() -> None:
    """Several evaluations of one model, of which one is good enough: the chain through it counts."""
    world = demanding(constraint("steps.evaluate.predicate.accuracy >= 0.9"))
    del world.evidence["evaluate"]
    for number, accuracy in enumerate((0.5, 0.7, 0.95, 0.6)):
        made = {"metrics.json": f"metrics of {number}"}
        world.evidence[f"e{number}"] = saying(
            statement("evaluate", {"models/model.pkl": "model 1"}, made), accuracy=accuracy
        )
        world.evidence[f"a{number}"] = statement("approve", made, who="bob")
    decision = world.verdict()
    assert decision.passed
    assert decision.steps[3].attestations[0].id == world.evidence["e2"].attestation_id
    del world.evidence["e2"]
    failed = world.verdict(explain=True)
    assert codes(failed) == [("CHAIN_CONSTRAINT", "", "")]
    assert failed.findings[0].expected == "steps.evaluate.predicate.accuracy >= 0.9"
    assert [one.kind for one in failed.checks if not one.passed] == ["demand", "chain"]


@pytest.mark.parametrize("hours", [(1, 2), (2, 1)])
def test_what_the_nearest_chain_lacks_is_told(hours: tuple[int, int]) -> None:
    """Two evaluations, one of which breaks both constraints: that the other one breaks one is what helps."""
    text = """constraints:
  - {name: first, expression: "steps.evaluate.predicate.first == 1"}
  - {name: second, expression: "steps.evaluate.predicate.second == 1"}"""
    world = demanding(text)
    materials = {"models/model.pkl": "model 1", "data/prepared/test.csv": "test"}
    for number, (first, ago) in enumerate(zip((0, 1), hours, strict=True)):
        made = statement(
            "evaluate",
            materials | {f"src/{number}": "x"},
            {"metrics.json": "metrics 1"},
            at=NOW - timedelta(hours=ago),
        )
        world.evidence[f"e{number}"] = saying(made, first=first, second=0)
    del world.evidence["evaluate"]
    [finding] = world.verdict().findings
    assert "second" in finding.message


def test_a_good_attestation_does_not_cover_a_bad_one_of_the_same_artifacts() -> None:
    """A23 across steps: two evaluations that agree on every artifact, and not on the accuracy."""
    world = demanding(constraint("steps.evaluate.predicate.accuracy >= 0.9"))
    world.evidence["evaluate"] = saying(run()["evaluate"], accuracy=0.95)
    assert world.verdict().passed
    world.evidence["worse"] = saying(run()["evaluate"], accuracy=0.5)
    assert codes(world.verdict()) == [("CHAIN_CONSTRAINT", "", "")]


# Runs -----------------------------------------------------------------------------------------------------------


def together() -> DecisionInput:
    return demanding("sameRun: [[train, evaluate]]")


def test_steps_of_one_run_pass() -> None:
    """The honest chain is of one run; the check says so."""
    decision = together().verdict(explain=True)
    assert decision.passed
    assert [one.message for one in decision.checks if one.kind == "demand"] == [
        "steps train, evaluate are of one run"
    ]


def test_steps_of_two_runs_do_not() -> None:
    """A3: an evaluation of the right model in another run, where the layout asks for one."""
    world = together()
    evaluate: dict[str, Any] = {
        "materials": {"models/model.pkl": "model 1"},
        "products": {"metrics.json": "metrics 1"},
    }
    world.evidence["evaluate"] = statement("evaluate", **evaluate, run="run-9")
    decision = world.verdict(explain=True)
    assert codes(decision) == [("SAME_RUN", "train", "")]
    assert "run-9" in decision.findings[0].got
    world.evidence["again"] = statement(
        "evaluate", evaluate["materials"] | {"src/x": "y"}, evaluate["products"], run="run-1"
    )
    assert world.verdict().passed


def test_several_sets_of_steps_have_runs_of_their_own() -> None:
    """Each set is of one run; the sets need not be of the same one."""
    world = together().change(
        lambda text: text.replace("serve:", "sameRun: [[train, evaluate], [data, prepare]]\nserve:")
    )
    assert world.verdict().passed
    for step in ("data", "prepare"):
        one = world.evidence[step].statement
        made = {
            item.name or "": content
            for item, content in zip(one.subject, ["raw" if step == "data" else PREPARED], strict=True)
        }
        taken = {"data/raw.csv": "raw"} if step == "prepare" else {}
        more: dict[str, Any] = {"who": "carol", "evidence": "declared"} if step == "data" else {}
        world.evidence[step] = statement(step, taken, made, run="another", **more)
    assert world.verdict().passed
    del world.evidence["data"]
    world.evidence["data"] = statement(
        "data", {}, {"data/raw.csv": "raw"}, who="carol", evidence="declared", run="third"
    )
    assert codes(world.verdict()) == [("SAME_RUN", "data", "")]


def test_every_run_of_a_step_is_told() -> None:
    """A step that was done in two runs, neither of which is the other step's."""
    world = together()
    train: dict[str, Any] = {
        "materials": {"data/prepared/train.csv": "train"},
        "products": {"models/model.pkl": "model 1"},
    }
    for name in ("b", "a", "c"):
        world.evidence[f"train {name}"] = statement("train", **train, run=name)
    del world.evidence["train"]
    [finding] = world.verdict().findings
    assert finding.got == "train: a/b/c; evaluate: run-1"


def test_a_threshold_is_reached_within_the_run() -> None:
    """Two people have to sign for training in the run in which it was evaluated; a third of another run changes nothing."""
    world = together().change(
        lambda text: text.replace("serve:", "sameRun: [[train, evaluate]]\nserve:").replace(
            "functionaries: [alice, bob]\n", "functionaries: [alice, bob, carol]\n    threshold: 2\n"
        )
    )
    train: dict[str, Any] = {
        "materials": {"data/prepared/train.csv": "train"},
        "products": {"models/model.pkl": "model 1"},
    }
    world.evidence["bob"] = statement("train", **train, who="bob", run="run-7")
    assert codes(world.verdict()) == [("SAME_RUN", "train", "")]
    world.evidence["carol"] = statement("train", **train, who="carol", run="run-1")
    assert world.verdict().passed


# Data sets ------------------------------------------------------------------------------------------------------

DATASETS = """datasets:
  functionaries: [alice]
  artifacts: [{step: data, products: ["data/*"]}]
  constraints:
    - {name: licence, expression: "dataset.licence in ['CC0-1.0', 'CC-BY-4.0']"}
    - {name: consent, expression: "dataset.consent == 'obtained'"}
"""


def known(*said: VerifiedStatement) -> DecisionInput:
    world = demanding(DATASETS)
    world.evidence |= {f"facts{number}": one for number, one in enumerate(said)}
    return world


def test_every_data_set_needs_facts() -> None:
    """Facts by who may state them; none, a stranger's, and those about something else are none."""
    good = facts({"x": "raw"})
    decision = known(good).verdict(explain=True)
    assert decision.passed
    assert [one.passed for one in decision.checks if one.kind == "demand"] == [True]
    for other in ((), (facts({"x": "raw"}, who="bob"),), (facts({"x": "other"}),)):
        assert codes(known(*other).verdict()) == [("NO_FACTS", "data", "data/raw.csv")]


def test_facts_about_a_directory_are_about_its_files() -> None:
    """And those about a file with the digest of the directory's manifest are about that file."""
    whole = directory(raw="raw")
    world = known(facts({"x": whole}))
    assert codes(world.verdict()) == [("NO_FACTS", "data", "data/raw.csv")]
    world.nodes |= whole.nodes
    assert world.verdict().passed
    alike = known(facts({"x": whole.nodes[whole.digest].decode()}))
    alike.nodes |= whole.nodes
    assert codes(alike.verdict()) == [("NO_FACTS", "data", "data/raw.csv")]


def test_all_facts_have_to_satisfy_the_constraints() -> None:
    """One refusing statement is enough, whatever else is said; unless it was revoked."""
    bad = facts({"x": "raw"}, licence="proprietary")
    world = known(facts({"x": "raw"}), bad)
    assert codes(world.verdict()) == [("FACTS_REFUSED", "data", "data/raw.csv")]
    world = world.change(
        lambda text: text.replace("serve:", f"{DATASETS}serve:").replace(
            "steps:\n", "revokers: [alice]\nsteps:\n", 1
        )
    )
    assert not world.verdict().passed
    world.evidence["revocation"] = revoked(bad)
    assert world.verdict().passed
    world.evidence["signer"] = revoked("alice", since=NOW - timedelta(days=9))
    assert not world.verdict().passed


def test_another_models_data_sets_are_not_asked_about() -> None:
    """Facts are demanded of the chain that decides, not of all that the store holds."""
    world = known(facts({"x": "raw"}))
    world.evidence |= {
        "data2": statement("data", {}, {"data/raw.csv": "other"}, who="carol", evidence="declared"),
        "bad": facts({"x": "other"}, consent="unknown"),
    }
    assert world.verdict(model()).passed


def test_refused_facts_about_another_directory_count_only_while_its_manifest_is_missing() -> None:
    """What cannot be read counts against the target; a directory that can be read and does not hold it says nothing."""
    other = directory(raw="other")
    world = known(facts({"x": "raw"}), facts({"y": other}, licence="proprietary"))
    assert codes(world.verdict()) == [("CLOSED", "data", "data/raw.csv")]
    world.nodes |= other.nodes
    assert world.verdict().passed


def test_facts_by_a_revoked_signer_are_none() -> None:
    """Revoking one identity of a person takes its facts with it, and nothing that the other one signed."""
    world = known(facts({"x": "raw"}, who="alice2")).change(
        lambda text: text.replace("serve:", f"{DATASETS}serve:").replace(
            "steps:\n", "revokers: [alice]\nsteps:\n", 1
        )
    )
    assert world.verdict().passed
    world.evidence["gone"] = revoked("alice2")
    assert codes(world.verdict()) == [("NO_FACTS", "data", "data/raw.csv")]
