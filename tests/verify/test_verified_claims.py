"""Claims: read once, each word of a signer once, and by what name rules see their artifacts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

from gitchain.evidence.claim import claim_of
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.layout.artifact import Link, Manifests
from gitchain.layout.model import Identity
from gitchain.verify.findings import FindingCode
from gitchain.verify.verified import (
    NEVER,
    RejectedStatement,
    StepReader,
    StepStatement,
    artifacts_of,
    distinct,
)
from tests.support.decision_input import ISSUER, DecisionInput, run


def test_the_same_word_twice_is_one() -> None:
    """Same bytes, signer, time and claims; the order of the claims says nothing. Any other is another word."""
    one = replace(run()["train"], claims={"buildTrigger": "push", "sourceRepositoryRef": "main"})
    turned = replace(one, claims=dict(reversed(list(one.claims.items()))))
    others = [
        replace(one, claims={"buildTrigger": "push"}),
        replace(one, time=one.time + timedelta(seconds=1)),
        replace(one, identity=Identity(ISSUER, "bob")),
        run()["prepare"],
    ]
    assert list(distinct([one, turned])) == [one]
    assert list(distinct([one, *others])) == [one, *others]


def test_distinct_keeps_the_copy_that_was_cosigned_first() -> None:
    """Whoever stores a bundle again, with a checkpoint that nobody cosigned, takes no evidence away."""
    one = run()["train"]
    early = replace(one, log=replace(one.log, cosigned=one.time))
    late = replace(one, log=replace(one.log, cosigned=one.time + timedelta(hours=1)))
    never = replace(one, log=replace(one.log, cosigned=NEVER))
    for copies in permutations([early, late, never]):
        assert list(distinct(copies)) == [early]
    assert list(distinct([never, late])) == [late]
    assert list(distinct([never, one])) == [one]


def test_a_claim_is_read_once() -> None:
    """And stays what it was."""
    reader, one = StepReader(), run()["train"]
    assert reader.claim(one) is reader.claim(one)


def test_attested_is_for_nobody_until_that_is_known() -> None:
    """A claim counts for nobody before the signer is looked up, and a rejection says what its code means."""
    statement = run()["train"]
    one = StepStatement(
        DecisionInput().layout.step("train"), statement, claim_of(statement.statement), Link({}, {})
    )
    assert (one.functionary, one.principal) == ("", "")
    assert RejectedStatement(FindingCode.STALE, statement, one, "", "").says == ""


def test_artifacts_of_a_descriptor_without_a_name_have_an_empty_one() -> None:
    """No pattern of a rule but `*` matches it."""
    found = artifacts_of(
        [ResourceDescriptor(None, DigestSet({"sha256": "a" * 64}))], Manifests(lambda _: None)
    )
    assert list(found) == [""]
