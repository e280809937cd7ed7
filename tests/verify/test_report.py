"""What a decision says once the target's own bytes were inspected, and on whose word each check rests."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from gitchain.errors import ExitCode
from gitchain.verify.findings import Finding, FindingCode
from gitchain.verify.report import PROVEN, UNKNOWN, Attestation, Kind, ReportedCheck, attestations_in
from tests.support.decision_input import DecisionInput, run
from tests.support.decision_variants import supplier

FOUND = Finding(FindingCode.INSPECTION, "a pickle imports os.system", artifact="models/model.pkl")
WARNING = Finding(FindingCode.SAME_MD5, "two contents share one MD5 digest")
FAILED = ReportedCheck("inspection", passed=False, message="inspection no-code")
PASSED = replace(FAILED, passed=True)


def test_a_finding_of_an_inspection_fails_the_decision() -> None:
    """What passed every rule does not pass with it: exit 1, no step is reported as if it had passed."""
    decision = DecisionInput.honest().verdict().with_inspections([FOUND], [FAILED])
    assert (decision.result, decision.exit_code, decision.steps) == ("FAILED", ExitCode.FAILED, ())
    assert decision.findings == (FOUND,)
    assert decision.checks == ()


def test_clean_inspections_leave_the_decision() -> None:
    """Nothing found, or warnings only: it stays PASSED with all of its steps."""
    before = DecisionInput.honest().verdict()
    assert before.with_inspections([], [PASSED]) == before
    after = before.with_inspections([WARNING], [])
    assert (after.passed, after.steps, after.findings) == (True, before.steps, (WARNING,))


def test_inspections_are_checks_where_somebody_asked() -> None:
    """With the checks listed, the inspections are the last of them."""
    before = DecisionInput.honest().verdict(explain=True)
    after = before.with_inspections([FOUND], [PASSED, FAILED])
    assert after.checks == (*before.checks, PASSED, FAILED)
    assert after.to_json()["unknown"] == UNKNOWN
    with pytest.raises(ValueError, match="contradicts its own checks"):
        before.with_inspections([], [FAILED])


def test_what_failed_is_not_inspected() -> None:
    """Inspections come after everything else, and only then."""
    world = DecisionInput.honest()
    del world.evidence["train"]
    with pytest.raises(ValueError, match="is not inspected"):
        world.verdict().with_inspections([], [])


def test_every_kind_of_check_has_a_basis() -> None:
    """What signatures, log and bytes prove is proven; all that signers say is claimed."""
    assert set(get_args(Kind)) >= PROVEN
    assert [ReportedCheck(kind, passed=True, message="x").basis for kind in ("signature", "inspection", "rule")] == [
        "proven", "proven", "claimed",
    ]  # fmt: skip
    assert FAILED.to_json()["basis"] == "proven"


def test_an_attestation_as_json() -> None:
    """Every field under its name, the run of the step among them."""
    one = run()["train"]
    assert Attestation.of(one, "run-1").to_json() == {
        "id": one.attestation_id,
        "signer": one.identity.to_json(),
        "time": "2026-11-22T11:00:00Z",
        "log": {"origin": one.log.origin, "index": one.log.index},
        "run": "run-1",
    }
    assert Attestation.of(one).to_json()["run"] is None


def test_attestations_of_a_chain_include_those_under_a_sublayout() -> None:
    """All whose artifacts negative evidence may be about: the supplier's layout and each of its steps."""
    world = supplier()
    decision = world.verdict()
    assert decision.passed
    every = {one.attestation_id for one in world.evidence.values()}
    found = attestations_in(decision.steps)
    assert found <= every
    assert {one.attestation_id for name, one in world.evidence.items() if name.startswith("acme-")} <= found
    assert attestations_in([]) == frozenset()


def test_a_check_as_json() -> None:
    """Every field under its name; what is not said is null."""
    check = ReportedCheck("expiry", passed=True, message="m", step="s", expected="e", got="g")
    said = check.to_json()
    assert (said["check"], said["step"], said["message"], said["expected"], said["got"]) == (
        "expiry",
        "s",
        "m",
        "e",
        "g",
    )
    empty = ReportedCheck("expiry", passed=True, message="m").to_json()
    assert (empty["step"], empty["expected"], empty["got"]) == (None, None, None)
