"""Statements of other tools in place of a step's own: which a selector selects, and what is said of the others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gitchain.evidence.claim import StepFacts
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import STEP_FIELD
from gitchain.instance import Instance
from gitchain.layout.lint import lint
from gitchain.verify.decide import Finding
from gitchain.verify.trust import Trust
from tests.support.decision_input import codes, verified
from tests.support.decision_variants import SUPPLIER, supplier
from tests.support.foreign_statements import (
    CYCLONEDX,
    VULNS,
    approval,
    cyclonedx,
    github_build,
    link,
    model_signature,
    pytest_result,
    said,
    scan,
    spdx,
    subject,
)
from tests.support.selecting_layout import CONTENT, NAME, RECIPES, SelectingWorld, changed, layout_with

MODEL = subject(CONTENT)


@pytest.fixture
def world(instance: Instance, trust: Trust) -> Any:
    """Return what makes a world with these steps beside the training."""
    return lambda *steps: SelectingWorld(instance, trust, layout_with(*steps))


def reason(found: SelectingWorld, step: str) -> Finding:
    """Return the one finding of a failed verdict about the step."""
    (finding,) = [one for one in found.verdict().findings if one.step == step]
    return finding


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_passes_with_its_statement_and_not_without(world: Any, name: str) -> None:
    """Each recipe of docs/selectors.md has no lint error, and is satisfied by what its tool writes, and by nothing less."""
    found = world(RECIPES[name])
    assert [one for one in lint(found.layout, datetime.now(UTC)) if one.severity == "error"] == []
    assert codes(found.verdict()) == [("STEP_MISSING", name, "")]
    found.honest(name)
    assert found.verdict().passed, found.verdict().findings
    assert not found.verdict("model 2").passed


def test_there_are_ten_recipes_and_they_hold_together(world: Any) -> None:
    """All of them in one layout: each statement finds its own step."""
    assert len(RECIPES) == 10
    found = world(*RECIPES.values())
    for name in RECIPES:
        assert not found.verdict().passed
        found.honest(name)
    decision = found.verdict(explain=True)
    assert decision.passed
    selections = {one.step for one in decision.checks if one.kind == "selection" and one.passed}
    assert selections == set(RECIPES)
    assert {report.evidence for report in decision.steps if report.name in RECIPES} == {None}


def test_condition_that_is_false_says_what_it_saw(world: Any) -> None:
    """The finding has the expression and the values that it read."""
    found = world(RECIPES["build"])
    found.signed(github_build(MODEL, buildType="https://evil.example/v1"), found.github())
    finding = reason(found, "build")
    assert finding.code.name == "NOT_SELECTED"
    assert finding.expected.startswith("predicate.buildDefinition.buildType ==")
    assert "predicate.buildDefinition.buildType is https://evil.example/v1" in finding.got


@pytest.mark.parametrize(
    ("where", "got"),
    [
        ("predicate.missing == 1", "Key not found"),
        ("predicate.version / 0 == 1", "divide"),
        ("predicate.bomFormat", "gives string"),
        ("predicate.components.all(a, predicate.components.all(b, predicate.components.all(c, a == b || b == c)))", "more work than a constraint may be"),
    ],
)  # fmt: skip
def test_condition_that_gives_no_true_selects_nothing(world: Any, where: str, got: str) -> None:
    """A missing field, an error, another type and too much work are reasons, not exceptions."""
    found = world(changed("sbom", select={"where": where, "as": NAME}))
    parts = [{"name": f"package {number}", "purl": "x" * 200} for number in range(300)]
    found.signed(cyclonedx(MODEL, components=parts), found.github())
    finding = reason(found, "sbom")
    assert finding.code.name == "NOT_SELECTED"
    assert got in finding.got


def test_selector_sees_predicate_subject_and_signer(world: Any) -> None:
    """And nothing of the layout: functionary, time and step facts are not its matter."""
    where = (
        "subject.size() == 1 && subject[0].digest.sha256.startsWith('a') == false && subject[0].name == 'credit.pkl' "
        "&& signer.issuer == 'https://token.actions.githubusercontent.com' && signer.subject.contains('/acme/credit/') "
        "&& signer.claims.buildTrigger == 'push' && predicate.bomFormat == 'CycloneDX'"
    )
    found = world(changed("sbom", select={"where": where, "as": NAME}))
    found.honest("sbom")
    assert found.verdict().passed, found.verdict().findings


def test_names_of_the_tool_are_seen_without_as(world: Any) -> None:
    """Without `as` the rules see the tool's name, which is another one."""
    rules = [["MATCH", "*", "WITH", "PRODUCTS", "IN", "models", "FROM", "train"], ["DISALLOW", "*"]]
    found = world(changed("sbom", select={"where": "true || predicate.x"}, expectedMaterials=rules))
    found.honest("sbom")
    assert found.verdict().passed
    found = world(changed("sbom", select={"where": "true || predicate.x"}))
    found.honest("sbom")
    assert codes(found.verdict()) == [("NOT_ALLOWED", "sbom", "credit.pkl")]


def test_statement_of_a_type_that_no_step_selects_is_reported(world: Any) -> None:
    """If its signer could sign for the step; a stranger's is not worth a word."""
    found = world(RECIPES["sbom"])
    found.signed(scan(MODEL), found.person("mallory@evil.example"))
    assert reason(found, "sbom").code.name == "STEP_MISSING"
    found.signed(scan(MODEL), found.github())
    finding = reason(found, "sbom")
    assert (finding.code.name, finding.expected, finding.got) == ("PREDICATE_TYPE", CYCLONEDX, VULNS)


def test_statement_that_cannot_be_read_is_reported(world: Any) -> None:
    """A model signature whose files are not those of its digest says nothing about files."""
    found = world(RECIPES["sign"])
    broken = model_signature({"credit.pkl": CONTENT}).replace(b'"method":"files"', b'"method":"shards"')
    found.signed(broken, found.person())
    finding = reason(found, "sign")
    assert finding.code.name == "MALFORMED_CLAIM"
    assert "not supported" in finding.got


def test_refused_by_where_is_not_against_the_model_and_refused_by_a_constraint_is(world: Any) -> None:
    """A failed run of other tests says nothing here; a failed run of these tests rejects the model until a newer one."""
    found = world(RECIPES["test"])
    found.honest("test")
    found.signed(pytest_result(MODEL, result="FAILED", config="tests/other.py"), found.github())
    assert found.verdict().passed
    found.signed(pytest_result(MODEL, result="FAILED"), found.github())
    assert ("DENIED", "train", NAME) in codes(found.verdict())
    found.honest("test")
    found.evidence[-1] = replace(found.evidence[-1], time=found.evidence[-1].time + timedelta(seconds=1))
    assert found.verdict().passed


def test_unreadable_statement_counts_against_a_step_with_constraints(world: Any) -> None:
    """As for every other step: who may speak for the step and cannot be understood may have said no."""
    found = world(RECIPES["test"])
    found.honest("test")
    found.signed(
        said("https://in-toto.io/attestation/test-result/v0.1", {STEP_FIELD: {"name": 7}}, MODEL),
        found.github(),
    )
    assert not found.verdict().passed


def test_step_facts_are_never_selected(world: Any) -> None:
    """A statement that names its step counts for no other, and not for a step that selects, whatever it names."""
    for name in ("review", "train", "elsewhere"):
        found = world(RECIPES["review"])
        facts = {STEP_FIELD: StepFacts(name, "run-1", "observed", "credit").to_json()}
        predicate = {
            "verifier": {"id": "https://review.example.com"},
            "properties": ["ACME_APPROVED"],
            **facts,
        }
        for who in ("alice@acme.example", "trainer@acme.example"):
            found.signed(said("https://in-toto.io/attestation/svr/v0.2", predicate, MODEL), found.person(who))
        findings = [one for one in found.verdict().findings if one.step == "review"]
        assert {one.code.name for one in findings} == {"NOT_SELECTED" if name == "review" else "STEP_MISSING"}
        if name == "review":
            assert findings[0].got == "gitchain's step facts, of step review"


def test_link_with_the_name_of_another_step_stays_there(world: Any) -> None:
    """A step that takes links by name keeps them; the name of the selecting step itself is only a name."""
    taking = {**RECIPES["convert"], "select": {"where": "predicate.name != ''"}}
    by_name = {**changed("convert", select=None), "name": "pack"}
    found = world(by_name, taking)
    payload = link("pack", {NAME: CONTENT}, subject("onnx", "models/credit.onnx"))
    found.signed(payload, found.person())
    assert codes(found.verdict()) == [("STEP_MISSING", "convert", "")]
    found.signed(link("convert", {NAME: CONTENT}, subject("onnx", "models/credit.onnx")), found.person())
    assert found.verdict().passed


@pytest.mark.parametrize(
    ("kind", "predicate"),
    [
        ("https://slsa.dev/verification_summary/v1", {"verifier": {"id": "https://x.example"}}),
        ("https://gitchain.dev/predicate/dataset/v0.1", {}),
    ],
)
def test_reserved_types_are_not_even_looked_at(world: Any, kind: str, predicate: dict[str, Any]) -> None:
    """A summary or gitchain's own statement by the step's signer is evidence for other places."""
    found = world(RECIPES["sbom"])
    found.signed(said(kind, predicate, MODEL), found.github())
    assert reason(found, "sbom").code.name == "STEP_MISSING"


def test_threshold_of_selected_statements_counts_people(world: Any) -> None:
    """Two statements of one person are one."""
    found = world(RECIPES["review"])
    found.signed(approval(MODEL), found.person())
    found.signed(approval(MODEL, properties=("ACME_APPROVED", "AGAIN")), found.person())
    assert codes(found.verdict()) == [("THRESHOLD", "review", "")]


def test_as_names_one_artifact_and_no_other_number(world: Any) -> None:
    """Of provenance the product, of other types the subject, of a model signature the file."""
    for step, payload, got in (
        ("build", github_build(MODEL, subject("other", "other.pkl")), "2 artifacts"),
        ("spdx", spdx(MODEL, subject("other", "other.pkl")), "2 artifacts"),
        ("sign", model_signature({"a": "a", "b": "b", "c": "c"}), "3 artifacts"),
    ):
        found = world(changed(step, select={**RECIPES[step]["select"], "as": NAME}))
        found.signed(payload, found.person() if step == "sign" else found.github())
        finding = reason(found, step)
        assert (finding.code.name, finding.expected, finding.got) == (
            "NOT_SELECTED",
            f"one artifact, for the name {NAME}",
            got,
        )


def test_model_signature_of_one_file_may_be_named(world: Any) -> None:
    """Model-signing calls the one file `.`; its name is then the model's, and `as` gives it the layout's."""
    rules = [["MATCH", NAME, "WITH", "PRODUCTS", "FROM", "train"], ["DISALLOW", "*"]]
    found = world(changed("sign", select={**RECIPES["sign"]["select"], "as": NAME}, expectedMaterials=rules))
    found.signed(model_signature({".": CONTENT}, "anything"), found.person())
    assert found.verdict().passed


def test_selected_statement_counts_under_a_sublayout() -> None:
    """Its tool cannot name the supplier's layout; with step facts a statement has to."""
    selecting = SUPPLIER.replace(
        "    functionaries: [anna]\n",
        "    functionaries: [anna]\n    predicateType: https://slsa.dev/provenance/v1\n"
        "    select: {where: \"predicate.buildDefinition.buildType == 'https://b.example'\"}\n",
    )
    found = supplier(selecting)
    named = found.evidence.pop("acme-collect")
    assert not found.verdict().passed
    built = Statement.parse(github_build(subject("all raw", "raw/all.csv"), buildType="https://b.example"))
    material = 'expectedMaterials: [[ALLOW, "git+*"], [DISALLOW, "*"]]\n'
    found = supplier(selecting.replace("    expectedProducts", f"    {material}    expectedProducts", 1))
    found.evidence["acme-collect"] = verified(built, "anna", named.time)
    assert found.verdict().passed, found.verdict().findings
    found.evidence["acme-collect"] = named
    assert not found.verdict().passed


def test_explanation_of_a_failure_names_the_condition(world: Any) -> None:
    """`--explain` lists the checks of the statement up to the condition."""
    found = world(RECIPES["spdx"])
    found.signed(spdx(MODEL).replace(b"SPDX-2.3", b"SPDX-2.2"), found.github())
    checks = [one for one in found.verdict(explain=True).checks if one.step == "spdx"]
    assert [one.kind for one in checks if not one.passed] == ["evidence", "selection", "chain"]
    assert "does not count: the step does not select the attestation" in checks[-2].message
