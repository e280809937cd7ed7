"""Lint of functionaries: which identities can be one signer, and how many people there are."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from gitchain.layout import lint_functionaries
from gitchain.layout.identities import KeyMember, Member, SigstoreMember, SshMember
from gitchain.layout.keys import spki_of_ssh
from gitchain.layout.lint_functionaries import overlap
from tests.layout.test_lint import ISSUER, PEM, SSH, WORKFLOW, Change, both, linted, person, said

CI = "https://token.example"
PUSH, MAIN = ("buildTrigger", "push"), ("sourceRepositoryRef", "refs/heads/main")


def member(ref: str, *claims: tuple[str, str], issuer: str = CI) -> SigstoreMember:
    return SigstoreMember(issuer, WORKFLOW + ref, claims)


PAIRS: dict[str, tuple[Member, Member, bool]] = {
    "the same": (member("tags/v1"), member("tags/v1"), True),
    "another issuer": (member("tags/v1"), member("tags/v1", issuer="https://other.example"), False),
    "another ref": (member("tags/v1"), member("tags/v2"), False),
    "a ref that the pattern covers": (member("tags/v*"), member("tags/v1"), True),
    "a ref that the pattern does not cover": (member("tags/v*"), member("heads/v1"), False),
    "two patterns that meet": (member("tags/v*"), member("tags/*1"), True),
    "two patterns that do not": (member("tags/v*"), member("tags/w*"), False),
    "patterns of other depths": (member("tags/*"), member("tags/*/x"), False),
    "a question mark in a ref is no wildcard": (member("tags/*b"), member("tags/?"), False),
    "one claim more": (member("tags/v1", PUSH), member("tags/v1"), True),
    "other claims": (member("tags/v1", PUSH), member("tags/v1", MAIN), True),
    "one claim that differs": (
        member("tags/v1", PUSH, MAIN),
        member("tags/v1", PUSH, ("sourceRepositoryRef", "refs/heads/next")),
        False,
    ),
    "one key, twice": (KeyMember(spki_of_ssh(SSH)), SshMember(SSH), True),
    "a key and a certificate": (SshMember(SSH), member("tags/v1"), False),
}


@pytest.mark.parametrize(("one", "other", "expected"), PAIRS.values(), ids=PAIRS)
def test_overlap_is_what_one_signer_can_match(one: Member, other: Member, expected: bool) -> None:
    """In either order: by issuer, subject and claims of a certificate, or by a key."""
    assert overlap(one, other) is expected
    assert overlap(other, one) is expected


def test_overlaps_are_looked_for_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond MAX_COMPARED identities, the rest is not compared."""
    change = both(
        person("aaa", issuer=CI, subject=f"{WORKFLOW}tags/v1", claims={"sourceRepositoryIdentifier": "123"}),
        lambda v: v["revokers"].append("aaa"),
    )
    assert said(linted(change)) == {("OVERLAP", "error", "functionaries.ci")}
    for most, found in ((4, 1), (3, 0)):
        monkeypatch.setattr(lint_functionaries, "MAX_COMPARED", most)
        assert len(linted(change)) == found


def three(**people: dict[str, Any]) -> Change:
    """Three functionaries may approve, and two of them have to."""

    def change(value: Any) -> None:
        del value["functionaries"]["alice"], value["functionaries"]["bob"]
        value["functionaries"] |= {name: {"identities": [one]} for name, one in people.items()}
        value["revokers"], value["datasets"]["functionaries"] = ["x"], ["x"]
        value["steps"][2]["functionaries"] = list(people)

    return change


FEW = {("FEW_PEOPLE", "error", "steps[2].threshold")}


def few(change: Change) -> bool:
    found = {one for one in said(linted(change)) if one[0] != "OVERLAP"}
    assert found in (set(), FEW)
    return bool(found)


def test_people_who_are_one_by_a_third_are_counted_once() -> None:
    """One and three have nothing in common, but each is the same person as two, in every order."""
    identities = [
        {"issuer": ISSUER, "subject": "ada@example.com"},
        {"issuer": ISSUER, "subject": "ADA@example.com"},
        {"issuer": "https://other.example", "subject": "ADA@example.com"},
    ]
    for order in permutations(identities):
        assert few(three(**dict(zip("xyz", order, strict=True))))


def test_people_of_one_principal_are_counted_once() -> None:
    """Two by the layout's principals, and a third by the mail address of one of them."""
    people = three(
        x={"issuer": ISSUER, "subject": "ada@example.com"},
        y={"issuer": ISSUER, "subject": "bob@example.com"},
        z={"issuer": "https://other.example", "subject": "bob@example.com"},
    )
    assert not few(people)
    assert few(both(people, lambda v: v.update(principals={"one": ["x", "y"]})))


def test_people_with_one_name_at_two_issuers_are_two() -> None:
    """Only a mail address is taken for one person: a plain name may be anybody's."""
    people = three(
        x={"issuer": ISSUER, "subject": "ada"},
        y={"issuer": "https://other.example", "subject": "ada"},
    )
    assert not few(people)


def test_a_workflow_is_one_person_whatever_it_claims() -> None:
    """Patterns that meet, told apart by claims alone, make no two people."""
    claims = {"sourceRepositoryIdentifier": "9"}
    people = three(
        x={"issuer": CI, "subject": f"{WORKFLOW}tags/a*", "claims": {**claims, "buildTrigger": "push"}},
        y={"issuer": CI, "subject": f"{WORKFLOW}tags/a1*", "claims": {**claims, "buildTrigger": "schedule"}},
    )
    assert few(people)


def test_a_key_and_a_mail_address_are_two_people() -> None:
    """A key is compared with keys alone."""
    ada = {"issuer": ISSUER, "subject": "ada@example.com"}
    assert not few(three(x=ada, y={"key": PEM}))
    assert not few(three(x={"key": PEM}, y=ada))


def test_people_are_not_counted_for_a_threshold_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody reaches it, and comparing thousands of functionaries takes long."""
    monkeypatch.setattr(lint_functionaries, "_people", lambda *_: pytest.fail("people are counted"))
    assert linted(lambda v: v["steps"][2].update(threshold=1)) == ()
