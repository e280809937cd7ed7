"""Explanations, one rule at a time: which chain is the closest, what is told of it, and what is only a consequence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from gitchain.evidence.predicates import SVR
from gitchain.evidence.statement import Statement
from gitchain.verify import explain as explain_module
from gitchain.verify.explain import MAX_SEEDS
from gitchain.verify.verified import VerifiedStatement
from tests.support.decision_input import (
    NOW,
    PREPARED,
    DecisionInput,
    codes,
    descriptor,
    directory,
    model,
    run,
    statement,
    verified,
)
from tests.support.decision_variants import revoked

TOOK = {"models/model.pkl": "model 1", "data/prepared/test.csv": "test"}


def evaluated(
    took: Mapping[str, str] = TOOK, made: str = "metrics 1", who: str = "alice", minutes: int = 60
) -> VerifiedStatement:
    at = NOW - timedelta(minutes=minutes)
    return statement("evaluate", took, {"metrics.json": made}, who=who, at=at)


def trained(took: str = "train", who: str = "alice", minutes: int = 60) -> VerifiedStatement:
    at = NOW - timedelta(minutes=minutes)
    taken = {"data/prepared/train.csv": took}
    return statement("train", taken, {"models/model.pkl": "model 1"}, who=who, at=at)


def world(**evidence: VerifiedStatement) -> DecisionInput:
    """Return the honest world with other evidence in place of a step's, or beside it."""
    found = DecisionInput.honest()
    found.evidence |= evidence
    return found


def constrained(text: str, *expressions: str) -> str:
    several = ", ".join(f'{{name: c{number}, expression: "{one}"}}' for number, one in enumerate(expressions))
    return text.replace("serve:", f"constraints: [{several}]\nserve:")


def test_explain_tells_of_the_chain_that_violates_the_fewest_demands() -> None:
    """Rules pass for both evaluations: the older one violates one constraint, the newer one two."""
    found = world(newer=evaluated(TOOK | {"src/x.py": "x"}, minutes=1)).change(
        lambda text: constrained(
            text,
            "!('src/x.py' in steps.evaluate.materials)",
            "steps.evaluate.time < '2026-11-22T11:30:00Z'",
            "steps.train.time < '2026-01-01T00:00:00Z'",
        )
    )
    for evidence in (found.evidence, dict(reversed(found.evidence.items()))):
        found.evidence = evidence
        decision = found.verdict(explain=True)
        assert [one.message.split()[1] for one in decision.findings] == ["c2"]
        assert [one.passed for one in decision.checks if one.kind == "demand"] == [True, True, False]


def test_explain_tells_no_demands_of_a_chain_with_a_step_that_too_few_signed() -> None:
    """The threshold comes first: what the layout asks of several steps is asked of steps that count."""
    found = DecisionInput.honest().change(
        lambda text: constrained(text, "false").replace(
            "functionaries: [bob, carol]\n", "functionaries: [bob, carol]\n    threshold: 2\n"
        )
    )
    assert codes(found.verdict()) == [("THRESHOLD", "approve", "")]


def test_explain_compares_the_newest_seeds_alone() -> None:
    """A closer chain through an old statement is not looked for behind MAX_SEEDS newer ones."""
    late = {f"late{n}": trained(f"odd {n}", minutes=n) for n in range(MAX_SEEDS)}
    found = world(**late)
    found.evidence["approve"] = statement("approve", {"metrics.json": "other"}, who="bob")
    assert ("MISMATCH", "approve", "metrics.json") in codes(found.verdict())
    assert ("OTHER_RUN", "train", "data/prepared/train.csv") not in codes(found.verdict())
    assert ("MISMATCH", "train", "data/prepared/train.csv") in codes(found.verdict())
    del found.evidence["late0"]
    assert codes(found.verdict()) == [("MISMATCH", "approve", "metrics.json")]


def test_explain_tells_of_statements_about_the_target_beside_what_is_wrong() -> None:
    """Strangers who evaluated this model are told where evaluations are wrong, the newest first; nothing else of theirs."""
    broken = Statement.build([descriptor("metrics.json", "metrics 1")], SVR, {"gitchain_step": {"name": 7}})
    found = world(
        unreadable=verified(broken, "bob", NOW),
        trainer=trained(who="eve", minutes=1),
        other=evaluated({"models/model.pkl": "model 2"}, who="oscar", minutes=2),
        older=evaluated(who="mallory", minutes=9),
        newer=evaluated(who="trudy", minutes=3),
        evaluate=evaluated({"models/model.pkl": "model 2"}),
    )
    told = found.verdict().findings
    assert [(one.code.name, one.step, one.got.split()[0]) for one in told][1:] == [
        ("UNAUTHORISED", "evaluate", "trudy"),
        ("UNAUTHORISED", "evaluate", "mallory"),
    ]
    assert (told[0].code.name, told[0].step) == ("MISMATCH", "evaluate")


def test_explain_looks_through_the_newest_rejected_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers may sign any number of statements: the newest MAX_BESIDE are looked through."""
    monkeypatch.setattr(explain_module, "MAX_BESIDE", 2)
    strangers = {f"s{n}": evaluated(who=f"mallory{n}", minutes=9 - n) for n in range(4)}
    found = world(evaluate=evaluated({"models/model.pkl": "model 2"}), **strangers)
    told = [one.got.split()[0] for one in found.verdict().findings if one.code.name == "UNAUTHORISED"]
    assert told == ["mallory3", "mallory2"]


def test_the_closest_chain_grows_from_the_target_outwards() -> None:
    """Training took what nobody prepared: it is compared with the newest preparation, not with that of the newest data."""
    newest, older = directory(train__csv="b", test__csv="test"), directory(train__csv="c", test__csv="test")
    found = world(
        train=trained("a"),
        evaluate=evaluated({"models/model.pkl": "model 1"}),
        prepare=statement("prepare", {"data/raw.csv": "raw"}, {"data/prepared": newest}, at=NOW),
        prepare2=statement(
            "prepare", {"data/raw.csv": "raw 2"}, {"data/prepared": older}, at=NOW - timedelta(hours=2)
        ),
        data2=statement("data", {}, {"data/raw.csv": "raw 2"}, who="carol", evidence="declared", at=NOW),
    )
    found.nodes |= {**newest.nodes, **older.nodes}
    (finding,) = found.verdict().findings
    assert finding.code.name == "MISMATCH"
    assert finding.expected == f"{model('b').artifact} from step prepare"


def test_the_closest_chain_prefers_what_enough_people_signed() -> None:
    """An evaluation that one of two signed is tied better, and is not what is told: the other one counts."""
    both = {
        who: statement("evaluate", {"models/model.pkl": "model 1"}, {"metrics.json": "metrics 1"}, who=who)
        for who in ("alice", "bob")
    }
    found = world(**both, evaluate=evaluated(TOOK | {"evil.py": "x"}, minutes=1)).change(
        lambda text: text.replace(
            "name: evaluate\n    functionaries: [alice]\n",
            "name: evaluate\n    functionaries: [alice, bob]\n    threshold: 2\n",
        )
    )
    assert found.verdict().passed
    del found.evidence["data"]
    assert codes(found.verdict()) == [("STEP_MISSING", "data", "")]


def test_a_fault_is_told_where_it_matters() -> None:
    """The evaluation of this model took a revoked file: that is told, and not that another one is of another model."""
    found = world(
        evaluate=evaluated(TOOK | {"src/bad.py": "bad"}), other=evaluated({"models/model.pkl": "model 2"})
    ).change(lambda text: text.replace("steps:\n", "revokers: [carol]\nsteps:\n", 1))
    found.evidence["revocation"] = revoked({"x": "bad"}, who="carol")
    assert codes(found.verdict()) == [("REVOKED_ARTIFACT", "evaluate", "src/bad.py")]


def test_a_loose_end_is_told_only_where_nothing_else_is_wrong() -> None:
    """A step that is missing or refused is why another one is tied to nothing."""

    def change(text: str) -> str:
        took = "[REQUIRE, data/raw.csv], [MATCH, data/raw.csv, WITH, PRODUCTS, FROM, data]"
        conf = "  - name: conf\n    functionaries: [carol]\n  - name: prepare\n"
        both = "[MATCH, data/raw.csv, WITH, PRODUCTS, FROM, data], [MATCH, conf, WITH, PRODUCTS, FROM, conf]"
        return text.replace(took, both).replace("  - name: prepare\n", conf)

    loose = world(
        conf=statement("conf", {}, {"conf": "c"}, who="carol"),
        prepare=statement("prepare", {"conf": "c"}, {"data/prepared": PREPARED}),
    ).change(change)
    honest = dict(loose.evidence)
    assert codes(loose.verdict()) == [("UNLINKED", "data", "")]
    del loose.evidence["approve"]
    assert codes(loose.verdict()) == [("STEP_MISSING", "approve", "")]
    loose.evidence = honest | {"evaluate": evaluated(TOOK | {"evil.py": "x"})}
    assert codes(loose.verdict()) == [("NOT_ALLOWED", "evaluate", "evil.py")]
    # Of two steps that a step names, one that is missing may be why nothing matched.
    loose.evidence = honest | {
        "prepare": statement("prepare", {"src/p.py": "x"}, {"data/prepared": PREPARED})
    }
    assert ("NOTHING_MATCHED", "prepare", "") in codes(loose.verdict())
    del loose.evidence["conf"]
    assert codes(loose.verdict()) == [("STEP_MISSING", "conf", "")]


def test_a_mismatch_names_the_step_that_has_an_artifact_of_that_name() -> None:
    """Two rules look for the same artifact in two steps: the one that found another content is compared with."""
    rules = (
        '[MATCH, "models/*", WITH, PRODUCTS, FROM, prepare], [MATCH, "models/*", WITH, PRODUCTS, FROM, train]'
    )
    found = world(
        evaluate=evaluated({"models/model.pkl": "model 2", "data/prepared/test.csv": "test"})
    ).change(lambda text: text.replace('[MATCH, "models/*", WITH, PRODUCTS, FROM, train]', rules))
    (finding,) = found.verdict().findings
    assert (finding.code.name, finding.expected) == ("MISMATCH", f"{model().artifact} from step train")


def test_another_run_s_content_is_told_with_who_attested_it_and_when() -> None:
    """The person has to find that run: it is named in the message."""
    found = DecisionInput(run("1") | {f"{name}2": one for name, one in run("2").items()})
    del found.evidence["evaluate2"]
    messages = [
        one.message for one in found.verdict(model("model 2")).findings if one.code.name == "OTHER_RUN"
    ]
    assert messages[0].endswith(
        "that content belongs to another run, attested by alice at 2026-11-22 11:00:00 UTC"
    )
