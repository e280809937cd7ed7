"""Negative evidence: what an authorised signer says against a step's constraints, and what revokers take back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gitchain.evidence.canonical import canonical_json
from gitchain.evidence.claim import StepFacts
from gitchain.evidence.digest import DigestSet, Sha256, sha256_hex
from gitchain.evidence.manifest import SCHEMAS, FileEntry, build_manifest
from gitchain.evidence.predicates import REVOCATION, provenance
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPE, MANIFEST_VERSION
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
from tests.support.decision_variants import revoked, saying

FLOOR = """    constraints: [{name: floor, expression: "predicate.accuracy >= 0.9"}]
"""


def floored(text: str) -> str:
    """Evaluations must report an accuracy of 0.9."""
    before = "  - name: evaluate\n    functionaries: [alice]\n"
    return text.replace(before, before.replace("[alice]", "[alice, bob]") + FLOOR)


def evaluated(accuracy: float | None, metrics: str = "metrics 1", **more: object) -> VerifiedStatement:
    made = statement("evaluate", {"models/model.pkl": "model 1"}, {"metrics.json": metrics}, **more)  # type: ignore[arg-type]
    return made if accuracy is None else saying(made, accuracy=accuracy)


def world(*evaluations: VerifiedStatement) -> DecisionInput:
    found = DecisionInput.honest().change(floored)
    del found.evidence["evaluate"]
    return DecisionInput(
        found.evidence | {f"e{number}": one for number, one in enumerate(evaluations)}, found.layout
    )


def test_evidence_has_to_satisfy_its_steps_constraints() -> None:
    """Good enough passes; too low, and nothing said at all, are findings that name the constraint."""
    assert world(evaluated(0.95)).verdict().passed
    low = world(evaluated(0.5)).verdict()
    assert codes(low) == [("CONSTRAINT", "evaluate", ""), ("DENIED", "approve", "metrics.json")]
    assert "floor" in low.findings[0].message
    assert low.findings[0].expected == "predicate.accuracy >= 0.9"
    assert not world(evaluated(None)).verdict().passed


def test_a_good_claim_does_not_cover_a_bad_one() -> None:
    """A23: beside an authorised evaluation of the same metrics that is too low, a better one does not count."""
    decision = world(evaluated(0.95), evaluated(0.5, who="bob")).verdict()
    assert sorted(codes(decision)) == [
        ("CONSTRAINT", "evaluate", ""),
        ("DENIED", "approve", "metrics.json"),
        ("DENIED", "evaluate", "metrics.json"),
    ]
    denied = next(one for one in decision.findings if one.code.name == "DENIED")
    assert denied.step == "evaluate"
    assert "bob" in denied.message


@pytest.mark.parametrize(
    "harmless",
    [
        evaluated(0.5, who="mallory"),
        evaluated(0.5, metrics="metrics of another run"),
        evaluated(0.5, layout="other"),
    ],
    ids=["stranger", "other product", "other layout"],
)
def test_only_authorised_evidence_about_the_same_product_denies(harmless: VerifiedStatement) -> None:
    """Who may not speak for the step, or speaks of something else, takes nothing away."""
    assert world(evaluated(0.95), harmless).verdict().passed


def test_informational_evidence_denies_by_its_subject() -> None:
    """Two approvals of the same metrics, one of which the layout forbids: neither counts."""
    found = DecisionInput.honest().change(
        lambda text: text.replace(
            "    maxAge: P30D\n",
            "    maxAge: P30D\n    constraints: [{name: ok, expression: \"predicate.verdict == 'go'\"}]\n",
        )
    )
    go, stop = (saying(run()["approve"], verdict=word) for word in ("go", "stop"))
    found.evidence["approve"] = go
    assert found.verdict().passed
    found.evidence["stop"] = stop
    assert ("DENIED", "approve", "metrics.json") in codes(found.verdict())


def test_a_denied_claim_that_is_revoked_denies_nothing() -> None:
    """Who vouched for wrong numbers by mistake has the attestation revoked: then the right one counts."""
    bad = evaluated(0.5, who="bob")
    found = world(evaluated(0.95), bad).change(lambda text: revocable(floored(text)))
    assert not found.verdict().passed
    found.evidence["revocation"] = revoked(bad)
    assert found.verdict().passed


# Revocations ----------------------------------------------------------------------------------------------------


def revocable(text: str) -> str:
    return text.replace("steps:\n", "revokers: [alice]\nsteps:\n", 1)


def with_revocation(one: VerifiedStatement) -> DecisionInput:
    found = DecisionInput.honest().change(revocable)
    found.evidence["revocation"] = one
    return found


def test_a_revoked_attestation_does_not_count() -> None:
    """The finding says who revoked it, when and why."""
    decision = with_revocation(revoked(run()["train"])).verdict()
    assert codes(decision) == [("REVOKED_ATTESTATION", "train", "")]
    finding = decision.findings[0]
    for word in ("alice", "2026-11-22", "compromised"):
        assert word in finding.got
    assert finding.expected == "not revoked"


@pytest.mark.parametrize(("hours", "passes"), [(2, False), (1, False), (0, True)])
def test_a_revoked_signers_evidence_counts_up_to_the_time(hours: int, *, passes: bool) -> None:
    """A20: bob approved an hour ago; revoked from before or from that very second on, it does not count."""
    decision = with_revocation(revoked("bob", since=NOW - timedelta(hours=hours))).verdict()
    assert decision.passed == passes
    assert passes or codes(decision) == [("REVOKED_SIGNER", "approve", "")]


@pytest.mark.parametrize(
    ("artifacts", "step"),
    [
        ({"x": "raw"}, "data"),
        ({"x": "model 1"}, "train"),
        ({"x": PREPARED}, "prepare"),
        ({"x": "test"}, "prepare"),
    ],
    ids=["raw data", "the model", "a directory", "a file in a directory"],
)
def test_a_revoked_artifact_fails_every_chain_that_holds_it(artifacts: dict[str, str], step: str) -> None:
    """A data set, a directory or a file in one: whatever it is called, and wherever the chain has it."""
    decision = with_revocation(revoked(artifacts)).verdict()
    assert not decision.passed
    found = [one for one in decision.findings if one.code.name == "REVOKED_ARTIFACT"]
    assert step in {one.step for one in found}
    assert "compromised" in found[0].message
    assert with_revocation(revoked({"x": "something else"})).verdict().passed


def test_a_file_with_a_directory_s_digest_does_not_hide_it() -> None:
    """Evidence that names a file of these hex digits first, and then the directory: the file in it is revoked."""
    world = with_revocation(revoked({"x": "test"}))
    listing = ResourceDescriptor("data/listing", DigestSet({"sha256": PREPARED.digest}))
    made = Statement.build(
        [listing, *run()["prepare"].statement.subject],
        run()["prepare"].statement.predicate_type,
        run()["prepare"].statement.predicate,
    )
    both = "[CREATE, data/listing], [CREATE, data/prepared], [DISALLOW"
    world.change(lambda text: revocable(text).replace("[CREATE, data/prepared], [DISALLOW", both))
    world.evidence["prepare"] = verified(made, "alice", NOW)
    assert "REVOKED_ARTIFACT" in {code for code, _, _ in codes(world.verdict())}
    del world.evidence["revocation"]
    assert world.verdict().passed


def doubled(levels: int) -> tuple[Sha256, dict[str, bytes]]:
    """A directory that names its only file 2^levels times, in one small node a level."""
    leaf = sha256_hex(b"test")
    file: dict[str, Any] = {"name": "f", "sha256": leaf, "size": 4, "type": "file"}
    node = canonical_json({"entries": [file], "schema": SCHEMAS[MANIFEST_VERSION]})
    nodes: dict[str, bytes] = {sha256_hex(node): node}
    for level in range(levels):
        below = {"files": 2**level, "sha256": sha256_hex(node), "size": 4 * 2**level, "type": "dir"}
        node = canonical_json(
            {"entries": [below | {"name": name} for name in "ab"], "schema": SCHEMAS[MANIFEST_VERSION]}
        )
        nodes[sha256_hex(node)] = node
    return sha256_hex(node), nodes


def test_a_directory_that_repeats_itself_is_walked_once() -> None:
    """Forty nodes that name a million million files cost forty looks; what they hold is found."""
    digest, nodes = doubled(40)
    extra = ResourceDescriptor("src/deep", DigestSet({"sha256": digest}), media_type=MANIFEST_MEDIA_TYPE)
    for content, passes in (("nothing of it", True), ("test", False)):
        world = with_revocation(revoked({"x": content}))
        world.nodes = nodes
        before = run()["train"].statement
        materials = [descriptor("data/prepared/train.csv", "train"), extra]
        said = provenance(step=StepFacts("train", "run-1", "observed", "credit-model"), materials=materials)
        world.evidence["train"] = verified(
            Statement.build(before.subject, before.predicate_type, said), "alice", NOW
        )
        found = [one for one in codes(world.verdict()) if one[2] == "src/deep"]
        assert bool(found) != passes


def test_a_revoked_file_is_found_however_deep() -> None:
    """Hundreds of directories down, in a directory that no rule opens."""
    files = {"train.csv": "train", "test.csv": "test", "d/" * 400 + "x": "poison"}
    deep = build_manifest(
        FileEntry(name, False, len(text), sha256_hex(text.encode())) for name, text in files.items()
    )
    found = with_revocation(revoked({"x": "poison"}))
    found.nodes |= deep.nodes
    found.evidence["prepare"] = statement("prepare", {"data/raw.csv": "raw"}, {"data/prepared": deep})
    assert codes(found.verdict()) == [("REVOKED_ARTIFACT", "prepare", "data/prepared")]
    del found.evidence["revocation"]
    assert found.verdict().passed


def test_a_run_with_a_revoked_artifact_does_not_take_others_along() -> None:
    """Of two models, the one whose data were revoked fails and says so; the other passes."""
    other = directory(train__csv="train", test__csv="poison")
    found = DecisionInput({f"{step}{name}": one for name in "1" for step, one in run(name).items()}).change(
        revocable
    )
    second = run("2", prepared=other)
    second["train"] = statement(
        "train", {"data/prepared": other}, {"models/model.pkl": "model 2"}, run="run-2"
    )
    second["evaluate"] = statement(
        "evaluate",
        {"models/model.pkl": "model 2", "data/prepared/test.csv": "poison"},
        {"metrics.json": "metrics 2"},
        run="run-2",
    )
    found.evidence |= {f"{step}2": one for step, one in second.items()}
    found.nodes |= other.nodes
    assert found.verdict(model("model 2")).passed
    found.evidence["revocation"] = revoked({"x": "poison"})
    assert found.verdict(model("model 1")).passed
    decision = found.verdict(model("model 2"))
    assert "REVOKED_ARTIFACT" in {code for code, _, _ in codes(decision)}


def test_strangers_revoke_nothing() -> None:
    """Only `revokers` do, and where there are none nobody does."""
    assert with_revocation(revoked(run()["train"], who="bob")).verdict().passed
    found = DecisionInput.honest()
    found.evidence["revocation"] = revoked(run()["train"])
    assert found.verdict().passed


def test_a_revocation_that_cannot_be_read_fails_closed() -> None:
    """Nobody knows what it takes back: nothing passes until a later one sets it aside."""
    odd = revoked(run()["train"])
    predicate = {**odd.statement.predicate, "reason": "because"}
    broken = Statement.build(odd.statement.subject, REVOCATION, predicate)
    found = with_revocation(verified(broken, "alice", NOW - timedelta(minutes=1)))
    decision = found.verdict(explain=True)
    assert codes(decision) == [("MALFORMED_REVOCATION", "", "")]
    assert [(one.kind, one.passed) for one in decision.checks if not one.passed] == [
        ("revocation", False),
        ("chain", False),
    ]
    found.evidence["aside"] = revoked(found.evidence["revocation"])
    assert found.verdict().passed


def test_explain_shows_what_was_denied_and_revoked() -> None:
    """Constraints, revocations and faults are checks like any other."""
    good = world(evaluated(0.95)).verdict(explain=True)
    assert [(one.kind, one.passed) for one in good.checks if one.expected == "predicate.accuracy >= 0.9"] == [
        ("constraint", True)
    ]
    bad = world(evaluated(0.95), evaluated(0.5, who="bob")).verdict(explain=True)
    failed = {one.kind for one in bad.checks if not one.passed}
    assert {"fault", "chain"} <= failed
    low = world(evaluated(0.5)).verdict(explain=True)
    assert "constraint" in {one.kind for one in low.checks if not one.passed}


def test_a_directory_that_repeats_itself_is_looked_through_once() -> None:
    """Equal files and equal directories below one directory are one node each."""
    files = {"train.csv": "train", "test.csv": "test", "a/x": "same", "b/x": "same", "c": "same"}
    twice = build_manifest(
        FileEntry(name, False, len(text), sha256_hex(text.encode())) for name, text in files.items()
    )
    found = with_revocation(revoked({"x": "nothing of it"}))
    found.nodes |= twice.nodes
    found.evidence["prepare"] = statement("prepare", {"data/raw.csv": "raw"}, {"data/prepared": twice})
    assert found.verdict().passed


def test_an_artifact_is_revoked_by_another_digest_than_sha256() -> None:
    """By SHA-512, where the evidence names it by that too."""
    found = with_revocation(revoked({"x": "nothing of it"}))
    before = found.evidence["train"].statement
    both = DigestSet({**before.subject[0].digest, "sha512": "5" * 128})
    made = Statement.build(
        [ResourceDescriptor("models/model.pkl", both)], before.predicate_type, before.predicate
    )
    found.evidence["train"] = verified(made, "alice", NOW - timedelta(hours=1))
    assert found.verdict().passed
    said = found.evidence["revocation"].statement
    for digits, passes in (("5", False), ("6", True)):
        subject = [ResourceDescriptor("x", DigestSet({"sha512": digits * 128}))]
        built = Statement.build(subject, REVOCATION, said.predicate)
        found.evidence["revocation"] = verified(built, "alice", NOW)
        assert found.verdict().passed is passes
