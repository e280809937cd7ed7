"""Attacks on the selectors of a layout: statements of other tools that are not what the step asks for.

Each statement is signed for real, with a certificate as Fulcio issues it, logged in the instance's log and verified.
Every test first shows the honest statement pass, so that only the attack's own change can be the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gitchain.errors import GitchainError, LayoutError
from gitchain.instance import Instance
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.findings import Finding
from gitchain.verify.trust import Trust
from tests.support.foreign_statements import (
    GITHUB,
    REUSABLE,
    WorkflowForge,
    cyclonedx,
    github_build,
    link,
    model_signature,
    pytest_result,
    reusable_build,
    scan,
    spdx,
    subject,
)
from tests.support.forged_bundles import raw
from tests.support.removed_checks import goes_red, guarded, names
from tests.support.selecting_layout import CONTENT, NAME, RECIPES, SelectingWorld, changed, layout_with

MODEL = subject(CONTENT)
BUILD = "https://github.com/acme/credit/.github/workflows/build.yml"
CHECK = "gitchain.verify.selection:check_selection"
SIGNED = ("gitchain.layout.identities:SigstoreMember.matches", "claims.get(name) == value", "True")
SUBJECT = ("gitchain.layout.identities:SigstoreMember.matches", "covers(self.subject_pattern, identity.subject)", "True")  # fmt: skip
CONDITION = (CHECK, "result.ok", "True")
TYPE = ("gitchain.verify.authorization:Authorizer.conditions", "kind == wanted", "True")
Make = Callable[..., SelectingWorld]


@pytest.fixture
def world(instance: Instance, trust: Trust) -> Make:
    """Return what makes a world with one recipe of docs/selectors.md, or another step, beside the training."""

    def make(step: str | dict[str, Any]) -> SelectingWorld:
        return SelectingWorld(instance, trust, layout_with(RECIPES[step] if isinstance(step, str) else step))

    return make


def honest(found: SelectingWorld, step: str) -> SelectingWorld:
    """Show that the recipe's own statement passes, and take it away again."""
    before = len(found.evidence)
    found.honest(step)
    assert found.verdict().passed, found.verdict().findings
    del found.evidence[before:]
    return found


def refused(found: SelectingWorld, step: str) -> Finding:
    """Return the finding about the one statement that does not count for the step."""
    decision = found.verdict()
    assert not decision.passed
    findings = [one for one in decision.findings if one.step == step]
    assert len(findings) == 1
    return findings[0]


@guarded(TYPE, CONDITION)
def test_selector_another_predicate_type(world: Make) -> None:
    """A scan is no SBOM, whatever is in it, and SPDX is no CycloneDX."""
    for payload in (
        scan(MODEL),
        spdx(MODEL),
        cyclonedx(MODEL).replace(b"cyclonedx.org/bom", b"cyclonedx.org/vex"),
    ):
        found = honest(world("sbom"), "sbom")
        found.signed(payload, found.github())
        assert refused(found, "sbom").code.name == "PREDICATE_TYPE"


@guarded(CONDITION)
def test_selector_another_build_type(world: Make) -> None:
    """The right workflow states a build of another kind."""
    found = honest(world("build"), "build")
    found.signed(
        github_build(
            MODEL, buildType="https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1"
        ),
        found.github(),
    )
    assert refused(found, "build").code.name == "NOT_SELECTED"


@guarded(CONDITION)
def test_selector_another_builder(world: Make) -> None:
    """Another builder id in provenance by the right signer, where the layout compares the builder."""
    select = {
        "where": "predicate.runDetails.builder.id.startsWith('https://github.com/acme/workflows/')",
        "as": NAME,
    }
    found = honest(world(changed("generate", select=select)), "generate")
    payload = reusable_build(MODEL).replace(
        b'"id": "https://github.com/acme/workflows/', b'"id": "https://github.com/evil/workflows/'
    )
    found.signed(payload, WorkflowForge(found.instance, REUSABLE))
    assert refused(found, "generate").code.name == "NOT_SELECTED"


@guarded(SUBJECT, SIGNED, CONDITION)
def test_selector_workflow_of_a_fork(world: Make) -> None:
    """A fork runs the same file: its certificate names the fork, or at least the fork's number."""
    for identity, claims in (
        (BUILD.replace("acme", "mallory") + "@refs/heads/main", {"sourceRepositoryIdentifier": "999"}),
        (BUILD.replace("acme", "mallory") + "@refs/heads/main", {}),
        (f"{BUILD}@refs/heads/main", {"sourceRepositoryIdentifier": "999"}),
    ):
        found = honest(world("build"), "build")
        found.signed(github_build(MODEL), WorkflowForge(found.instance, identity, **claims))
        assert refused(found, "build").code.name == "UNAUTHORISED"


@guarded(SUBJECT, CONDITION)
def test_selector_another_workflow_of_the_repository(world: Make) -> None:
    """A second workflow, and the same one on another branch or for a pull request, is another signer."""
    for identity in (
        f"{BUILD}@refs/heads/attack",
        f"{BUILD}@refs/pull/1/merge",
        f"{BUILD[:-9]}lint.yml@refs/heads/main",
    ):
        found = honest(world("build"), "build")
        found.signed(github_build(MODEL), WorkflowForge(found.instance, identity))
        assert refused(found, "build").code.name == "UNAUTHORISED"


@guarded(SUBJECT)
def test_selector_foreign_reusable_workflow(world: Make) -> None:
    """The repository calls somebody else's reusable workflow, which then signs in its own name."""
    found = honest(world("generate"), "generate")
    foreign = "https://github.com/mallory/workflows/.github/workflows/build.yml@refs/tags/v1.0.0"
    found.signed(reusable_build(MODEL), WorkflowForge(found.instance, foreign))
    assert refused(found, "generate").code.name == "UNAUTHORISED"


@guarded(SIGNED)
def test_selector_reusable_workflow_called_by_another_repository(world: Make) -> None:
    """Everybody may call a public workflow: the subject is right, the caller's number is not, whatever the predicate says."""
    found = honest(world("generate"), "generate")
    caller = {"sourceRepositoryIdentifier": "999", "sourceRepositoryURI": "https://github.com/mallory/credit"}
    found.signed(reusable_build(MODEL), WorkflowForge(found.instance, REUSABLE, **caller))
    assert refused(found, "generate").code.name == "UNAUTHORISED"


@guarded(SIGNED)
def test_selector_self_hosted_runner(world: Make) -> None:
    """The same workflow on a machine that anybody may own."""
    found = honest(world("build"), "build")
    found.signed(github_build(MODEL), found.github(runnerEnvironment="self-hosted"))
    assert refused(found, "build").code.name == "UNAUTHORISED"


@guarded(CONDITION)
def test_selector_trigger_is_the_certificate_s(world: Make) -> None:
    """The predicate says push, the certificate says pull_request_target: the condition reads the certificate."""
    for claims in ({"buildTrigger": "pull_request_target"}, {"sourceRepositoryRef": "refs/heads/attack"}):
        found = honest(world("build"), "build")
        found.signed(github_build(MODEL), found.github(**claims))
        assert refused(found, "build").code.name == "NOT_SELECTED"


@guarded((CHECK, "selector.name is not None and count != 1", "False"), CONDITION)
def test_selector_one_subject_among_a_thousand(world: Make) -> None:
    """The model is one of a thousand subjects: `as` gives its name to none of them."""
    for payload in (
        github_build(*(subject(f"{number}", f"f{number}") for number in range(999)), MODEL),
        github_build(MODEL, subject("other", "other.pkl")),
    ):
        found = honest(world("build"), "build")
        found.signed(payload, found.github())
        finding = refused(found, "build")
        assert finding.code.name == "NOT_SELECTED"
        assert finding.expected == f"one artifact, for the name {NAME}"


def test_selector_a_thousand_subjects_without_as(world: Make) -> None:
    """Without `as`, a rule refuses each subject that it does not name."""
    build = changed("build", select={"where": RECIPES["build"]["select"]["where"]})
    found = world(build)
    found.signed(github_build(subject(CONTENT, NAME)), found.github())
    assert found.verdict().passed
    found.evidence.pop()
    found.signed(
        github_build(subject(CONTENT, NAME), *(subject("x", f"f{number}") for number in range(999))),
        found.github(),
    )
    decision = found.verdict()
    assert not decision.passed
    assert {one.code.name for one in decision.findings} == {"NOT_ALLOWED"}


def test_selector_name_is_not_content(world: Make) -> None:
    """`as` gives the name, and the rule compares the digest: another file under the model's name is another file."""
    found = honest(world("build"), "build")
    found.signed(github_build(subject("malware")), found.github())
    found.signed(github_build(subject("malware", NAME)), found.github())
    decision = found.verdict()
    assert not decision.passed
    assert {one.code.name for one in decision.findings} == {"MISMATCH"}


def test_selector_the_model_is_swapped(world: Make) -> None:
    """An honest statement about the honest model vouches for no other one."""
    found = world("build")
    found.honest("build")
    assert found.verdict().passed
    found.train("malware")
    assert not found.verdict("malware").passed


@guarded((CHECK, "if claim.has_facts", "if False"), ("gitchain.verify.classify:_read", "not claim.has_facts and", ""), ("gitchain.verify.authorization:Authorizer.conditions", "and not claim.has_facts", ""))  # fmt: skip
def test_selector_evidence_of_a_step_is_not_evidence_of_another(world: Make) -> None:
    """Provenance with step facts of the trainer is selected by no step, however loose its condition."""
    loose = {"where": "has(predicate.buildDefinition)", "as": NAME}
    rules = [["ALLOW", "*"], ["DISALLOW", "*"]]
    step = changed("build", functionaries=["trainer", "github"], select=loose, expectedMaterials=rules)
    found = honest(world(step), "build")
    found.train(step="elsewhere")
    assert refused(found, "build").code.name == "STEP_MISSING"


@guarded(("gitchain.verify.classify:_read", "and all(step.select is not None for step in named)", ""))
def test_selector_link_of_another_step(world: Make) -> None:
    """A link that counts for the step with its name counts for no step that selects links."""
    taking = changed("convert", select={"where": "predicate.name != ''"})
    found = SelectingWorld(
        world("build").instance,
        world("build").trust,
        layout_with({**changed("convert", select=None), "name": "pack"}, taking),
    )
    found.signed(link("pack", {NAME: CONTENT}, subject("onnx", "models/credit.onnx")), found.person())
    assert refused(found, "convert").code.name == "STEP_MISSING"


@pytest.mark.parametrize(
    "kind",
    [
        "https://gitchain.dev/predicate/revocation/v0.1",
        "https://gitchain.dev/predicate/layout/v1",
        "https://gitchain.dev/predicate/checkpoint/v0.1",
        "https://slsa.dev/verification_summary/v1",
    ],
)
def test_selector_of_a_reserved_type_is_refused(kind: str) -> None:
    """No layout turns negative evidence, a layout or the store's state into evidence for a step."""
    with pytest.raises(LayoutError):
        layout_with(changed("sbom", predicateType=kind))


@guarded(
    ("gitchain.verify.constraints:holds", "except LayoutError as error", "except ZeroDivisionError as error"),
    CONDITION,
)
def test_selector_error_is_not_true(world: Make) -> None:
    """A predicate that makes the condition fail, or costs too much, is not selected."""
    where = "predicate.components.all(a, predicate.components.all(b, predicate.components.all(c, a == b || b != c)))"
    step = changed("sbom", select={"where": where, "as": NAME})
    for components in ("none", [{"name": "x" * 100, "version": number} for number in range(400)]):
        found = honest(world(step), "sbom")
        found.signed(cyclonedx(MODEL, components=components), found.github())
        assert refused(found, "sbom").code.name == "NOT_SELECTED"


@guarded(("gitchain.evidence.oms:_check_root", "expected != got", "False"))
def test_selector_model_signature_with_files_that_are_not_its_own(world: Make) -> None:
    """The list of files says one thing, the digest that the signer computed another."""
    found = honest(world("sign"), "sign")
    payload = model_signature({"credit.pkl": "malware"})
    mine, other = (model_signature({"credit.pkl": one}) for one in (CONTENT, "malware"))
    resources = [one[one.index(b'"resources"') : one.index(b'"serialization"')] for one in (mine, other)]
    found.signed(payload.replace(resources[1], resources[0]), found.person())
    assert refused(found, "sign").code.name == "MALFORMED_CLAIM"


def test_selector_model_signature_of_other_files(world: Make) -> None:
    """One file more or under another name than what training made is refused by the rules."""
    for files in (
        {"credit.pkl": CONTENT, "loader.py": "evil"},
        {"other.pkl": CONTENT},
        {"credit.pkl": "malware"},
    ):
        found = honest(world("sign"), "sign")
        found.signed(model_signature(files), found.person())
        assert not found.verdict().passed, files


def test_selector_failed_test_is_not_outvoted(world: Make) -> None:
    """A failed result stands beside an older one that passed."""
    found = world("test")
    found.honest("test")
    assert found.verdict().passed
    found.signed(pytest_result(MODEL, result="FAILED"), found.github())
    assert "DENIED" in {one.code.name for one in found.verdict().findings}


def test_selector_statement_of_another_root_is_not_verified(world: Make, stranger: Instance) -> None:
    """The same workflow, certified by somebody else's authority, is no statement at all."""
    found = honest(world("build"), "build")
    forged = WorkflowForge(stranger)
    with pytest.raises(GitchainError):
        verify_bundle(raw(forged.bundle(github_build(MODEL))), found.trust)


@guarded(("gitchain.layout.identities:SigstoreMember.matches", "identity.issuer == self.issuer", "True"))
def test_selector_another_issuer(world: Make) -> None:
    """A person whose issuer lets her choose any subject is no workflow of GitHub."""
    found = honest(world("spdx"), "spdx")
    forge = WorkflowForge(found.instance)
    edit = forge.extensions
    forge.extensions = lambda found: [
        type(one)(one.oid, one.critical, type(one.value)(one.oid, one.value.value.replace(GITHUB.encode(), GITHUB.replace("token", "taken").encode())))
        if hasattr(one.value, "oid") and GITHUB.encode() in getattr(one.value, "value", b"") else one
        for one in edit(found)
    ]  # fmt: skip
    found.signed(spdx(MODEL), forge)
    assert found.evidence[-1].identity.issuer != GITHUB
    assert refused(found, "spdx").code.name == "UNAUTHORISED"


@pytest.mark.parametrize("name", names(globals()))
def test_without_its_check_the_attack_succeeds(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each guarded attack again, without the check that stops it: the test has to go red."""
    goes_red(globals()[name], request, monkeypatch)
