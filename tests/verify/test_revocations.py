"""Revocations: who may revoke, what is revoked from when, and in which order revocations judge each other."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gitchain.evidence.digest import DigestSet
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.revocation import RevokedSigner, revocation
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import REVOCATION
from gitchain.layout import Identity, parse_layout
from gitchain.verify.findings import FindingCode
from gitchain.verify.revocations import Revocations
from gitchain.verify.verified import VerifiedStatement
from tests.support.decision_input import ISSUER, LAYOUT, NOW, verified

A, B = AttestationId("a" * 64), AttestationId("b" * 64)
REVOKERS = parse_layout(LAYOUT.replace("steps:", "revokers: [alice, bob]\nsteps:", 1).encode())
ALICE, BOB, CAROL = (Identity(ISSUER, name) for name in ("alice", "bob", "carol"))


def said(
    who: str, hours: float, *, subject: str = A, kind: str = REVOCATION, change: Any = None, **facts: Any
) -> VerifiedStatement:
    """A revocation by `who`, that many hours before now."""
    value = revocation(reason="mistaken", when="2026-11-22T12:00:00Z", **facts) | (change or {})
    about = [ResourceDescriptor("x", DigestSet({"sha256": subject}))]
    return verified(Statement.build(about, kind, value), who, NOW - timedelta(hours=hours))


def signer(name: str, hours: float = 1000) -> list[RevokedSigner]:
    return [RevokedSigner(ISSUER, name, at(hours).strftime("%Y-%m-%dT%H:%M:%SZ"))]


def at(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def of(*statements: VerifiedStatement) -> Revocations:
    return Revocations.of(REVOKERS, statements, NOW)


def test_nothing_is_revoked_by_nothing() -> None:
    """Without revocations every question has the same answer."""
    found = of()
    assert found == Revocations()
    assert (found.attestation(A), found.signer(ALICE, NOW), found.artifact(("sha256", A))) == (
        None,
        None,
        None,
    )


def test_an_attestation_is_revoked() -> None:
    """By its id alone: the subject that the revocation is filed under is not."""
    one = said("alice", 1, attestations=[B], message="wrong file")
    revoked = of(one).attestation(B)
    assert revoked is not None
    assert (revoked.who, revoked.when, revoked.reason, revoked.message, revoked.id) == (
        ALICE,
        at(1),
        "mistaken",
        "wrong file",
        one.attestation_id,
    )
    assert str(revoked) == (
        f"revoked by alice at 2026-11-22 11:00:00 UTC, mistaken: wrong file ({one.attestation_id[:12]})"
    )
    assert (of(one).attestation(A), of(one).artifact(("sha256", A))) == (None, None)


def test_an_artifact_is_revoked() -> None:
    """A data set, a model: by the sha256 of the subject."""
    revoked = of(said("bob", 1, subject=B)).artifact(("sha256", B))
    assert revoked is not None
    assert str(revoked).startswith("revoked by bob at 2026-11-22 11:00:00 UTC, mistaken (")
    assert of(said("bob", 1, subject=B)).artifact(("sha256", A)) is None


@pytest.mark.parametrize(
    ("time", "expected"), [(at(2.01), False), (at(2), True), (at(1), True), (None, True)], ids=str
)
def test_revoked_after_before(time: datetime | None, expected: bool) -> None:
    """revoked_after_before (A20): evidence from the revoked time on is rejected, that time and no time included."""
    found = of(said("bob", 1, signers=signer("carol", 2)))
    assert (found.signer(CAROL, time) is not None) is expected
    assert found.signer(ALICE, time) is None
    assert found.signer(Identity("https://other.example", "carol"), time) is None


def test_the_earliest_of_two_times_counts() -> None:
    """Two revocations of one signer: whichever reaches further back, in whatever order they came."""
    late, early = said("bob", 2, signers=signer("carol", 2)), said("alice", 1, signers=signer("carol", 9))
    for found in (of(late, early), of(early, late)):
        revoked = found.signer(CAROL, at(5))
        assert revoked is not None
        assert revoked.who == ALICE
        assert found.signer(CAROL, at(10)) is None


@pytest.mark.parametrize("who", ["carol", "alice3"])
def test_others_cannot_revoke(who: str) -> None:
    """Neither a functionary that is no revoker nor a stranger: well formed or not, it changes nothing."""
    good = said(who, 1, attestations=[A], signers=signer("alice"))
    bad = said(who, 1, change={"reason": "x"})
    assert of(good, bad) == Revocations()


def test_another_identity_of_a_revoker_is_the_revoker() -> None:
    """alice2 is alice."""
    assert of(said("alice2", 1, attestations=[A])).attestation(A) is not None


def test_without_revokers_nothing_is_revoked() -> None:
    """A layout that names no revoker knows no revocation."""
    found = Revocations.of(parse_layout(LAYOUT.encode()), [said("alice", 1, attestations=[A])], NOW)
    assert found == Revocations()


def test_another_type_revokes_nothing() -> None:
    """What is not of the revocation type is no revocation, and no malformed one."""
    assert of(said("alice", 1, kind="https://example.com/x/v1", attestations=[A])) == Revocations()


@pytest.mark.parametrize("change", [{"reason": "x"}, {"signers": []}, {"more": True}], ids=str)
def test_a_malformed_revocation_is_a_finding(change: Any) -> None:
    """What a revoker signed is never passed over in silence."""
    one = said("alice", 1, change=change)
    (finding,) = of(one).problems
    assert (finding.code, finding.severity) == (FindingCode.MALFORMED_REVOCATION, "error")
    assert one.attestation_id[:12] in finding.message
    assert finding.got
    assert one.attestation_id in finding.help


def test_too_long_a_revocation_is_a_finding() -> None:
    """A limit is no way to be overlooked either."""
    assert len(of(said("alice", 1, change={"attestations": [A] * 10_001})).problems) == 1


def test_a_malformed_revocation_can_be_set_aside() -> None:
    """Only by a later revocation that names it: one that came before, or in the same second, knew nothing of it."""
    bad = said("alice", 2, change={"reason": "x"})
    assert of(bad, said("bob", 1, attestations=[bad.attestation_id])).problems == ()
    for hours in (2, 3):
        assert len(of(bad, said("bob", hours, attestations=[bad.attestation_id])).problems) == 1


def test_a_mistaken_revocation_can_be_taken_back() -> None:
    """A later revocation of it by a revoker: what it said does not hold, and it is itself on record as revoked."""
    wrong = said("alice", 3, attestations=[A], subject=B)
    back = said("alice", 2, attestations=[wrong.attestation_id])
    found = of(back, wrong)
    assert found.attestation(A) is None
    assert found.attestation(wrong.attestation_id) is not None
    again = of(back, wrong, said("bob", 1, attestations=[A]))
    assert again.attestation(A) is not None


def test_what_was_taken_back_can_be_said_again() -> None:
    """The same words, signed later, count: only what came before was taken back."""
    wrong = said("alice", 3, attestations=[A])
    back = said("bob", 2, attestations=[wrong.attestation_id])
    again = said("alice", 1, attestations=[A])
    assert again.attestation_id == wrong.attestation_id
    revoked = of(wrong, back, again).attestation(A)
    assert revoked is not None
    assert revoked.when == at(1)


def test_a_revoked_revoker_revokes_nothing_more() -> None:
    """After bob is revoked, bob's later words do not count, not even malformed ones; earlier ones stand."""
    earlier = said("bob", 3, attestations=[A])
    against = said("alice", 2, signers=signer("bob", 2))
    later, broken = said("bob", 1, attestations=[B]), said("bob", 1, change={"reason": "x"})
    found = of(later, broken, against, earlier)
    assert found.attestation(A) is not None
    assert found.attestation(B) is None
    assert found.problems == ()


def test_a_revoker_cannot_take_back_its_own_revocation() -> None:
    """Bob is revoked and names the revocation of bob: too late."""
    against = said("alice", 2, signers=signer("bob", 2))
    assert of(against, said("bob", 1, attestations=[against.attestation_id])).signer(BOB, NOW) is not None


def test_a_revocation_from_a_later_time_lets_a_revoker_speak_until_then() -> None:
    """Bob is revoked from one hour ago: what bob revoked two hours ago counts, at that second no more."""
    against = said("alice", 3, signers=signer("bob", 1))
    assert of(against, said("bob", 2, attestations=[A])).attestation(A) is not None
    assert of(against, said("bob", 1, attestations=[A])).attestation(A) is None


def test_revocations_of_one_second_all_count() -> None:
    """Two revokers revoke each other at once: nobody came first, so both are revoked."""
    found = of(said("alice", 1, signers=signer("bob")), said("bob", 1, signers=signer("alice")))
    assert found.signer(ALICE, NOW) is not None
    assert found.signer(BOB, NOW) is not None


def test_the_first_of_two_revokers_wins() -> None:
    """Later by a second is too late: what remains is for the layout's owner."""
    found = of(said("bob", 1, signers=signer("alice")), said("alice", 2, signers=signer("bob")))
    assert found.signer(BOB, NOW) is not None
    assert found.signer(ALICE, NOW) is None


def test_taking_back_the_revocation_of_a_revoker_lets_it_speak_again() -> None:
    """Bob was revoked by mistake: what bob says after that was taken back counts, what bob said before does not."""
    against = said("alice", 4, signers=signer("bob"))
    unheard = said("bob", 3, attestations=[A])
    back = said("alice", 2, attestations=[against.attestation_id])
    found = of(said("bob", 1, attestations=[B]), back, unheard, against)
    assert found.signer(BOB, NOW) is None
    assert found.attestation(A) is None
    assert found.attestation(B) is not None


def test_the_earliest_revocation_is_the_one_that_is_told() -> None:
    """Revoked twice: the first is named, for an attestation and for an artifact."""
    first, second = said("alice", 2, attestations=[B]), said("bob", 1, attestations=[B], message="too")
    revoked = of(second, first).attestation(B)
    assert revoked is not None
    assert revoked.who == ALICE
    artifact = of(said("bob", 1), said("alice", 2, message="too")).artifact(("sha256", A))
    assert artifact is not None
    assert artifact.who == ALICE


def test_one_revocation_that_two_people_signed_is_two() -> None:
    """The same words have one id; both signers are on record, and both are taken back by it."""
    both = [said("alice", 2, attestations=[A]), said("bob", 1, attestations=[A])]
    assert both[0].attestation_id == both[1].attestation_id
    assert of(both[1]).attestation(A) is not None
    assert of(*both).attestation(A) is not None
    back = said("alice", 0.5, attestations=[both[0].attestation_id])
    assert of(*both, back).attestation(A) is None


def test_a_revocation_that_cannot_be_read_hides_none_after_it() -> None:
    """The problem is told, and everything else that was revoked stays revoked."""
    odd = said("alice", 3, change={"reason": "x"})
    found = of(odd, said("bob", 2, attestations=[B]))
    assert len(found.problems) == 1
    assert found.attestation(B) is not None


def test_one_id_of_an_attestation_revokes_all_of_them() -> None:
    """A commit has an id with its signature too: an id that was revoked for itself keeps its own revocation."""
    commit = replace(said("carol", 5), other_ids=(A,))
    own, other = commit.attestation_id, said("alice", 3, attestations=[A])
    revoked = of(other, commit).attestation(own)
    assert revoked is not None
    assert revoked.who == ALICE
    found = of(other, said("bob", 2, attestations=[own]), commit)
    assert {name: by.who for name, by in found.attestations.items()} == {A: ALICE, own: BOB}
    assert of(said("alice", 3, attestations=[B]), commit).attestation(own) is None
