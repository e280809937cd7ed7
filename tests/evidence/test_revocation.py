"""Revocations: what is written is read back, and nothing that cannot be read whole is read at all."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.claim import StepFacts
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.revocation import (
    MAX_IDENTITY_CHARS,
    MAX_REVOKED,
    Revocation,
    RevokedSigner,
    attestation_descriptor,
    read_revocation,
    revocation,
)
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import DATASET, REVOCATION

WHEN = "2026-11-22T12:00:00Z"
A, B = AttestationId("a" * 64), AttestationId("b" * 64)
SUBJECT = ResourceDescriptor("data/raw.csv", DigestSet({"sha256": B}))
MALLORY = RevokedSigner("https://i.example", "mallory", WHEN)


def said(predicate: Any, *subject: ResourceDescriptor, kind: str = REVOCATION) -> Statement:
    return Statement.build(subject or (SUBJECT,), kind, predicate)


def test_attestations_are_read_back_sorted_and_once() -> None:
    """Ids alone are revoked: the subject is what the statement is filed under."""
    step = StepFacts("revoke", "r", "declared")
    value = revocation(reason="mistaken", when=WHEN, attestations=[B, A, B], message="why\nso", step=step)
    assert read_revocation(said(value)) == Revocation("mistaken", WHEN, (A, B), (), (), "why\nso")


def test_signers_are_read_back_sorted_and_once() -> None:
    """Each signer keeps its own time; the subject is not revoked."""
    early = RevokedSigner("https://i.example", "ada")
    value = revocation(reason="compromised", when=WHEN, signers=[MALLORY, early, MALLORY])
    found = read_revocation(said(value))
    assert found == Revocation("compromised", WHEN, (), (early, MALLORY), ())
    assert [one.time for one in found.signers] == [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 11, 22, 12, tzinfo=UTC),
    ]


def test_without_attestations_and_signers_the_subjects_are_revoked() -> None:
    """Every subject, by its digests."""
    other = ResourceDescriptor("m", DigestSet({"sha256": A}))
    found = read_revocation(said(revocation(reason="withdrawn", when=WHEN), SUBJECT, other))
    assert found == Revocation("withdrawn", WHEN, (), (), (("sha256", B), ("sha256", A)))


def test_what_a_revocation_is_filed_under() -> None:
    """The id is the digest of what was signed; a signer's is a function of issuer and subject alone."""
    assert attestation_descriptor(A).to_json() == {"name": f"attestation:{A}", "digest": {"sha256": A}}
    first, later = MALLORY.descriptor, RevokedSigner("https://i.example", "mallory").descriptor
    assert first == later != RevokedSigner("https://i.example", "mallory2").descriptor
    assert first.name == f"signer:{first.digest['sha256']}"
    text = b'{"issuer":"https://i.example","subject":"mallory"}'
    assert first.digest == {"sha256": hashlib.sha256(text).hexdigest()}


def test_a_revocation_lists_its_ids_in_order() -> None:
    """Sorted, each once, so that the same revocation has the same bytes."""
    ids = [hashlib.sha256(bytes([number])).hexdigest() for number in range(12)]
    assert revocation(reason="mistaken", when=WHEN, attestations=[*ids, *ids])["attestations"] == sorted(ids)


def test_the_first_unknown_field_is_named() -> None:
    """Of many, the first in the order of the alphabet, in the predicate and in a signer."""
    unknown = {f"x{letter}": 1 for letter in "hgfedcba"}
    for change in (unknown, {"signers": [MALLORY.to_json() | unknown]}):
        with pytest.raises(MalformedError, match="unknown field") as caught:
            read_revocation(said(GOOD | change))
        assert caught.value.where == "'xa'"


GOOD: dict[str, Any] = {
    "reason": "compromised",
    "revokedOn": WHEN,
    "attestations": [A],
    "signers": [MALLORY.to_json()],
    "message": "lost",
}


def test_the_whole_predicate_is_good() -> None:
    """The changes below are refused for what they change."""
    assert read_revocation(said(GOOD)).signers == (MALLORY,)


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"reason": "because"},
        {"reason": 1},
        {"revokedOn": "today"},
        {"attestations": None},
        {"attestations": [1]},
        {"attestations": [A[:-1]]},
        {"attestations": [A.upper()]},
        {"signers": []},
        {"signers": None},
        {"signers": {}},
        {"signers": ["mallory"]},
        {"signers": [MALLORY.to_json() | {"until": WHEN}]},
        {"signers": [{"issuer": "https://i.example", "subject": "m"}]},
        {"signers": [MALLORY.to_json() | {"from": "yesterday"}]},
        {"signers": [MALLORY.to_json() | {"issuer": ""}]},
        {"signers": [MALLORY.to_json() | {"subject": "m "}]},
        {"signers": [MALLORY.to_json() | {"subject": "m\n"}]},
        {"signers": [MALLORY.to_json() | {"subject": "a\nb"}]},
        {"signers": [MALLORY.to_json() | {"subject": "m" * (MAX_IDENTITY_CHARS + 1)}]},
        {"message": ""},
        {"message": None},
        {"message": "\x07"},
    ],
    ids=str,
)
def test_what_we_would_not_write_is_not_read(change: dict[str, Any]) -> None:
    """Half a revocation is none: the verifier must say so, not guess."""
    with pytest.raises(MalformedError):
        read_revocation(said(GOOD | change))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"unknown": 1}, "'unknown'"),
        ({"reason": "because"}, "reason"),
        ({"reason": 1}, "predicate.reason"),
        ({"revokedOn": "today"}, "revokedOn"),
        ({"revokedOn": None}, "predicate.revokedOn"),
        ({"attestations": None}, "predicate.attestations"),
        ({"attestations": [1]}, "attestations"),
        ({"attestations": ["x"]}, "attestations"),
        ({"signers": []}, "signers"),
        ({"signers": {}}, "predicate.signers"),
        ({"signers": ["mallory"]}, "signers"),
        ({"signers": [MALLORY.to_json() | {"until": WHEN}]}, "'until'"),
        ({"signers": [MALLORY.to_json() | {"issuer": ""}]}, "issuer"),
        ({"signers": [MALLORY.to_json() | {"issuer": " i"}]}, "issuer"),
        ({"signers": [MALLORY.to_json() | {"subject": "m\n"}]}, "subject"),
        ({"signers": [MALLORY.to_json() | {"subject": "a\nb"}]}, "subject"),
        ({"signers": [MALLORY.to_json() | {"from": "yesterday"}]}, "from"),
        ({"signers": [MALLORY.to_json() | {"from": None}]}, "signers.from"),
        ({"message": ""}, "message"),
        ({"message": None}, "predicate.message"),
    ],
    ids=str,
)
def test_a_malformed_revocation_says_where(change: dict[str, Any], where: str) -> None:
    """The error names the field that is wrong, or the field that this version does not know."""
    with pytest.raises(MalformedError) as caught:
        read_revocation(said(GOOD | change))
    assert caught.value.where == where


@pytest.mark.parametrize("name", ["reason", "revokedOn", "attestations"])
def test_a_missing_field_is_malformed(name: str) -> None:
    """The three fields that every revocation has."""
    value = copy.deepcopy(GOOD)
    del value[name]
    with pytest.raises(MalformedError):
        read_revocation(said(value))


@pytest.mark.parametrize(
    ("name", "one"), [("attestations", A), ("signers", MALLORY.to_json())], ids=["attestations", "signers"]
)
def test_more_than_the_limit_is_refused(name: str, one: Any) -> None:
    """Exactly the limit is read, one more is not."""
    read_revocation(said(GOOD | {name: [one] * MAX_REVOKED}))
    with pytest.raises(LimitError):
        read_revocation(said(GOOD | {name: [one] * (MAX_REVOKED + 1)}))


def test_read_revocation_takes_every_accepted_digest() -> None:
    """An artifact is revoked by each of its digests that chains are matched by."""
    payload = said(revocation(reason="withdrawn", when=WHEN)).payload
    both = b'{"sha256":"' + B.encode() + b'","sha512":"' + B.encode() * 2 + b'"}'
    foreign = Statement.parse(payload.replace(b'{"sha256":"' + B.encode() + b'"}', both))
    assert read_revocation(foreign).artifacts == (("sha256", B), ("sha512", B * 2))


def test_an_artifact_without_an_accepted_digest_cannot_be_revoked() -> None:
    """A revocation that could match nothing is malformed, not silent."""
    payload = said(revocation(reason="withdrawn", when=WHEN)).payload
    foreign = Statement.parse(payload.replace(b'{"sha256":"' + B.encode(), b'{"md5":"' + B.encode()[:32]))
    with pytest.raises(MalformedError, match=r"no digest that is accepted.*data/raw\.csv"):
        read_revocation(foreign)


def test_another_predicate_type_is_no_revocation() -> None:
    """The type decides, not the fields."""
    with pytest.raises(MalformedError, match="not a revocation"):
        read_revocation(said(GOOD, kind=DATASET))


@pytest.mark.parametrize(
    "wrong", [{"reason": "because"}, {"attestations": ["x"]}, {"message": ""}, {"when": "now"}], ids=str
)
def test_the_builder_refuses_what_the_reader_refuses(wrong: Any) -> None:
    """Nothing is signed that could not be read."""
    with pytest.raises(MalformedError):
        revocation(**({"reason": "mistaken", "when": WHEN} | wrong))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([*GOOD, "other"]), JUNK)
def test_any_value_raises_only_our_errors(name: str, junk: Any) -> None:
    """Whatever stands in a field, it is read or refused."""
    with contextlib.suppress(MalformedError, LimitError):
        read_revocation(said(GOOD | {name: junk}))
