"""A supplier's own layout behind a step: its people, its chain, what it serves; and everything that it may not do."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from jsonschema import Draft202012Validator

from gitchain.evidence.digest import DigestSet
from gitchain.evidence.predicates import LAYOUT
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.layout import parse_layout
from gitchain.verify import search as search_module
from gitchain.verify.decide import Decision
from tests.support.decision_input import NOW, DecisionInput, codes, model, run, statement, verified
from tests.support.decision_variants import (
    SUPPLIER,
    facts,
    revoked,
    saying,
    second_supplier,
    signed_layout,
    supplied,
    supplier,
    with_supplier,
    with_two_suppliers,
)
from tests.verify.test_trace import SCHEMA


def found(decision: Decision) -> set[tuple[str, str]]:
    return {(code, step) for code, step, _ in codes(decision)}


def layout(change: Callable[[str], str] = str, **more: object) -> DecisionInput:
    return supplier(change(SUPPLIER), **more)


def test_a_suppliers_chain_stands_behind_the_step() -> None:
    """Passes, and the report holds the other layout and its steps; the JSON is valid under the schema."""
    decision = supplier().verdict(explain=True)
    assert decision.passed, decision.findings
    data = decision.steps[0]
    assert (data.name, data.functionaries) == ("data", ("acme",))
    assert data.sublayout is not None
    assert (data.sublayout.name, data.sublayout.version) == ("acme-data", 2)
    assert [(one.name, one.functionaries) for one in data.sublayout.steps] == [
        ("collect", ("anna",)),
        ("clean", ("otto",)),
    ]
    document = json.loads(json.dumps(decision.to_json()))
    Draft202012Validator(SCHEMA).validate(document)
    assert document["steps"][0]["sublayout"]["steps"][1]["name"] == "clean"
    assert "sublayout" not in document["steps"][1]
    checks = {(one.kind, one.step) for one in decision.checks}
    assert {("sublayout", "data"), ("threshold", "data/clean"), ("rule", "data/collect")} <= checks


@pytest.mark.parametrize("gone", ["acme-collect", "acme-clean", "layout"])
def test_everything_behind_the_step_is_needed(gone: str) -> None:
    """Without one of the supplier's steps, or the layout itself, there is nothing behind the step."""
    world = supplier()
    del world.evidence[gone]
    decision = world.verdict()
    assert not decision.passed
    assert {step for _, step in found(decision)} == {"data"}
    expected = {"layout": "SUBLAYOUT", "acme-clean": "SUBLAYOUT_CHAIN", "acme-collect": "SUBLAYOUT_CHAIN"}[
        gone
    ]
    assert (expected, "data") in found(decision)


@pytest.mark.parametrize(
    "attack",
    [
        lambda world: world.evidence.update(layout=signed_layout(parse_layout(SUPPLIER.encode()), who="mallory")),
        lambda world: world.evidence.update(layout=signed_layout(parse_layout(SUPPLIER.encode()), who="alice")),
        lambda world: world.evidence.update(
            layout=signed_layout(parse_layout(SUPPLIER.encode()), at=NOW + timedelta(hours=1))
        ),
        lambda world: world.evidence.update(
            layout=signed_layout(parse_layout(SUPPLIER.replace("version: 2", "version: 1").encode()))
        ),
        lambda world: world.evidence.update(
            layout=signed_layout(parse_layout(SUPPLIER.replace("2027-01-01", "2026-11-22").replace("T00", "T12").encode()))
        ),
        lambda world: world.evidence.update(
            layout=signed_layout(parse_layout(SUPPLIER.replace("name: acme-data", "name: other").encode()))
        ),
    ],
    ids=["stranger", "functionary of another step", "from the future", "too old", "expired now", "other name"],
)  # fmt: skip
def test_a_layout_has_to_be_signed_by_the_steps_people_and_in_force(
    attack: Callable[[DecisionInput], object],
) -> None:
    """Who signs it, which name and version it has, and that it has not expired are checked as for any layout."""
    world = supplier()
    attack(world)
    assert found(world.verdict()) == {("SUBLAYOUT", "data")}


def test_a_layout_is_what_its_subject_says() -> None:
    """A statement whose subject is another layout's digest, or whose predicate is no layout, stands for nothing."""
    inner = parse_layout(SUPPLIER.encode())
    subject = [ResourceDescriptor("acme-data", DigestSet({"sha256": "0" * 64}))]
    for predicate in (inner.to_json(), {"name": "acme-data"}):
        world = supplier()
        honest = world.evidence["layout"]
        built = Statement.build(subject, LAYOUT, predicate)
        from tests.support.decision_input import verified

        world.evidence["layout"] = verified(built, "acme", honest.time)
        assert found(world.verdict()) == {("SUBLAYOUT", "data")}


def test_a_threshold_counts_people_over_the_same_layout() -> None:
    """Two of two have to sign; the same layout, not two that are alike."""
    two = "sublayout: {name: acme-data, minimumVersion: 2}\n    threshold: 2"
    world = supplier().change(lambda text: with_supplier(text, two))
    assert found(world.verdict()) == {("SUBLAYOUT", "data")}
    other = parse_layout(SUPPLIER.replace('"2027-01-01', '"2027-01-02').encode())
    world.evidence["carol"] = signed_layout(other, who="carol")
    assert found(world.verdict()) == {("SUBLAYOUT", "data")}
    world.evidence["carol"] = signed_layout(parse_layout(SUPPLIER.encode()), who="carol")
    decision = world.verdict()
    assert decision.steps[0].functionaries == ("acme", "carol")


def test_the_newest_version_replaces_the_older_ones() -> None:
    """A newer version that asks for more: evidence that the older one accepts does not pass any more."""
    newer = SUPPLIER.replace("version: 2", "version: 3").replace(
        "functionaries: [otto]", "functionaries: [anna]"
    )
    world = supplier()
    world.evidence["newer"] = signed_layout(parse_layout(newer.encode()))
    assert ("SUBLAYOUT_CHAIN", "data") in found(world.verdict())
    world.evidence["newer"] = signed_layout(parse_layout(newer.encode()), who="mallory")
    assert world.verdict().passed


def test_a_newer_version_that_has_expired_brings_no_older_one_back() -> None:
    """Who lets a newer layout run out has not gone back to the older one."""
    newer = SUPPLIER.replace("version: 2", "version: 3").replace('"2027-01-01', '"2026-11-01')
    world = supplier()
    world.evidence["newer"] = signed_layout(parse_layout(newer.encode()))
    decision = world.verdict()
    assert found(decision) == {("SUBLAYOUT", "data")}
    assert "has expired" in decision.findings[0].message


def test_refused_layouts_do_not_flood_the_report() -> None:
    """However many strangers sign it: a handful of reasons."""
    world = supplier()
    inner = parse_layout(SUPPLIER.encode())
    del world.evidence["layout"]
    world.evidence |= {f"m{n}": signed_layout(inner, who=f"mallory{n}") for n in range(50)}
    assert len(world.verdict().findings) == 5


def test_one_version_in_two_forms_is_none() -> None:
    """Two different layouts of one version, both signed: somebody is being told something else."""
    world = supplier()
    twin = parse_layout(SUPPLIER.replace('"2027-01-01', '"2027-01-02').encode())
    world.evidence["twin"] = signed_layout(twin)
    assert found(world.verdict()) == {("SUBLAYOUT", "data")}


def test_evidence_behind_a_step_names_its_layout() -> None:
    """What names no layout, or the outer one, is not the supplier's; the outer steps still accept both."""
    for name in (None, "credit-model", "acme-other"):
        world = supplier()
        world.evidence |= {f"acme-{step}": one for step, one in supplied(layout=name).items()}
        decision = world.verdict()
        assert ("OTHER_LAYOUT", "data") in found(decision)


def test_evidence_for_the_step_itself_does_not_stand_in_for_the_chain() -> None:
    """Somebody of the step signs for the data directly: that is no layout."""
    world = supplier()
    del world.evidence["layout"]
    world.evidence["data"] = statement("data", {}, {"data/raw.csv": "raw"}, who="carol", evidence="declared")
    assert found(world.verdict()) >= {("PREDICATE_TYPE", "data")}


def test_only_what_the_chain_serves_is_the_steps_product() -> None:
    """The raw file behind the delivery is not served: a step that took it took something that nobody delivered."""
    world = supplier().change(lambda text: with_supplier(text).replace("data/raw.csv", "raw/all.csv"))
    world.evidence["prepare"] = statement("prepare", {"raw/all.csv": "all raw"}, {"data/prepared": "x"})
    assert not world.verdict().passed


def test_a_broken_delivery_is_told_where_it_matters() -> None:
    """Two deliveries, of which the one that was used has no whole chain: its own findings come out, under the step."""
    world = supplier()
    world.evidence |= {f"late-{name}": one for name, one in supplied("late").items()}
    assert world.verdict().passed
    world.evidence["acme-collect"] = statement(
        "collect", {}, {"raw/all.csv": "all something else"}, who="anna", layout="acme-data"
    )
    decision = world.verdict()
    assert ("SUBLAYOUT_CHAIN", "data") in found(decision)
    assert any("under layout acme-data/clean" in one.message for one in decision.findings)


def test_a_supplier_may_deliver_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many deliveries those are looked into that the steps around could have used, and a few of the newest."""
    monkeypatch.setattr(search_module, "MAX_CHECKS", 60)
    world = supplier()
    for number in range(60):
        late = {f"{name}{number}": one for name, one in supplied(f"late {number}", at=NOW).items()}
        world.evidence |= late
    assert world.verdict().passed
    del world.evidence["acme-clean"]
    decision = world.verdict()
    assert ("MISMATCH", "prepare") in found(decision)


def test_a_delivery_may_be_what_is_served() -> None:
    """The supplier's product is the target itself, and a directory of it another supplier's source."""
    world = supplier().change(
        lambda text: with_supplier(text).replace(
            'serve: [{step: train, products: ["models/*"]}]',
            'serve: [{step: train, products: ["models/*"]}, {step: data, products: ["data/*"]}]',
        )
    )
    assert world.verdict(model("raw", "data/raw.csv")).passed
    assert world.verdict().passed
    assert not world.verdict(model("other", "data/raw.csv")).passed


def test_two_suppliers_may_build_on_each_other() -> None:
    """One supplier's delivery has to be what the other's holds: both stand behind steps next to each other."""
    world = supplier().change(with_two_suppliers)
    assert ("SUBLAYOUT", "more") in found(world.verdict())
    world.evidence |= second_supplier()
    assert world.verdict().passed, world.verdict().findings
    world.evidence |= {f"more-{name}": one for name, one in supplied("x", layout="acme-more").items()}
    assert not world.verdict().passed


def test_a_layout_that_serves_nothing_of_the_evidence_has_no_chain() -> None:
    """Whole, but nothing that its people made is what it serves."""
    world = layout(
        lambda text: text.replace(
            'serve: [{step: clean, products: ["data/*"]}]', 'serve: [{step: clean, products: ["other/*"]}]'
        )
    )
    assert found(world.verdict()) == {("SUBLAYOUT_CHAIN", "data")}


def test_what_has_no_sha256_is_not_delivered() -> None:
    """A supplier names a commit among the products: the rest is delivered, and nothing breaks."""
    world = supplier(SUPPLIER)
    clean = world.evidence["acme-clean"]
    said = json.loads(clean.statement.payload)
    said["subject"].append({"name": "data/source", "digest": {"gitCommit": "a" * 40}})
    both = Statement.parse(json.dumps(said).encode())
    world.evidence["acme-clean"] = verified(both, "otto", clean.time)
    assert world.verdict().passed, world.verdict().findings


def test_the_steps_rules_see_what_is_served() -> None:
    """expectedProducts of the step are applied to what the chain serves."""
    world = supplier().change(
        lambda text: with_supplier(text).replace("[CREATE, data/raw.csv]", "[CREATE, data/other.csv]")
    )
    assert ("NOT_ALLOWED", "data") in found(world.verdict())


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        ("target.name == 'data/raw.csv'", True),
        ("target.sha256 == steps.clean.products['data/raw.csv'].sha256", True),
        ("steps.clean.time > '2027'", False),
    ],
)
def test_the_other_layouts_constraints_hold_for_what_it_serves(expression: str, *, passes: bool) -> None:
    """The target that its constraints see is the delivery."""
    more = f'constraints: [{{name: c, expression: "{expression}"}}]\nserve:'
    world = layout(lambda text: text.replace("serve:", more))
    assert world.verdict().passed == passes


def test_one_delivery_of_two_satisfies_the_constraints() -> None:
    """What the constraints refuse is not delivered, what they accept is."""
    more = "constraints: [{name: c, expression: \"target.name == 'data/raw.csv'\"}]\nserve:"
    world = layout(lambda text: text.replace("serve:", more))
    both = {"data/raw.csv": "raw", "data/extra.csv": "extra"}
    world.evidence["acme-clean"] = statement(
        "clean", {"raw/all.csv": "all raw"}, both, who="otto", layout="acme-data"
    )
    assert world.verdict().passed
    assert not layout().verdict().findings


def test_a_layout_with_inspections_cannot_stand_behind_a_step() -> None:
    """Inspections need bytes that are not there: they are not skipped."""
    more = 'inspections: [{name: i, kind: size, artifacts: ["*"], maxBytes: 9}]\nserve:'
    assert found(layout(lambda text: text.replace("serve:", more)).verdict()) == {("SUBLAYOUT", "data")}


def test_the_outer_revokers_reach_inside() -> None:
    """The owner of the outer layout revokes a file that only the supplier's first step has; so may the supplier."""
    world = supplier().change(
        lambda text: with_supplier(text).replace("steps:\n", "revokers: [alice]\nsteps:\n", 1)
    )
    assert world.verdict().passed
    world.evidence["revocation"] = revoked({"x": "all raw"})
    assert ("REVOKED_ARTIFACT", "data") in found(world.verdict())
    world.evidence["revocation"] = revoked({"x": "raw"})
    assert ("REVOKED_ARTIFACT", "data") in found(world.verdict())
    world.evidence["revocation"] = revoked(world.evidence["layout"])
    assert found(world.verdict()) == {("SUBLAYOUT", "data")}
    own = layout(lambda text: text.replace("steps:\n", "revokers: [anna]\nsteps:\n", 1))
    assert own.verdict().passed
    own.evidence["revocation"] = revoked(supplied()["clean"], who="anna")
    assert not own.verdict().passed


def test_an_inner_revocation_that_cannot_be_read_fails_closed() -> None:
    """The supplier's revoker signed something that nobody understands: nothing stands behind the step."""
    from gitchain.evidence.predicates import REVOCATION
    from tests.support.decision_input import verified

    own = layout(lambda text: text.replace("steps:\n", "revokers: [anna]\nsteps:\n", 1))
    odd = revoked(supplied()["clean"], who="anna").statement
    built = Statement.build(odd.subject, REVOCATION, {**odd.predicate, "reason": "x"})
    own.evidence["odd"] = verified(built, "anna", NOW)
    assert found(own.verdict()) == {("MALFORMED_REVOCATION", "data")}


# Nesting --------------------------------------------------------------------------------------------------------


def nested(depth: int) -> DecisionInput:
    """The supplier has a supplier, and so on: each layout's only step stands for the next one."""
    world = DecisionInput(run()).change(lambda text: with_supplier(text, "sublayout: {name: level-1}"))
    del world.evidence["data"]
    for level in range(1, depth + 1):
        last = level == depth
        behind = "" if last else f"\n    sublayout: {{name: level-{level + 1}}}"
        text = f"""
schema: https://gitchain.dev/layout/v1
name: level-{level}
version: 1
expires: "2027-01-01T00:00:00Z"
functionaries: {{acme: {{identities: [{{issuer: "https://issuer.example", subject: acme}}]}}}}
steps:
  - name: deliver
    functionaries: [acme]{behind}
    expectedProducts: [[REQUIRE, data/raw.csv]]
serve: [{{step: deliver, products: ["*"]}}]
"""
        world.evidence[f"level{level}"] = signed_layout(parse_layout(text.encode()))
    world.evidence["delivery"] = statement(
        "deliver", {}, {"data/raw.csv": "raw"}, who="acme", layout=f"level-{depth}"
    )
    return world


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_layouts_nest(depth: int) -> None:
    """Four deep is a supply chain; the report shows each level."""
    decision = nested(depth).verdict()
    assert decision.passed, decision.findings
    report = decision.steps[0]
    for _ in range(depth):
        assert report.sublayout is not None
        report = report.sublayout.steps[0]
    assert report.sublayout is None


def test_layouts_do_not_nest_deeper() -> None:
    """A27: the fifth is refused, with a finding and no verdict on what lies below."""
    decision = nested(5).verdict()
    assert ("SUBLAYOUT_NESTING", "data") in found(decision)
    assert ("layouts are nested too deep", "at most 4 layouts inside of each other") in {
        (one.message.rpartition(": ")[2], one.expected) for one in decision.findings
    }


def test_a_layout_does_not_stand_inside_of_itself() -> None:
    """A27: a cycle ends where it closes."""
    loop = SUPPLIER.replace(
        "  - name: collect\n    functionaries: [anna]\n",
        "  - name: collect\n    functionaries: [anna]\n    sublayout: {name: acme-data}\n",
    )
    world = supplier(loop)
    world.evidence["anna"] = signed_layout(parse_layout(loop.encode()), who="anna")
    decision = world.verdict()
    assert ("SUBLAYOUT_NESTING", "data") in found(decision)
    assert not decision.passed


def test_a_layout_of_the_same_name_does_not_stand_inside() -> None:
    """Evidence says for which layout it is by name: with another layout of that name inside nobody could tell."""
    twin = SUPPLIER.replace("name: acme-data", "name: credit-model")
    world = supplier(twin).change(lambda text: with_supplier(text, "sublayout: {name: credit-model}"))
    world.evidence |= {f"acme-{name}": one for name, one in supplied(layout="credit-model").items()}
    assert found(world.verdict()) == {("SUBLAYOUT_NESTING", "data")}


def test_data_sets_of_the_other_layout_need_its_facts() -> None:
    """The supplier's own demand for facts about its data holds behind the step too."""
    more = """datasets: {functionaries: [anna], artifacts: [{step: collect, products: ["raw/*"]}]}\nserve:"""
    world = layout(lambda text: text.replace("serve:", more))
    assert ("NO_FACTS", "data") in found(world.verdict())
    world.evidence["facts"] = facts({"raw/all.csv": "all raw"}, who="anna")
    assert world.verdict().passed


def test_a_step_constraint_behind_the_step_counts() -> None:
    """What the supplier's layout forbids is forbidden."""
    more = 'functionaries: [otto]\n    constraints: [{name: c, expression: "predicate.clean == true"}]\n'
    world = layout(lambda text: text.replace("functionaries: [otto]\n", more))
    world.evidence["acme-clean"] = saying(supplied()["clean"], clean=False)
    assert ("CONSTRAINT", "data") in found(world.verdict())
    world.evidence["acme-clean"] = saying(supplied()["clean"], clean=True)
    assert world.verdict().passed


def test_a_layout_in_a_statement_of_another_type_is_none() -> None:
    """Whoever signed it did not sign it as a layout."""
    world = supplier()
    signed = world.evidence["layout"]
    other = Statement.build(
        signed.statement.subject, "https://example.com/note/v1", signed.statement.predicate
    )
    world.evidence["layout"] = verified(other, "acme", signed.time)
    assert {code for code, _, _ in codes(world.verdict())} == {"SUBLAYOUT"}
