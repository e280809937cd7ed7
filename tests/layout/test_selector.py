"""`select` of a step: what is read, what is refused when it is loaded, and what lint says about it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gitchain.errors import LayoutError
from gitchain.evidence.vocabulary import PROVENANCE_V02
from gitchain.layout import parse_layout
from gitchain.layout.lint import lint
from gitchain.layout.parts import Constraint, Selector
from tests.support.selecting_layout import BASE, NAME, RECIPES, changed, layout_with

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "schemas" / "layout.schema.json").read_text(encoding="utf-8")
)
WHERE = "predicate.spdxVersion == 'SPDX-2.3'"


def test_select_is_read_and_written() -> None:
    """Condition and name end in the step; the canonical layout has them, parses again and fits the schema."""
    layout = layout_with(*RECIPES.values())
    spdx, sign = layout.step("spdx"), layout.step("sign")
    assert spdx.select == Selector(Constraint("where", WHERE), NAME)
    assert sign.select is not None
    assert sign.select.name is None
    assert parse_layout(layout.canonical) == layout
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(layout.canonical))
    assert spdx.to_json()["select"] == {"where": WHERE, "as": NAME}
    assert "as" not in sign.select.to_json()
    assert "select" not in layout.step("train").to_json()


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no predicate type": ({"predicateType": None}, "select needs a predicate type, in steps[1].predicateType"),
    "no condition": ({"select": {}}, "field is missing, in steps[1].select.where"),
    "empty condition": ({"select": {"where": ""}}, "steps[1].select.where"),
    "blank condition": ({"select": {"where": " "}}, "expression has the wrong length, in steps[1].select.where, expected"),
    "control character": ({"select": {"where": "'\x00' == 'a'"}}, "expression holds a control character, in steps[1].select.where, got"),
    "name with a line break": ({"select": {"where": WHERE, "as": "a\nb"}}, "steps[1].select.as"),
    "name with empty part": ({"select": {"where": WHERE, "as": "git+https://x"}}, "steps[1].select.as"),
    "older summary": ({"predicateType": "https://slsa.dev/verification_summary/v0.2"}, "not selected"),
    "summary of another name": ({"predicateType": "https://slsa.dev/verification_summary/v1.0"}, "not selected"),
    "type with a line break": ({"predicateType": "https://x.example\n/x"}, "predicate type is not a URI"),
    "list of conditions": ({"select": {"where": [WHERE]}}, "steps[1].select.where"),
    "other field": ({"select": {"where": WHERE, "name": "x"}}, "unknown field, in steps[1].select.name"),
    "no map": ({"select": WHERE}, "not a map, in steps[1].select"),
    "syntax": ({"select": {"where": "predicate =="}}, "not a valid expression, in steps[1].select.where"),
    "no boolean": ({"select": {"where": "subject"}}, "expression is not a condition"),
    "materials": ({"select": {"where": "materials.size() > 0"}}, "not a valid expression, in steps[1].select.where"),
    "time": ({"select": {"where": "time > timestamp('2026-01-01T00:00:00Z')"}}, "steps[1].select.where"),
    "time zone": ({"select": {"where": "timestamp(predicate.at).getHours('Europe/Berlin') > 1"}}, "steps[1].select.where"),
    "absolute name": ({"select": {"where": WHERE, "as": "/models/x"}}, "artifact name is not a normalised relative path, in steps[1].select.as"),
    "name that goes up": ({"select": {"where": WHERE, "as": "../x"}}, "steps[1].select.as"),
    "empty name": ({"select": {"where": WHERE, "as": ""}}, "steps[1].select.as"),
    "strength": ({"evidence": "declared"}, "a selected statement has no strength, in steps[1].evidence"),
    "layout": ({"predicateType": "https://gitchain.dev/predicate/layout/v1"}, "steps[1]"),
    "revocation": ({"predicateType": "https://gitchain.dev/predicate/revocation/v0.1"}, "not selected"),
    "checkpoint": ({"predicateType": "https://gitchain.dev/predicate/checkpoint/v0.1"}, "not selected"),
    "deployment": ({"predicateType": "https://gitchain.dev/predicate/deployment/v0.1"}, "not selected"),
    "source": ({"predicateType": "https://gitchain.dev/predicate/source/v0.1"}, "steps[1]"),
    "unknown type of ours": ({"predicateType": "https://gitchain.dev/new/v1"}, "not selected"),
    "summary": ({"predicateType": "https://slsa.dev/verification_summary/v1"}, "steps[1]"),
    "summary with verifier": (
        {"predicateType": "https://slsa.dev/verification_summary/v1", "verifier": "https://x.example", "expectedMaterials": None},
        "statements of this predicate type are not selected",
    ),
    "no functionary": ({"functionaries": []}, "the step has no functionary"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_select_that_is_wrong_is_refused(name: str) -> None:
    """When the layout is loaded, with the field's place, before any evidence is read."""
    change, message = FAULTS[name]
    with pytest.raises(LayoutError) as error:
        layout_with(changed("spdx", **change))
    assert message in str(error.value)


@pytest.mark.parametrize(
    "name", sorted({*FAULTS} - {"syntax", "no boolean", "materials", "time", "time zone"})
)
def test_schema_refuses_it_too(name: str) -> None:
    """An editor that checks the schema marks the same fields; only the loader compiles the condition."""
    head = {
        "schema": "https://gitchain.dev/layout/v1",
        "name": "x",
        "version": 1,
        "expires": "2027-11-22T00:00:00Z",
    }
    value = {**head, **BASE, "steps": [*BASE["steps"], changed("spdx", **FAULTS[name][0])]}
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(value)


def test_selecting_step_is_in_no_run() -> None:
    """Other tools know no runs: `sameRun` could never hold."""
    with pytest.raises(LayoutError, match=r"step has no run here, or is not defined, in sameRun\[0\]"):
        layout_with(RECIPES["spdx"], sameRun=[["train", "spdx"]])


@pytest.mark.parametrize(
    ("step", "where", "code"),
    [
        ("spdx", "true", "CONSTANT"),
        ("build", "signer.claims.buildTrigger == 'push'", "ANY_BUILD"),
        ("build", "predicate.buildDefinition.externalParameters.x == 1", "ANY_BUILD"),
        ("build", "predicate.buildDefinition.buildType == 'x'", ""),
        ("build", "predicate.runDetails.builder.id.startsWith('https://x')", ""),
        ("build", "has(predicate.buildDefinition)", "ANY_BUILD"),
        ("build", "predicate != null", "ANY_BUILD"),
        ("build", "predicate.buildDefinition.buildType.x == 1", ""),
        ("v0.2", "predicate.buildDefinition.buildType == 'x'", "ANY_BUILD"),
        ("v0.2", "predicate.builder.id == 'x'", ""),
        ("v0.2", "predicate.buildType == 'x'", ""),
        ("spdx", WHERE, ""),
    ],
)
def test_lint_reads_the_condition(step: str, where: str, code: str) -> None:
    """A condition on nothing is a warning, and so is provenance of any build and any builder."""
    kind, step = (PROVENANCE_V02, "build") if step == "v0.2" else (RECIPES[step]["predicateType"], step)
    select = {**RECIPES[step]["select"], "where": where}
    found = lint(layout_with(changed(step, predicateType=kind, select=select)), datetime.now(UTC))
    selectors = {one.code.name: one for one in found if one.where == "steps[1].select.where"}
    assert set(selectors) == ({code} if code else set())
    if code == "ANY_BUILD" and kind == PROVENANCE_V02:
        assert selectors[code].help == "compare predicate.buildType or predicate.builder.id"


def test_lint_says_that_a_served_product_is_only_selected() -> None:
    """gitchain saw nothing of the build, and no `evidence` could change that."""
    build = changed("build", expectedProducts=[["ALLOW", NAME], ["DISALLOW", "*"]])
    found = lint(layout_with(build, serve=[{"step": "build", "products": [NAME]}]), datetime.now(UTC))
    (finding,) = [one for one in found if one.code.name == "NOT_OBSERVED"]
    assert "selects statements of another tool" in finding.message
    assert finding.where == "steps[1].select"
    assert finding.help == "serve a step with evidence: observed, and MATCH it here"


@pytest.mark.parametrize(
    ("where", "name", "served", "warned"),
    [
        ("predicate.buildDefinition.buildType == 'x'", NAME, "build", True),
        ("predicate.buildDefinition.buildType == 'x' && subject[0].name == 'x'", NAME, "build", False),
        ("predicate.buildDefinition.buildType == 'x'", None, "build", False),
        ("predicate.buildDefinition.buildType == 'x'", NAME, "train", False),
    ],
)
def test_lint_says_that_any_artifact_is_served(
    where: str, name: str | None, served: str, warned: bool
) -> None:
    """`as` gives the served name to whatever the signers build, unless the condition compares the subject."""
    select = {"where": where, **({} if name is None else {"as": name})}
    build = changed("build", select=select, expectedProducts=[["ALLOW", NAME], ["DISALLOW", "*"]])
    found = lint(layout_with(build, serve=[{"step": served, "products": [NAME]}]), datetime.now(UTC))
    places = [one.where for one in found if one.code.name == "ANY_ARTIFACT"]
    assert places == (["steps[1].select.where"] if warned else [])


def test_lint_asks_for_the_repository_of_a_workflow() -> None:
    """A selecting step by a workflow whose certificate may be another repository's is a finding about the functionary."""
    loose = {
        "identities": [
            {**BASE["functionaries"]["github"]["identities"][0], "claims": {"buildTrigger": "push"}}
        ]
    }
    layout = layout_with(RECIPES["build"], functionaries={**BASE["functionaries"], "github": loose})
    places = {one.where for one in lint(layout, datetime.now(UTC)) if one.code.name == "OTHER_REPOSITORY"}
    assert places == {"functionaries.github.identities[0]"}
