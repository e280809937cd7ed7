"""What a failure tells, and what it does not: the words of reasons that a verdict alone does not pin down."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gitchain.evidence.predicates import SVR
from gitchain.evidence.statement import Statement
from gitchain.layout import parse_layout
from gitchain.verify.findings import MEANINGS, Finding, FindingCode
from tests.support.decision_input import (
    ISSUER,
    LAYOUT,
    NOW,
    DecisionInput,
    codes,
    descriptor,
    directory,
    model,
    run,
    statement,
    verified,
)
from tests.support.decision_variants import (
    SUPPLIER,
    revoked,
    second_supplier,
    signed_layout,
    supplied,
    supplier,
    with_supplier,
    with_two_suppliers,
)
from tests.verify.test_decide import two_trainers
from tests.verify.test_trace import of


def unreadable() -> Any:
    broken = Statement.build([descriptor("metrics.json", "metrics 1")], SVR, {"gitchain_step": {"name": 7}})
    return verified(broken, "bob", NOW)


def test_a_choice_that_takes_what_is_required_spoils_no_other() -> None:
    """MATCH with one of two preparations takes the file that REQUIRE then misses: with the other one all is well."""
    again = (
        '[REQUIRE, data/prepared/train.csv], [MATCH, "data/prepared/*", WITH, PRODUCTS, FROM, prepare], '
        "[REQUIRE, data/prepared/test.csv], [ALLOW, data/prepared/test.csv], "
    )
    world = DecisionInput.honest().change(
        lambda text: text.replace(
            '[REQUIRE, data/prepared/train.csv], [MATCH, "data/prepared/*", WITH, PRODUCTS, FROM, prepare], ',
            again,
        )
    )
    other = directory(train__csv="train", test__csv="other test")
    world.nodes |= other.nodes
    materials = {"data/prepared/train.csv": "train", "data/prepared/test.csv": "test"}
    world.evidence["train"] = statement("train", materials, {"models/model.pkl": "model 1"})
    assert codes(world.verdict()) == [("REQUIRED", "train", "data/prepared/test.csv")]
    evaluated = {"models/model.pkl": "model 1", "data/prepared/test.csv": "other test"}
    world.evidence["evaluate"] = statement("evaluate", evaluated, {"metrics.json": "metrics 1"})
    world.evidence["other"] = statement("prepare", {"data/raw.csv": "raw"}, {"data/prepared": other})
    assert world.verdict().passed


def test_what_is_required_and_absent_is_nothing() -> None:
    """No digest was got, and nobody reads a None."""
    world = DecisionInput.honest()
    world.evidence["train"] = statement("train", {}, {"models/model.pkl": "model 1"})
    [finding] = world.verdict().findings
    assert (finding.code, finding.got) == (FindingCode.REQUIRED, "nothing")


def test_the_closest_of_two_chains_is_told() -> None:
    """Two trainings made these bytes: what is wrong with the one that has least wrong with it, whichever is newer."""
    poor = {"data/prepared/train.csv": "other", "data/prepared/more.csv": "x", "extra": "x"}
    near = {"data/prepared/train.csv": "train", "extra": "x"}
    for first, second in ((poor, near), (near, poor)):
        world = DecisionInput.honest()
        world.evidence["train"] = statement("train", first, {"models/model.pkl": "model 1"}, at=NOW)
        world.evidence["again"] = statement("train", second, {"models/model.pkl": "model 1"})
        assert codes(world.verdict()) == [("NOT_ALLOWED", "train", "extra")]


def test_a_short_threshold_is_told_beside_what_else_forbids_it() -> None:
    """Too few people signed for something that is revoked besides: both are told, not the one alone."""
    world = DecisionInput.honest().change(
        lambda text: two_trainers(text).replace("steps:", "revokers: [alice]\nsteps:", 1)
    )
    materials = {"data/prepared/train.csv": "train", "src/t.py": "code of training"}
    world.evidence["train"] = statement("train", materials, {"models/model.pkl": "model 1"})
    world.evidence["revoked"] = revoked({"src/t.py": "code of training"})
    assert codes(world.verdict()) == [
        ("REVOKED_ARTIFACT", "train", "src/t.py"),
        ("THRESHOLD", "train", ""),
    ]


def test_a_material_of_another_name_is_no_use_of_the_target() -> None:
    """Bytes that a step took as something else say nothing about a target of this name; without a name they do."""
    world = DecisionInput.honest()
    world.evidence["train"] = statement(
        "train", {"data/prepared/train.csv": "train", "src/base.pkl": "base"}, {"models/model.pkl": "model 1"}
    )
    named, unnamed = (world.verdict(model("base", name)) for name in ("models/base.pkl", None))
    assert [one.code for one in named.findings] == [FindingCode.NO_EVIDENCE]
    assert [one.code for one in unnamed.findings] == [FindingCode.UNACCEPTED]


def test_a_file_in_the_place_of_a_directory_is_one_finding() -> None:
    """What was attested as a directory and is a file has no files to compare."""
    made = directory(a="1", b="2")
    world = DecisionInput.honest()
    world.nodes |= made.nodes
    world.evidence["train"] = statement(
        "train", {"data/prepared/train.csv": "train"}, {"models/model.pkl": made}
    )
    for target in (model("a file"), replace(model("a file"), directory=None)):
        assert [one.code for one in world.verdict(target).findings] == [FindingCode.OTHER_CONTENT]


def test_a_claim_that_cannot_be_read_is_in_nobody_s_way() -> None:
    """It has no step and no artifacts, also where the target's own step has no evidence."""
    world = DecisionInput.honest()
    world.evidence["broken"] = unreadable()
    assert world.verdict().passed
    del world.evidence["train"]
    assert codes(world.verdict(explain=True)) == [("STEP_MISSING", "train", "")]
    assert world.verdict(model("nobody's", "models/x")).findings[0].code is FindingCode.NO_EVIDENCE


def test_what_does_not_count_is_listed_under_its_own_step() -> None:
    """A stranger's evaluation and a stranger's approval: each step lists its own, and a third one none."""
    world = DecisionInput.honest()
    for name in ("evaluate", "approve"):
        one = run()[name]
        world.evidence[name] = verified(one.statement, "mallory", one.time)
    decision = world.verdict(explain=True)
    told = {step: of(decision, "evidence", step)[0].got for step in ("train", "evaluate", "approve")}
    assert told == {
        "train": "attestations: 1 here",
        "evaluate": "attestations: 0 here, 1 that do not count",
        "approve": "attestations: 0 here, 1 that do not count",
    }
    for step in ("evaluate", "approve"):
        assert [one.attestations[0].id for one in of(decision, "functionary", step)] == [
            run()[step].attestation_id
        ]


def test_an_unknown_digest_has_no_name() -> None:
    """And gets none in the finding."""
    [finding] = DecisionInput.honest().verdict(model("nobody's", None)).findings
    assert (finding.code, finding.artifact) == (FindingCode.NO_EVIDENCE, "")


def test_a_crowd_of_strangers_does_not_flood_the_report() -> None:
    """Five reasons for a step, those of the newest."""
    world = DecisionInput.honest()
    del world.evidence["evaluate"]
    for number in range(9):
        world.evidence[f"e{number}"] = statement(
            "evaluate",
            {"models/model.pkl": "another"},
            {"metrics.json": "metrics 1"},
            who=f"mallory{number}",
            at=NOW - timedelta(minutes=number),
        )
    told = [one.got.split()[0] for one in world.verdict().findings]
    assert told == [f"mallory{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("name", "side", "verb"),
    [("metrics.json", "PRODUCTS", "made"), ("models/model.pkl", "MATERIALS", "took")],
)
def test_a_mismatch_says_what_the_other_step_did(name: str, side: str, verb: str) -> None:
    """It made the file, or took it, as something else."""
    before = "[[REQUIRE, metrics.json], [MATCH, metrics.json, WITH, PRODUCTS, FROM, evaluate]"
    world = DecisionInput.honest().change(
        lambda text: text.replace(
            before, f"[[REQUIRE, {name}], [MATCH, {name}, WITH, {side}, FROM, evaluate]"
        )
    )
    world.evidence["approve"] = statement("approve", {name: "something else"}, who="bob")
    [finding] = world.verdict().findings
    assert f"but step evaluate {verb} sha256:" in finding.message


def test_who_may_do_a_step_is_told_as_a_choice() -> None:
    """Each who may, in order."""
    world = DecisionInput.honest()
    world.evidence["approve"] = verified(run()["approve"].statement, "mallory", NOW)
    [finding] = world.verdict().findings
    assert finding.expected == f"bob ({ISSUER}) or carol ({ISSUER})"


def test_a_rejection_says_what_its_code_means() -> None:
    """Nothing stands in the place of the meaning where nothing more is known."""
    world = DecisionInput.honest()
    world.evidence["train"] = verified(run()["train"].statement, "mallory", NOW)
    [finding] = world.verdict().findings
    assert finding.message.endswith(f": {MEANINGS[FindingCode.UNAUTHORISED]}")


def test_what_was_got_is_told() -> None:
    """Which layout the evidence is for, and how strong it says to be; or that it says neither."""
    world = DecisionInput.honest()
    train: dict[str, Any] = {
        "materials": {"data/prepared/train.csv": "train"},
        "products": {"models/model.pkl": "model 1"},
    }
    others: tuple[tuple[dict[str, Any], str], ...] = (
        ({"layout": "other"}, "other"),
        ({"evidence": "declared"}, "declared"),
    )
    for more, got in others:
        world.evidence["train"] = statement("train", **train, **more)
        assert [one.got for one in world.verdict().findings] == [got]
    other = "https://in-toto.io/attestation/link/v0.3"
    world = DecisionInput.honest().change(
        lambda text: text.replace(
            "functionaries: [alice, bob]\n    evidence: observed\n",
            f"functionaries: [alice, bob]\n    evidence: observed\n    predicateType: {other}\n",
        )
    )
    assert {one.got for one in world.verdict().findings} == {"https://slsa.dev/provenance/v1"}


def test_evidence_behind_a_step_that_names_no_layout_is_told_so() -> None:
    world = supplier()
    world.evidence |= {f"acme-{name}": one for name, one in supplied(layout=None).items()}
    assert "no layout" in {one.got for one in world.verdict().findings}


def test_a_finding_as_json() -> None:
    """Every field under its name; what is not said is null, except the help: each code has advice."""
    finding = Finding(FindingCode.STALE, "m", "s", "a", "e", "g", "h")
    assert finding.to_json() == {
        "code": FindingCode.STALE.value,
        "severity": "error",
        "step": "s",
        "artifact": "a",
        "expected": "e",
        "got": "g",
        "message": "m",
        "help": "h",
    }
    assert {name for name, value in Finding(FindingCode.STALE, "m").to_json().items() if value is None} == {
        *("step", "artifact", "expected", "got"),
    }


def test_two_forms_of_a_layout_are_told_by_their_digests() -> None:
    """Twelve digits of each, as everywhere."""
    world = supplier()
    twin = parse_layout(SUPPLIER.replace('"2027-01-01', '"2027-01-02').encode())
    world.evidence["twin"] = signed_layout(twin)
    both = sorted(one.digest[:12] for one in (twin, parse_layout(SUPPLIER.encode())))
    assert " and ".join(both) in {one.got for one in world.verdict().findings}


def test_an_old_delivery_is_found_where_nothing_is_around_it() -> None:
    """The supplier's step alone is served: of many deliveries each is, not the newest few."""
    text = with_supplier(LAYOUT)
    start, end = text.index("  - name: prepare"), text.index("serve:")
    alone = text[:start] + 'serve: [{step: data, products: ["data/*"]}]\n'
    assert end > start
    world = supplier().change(lambda _: alone)
    for number in range(12):
        world.evidence |= {f"{name}{number}": one for name, one in supplied(f"late {number}", at=NOW).items()}
    assert world.verdict(model("late 3", "data/raw.csv")).passed
    assert world.verdict(model("raw", "data/raw.csv")).passed


def test_an_old_delivery_is_found_beside_another_supplier_s() -> None:
    """What a step next to it takes is known only once its own supplier's chain is: until then every delivery may be it."""
    before = "[MATCH, data/raw.csv, WITH, PRODUCTS, FROM, data], [ALLOW"
    world = supplier().change(
        lambda text: with_two_suppliers(text).replace(before, before.replace("FROM, data", "FROM, more"))
    )
    world.evidence |= second_supplier()
    assert world.verdict().passed, world.verdict().findings
    for number in range(12):
        late = supplied(f"late {number}", at=NOW).items()
        world.evidence |= {f"{name}{number}": one for name, one in late}
    assert world.verdict().passed
