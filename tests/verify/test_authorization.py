"""Whether a statement counts, one question at a time: for whom, under which layout, and whether it speaks against."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitchain.evidence.claim import StepClaim, claim_of
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import LAYOUT as LAYOUT_TYPE
from gitchain.evidence.vocabulary import Evidence
from gitchain.layout import parse_layout
from gitchain.layout.artifact import Link
from gitchain.layout.model import Identity
from gitchain.verify.authorization import Authorizer
from gitchain.verify.findings import FindingCode
from gitchain.verify.revocations import Revocations
from gitchain.verify.verified import StepStatement, VerifiedStatement
from tests.support.decision_input import LAYOUT, NOW, DecisionInput, statement
from tests.support.decision_variants import by, revoked, summary, supplier
from tests.support.foreign_statements import old
from tests.verify.test_vsa_steps import vendored

REVOKING = parse_layout(LAYOUT.replace("steps:\n", "revokers: [carol]\nsteps:\n", 1).encode())
NOTHING = Revocations()


def train(who: str = "alice", layout: str | None = "credit-model", hours: int = -1) -> VerifiedStatement:
    taken, made = {"data/prepared/train.csv": "train"}, {"models/model.pkl": "model 1"}
    return statement("train", taken, made, who=who, layout=layout, at=NOW + timedelta(hours=hours))


def attested(
    one: VerifiedStatement, world: DecisionInput | None = None, step: str = "train"
) -> StepStatement:
    layout = (world or DecisionInput()).layout
    return StepStatement(layout.step(step), one, claim_of(one.statement), Link({}, {}))


def revocations(*what: VerifiedStatement | str) -> Revocations:
    return Revocations.of(REVOKING, [revoked(one, who="carol") for one in what], NOW)


def test_may_speak_asks_who_signed_and_not_when() -> None:
    """Negative evidence needs less to count: a functionary's word from the future forbids, a stranger's does not."""
    authorizer, step = Authorizer(DecisionInput().layout, NOW), DecisionInput().layout.step("train")
    assert authorizer.may_speak(step, train())
    assert authorizer.may_speak(step, train(hours=1))
    assert not authorizer.may_speak(step, train("carol"))
    assert not authorizer.may_speak(step, train("mallory", hours=1))


@pytest.mark.parametrize("gone", [train(), "alice"], ids=["attestation", "signer"])
def test_may_speak_and_is_revoked_ask_the_revocations_of_every_layout(gone: VerifiedStatement | str) -> None:
    """What one of the layouts around revoked neither counts nor speaks against anything."""
    found, step = revocations(gone), DecisionInput().layout.step("train")
    other = statement("train", {}, {"models/model.pkl": "model 2"}, who="bob")
    for several in ((found,), (found, NOTHING), (NOTHING, found)):
        authorizer = Authorizer(DecisionInput().layout, NOW, several)
        assert authorizer.is_revoked(train())
        assert not authorizer.may_speak(step, train())
        assert not authorizer.is_revoked(other)
    assert not Authorizer(DecisionInput().layout, NOW).is_revoked(train())


def test_named_is_the_functionary_of_the_step_and_the_person() -> None:
    """Nobody is named whom the step does not list, although the layout knows the person."""
    authorizer = Authorizer(DecisionInput().layout, NOW)
    for who, functionary, person in (
        ("alice2", "alice", "alice"),
        ("bob", "bob", "bob"),
        ("carol", "", "carol"),
    ):
        named = authorizer.named(attested(train(who)))
        assert (named.functionary, named.principal) == (functionary, person)


@pytest.mark.parametrize(
    ("layout", "inside", "expected"),
    [
        ("credit-model", False, True),
        ("credit-model", True, True),
        ("other", False, False),
        ("other", True, False),
        (None, False, True),
        (None, True, False),
    ],
)
def test_conditions_ask_for_the_layout_by_name(layout: str | None, *, inside: bool, expected: bool) -> None:
    """A statement that names no layout belongs to the outermost one: under a layout inside it does not count."""
    authorizer = Authorizer(DecisionInput().layout, NOW, inside=inside)
    named = next(authorizer.conditions(attested(train(layout=layout))))
    assert (named.code, named.passed, named.of_negative) == (FindingCode.OTHER_LAYOUT, expected, True)
    assert (named.expected, named.got) == ("credit-model", layout or "no layout")


def test_a_summary_that_names_no_step_counts_inside_another_layout_too() -> None:
    """Other tools' summaries know no layouts: they name their verifier."""
    world = vendored()
    silent = attested(summary({"data/raw.csv": "raw"}), world, "data")
    assert next(Authorizer(world.layout, NOW, inside=True).conditions(silent)).passed
    named = {"name": "data", "run": "r", "evidence": "observed", "layout": None}
    ours = attested(summary({"data/raw.csv": "raw"}, gitchain_step=named), world, "data")
    assert not next(Authorizer(world.layout, NOW, inside=True).conditions(ours)).passed


def test_conditions_refuse_an_old_statement_with_step_facts() -> None:
    """gitchain signs Statements v1: a v0.1 that claims a step counts for none, and is told."""
    one = train()
    found = attested(replace(one, statement=Statement.parse(old(one.statement.payload))))
    conditions = list(Authorizer(DecisionInput().layout, NOW).conditions(found))
    (told,) = [each for each in conditions if each.code is FindingCode.OLD_STATEMENT]
    assert (told.passed, told.expected, told.got) == (False, "Statement v1", "Statement v0.1")
    assert FindingCode.OLD_STATEMENT not in {
        each.code for each in Authorizer(DecisionInput().layout, NOW).conditions(attested(one))
    }


def test_conditions_of_a_layout_behind_a_step_are_those_of_its_signature() -> None:
    """A layout names no other layout and has no strength; anything else for such a step is not what it asks for."""
    world = supplier()
    authorizer, step = Authorizer(world.layout, NOW), world.layout.step("data")
    claim = StepClaim("data", None, None, None, (), (), "summary")
    one = StepStatement(step, world.evidence["layout"], claim, Link({}, {}))
    asked = [
        FindingCode.UNAUTHORISED,
        FindingCode.FUTURE,
        FindingCode.REVOKED_ATTESTATION,
        FindingCode.REVOKED_SIGNER,
    ]
    assert [(found.code, found.passed) for found in authorizer.conditions(one)] == [
        (code, True) for code in asked
    ]
    other = statement("data", {}, {"data/raw.csv": "raw"}, who="carol")
    kind = list(authorizer.conditions(attested(other, world, "data")))[1]
    assert (kind.code, kind.passed, kind.expected) == (FindingCode.PREDICATE_TYPE, False, LAYOUT_TYPE)


def test_check_statement_says_what_counts_against_although_it_does_not_count() -> None:
    """What a summary rests on, and when it was made, is asked of positive evidence alone; its signer of both."""
    world, input_ = vendored(), train()
    resting = summary(
        {"data/raw.csv": "raw"}, inputAttestations=[{"digest": {"sha256": input_.attestation_id}}]
    )
    authorizer = Authorizer(world.layout, NOW, [revocations(input_)])
    reason, counts_against = authorizer.check_statement(attested(resting, world, "data"))
    assert reason is not None
    assert (reason.code, counts_against) == (FindingCode.REVOKED_ATTESTATION, True)
    assert reason.expected == "not revoked"
    assert reason.got.startswith("revoked by carol")
    stranger = by(resting, Identity(resting.identity.issuer, "mallory"))
    reason, counts_against = authorizer.check_statement(attested(stranger, world, "data"))
    assert reason is not None
    assert (reason.code, counts_against) == (FindingCode.UNAUTHORISED, False)


def test_check_statement_of_a_statement_that_nothing_is_wrong_with() -> None:
    """It counts, and says so against artifacts as well."""
    assert Authorizer(DecisionInput().layout, NOW, [NOTHING]).check_statement(attested(train())) == (
        None,
        True,
    )


@pytest.mark.parametrize(
    ("asked", "claimed", "passed", "expected", "got"),
    [
        (None, None, True, "any strength", "no strength"),
        (None, "declared", True, "any strength", "declared"),
        ("declared", "declared", True, "declared", "declared"),
        ("declared", "observed", True, "declared", "observed"),
        ("declared", None, False, "declared", "no strength"),
        ("observed", "observed", True, "observed", "observed"),
        ("observed", "declared", False, "observed", "declared"),
    ],
)
def test_conditions_ask_for_the_strength_of_the_step(
    asked: Evidence | None, claimed: Evidence | None, expected: str, got: str, *, passed: bool
) -> None:
    """Observed evidence is as good as declared; a step that asks for neither takes any."""
    one = attested(train())
    one = replace(one, step=replace(one.step, evidence=asked), claim=replace(one.claim, evidence=claimed))
    (weak,) = (
        found
        for found in Authorizer(DecisionInput().layout, NOW).conditions(one)
        if found.code is FindingCode.TOO_WEAK
    )
    assert (weak.passed, weak.expected, weak.got) == (passed, expected, got)


def test_conditions_of_age_include_the_oldest_moment() -> None:
    """Exactly as old as maxAge is not too old; a second more is."""
    hour, second = timedelta(hours=1), timedelta(seconds=1)
    for max_age, passed in ((hour, True), (hour - second, False)):
        one = attested(train())
        one = replace(one, step=replace(one.step, max_age=max_age))
        stale = list(Authorizer(DecisionInput().layout, NOW).conditions(one))[-1]
        assert (stale.code, stale.passed) == (FindingCode.STALE, passed)
        oldest = (NOW - max_age).isoformat()
        assert (stale.expected, stale.got) == (f"not before {oldest}", (NOW - hour).isoformat())


def test_conditions_say_which_of_them_negative_evidence_has_to_satisfy() -> None:
    """docs/negative-evidence.md: signer, layout, predicate type and verifier, and that neither was revoked."""
    world = vendored(more="\n    maxAge: P30D\n    evidence: declared")
    found = list(
        Authorizer(world.layout, NOW).conditions(attested(summary({"data/raw.csv": "raw"}), world, "data"))
    )
    assert {one.code for one in found if one.of_negative} == {
        FindingCode.OTHER_LAYOUT,
        FindingCode.PREDICATE_TYPE,
        FindingCode.VERIFIER,
        FindingCode.UNAUTHORISED,
        FindingCode.REVOKED_ATTESTATION,
        FindingCode.REVOKED_SIGNER,
    }
    assert {one.code for one in found if not one.of_negative} == {
        FindingCode.NOT_PASSED,
        FindingCode.SUMMARY_FIELD,
        FindingCode.SUMMARY_RESOURCE,
        FindingCode.SUMMARY_TIME,
        FindingCode.FUTURE,
        FindingCode.REVOKED_ATTESTATION,  # of what the summary rests on
        FindingCode.TOO_WEAK,
        FindingCode.STALE,
    }
    assert {one.got for one in found if one.code is FindingCode.REVOKED_SIGNER} == {"not revoked"}
