"""Attacks with in-toto Statements v0.1, which cosign and slsa-github-generator write, on a layout that selects them.

The layout is the example other-tools. Each statement is signed for real, with a certificate as Fulcio issues it, logged
and verified. Every test first shows the honest statements pass, so that only the attack's own change can be the reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import MalformedError
from gitchain.evidence.canonical import canonical_json
from gitchain.evidence.claim import StepFacts
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.predicates import provenance
from gitchain.evidence.vocabulary import PROVENANCE, STEP_FIELD
from gitchain.instance import Instance
from gitchain.layout import parse_layout
from gitchain.layout.yaml import read_yaml
from gitchain.verify.trust import Trust
from tests.support.decision_input import codes
from tests.support.foreign_statements import (
    CYCLONEDX,
    GENERATOR,
    REPOSITORY,
    SPDX,
    PersonForge,
    WorkflowForge,
    approval,
    cosign_attest,
    generator_build,
    github_build,
    link,
    model_signature,
    old,
    pytest_result,
    said,
    subject,
)
from tests.support.forged_bundles import Forge
from tests.support.removed_checks import goes_red, guarded, names
from tests.support.selecting_layout import CONTENT, NAME, TRAINER, SelectingWorld

EXAMPLE = Path(__file__).parents[2] / "examples/layouts/other-tools/layout.yaml"
MODEL, DIGEST = subject(CONTENT), sha256_hex(CONTENT.encode())
BOM: dict[str, Any] = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": "numpy"}]}
SBOM = cosign_attest(CYCLONEDX, BOM, DIGEST)
STEPS = {
    "build": github_build(MODEL),
    "generate": generator_build(MODEL),
    "sbom": SBOM,
    "test": pytest_result(MODEL),
    "sign": model_signature({"credit.pkl": CONTENT}),
}
OLD = ("gitchain.verify.authorization:Authorizer.conditions", "statement.statement.is_old and step.select is None", "False")  # fmt: skip
CONDITION = ("gitchain.verify.selection:check_selection", "result.ok", "True")
CLAIMS = ("gitchain.layout.identities:SigstoreMember.matches", "claims.get(name) == value", "True")
Make = Callable[..., SelectingWorld]


@pytest.fixture
def world(instance: Instance, trust: Trust) -> Make:
    """Return what makes the example with all evidence but that of some steps, after it passed with all."""
    layout = parse_layout(canonical_json(read_yaml(EXAMPLE.read_text(encoding="utf-8"))))

    def make(*without: str) -> SelectingWorld:
        found = SelectingWorld(instance, trust, layout)
        ids = {}
        for step, payload in STEPS.items():
            ids[step] = found.signed(payload, signer(found, step))
        facts = {STEP_FIELD: StepFacts("approve", "run-1", "observed", layout.name).to_json()}
        payload = json.loads(approval({**MODEL, "name": NAME}))
        payload["predicate"] |= facts
        ids["approve"] = found.signed(json.dumps(payload).encode(), found.person())
        assert found.verdict().passed, found.verdict().findings
        for step in without:
            found.evidence.remove(ids[step])
        return found

    return make


def signer(found: SelectingWorld, step: str, **claims: str) -> Forge:
    if step == "sign":
        return found.person(TRAINER)
    return (
        WorkflowForge(found.instance, GENERATOR, **claims) if step == "generate" else found.github(**claims)
    )


def with_facts(payload: bytes, step: str) -> bytes:
    value = json.loads(payload)
    value["predicate"][STEP_FIELD] = StepFacts(step, "run-1", "observed", "credit-other-tools").to_json()
    return json.dumps(value).encode()


def refused(found: SelectingWorld, step: str) -> str:
    """Return the name of the code of the one finding about the step."""
    decision = found.verdict()
    assert not decision.passed
    findings = [one.code.name for one in decision.findings if one.step == step]
    assert len(findings) == 1, findings
    return findings[0]


@pytest.mark.parametrize("kind", [CYCLONEDX, SPDX])
def test_old_statement_satisfies_only_a_step_that_selects_it(world: Make, kind: str) -> None:
    """The SBOM as `cosign attest` writes it, and provenance of slsa-github-generator. SPDX is no CycloneDX."""
    found = world("sbom")
    found.signed(cosign_attest(kind, BOM, DIGEST), found.github())
    assert found.verdict().passed == (kind == CYCLONEDX)


@guarded(OLD)
def test_old_statement_with_step_facts(world: Make) -> None:
    """A functionary writes gitchain's step facts into a Statement v0.1: no evidence for the step that it names."""
    facts = with_facts(old(approval({**MODEL, "name": NAME})), "approve")
    found = world("approve")
    found.signed(facts, found.person())
    assert refused(found, "approve") == "OLD_STATEMENT"
    trained = said(PROVENANCE, dict(provenance(step=StepFacts("train", "run-1", "observed", found.layout.name), materials=())), {**MODEL, "name": NAME})  # fmt: skip
    found = world()
    found.evidence.pop(0)
    found.signed(old(trained), found.person(TRAINER))
    assert not found.verdict().passed


@guarded(("gitchain.verify.selection:check_selection", "claim.has_facts", "False"), ("gitchain.verify.authorization:Authorizer.conditions", "and not claim.has_facts", ""))  # fmt: skip
def test_old_statement_with_step_facts_of_a_step_that_selects(world: Make) -> None:
    """Step facts in a Statement v0.1 are not another tool's statement either."""
    found = world("sbom")
    found.signed(with_facts(SBOM, "sbom"), found.github())
    assert refused(found, "sbom") == "NOT_SELECTED"


@pytest.mark.parametrize(
    "kind", ["revocation/v0.1", "checkpoint/v0.1", "layout/v1", "dataset/v0.1", "source/v0.1"]
)
def test_old_statement_of_gitchains_own_types(world: Make, kind: str) -> None:
    """Neither negative evidence nor a layout, a checkpoint or facts about data: the statement is malformed."""
    found = world()
    payload = old(said(f"https://gitchain.dev/predicate/{kind}", {}, MODEL))
    with pytest.raises(MalformedError, match="statement of gitchain is of an old version"):
        found.signed(payload, found.person())


@guarded(OLD)
def test_old_statement_link_of_a_step(world: Make, instance: Instance, trust: Trust) -> None:
    """A link with the name of a step that has no select needs a Statement v1."""
    value = json.loads(world().layout.canonical)
    step = {
        "name": "pack",
        "functionaries": ["alice"],
        "predicateType": "https://in-toto.io/attestation/link/v0.3",
    }
    rule = {"expectedMaterials": [["MATCH", NAME, "WITH", "PRODUCTS", "FROM", "train"]]}
    train, *_ = value["steps"]
    layout = parse_layout(json.dumps({**value, "steps": [train, {**step, **rule}]}).encode())
    payload = link("pack", {NAME: CONTENT}, subject("onnx", "models/credit.onnx"))
    for made, passed in ((payload, True), (old(payload), False)):
        found = SelectingWorld(instance, trust, layout)
        found.signed(made, found.person())
        assert found.verdict().passed is passed


def test_old_statement_is_no_model_signature(world: Make) -> None:
    """OpenSSF's specification requires a Statement v1."""
    found = world("sign")
    found.signed(old(STEPS["sign"]), found.person(TRAINER))
    assert refused(found, "sign") == "MALFORMED_CLAIM"


def test_old_and_new_statements_are_judged_by_time(world: Make) -> None:
    """A failed test in either version rejects the model; a later pass of the same signer in either takes it back."""
    for failed, passed in ((True, False), (False, True), (True, True)):
        found = world("test")
        bad, good = pytest_result(MODEL, result="FAILED"), pytest_result(MODEL)
        found.signed(old(bad) if failed else bad, found.github())
        found.signed(good, found.github(sourceRepositoryIdentifier="999"))
        assert ("DENIED", "train", NAME) in codes(found.verdict())
        later = found.signed(old(good) if passed else good, found.github())
        found.evidence[-1] = replace(later, time=later.time + timedelta(seconds=2))
        assert found.verdict().passed


def test_old_statement_with_step_facts_still_rejects(world: Make) -> None:
    """Negative evidence needs less: the constraints refuse it, so it counts against the model."""
    found = world()
    bad = with_facts(old(pytest_result(MODEL, result="FAILED")), "test")
    found.signed(bad, found.github())
    assert ("DENIED", "train", NAME) in codes(found.verdict())


def test_old_and_new_type_in_one_statement(world: Make) -> None:
    """Two `_type` fields could be read as either version."""
    found = world("sbom")
    payload = b'{"_type":"https://in-toto.io/Statement/v1",' + SBOM[1:]
    with pytest.raises(MalformedError, match="key appears twice"):
        found.signed(payload, found.github())


@pytest.mark.parametrize(
    "about", [{"name": "x"}, {"name": "x", "digest": {}}, {"digest": {"sha256": DIGEST}}]
)
def test_old_statement_whose_subject_lacks_name_or_digest(world: Make, about: Mapping[str, Any]) -> None:
    """The whole statement is malformed, also beside a good subject."""
    found = world("sbom")
    value = json.loads(SBOM)
    for subjects in ([about], [*value["subject"], about]):
        with pytest.raises(MalformedError):
            found.signed(json.dumps({**value, "subject": subjects}).encode(), found.github())


@guarded(CONDITION)
def test_old_statement_of_another_builder(world: Make) -> None:
    """Another builder id, build type or workflow in what the right certificate signed."""
    for one, other in (
        (b"slsa-framework/slsa-github-generator/.github", b"mallory/slsa-github-generator/.github"),
        (b"generic@v1", b"go@v1"),
        (b".github/workflows/release.yml", b".github/workflows/experiment.yml"),
    ):
        found = world("generate")
        found.signed(generator_build(MODEL).replace(one, other), signer(found, "generate"))
        assert refused(found, "generate") == "NOT_SELECTED"


@guarded(CLAIMS)
def test_old_statement_of_a_fork(world: Make) -> None:
    """The trusted generator, called by a fork: its certificate has the fork's number, whatever the predicate claims."""
    found = world("generate")
    fork = {"sourceRepositoryIdentifier": "999", "sourceRepositoryURI": REPOSITORY.replace("acme", "mallory")}
    found.signed(generator_build(MODEL), signer(found, "generate", **fork))
    assert refused(found, "generate") == "UNAUTHORISED"


@guarded(("gitchain.verify.selection:check_selection", "count != 1", "False"))
def test_old_statement_with_one_subject_among_a_thousand(world: Make) -> None:
    """The model hidden among other files is not the artifact that `as` names."""
    others = [subject(f"other {number}", f"files/{number}") for number in range(999)]
    found = world("generate")
    found.signed(generator_build(MODEL, *others), signer(found, "generate"))
    assert refused(found, "generate") == "NOT_SELECTED"


def test_old_statement_about_another_model(world: Make) -> None:
    """The right name in the registry, another digest."""
    found = world("sbom")
    found.signed(cosign_attest(CYCLONEDX, BOM, sha256_hex(b"malware")), found.github())
    assert not found.verdict().passed


def test_old_statement_of_a_stranger(world: Make) -> None:
    """An SBOM of anybody with an account."""
    found = world("sbom")
    found.signed(SBOM, PersonForge(found.instance, "mallory@evil.example"))
    assert refused(found, "sbom") == "UNAUTHORISED"


@pytest.mark.parametrize("name", names(globals()))
def test_attack_succeeds_without_its_check(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each guard is the reason why its attack fails."""
    goes_red(globals()[name], request, monkeypatch)
