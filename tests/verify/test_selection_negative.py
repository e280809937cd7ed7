"""Statements of other tools that do not count for the model: which of them count against it."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha512
from typing import Any

import pytest

from gitchain.evidence.claim import StepFacts
from gitchain.evidence.predicates import provenance
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import PROVENANCE, STEP_FIELD
from gitchain.instance import Instance
from gitchain.verify.trust import Trust
from tests.support.decision_input import codes, descriptor
from tests.support.foreign_statements import (
    cyclonedx,
    github_build,
    model_signature,
    pytest_result,
    scan,
    subject,
)
from tests.support.selecting_layout import (
    BASE,
    CONTENT,
    NAME,
    RECIPES,
    TRAINER,
    SelectingWorld,
    changed,
    layout_with,
)

MODEL, OTHER = subject(CONTENT), subject("tok", "tokenizer.json")
DENIED = ("DENIED", "train", NAME)
SHAPES = "predicate.configuration[0].name == 'tests/test_model.py'"
Make = Callable[..., SelectingWorld]


@pytest.fixture
def world(instance: Instance, trust: Trust) -> Make:
    """Return what makes a world with these steps beside the training."""
    return lambda *steps: SelectingWorld(instance, trust, layout_with(*steps))


def passing(found: SelectingWorld, step: str) -> SelectingWorld:
    """Add the step's honest statement, with which the model passes."""
    found.honest(step)
    assert found.verdict().passed, found.verdict().findings
    return found


def with_facts(payload: bytes, step: str, layout: str | None = "credit") -> bytes:
    """Return the statement with gitchain's step facts."""
    value = json.loads(payload)
    value["predicate"][STEP_FIELD] = StepFacts(step, "run-1", "declared", layout).to_json()
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("step", "good", "bad"),
    [
        ("test", pytest_result(MODEL, OTHER), pytest_result(MODEL, OTHER, result="FAILED")),
        ("test", pytest_result(MODEL, OTHER), pytest_result(OTHER, MODEL, result="FAILED")),
        ("scan", scan(MODEL, OTHER), scan(MODEL, OTHER, severity="CRITICAL")),
    ],
)
def test_rejection_of_several_artifacts_is_about_each(
    world: Make, step: str, good: bytes, bad: bytes
) -> None:
    """With `as` such a statement never counts for the model; one that the constraints refuse counts against it."""
    found = world(RECIPES[step])
    found.signed(good, found.github())
    assert not found.verdict().passed
    passing(found, step).signed(bad, found.github())
    assert DENIED in codes(found.verdict())
    assert found.verdict().findings[0].got != "2 artifacts"


def test_rejection_of_several_other_artifacts_is_not_about_the_model(world: Make) -> None:
    """Only the statement's own subjects are rejected."""
    found = passing(world(RECIPES["test"]), "test")
    found.signed(pytest_result(OTHER, subject("b", "b"), result="FAILED"), found.github())
    assert found.verdict().passed


@pytest.mark.parametrize(
    "configuration",
    [None, [], [7], [{}], [{"name": "tests/test_model.py"}]],
)
def test_condition_that_cannot_be_evaluated_counts_against_a_step_with_constraints(
    world: Make, configuration: Any
) -> None:
    """A missing field, a wrong type, an error; for the last one the condition is true, and its result is FAILED."""
    value = json.loads(pytest_result(MODEL, result="FAILED"))
    value["predicate"]["configuration"] = configuration
    found = passing(world(changed("test", select={"where": SHAPES, "as": NAME})), "test")
    found.signed(json.dumps(value).encode(), found.github())
    decision = found.verdict()
    assert DENIED in codes(decision)
    assert "constraint passed of step test" in decision.findings[0].message


@pytest.mark.parametrize(
    "where",
    [
        "predicate.failedTests.all(a, predicate.failedTests.all(b, predicate.failedTests.all(c, a == b || b != c)))",
        "predicate.configuration.size() == 1 ? predicate.result == 'PASSED' || dyn(predicate.result) : true",
        "predicate.result == 'PASSED' || predicate.missing",
    ],
)
def test_limit_and_other_types_count_against_too(world: Make, where: str) -> None:
    """Too much work, a result that is not a boolean and a missing field, although the constraint would hold."""
    step = changed("test", select={"where": where, "as": NAME}, constraints=[{"name": "any", "expression": "predicate.result != 'x'"}])  # fmt: skip
    found = passing(world(step), "test")
    value = json.loads(pytest_result(MODEL, result="FAILED"))
    value["predicate"]["failedTests"] = ["x" * 100 for _ in range(400)]
    found.signed(json.dumps(value).encode(), found.github())
    decision = found.verdict()
    assert DENIED in codes(decision)
    assert "the condition that selects its statements cannot be evaluated" in decision.findings[0].message


def test_condition_that_is_false_counts_against_nothing(world: Make) -> None:
    """Nor does one that cannot be evaluated, without constraints, of a stranger, or of another type."""
    where = {"where": SHAPES, "as": NAME}
    value = json.loads(pytest_result(MODEL, result="FAILED"))
    value["predicate"]["configuration"] = []
    broken = json.dumps(value).encode()
    found = passing(world(changed("test", select=where)), "test")
    found.signed(pytest_result(MODEL, result="FAILED", config="other"), found.github())
    found.signed(broken, found.github(sourceRepositoryIdentifier="999"))
    found.signed(scan(MODEL), found.github())
    assert found.verdict().passed
    free = passing(world(changed("test", select=where, constraints=None)), "test")
    free.signed(broken, free.github())
    assert free.verdict().passed


@pytest.mark.parametrize(
    ("step", "layout", "result", "passes"),
    [
        ("test", "credit", "FAILED", False),
        ("test", None, "FAILED", False),
        ("test", "credit", "PASSED", True),
        ("test", "another", "FAILED", True),
        ("elsewhere", "credit", "FAILED", True),
    ],
)
def test_step_facts_that_name_the_selecting_step_can_reject(
    world: Make, step: str, layout: str | None, result: str, passes: bool
) -> None:
    """They are never selected, so they never count for the model: only against it."""
    payload = with_facts(pytest_result(MODEL, result=result), step, layout)
    found = world(RECIPES["test"])
    found.signed(payload, found.github())
    assert not found.verdict().passed
    found = passing(world(RECIPES["test"]), "test")
    found.signed(payload, found.github())
    assert found.verdict().passed is passes


def test_step_facts_need_no_condition_to_reject(world: Make) -> None:
    """The statement names the step itself: whether the condition holds for it, and whether it can be evaluated, is not asked."""
    found = passing(world(RECIPES["test"]), "test")
    other = pytest_result(MODEL, result="FAILED", config="tests/other.py")
    found.signed(with_facts(other, "test"), found.github())
    assert DENIED in codes(found.verdict())
    loose = changed("test", constraints=[{"name": "any", "expression": "predicate.result != ''"}])
    found = passing(world(loose), "test")
    found.signed(
        with_facts(pytest_result(MODEL).replace(b'"configuration"', b'"other"'), "test"), found.github()
    )
    assert found.verdict().passed


def test_stranger_is_reported_for_one_step_and_a_functionary_for_her_own(world: Make) -> None:
    """However many steps select the type: others' statements are not read once for each of them."""
    steps = [{**changed("sbom"), "name": f"sbom{number}"} for number in range(3)]
    found = world(*steps)
    found.signed(cyclonedx(MODEL), found.person("mallory@evil.example"))
    assert codes(found.verdict()) == [
        ("UNAUTHORISED", "sbom0", ""),
        ("STEP_MISSING", "sbom1", ""),
        ("STEP_MISSING", "sbom2", ""),
    ]
    found = world(steps[0], {**steps[1], "functionaries": ["alice"]})
    found.signed(cyclonedx(MODEL, bomFormat="X"), found.person())
    assert codes(found.verdict()) == [("STEP_MISSING", "sbom0", ""), ("NOT_SELECTED", "sbom1", "")]


def test_several_artifacts_of_provenance_count_for_nothing(world: Make) -> None:
    """Without constraints there is no rejection either."""
    found = passing(world(RECIPES["build"]), "build")
    found.signed(github_build(MODEL, OTHER), found.github())
    assert found.verdict().passed


def test_model_signature_that_cannot_be_read_rejects_its_files(world: Make) -> None:
    """Its subject is the digest of no file: the files that it lists are rejected, for a step with constraints only."""
    good = json.loads(model_signature({"credit.pkl": CONTENT}))
    good["predicate"]["approved"] = True
    bad = json.loads(json.dumps(good))
    bad["predicate"]["serialization"]["method"] = "shards"
    for constraints, passes in (
        ([{"name": "ok", "expression": "predicate.approved"}], False),
        (None, True),
    ):
        found = world(changed("sign", constraints=constraints))
        found.signed(json.dumps(good).encode(), found.person())
        assert found.verdict().passed
        found.signed(json.dumps(bad).encode(), found.person("mallory@evil.example"))
        assert found.verdict().passed
        found.signed(json.dumps(bad).encode(), found.person())
        assert found.verdict().passed is passes
        bad["predicate"]["resources"][0]["digest"] = "0" * 64
        found.evidence.pop()
        found.signed(json.dumps(bad).encode(), found.person())
        assert found.verdict().passed
        bad["predicate"]["resources"] = good["predicate"]["resources"]


@pytest.mark.parametrize(
    ("severity", "passes"),
    [
        ([{"method": "nvd", "score": "HIGH"}], True),
        ([{"method": "nvd", "score": "CRITICAL"}], False),
        ([{"method": "nvd", "score": "Critical"}], False),
        ([{"method": "cvss_score", "score": "9.8"}], False),
        ([{"method": "nvd", "score": "LOW"}, {"method": "cvss_score", "score": "9.8"}], False),
        ([{"method": "nvd"}], False),
        ([], False),
        (None, False),
    ],
)
def test_recipe_scan_takes_known_severities_only(world: Make, severity: Any, passes: bool) -> None:
    """Another spelling, a score and a vulnerability without severity are refused: a critical one may be among them."""
    found = world(RECIPES["scan"])
    value = json.loads(scan(MODEL))
    value["predicate"]["scanner"]["result"][0]["severity"] = severity
    found.signed(json.dumps(value).encode(), found.github())
    assert found.verdict().passed is passes


@pytest.mark.parametrize("recipe", [True, False])
def test_recipe_sign_requires_the_model(instance: Instance, trust: Trust, recipe: bool) -> None:
    """A signature over the other files of the training alone passes without the recipe's REQUIRE."""
    rules = RECIPES["sign"]["expectedMaterials"]
    assert rules[0] == ["REQUIRE", "credit.pkl"]
    train = {**BASE["steps"][0], "expectedProducts": [["CREATE", "models/*"], ["DISALLOW", "*"]]}
    sign = changed("sign", expectedMaterials=rules if recipe else rules[1:])
    found = SelectingWorld(instance, trust, layout_with(steps=[train, sign]))
    found.evidence.clear()
    predicate = provenance(step=StepFacts("train", "run-1", "observed", "credit"), materials=())
    files = [descriptor(NAME, CONTENT), descriptor("models/readme.md", "hello")]
    found.signed(Statement.build(files, PROVENANCE, predicate).payload, found.person(TRAINER))
    found.signed(model_signature({"readme.md": "hello"}), found.person())
    assert found.verdict().passed is not recipe
    found.signed(model_signature({"credit.pkl": CONTENT, "readme.md": "hello"}), found.person())
    assert found.verdict().passed


def test_subject_with_only_a_uri_is_selected_under_it(world: Make) -> None:
    """With `as` it has the layout's name, as every other one, and it rejects as every other one."""
    item = {"uri": "pkg:generic/credit@1", "digest": MODEL["digest"]}
    found = world(RECIPES["test"])
    found.signed(pytest_result(item), found.github())
    assert found.verdict().passed
    found.signed(pytest_result(item, result="FAILED"), found.github())
    assert DENIED in codes(found.verdict())


def test_only_accepted_digests_of_the_same_kind_reject(world: Make) -> None:
    """gitchain records sha256: a failed result that names the model by another digest alone is about nothing known."""
    item = {"name": "credit.pkl", "digest": {"sha512": sha512(CONTENT.encode()).hexdigest()}}
    found = passing(world(RECIPES["test"]), "test")
    found.signed(pytest_result(item, result="FAILED"), found.github())
    assert found.verdict().passed
