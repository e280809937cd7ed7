"""Cases of a layout whose steps select statements of other tools: without step facts, with the claims of the functionary."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitchain.layout.lint import lint
from gitchain.layout_test.cases import run_cases
from tests.support.selecting_layout import CONTENT, NAME, RECIPES, layout_with

BUILD: dict[str, Any] = {
    "step": "build",
    "signer": "github",
    "products": {"credit.pkl": CONTENT},
    "predicate": {
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {"workflow": {"path": ".github/workflows/build.yml"}},
            "resolvedDependencies": [{"uri": "git+https://github.com/acme/credit@refs/heads/main"}],
        }
    },
}
PUSH = {"sourceRepositoryRef": "refs/heads/main", "buildTrigger": "push"}
SPDX: dict[str, Any] = {
    "step": "spdx",
    "signer": "github",
    "subject": {"credit.pkl": CONTENT},
    "predicate": {"spdxVersion": "SPDX-2.3"},
}
LINK: dict[str, Any] = {
    "step": "convert",
    "signer": "alice",
    "materials": {NAME: CONTENT},
    "products": {"models/credit.onnx": "onnx"},
    "predicate": {"name": "make-onnx"},
}


@pytest.fixture
def verdicts(tmp_path: Path) -> Any:
    """Return what runs these statements beside the training, under a layout with these recipes, with their codes."""

    def run(recipes: tuple[str, ...], *statements: dict[str, Any]) -> list[str]:
        github: Any = layout_with().functionary("github").to_json()
        layout = json.loads(layout_with(*(RECIPES[name] for name in recipes)).canonical)
        for one in github["identities"]:
            one["claims"] = {**one["claims"], **PUSH}
        layout["functionaries"]["github"] = github
        case = tmp_path / "cases" / "mine"
        case.mkdir(parents=True, exist_ok=True)
        (tmp_path / "layout.yaml").write_text(json.dumps(layout), encoding="utf-8")
        train = {"step": "train", "signer": "trainer", "products": {NAME: CONTENT}}
        value = {
            "schema": "https://gitchain.dev/layout-case/v1",
            "target": {"name": NAME, "content": CONTENT},
            "statements": [train, *statements],
            "expect": "PASSED",
        }
        (case / "case.yaml").write_text(json.dumps(value), encoding="utf-8")
        _, (found,) = run_cases(tmp_path)
        return [one.code for one in found.found]

    return run


def test_case_of_a_selecting_step_has_no_step_facts(verdicts: Any) -> None:
    """Provenance, a link and an SBOM as their tools write them, by a functionary with its claims."""
    assert verdicts(("build", "spdx", "convert"), BUILD, SPDX, LINK) == []
    assert verdicts(("spdx",), {**SPDX, "predicate": {}}) == ["GC-E0329"]


def test_case_gives_the_claims_of_its_signer(verdicts: Any) -> None:
    """An identity with claims that match the functionary is read with those."""
    workflow = "https://github.com/acme/credit/.github/workflows/build.yml@refs/heads/main"
    ids = {
        "sourceRepositoryIdentifier": "123",
        "sourceRepositoryOwnerIdentifier": "45",
        "runnerEnvironment": "github-hosted",
    }
    who = {
        "issuer": "https://token.actions.githubusercontent.com",
        "subject": workflow,
        "claims": {**ids, **PUSH},
    }
    assert verdicts(("build",), {**BUILD, "signer": who}) == []
    who["claims"] = {**ids, **PUSH, "buildTrigger": "pull_request"}
    assert verdicts(("build",), {**BUILD, "signer": who}) == ["GC-E0303"]


def test_example_of_other_tools_is_as_it_claims() -> None:
    """Seven kinds of evidence satisfy the example; each of its other cases fails where it expects. Lint has no error."""
    folder = Path(__file__).parents[2] / "examples" / "layouts" / "other-tools"
    layout, results = run_cases(folder)
    assert [(one.case.name, one.found) for one in results if not one.as_expected] == []
    assert sum(one.decision.passed for one in results) == 1
    assert len(results) == 8
    assert [one for one in lint(layout, datetime(2026, 12, 1, tzinfo=UTC)) if one.severity == "error"] == []
