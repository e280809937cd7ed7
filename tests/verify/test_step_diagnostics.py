"""Reasons: what is told of a step without evidence and of a target that nothing made, and in which order."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gitchain.verify.findings import FindingCode
from gitchain.verify.step_diagnostics import MAX_PER_STEP
from gitchain.verify.verified import VerifiedStatement
from tests.support.decision_input import NOW, DecisionInput, codes, model, statement
from tests.support.decision_variants import revoked
from tests.verify.test_decide import two_trainers

TAKEN = {"data/prepared/train.csv": "train"}


def trained(content: str, who: str = "alice", minutes: int = 60) -> VerifiedStatement:
    at = NOW - timedelta(minutes=minutes)
    return statement("train", TAKEN, {"models/model.pkl": content}, who=who, at=at)


def three_trainers(text: str) -> str:
    return text.replace(
        "functionaries: [alice, bob]\n", "functionaries: [alice, bob, carol]\n    threshold: 3\n", 1
    )


def world(*trainings: VerifiedStatement) -> DecisionInput:
    found = DecisionInput.honest()
    del found.evidence["train"]
    found.evidence |= {f"train{number}": one for number, one in enumerate(trainings)}
    return found


def test_a_model_that_too_few_signed_is_told_beside_one_that_enough_signed() -> None:
    """Two people trained another model, one of them trained this one: the threshold is what is missing."""
    found = world(trained("model 1"), trained("other"), trained("other", "bob")).change(two_trainers)
    assert [one.code for one in found.verdict().findings] == [FindingCode.DISAGREE]


@pytest.mark.parametrize("turned", [False, True])
def test_people_who_signed_for_different_content_are_told_by_the_largest_group(*, turned: bool) -> None:
    """Two agree and a third does not: the two are named, in order, whichever evidence came first."""
    both = [trained("model 1", "bob"), trained("model 1", "alice"), trained("other", "carol")]
    found = world(*(reversed(both) if turned else both)).change(three_trainers)
    (finding,) = found.verdict().findings
    assert (finding.code, finding.expected, finding.got) == (
        FindingCode.DISAGREE,
        "3 of alice, bob, carol",
        "alice, bob",
    )


def test_faults_of_many_groups_are_told_newest_first_up_to_the_limit() -> None:
    """Each evaluation took a revoked file under another name."""
    found = DecisionInput.honest().change(
        lambda text: text.replace("steps:\n", "revokers: [carol]\nsteps:\n", 1)
    )
    del found.evidence["evaluate"]
    for number in reversed(range(MAX_PER_STEP + 2)):
        materials = {"models/model.pkl": "model 1", f"src/{number}.py": "bad"}
        at = NOW - timedelta(minutes=number)
        one = statement("evaluate", materials, {"metrics.json": "metrics 1"}, at=at)
        found.evidence[f"evaluate{number}"] = one
    found.evidence["revocation"] = revoked({"x": "bad"}, who="carol")
    assert codes(found.verdict()) == [
        ("REVOKED_ARTIFACT", "evaluate", f"src/{number}.py") for number in range(MAX_PER_STEP)
    ]


def test_other_content_is_told_by_a_functionary_s_newest_evidence_before_a_stranger_s() -> None:
    """A stranger's newer word about the name is told only where nobody authorised has said anything."""
    stranger = trained("strange", "mallory", minutes=1)
    ours = [trained("old", minutes=90), trained("new", minutes=30), trained("older", minutes=120)]
    (finding,) = world(stranger, *ours).verdict(model("another")).findings
    assert finding.code is FindingCode.OTHER_CONTENT
    assert finding.expected == str(model("new").artifact)
    findings = world(stranger).verdict(model("another")).findings
    assert [one.expected for one in findings if one.code is FindingCode.OTHER_CONTENT] == [
        str(model("strange").artifact)
    ]
