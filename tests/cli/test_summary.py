"""A supplier verifies and hands out a summary; a consumer's layout takes it in place of the chain, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gitchain.consume.load_layout import LayoutOptions
from gitchain.consume.verifier import verify
from gitchain.errors import StoreError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.vocabulary import VSA
from gitchain.produce.sign_and_store import SigningIdentity, SigningResult, project_profile
from gitchain.produce.vsa import summarise, write_summary
from gitchain.store.git_ref import AttestationStore
from gitchain.verify.decide import Decision
from gitchain.verify.findings import Finding, FindingCode
from gitchain.workspace.project import open_project

Gitchain = Callable[..., Any]
VERIFIER = "https://vendor.example.com/verifier"
LAYOUT = """schema: https://gitchain.dev/layout/v1
name: consumer
version: 1
expires: '2099-01-01T00:00:00Z'
functionaries: {vendor: {identities: [{issuer: 'ISSUER', subject: ada@example.com}]}}
steps:
  - name: vendor-model
    functionaries: [vendor]
    predicateType: https://slsa.dev/verification_summary/v1
    verifier: https://vendor.example.com/verifier
    maxAge: P30D
    expectedProducts: [[REQUIRE, model.txt], [ALLOW, model.txt], [DISALLOW, '*']]
serve: [{step: vendor-model, products: [model.txt]}]
"""


@dataclass(frozen=True)
class Two:
    """A supplier with an attested model, and a consumer who has the model and a layout of one step."""

    supplier: Path
    consumer: Path

    def decision(self) -> Decision:
        (found,) = verify(
            open_project(self.supplier), str(self.supplier / "model.txt"), LayoutOptions(), datetime.now(UTC)
        ).decisions
        return found

    def summarise(
        self, decision: Decision, who: str = "ada@example.com", verifier: str = VERIFIER
    ) -> SigningResult:
        project = open_project(self.supplier)
        return summarise(project, project_profile(project), decision, verifier, SigningIdentity(who))

    def hand_over(self, recorded: SigningResult, out: Path) -> bytes:
        """Write the summary to a file, as the supplier does, and put it where the consumer keeps evidence."""
        (statement,) = recorded.stored
        write_summary(open_project(self.supplier), statement, out)
        raw = out.read_bytes()
        open_project(self.consumer).store.add((raw,))
        return raw

    def codes(self, later: timedelta = timedelta()) -> list[str]:
        now = datetime.now(UTC) + later
        (found,) = verify(
            open_project(self.consumer), str(self.consumer / "model.txt"), LayoutOptions(), now
        ).decisions
        assert found.passed == (not found.findings)
        return [one.code.name for one in found.findings]


@pytest.fixture
def two(gitchain: Gitchain, git: Callable[..., str], tiny: Path, tmp_path: Path) -> Two:
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    issuer = gitchain("local", "status", "--json", cwd=tiny).json["issuer"]
    consumer = tmp_path / "consumer"
    consumer.mkdir()
    git(consumer, "init", "-q")
    git(consumer, "commit", "-q", "--allow-empty", "-m", "start")
    assert gitchain("init", "--local", "--name", "consumer", "--no-hooks", cwd=consumer).code == 0
    (consumer / ".gitchain/layout.yaml").write_text(LAYOUT.replace("ISSUER", issuer))
    assert gitchain("layout", "sign", cwd=consumer).code == 0
    (consumer / "model.txt").write_text("model")
    return Two(tiny, consumer)


def test_a_summary_stands_for_the_suppliers_chain(two: Two, tmp_path: Path) -> None:
    """Signed, logged, stored and handed out like any attestation, it is all that the consumer needs."""
    before = two.codes()
    assert before == ["NO_EVIDENCE"]
    raw = two.hand_over(two.summarise(two.decision()), tmp_path / "model.vsa.json")
    said = Bundle.parse(raw).statement()
    assert (said.predicate_type, said.predicate["verificationResult"]) == (VSA, "PASSED")
    assert [one.name for one in said.subject] == ["model.txt"]
    assert len(said.predicate["inputAttestations"]) == 2  # type: ignore[arg-type]
    assert two.codes() == []
    assert two.codes(timedelta(days=29)) == []


def test_a_summary_that_is_too_old_does_not_count(two: Two, tmp_path: Path) -> None:
    """The step's maxAge counts from the proven time of the summary."""
    two.hand_over(two.summarise(two.decision()), tmp_path / "vsa")
    assert "STALE" in two.codes(timedelta(days=31))


def test_a_failed_summary_is_written_and_never_accepted(two: Two, tmp_path: Path) -> None:
    """The supplier may say that its model failed; the consumer's verification fails with it."""
    (two.supplier / "model.txt").write_text("tampered")
    (two.consumer / "model.txt").write_text("tampered")
    decision = two.decision()
    assert not decision.passed
    raw = two.hand_over(two.summarise(decision), tmp_path / "vsa")
    assert Bundle.parse(raw).statement().predicate["verificationResult"] == "FAILED"
    assert "NOT_PASSED" in two.codes()


def test_a_summary_by_somebody_else_does_not_count(two: Two, tmp_path: Path) -> None:
    """The right words in the name of the right verifier, signed by another identity."""
    two.hand_over(two.summarise(two.decision(), who="mallory@example.com"), tmp_path / "vsa")
    assert "UNAUTHORISED" in two.codes()


def test_a_summary_of_another_verifier_does_not_count(two: Two, tmp_path: Path) -> None:
    """The right signer in the name of another verifier: for another purpose than this layout's."""
    two.hand_over(two.summarise(two.decision(), verifier=f"{VERIFIER}/nightly"), tmp_path / "vsa")
    assert two.codes() != []


def test_a_summary_of_another_model_does_not_count(two: Two, tmp_path: Path) -> None:
    """It vouches for the bytes that it names."""
    two.hand_over(two.summarise(two.decision()), tmp_path / "vsa")
    (two.consumer / "model.txt").write_text("another")
    assert two.codes() == ["OTHER_CONTENT"]


def test_a_verifier_that_is_no_uri_is_the_callers_fault(two: Two) -> None:
    """Exit code 2, before anything is signed."""
    with pytest.raises(UsageError, match="named by a URI"):
        two.summarise(two.decision(), verifier="the vendor")


def test_only_what_is_stored_is_handed_out(two: Two, tmp_path: Path) -> None:
    """A summary that still waits in the outbox has no bundle: the file is not written."""
    project, decision = open_project(two.supplier), two.decision()
    recorded = two.summarise(decision)
    two.summarise(decision, verifier=f"{VERIFIER}/second")  # the same subject: another bundle beside it
    out = tmp_path / "vsa"
    write_summary(project, recorded.stored[0], out)
    assert Bundle.parse(out.read_bytes()).attestation_id == recorded.stored[0].attestation_id
    (unsigned,) = two.summarise(decision, verifier=f"{VERIFIER}/third").stored
    empty = open_project(two.consumer)
    with pytest.raises(StoreError, match="not in the store"):
        write_summary(empty, unsigned, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_a_bundle_that_cannot_be_read_is_passed_over(
    two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody else spoiled in the store does not stand in the way of the summary."""
    (statement,) = two.summarise(two.decision()).stored
    stored = open_project(two.supplier).store.by_subject("sha256", statement.subject[0].digest["sha256"])
    monkeypatch.setattr(AttestationStore, "by_subject", lambda *_: (b"{}", *stored))
    write_summary(open_project(two.supplier), statement, tmp_path / "vsa")
    assert Bundle.parse((tmp_path / "vsa").read_bytes()).attestation_id == statement.attestation_id


def test_a_later_failed_summary_counts(two: Two) -> None:
    """The verifier's newest word about the model: a later FAILED takes back what PASSED said, and the other way round."""
    decision = two.decision()
    two.hand_over(two.summarise(decision), two.supplier / "first.json")
    assert two.codes() == []
    failed = replace(
        decision, result="FAILED", steps=(), findings=(Finding(FindingCode.NO_EVIDENCE, "none"),)
    )
    time.sleep(1.1)  # proven times have whole seconds
    two.hand_over(two.summarise(failed), two.supplier / "second.json")
    assert "DENIED" in two.codes() or "NOT_PASSED" in two.codes()
    time.sleep(1.1)
    again = replace(
        decision, time=decision.time + timedelta(seconds=2)
    )  # else it is the first statement once more
    two.hand_over(two.summarise(again), two.supplier / "third.json")
    assert two.codes() == []
