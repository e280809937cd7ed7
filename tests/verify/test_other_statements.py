"""What names a target and is evidence for no step is told with the reason; it never makes a verdict better."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gitchain.evidence.claim import StepFacts, claim_of
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.subjects import Subject
from gitchain.evidence.vocabulary import (
    CHECKPOINT,
    DEPLOYMENT,
    DEPLOYMENT_CHECK,
    LAYOUT,
    RETIREMENT,
    REVOCATION,
    STEP_FIELD,
)
from gitchain.layout import Layout
from gitchain.verify.decide import decide
from gitchain.verify.findings import FindingCode
from gitchain.verify.other_statements import MAX_OTHERS, about_other_steps, names_target, unread, unverified
from gitchain.verify.target import Target
from gitchain.verify.verified import SignedLayout, VerifiedStatement
from tests.support.decision_input import NOW, DecisionInput, model, run, statement, verified
from tests.support.decision_variants import revoked, signed_layout
from tests.support.selecting_layout import changed, layout_with

SLSA = "https://slsa.dev/provenance/v1"
TARGET = model("other", "other.bin")


def layout() -> Layout:
    return DecisionInput().layout


def foreign(content: str = "other", name: str = "other.bin", **predicate: Any) -> VerifiedStatement:
    """The provenance of another builder, which knows no steps."""
    said: dict[str, Any] = {
        "buildDefinition": {"buildType": "https://forge.example/workflow/v1", "externalParameters": {}},
        "runDetails": {"builder": {"id": "https://forge.example/runner"}},
    }
    subject = [ResourceDescriptor(name, DigestSet(model(content).artifact.digest))]
    return verified(Statement.build(subject, SLSA, {**said, **predicate}), "alice", NOW)


def test_a_step_that_the_layout_does_not_have_is_named() -> None:
    """The finding names the attestation, the signer, the step, the layout's own steps, and what to do."""
    one = statement("vision/train", {}, {"other.bin": "other"})
    (finding,) = about_other_steps(layout(), [one], TARGET)
    assert finding.code is FindingCode.UNACCEPTED
    assert one.attestation_id[:12] in finding.message
    assert "alice" in finding.message
    assert "names other.bin, but is evidence for step vision/train" in finding.message
    assert finding.got == "step vision/train"
    assert finding.expected.endswith("data, prepare, train, evaluate, approve")
    assert "gitchain layout sign" in finding.help
    assert finding.artifact == "other.bin"


def test_provenance_without_a_step_is_named_with_its_type() -> None:
    """Predicate type and buildType are told: they are why it is evidence for no step."""
    (finding,) = about_other_steps(layout(), [foreign()], TARGET)
    assert f"names other.bin, but no step: its predicate type is {SLSA}" in finding.message
    assert finding.got == f"{SLSA}, buildType https://forge.example/workflow/v1"
    assert "gitchain attest" in finding.help
    for definition in ({}, {"buildType": 1}, "x"):
        one = foreign(buildDefinition=definition)
        found = about_other_steps(layout(), [one], TARGET)
        assert [each.got for each in found] in ([SLSA], [])


@pytest.mark.parametrize("kind", [CHECKPOINT, DEPLOYMENT, DEPLOYMENT_CHECK, LAYOUT, RETIREMENT, REVOCATION])
def test_about_other_steps_leaves_out_what_says_nothing_of_how_it_was_made(kind: str) -> None:
    """A cluster that only warned has recorded the deployment of a model that nobody attested."""
    subject = [ResourceDescriptor("other.bin", DigestSet(model("other").artifact.digest))]
    one = verified(Statement.build(subject, kind, {}), "alice", NOW)
    assert about_other_steps(layout(), [one], TARGET) == []
    other = verified(Statement.build(subject, f"{kind}/other", {}), "alice", NOW)
    assert len(about_other_steps(layout(), [other], TARGET)) == 1


@pytest.mark.parametrize(
    ("content", "name", "target", "says"),
    [
        ("other", "x.bin", TARGET, "names other.bin as x.bin"),
        ("changed", "other.bin", TARGET, "names other.bin with other content"),
        ("other", "x.bin", Target(TARGET.sha256), f"names sha256:{TARGET.sha256}, but"),
        ("other", "x.bin", Target(TARGET.sha256, given="/tmp/y.bin"), "names /tmp/y.bin, but"),
    ],
)
def test_content_and_name_are_told_apart(content: str, name: str, target: Target, says: str) -> None:
    """The same bytes under another name, another content under the same name, and a target without a name."""
    (finding,) = about_other_steps(layout(), [foreign(content, name)], target)
    assert says in finding.message
    assert finding.artifact == (target.name or "")


def test_what_is_evidence_for_a_step_is_told_elsewhere() -> None:
    """Statements for the layout's steps, revocations, layouts, and what names other things are left out."""
    others = [
        *run().values(),
        revoked({"other.bin": "other"}),
        signed_layout(layout()),
        foreign("x", "y.bin"),
    ]
    assert about_other_steps(layout(), others, model()) == []
    assert about_other_steps(layout(), others, TARGET) == []


def test_a_claim_that_cannot_be_read_is_left_out() -> None:
    """It is negative evidence, and told as that."""
    one = foreign(gitchain_step={"name": ""})
    assert about_other_steps(layout(), [one], TARGET) == []


def test_the_newest_are_told_first_and_not_all() -> None:
    """A store may hold thousands."""
    many = [
        statement(f"s{index}", {}, {"other.bin": "other"}, at=NOW - timedelta(hours=index))
        for index in range(1, MAX_OTHERS + 3)
    ]
    found = about_other_steps(layout(), reversed(many), TARGET)
    assert [one.got for one in found] == [f"step s{index}" for index in range(1, MAX_OTHERS + 1)]


def test_names_target_looks_at_materials_too() -> None:
    """What took the target is about it as well."""
    assert names_target(claim_of(statement("s", {"other.bin": "x"}, {"z": "1"}).statement), TARGET)
    assert names_target(claim_of(statement("s", {"y": "other"}, {"z": "1"}).statement), TARGET)
    assert not names_target(claim_of(statement("s", {"y": "y"}, {"z": "1"}).statement), TARGET)
    assert not names_target(claim_of(statement("s", {"y": "y"}, {"z": "1"}).statement), Target(TARGET.sha256))


def test_unverified_names_the_reason() -> None:
    """An attestation that exists and does not verify is not told as none."""
    finding = unverified(AttestationId("ab" * 32), "train", "log entry is missing", TARGET)
    assert finding.code is FindingCode.NO_EVIDENCE
    assert finding.message == (
        "attestation abababababab of step train names other.bin, but does not verify: log entry is missing"
    )
    assert finding.got == "log entry is missing"
    assert (finding.artifact, finding.expected) == (
        "other.bin",
        "an attestation that verifies under the trusted root",
    )
    assert finding.help.startswith("make the attestation again, or pass the trusted root")
    assert "of step" not in unverified(AttestationId("ab" * 32), None, "x", TARGET).message
    assert unverified(AttestationId("ab" * 32), None, "x", replace(TARGET, name=None)).artifact == ""


def test_unread_names_the_statements_that_have_the_target_as_subject() -> None:
    """By content or by name; what is about other things, and what has no subjects, is left out."""
    about = {
        "same content": Subject(None, {"sha256": TARGET.sha256}),
        "same name": Subject("other.bin", {"sha256": "0" * 64}),
        "other": Subject("x", {"sha512": "0" * 128}),
    }
    found = [(f"{index}" * 64, (one,), name) for index, (name, one) in enumerate(about.items())]
    told = list(unread([*found, ("9" * 64, (), "nothing")], TARGET))
    assert [one.got for one in told] == ["same content", "same name"]
    assert told[0].message == (
        "attestation 000000000000 names other.bin, but cannot be read as evidence: same content"
    )
    assert {one.code for one in told} == {FindingCode.NO_EVIDENCE}
    assert {one.artifact for one in told} == {"other.bin"}
    assert "gitchain attest" in told[0].help
    assert "statement that names its step" in told[0].expected
    (nameless,) = unread(found, replace(TARGET, name=None))
    assert nameless.artifact == ""


def test_beside_is_told_only_where_nothing_else_is_known() -> None:
    """It takes the place of the absence of evidence, makes the exit code 1, and changes no other verdict."""
    honest = DecisionInput.honest()
    signed = SignedLayout(
        layout(), honest.evidence["data"].identity, layout().digest, 1, AttestationId("0" * 64), NOW
    )
    beside = about_other_steps(layout(), [foreign()], TARGET)

    def verdict(target: Target, **more: Any) -> Any:
        return decide(signed, honest.evidence.values(), target, NOW, honest.nodes.get, **more)

    told = verdict(TARGET, beside=beside, explain=True)
    assert [one.code for one in told.findings] == [FindingCode.UNACCEPTED]
    assert (told.result, told.exit_code) == ("FAILED", 1)
    assert verdict(TARGET).exit_code == 3
    assert verdict(model(), beside=beside).passed
    changed = verdict(model("changed"), beside=beside)
    assert [one.code for one in changed.findings] == [FindingCode.OTHER_CONTENT]


def test_a_target_without_a_name_is_called_as_it_was_given() -> None:
    """Text and JSON name a file outside of the repository; evidence is compared by content alone."""
    target = Target(TARGET.sha256, given="/tmp/models/y.bin")
    assert str(target) == target.to_json()["name"] == "/tmp/models/y.bin"
    assert target == Target(TARGET.sha256)
    assert Target(TARGET.sha256).to_json()["name"] is None
    assert str(Target(TARGET.sha256, "a", given="b")) == "a"


def test_about_other_steps_leaves_out_types_that_a_step_selects() -> None:
    """Such a statement counts, or the step's finding has the reason. With step facts it is not selected."""
    loose = layout_with({**changed("build"), "predicateType": SLSA})
    assert about_other_steps(layout_with(), [foreign()], TARGET)
    assert about_other_steps(loose, [foreign()], TARGET) == []
    facts: dict[str, Any] = {STEP_FIELD: StepFacts("elsewhere", "run-1", "observed", "credit").to_json()}
    (finding,) = about_other_steps(loose, [foreign(**facts)], TARGET)
    assert finding.got == "step elsewhere"
