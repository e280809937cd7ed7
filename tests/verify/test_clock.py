"""The verifier's clock against proven times, and what is ahead of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gitchain.errors import SignatureError
from gitchain.layout import parse_layout
from gitchain.verify.revocations import Revocations
from gitchain.verify.verified import NEVER, LogRef, VerifiedStatement, check_time, is_ahead, is_early
from tests.support.decision_input import NOW, DecisionInput, codes, run
from tests.support.decision_variants import DATASETS, facts, revoked

SKEW = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("time", "ahead"),
    [
        (None, False),
        (NOW, False),
        (NOW + SKEW, False),
        (NOW + SKEW + timedelta(seconds=1), True),
        (NEVER, True),
    ],
    ids=str,
)
def test_is_ahead_allows_five_minutes(time: datetime | None, *, ahead: bool) -> None:
    """Five minutes are allowed, a second more is not."""
    assert is_ahead(time, NOW) is ahead


def cosigned(one: VerifiedStatement, time: datetime | None) -> VerifiedStatement:
    return replace(one, log=LogRef("log.example", 0, time))


def test_is_early() -> None:
    """A statement is ahead by its own time, or by that of its cosignatures."""
    one = run()["train"]
    assert not is_early(one, NOW)
    assert not is_early(cosigned(one, NOW), NOW)
    assert is_early(cosigned(one, NEVER), NOW)
    assert is_early(cosigned(one, NOW + timedelta(hours=1)), NOW)
    assert is_early(replace(one, time=NOW + timedelta(hours=1)), NOW)


@pytest.mark.parametrize("time", [NEVER, NOW + timedelta(minutes=6)], ids=str)
def test_evidence_that_is_cosigned_in_the_future_does_not_count(time: datetime) -> None:
    """As little as evidence that is not cosigned at all; the finding says which it is."""
    found = DecisionInput.honest()
    found.evidence["train"] = cosigned(found.evidence["train"], NOW + SKEW)
    assert found.verdict(explain=True).passed
    found.evidence["train"] = cosigned(found.evidence["train"], time)
    decision = found.verdict(explain=True)
    assert ("UNCOSIGNED", "train", "") in codes(decision)
    (finding,) = (one for one in decision.findings if one.code.name == "UNCOSIGNED")
    assert finding.expected == f"the quorum of the witness policy, not after {NOW.isoformat()}"
    assert finding.got == ("no quorum" if time == NEVER else time.isoformat())
    assert "witnesses" in {check.kind for check in decision.checks if not check.passed}


def test_facts_from_the_future_count_only_against_a_data_set() -> None:
    """Good ones do not count before their time, refused ones do, and good ones replace none before it."""
    found = DecisionInput.honest().change(lambda text: text.replace("serve:", DATASETS))
    good, bad = facts({"d": "raw"}), facts({"d": "raw"}, licence="GPL-3.0-only", who="bob")
    soon = NOW + timedelta(hours=1)
    found.evidence["facts"] = good
    assert found.verdict().passed
    found.evidence["facts"] = replace(good, time=soon)
    decision = found.verdict()
    assert codes(decision) == [("NO_FACTS", "data", "data/raw.csv")]
    assert decision.findings[0].got.startswith("facts from the future about")
    found.evidence |= {"facts": good, "bad": replace(bad, time=soon)}
    assert codes(found.verdict()) == [("FACTS_REFUSED", "data", "data/raw.csv")]
    found.evidence |= {"bad": bad, "better": replace(facts({"d": "raw"}, who="bob"), time=soon)}
    assert codes(found.verdict()) == [("FACTS_REFUSED", "data", "data/raw.csv")]
    found.evidence["better"] = replace(found.evidence["better"], time=NOW)
    assert found.verdict().passed


@pytest.mark.parametrize("log", [None, NEVER], ids=str)
def test_a_revocation_from_the_future_revokes_and_takes_no_revocation_back(log: datetime | None) -> None:
    """To take a revocation back helps the target, so it has to count as positive evidence."""
    layout = parse_layout(
        b"""schema: https://gitchain.dev/layout/v1
name: x
version: 1
expires: "2027-11-22T00:00:00Z"
functionaries: {alice: {identities: [{issuer: "https://issuer.example", subject: alice}]}}
revokers: [alice]
steps: [{name: a, functionaries: [alice], expectedProducts: [[ALLOW, "*"]]}]
serve: [{step: a, products: ["*"]}]
"""
    )
    one = run()["train"]
    first = revoked(one, at=NOW - timedelta(hours=1))
    back = revoked(first, at=NOW)
    early = cosigned(back, log) if log else replace(back, time=NOW + timedelta(hours=1))
    assert Revocations.of(layout, [first, back], NOW).statement(one) is None
    assert Revocations.of(layout, [first, early], NOW).statement(one) is not None
    assert Revocations.of(layout, [replace(first, time=NOW + timedelta(hours=1))], NOW).statement(one)
    assert Revocations.of(layout, [cosigned(first, log)], NOW).statement(one)


@pytest.mark.parametrize("ahead", [NEVER, NOW + timedelta(minutes=6)], ids=str)
def test_check_time_refuses_what_is_ahead(ahead: datetime) -> None:
    """By the signature's time or its cosignatures'; what has no proven time is not ahead."""
    for time, log in ((ahead, None), (ahead, LogRef("l", 0)), (NOW, LogRef("l", 0, ahead))):
        with pytest.raises(SignatureError, match="in the future") as told:
            check_time(time, log, NOW)
        assert told.value.got == ahead.isoformat()
        assert told.value.expected == f"not after {NOW.isoformat()}"
    for log in (None, LogRef("l", 0), LogRef("l", 0, NOW + SKEW)):
        check_time(None, log, NOW)
        check_time(NOW + SKEW, log, NOW)
