"""Build and read revocations: statements that an attestation, a signer or an artifact no longer counts.

    {"reason":"compromised","revokedOn":"2026-11-22T12:00:00Z","attestations":[],
     "signers":[{"issuer":"https://…","subject":"ada@example.com","from":"2026-11-01T00:00:00Z"}]}

It revokes the attestations and the signers that it names; where it names neither, its subjects.
Format: docs/formats/predicates.md (Revocation), schemas/revocation.schema.json

Reading is strict, unlike elsewhere: a field that this version does not know may revoke more than it can see.
Does NOT decide whether the signer may revoke: `gitchain.verify.revocations` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json, canonical_json
from gitchain.evidence.claim import StepFacts
from gitchain.evidence.digest import ACCEPTED, DigestSet, check_hex, sha256_hex
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.fields import Object, as_object, as_string, find_array, get_array, get_string
from gitchain.evidence.provenance import with_optional
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import REVOCATION, STEP_FIELD, check_text, check_time

Reason = Literal["compromised", "mistaken", "superseded", "withdrawn"]
REASONS: tuple[Reason, ...] = get_args(Reason)

MAX_REVOKED = 10_000
"""Most attestations or signers of one revocation, as many as a statement has subjects."""

MAX_IDENTITY_CHARS = 2048
"""Longest issuer or subject, as in a layout."""

ALWAYS = "1970-01-01T00:00:00Z"
"""A time before all evidence: nothing that the signer ever signed counts."""

_FIELDS = frozenset({"reason", "revokedOn", "attestations", "signers", "message", STEP_FIELD})


@dataclass(frozen=True, slots=True)
class RevokedSigner:
    """An identity whose evidence does not count from a time on. The constructor raises MalformedError."""

    issuer: str
    subject: str
    since: str = ALWAYS

    def __post_init__(self) -> None:
        for where, text in (("issuer", self.issuer), ("subject", self.subject)):
            if check_text(text, where, limit=MAX_IDENTITY_CHARS) != text.strip() or not text.isprintable():
                raise MalformedError(
                    "no certificate holds such an identity", where=where, got=ascii(text[:80])
                )
        check_time(self.since, "from")

    @property
    def time(self) -> datetime:
        """Return the time from which on nothing counts."""
        return datetime.fromisoformat(self.since)

    @property
    def descriptor(self) -> ResourceDescriptor:
        """Return the subject that a revocation of this signer is filed under: its digest is of issuer and subject."""
        digest = sha256_hex(canonical_json({"issuer": self.issuer, "subject": self.subject}))
        return ResourceDescriptor(f"signer:{digest}", DigestSet({"sha256": digest}))

    def to_json(self) -> dict[str, Json]:
        """Return the signer as the predicate holds it."""
        return {"issuer": self.issuer, "subject": self.subject, "from": self.since}


@dataclass(frozen=True, slots=True)
class Revocation:
    """The revocations in one statement: attestation ids, signers, or artifacts by algorithm and digest."""

    reason: Reason
    revoked_on: str
    attestations: tuple[str, ...]
    signers: tuple[RevokedSigner, ...]
    artifacts: tuple[tuple[str, str], ...]
    message: str | None = None


def revocation(
    *,
    reason: Reason,
    when: str,
    attestations: Sequence[str] = (),
    signers: Sequence[RevokedSigner] = (),
    message: str | None = None,
    step: StepFacts | None = None,
) -> dict[str, Json]:
    """Return a revocation v0.1 predicate; without attestations and signers it revokes the statement's subjects.

    Raises MalformedError for an unknown reason or an id that is not 64 hex digits.
    """
    value: dict[str, Json] = {
        "reason": _reason(reason),
        "revokedOn": check_time(when, "revokedOn"),
        "attestations": [check_hex(item, (64,), "attestations") for item in sorted(set(attestations))],
    }
    ordered = sorted({(one.issuer, one.subject, one.since): one for one in signers}.items())
    named: list[Json] = [one.to_json() for _, one in ordered]
    text = None if message is None else check_text(message, "message")
    return with_optional(value, step, signers=named or None, message=text)


def attestation_descriptor(attestation: AttestationId) -> ResourceDescriptor:
    """Return the subject for a revocation of this attestation: its id is the digest of the signed bytes."""
    return ResourceDescriptor(f"attestation:{attestation}", DigestSet({"sha256": attestation}))


def read_revocation(statement: Statement) -> Revocation:
    """Return the revocations in the statement.

    Raises MalformedError for anything that `revocation` would not write, and for a subject without an accepted digest
    where the subjects are what is revoked; LimitError beyond MAX_REVOKED entries.
    """
    source = statement.predicate
    if statement.predicate_type != REVOCATION:
        raise MalformedError("not a revocation", expected=REVOCATION, got=statement.predicate_type)
    if unknown := sorted(set(source) - _FIELDS):
        raise MalformedError("unknown field in a revocation", where=ascii(unknown[0][:100]))
    where = "predicate"
    ids = get_array(source, "attestations", where, limit=MAX_REVOKED)
    attestations = tuple(check_hex(as_string(item, "attestations"), (64,), "attestations") for item in ids)
    named = find_array(source, "signers", where, limit=MAX_REVOKED)
    signers = tuple(_signer(as_object(item, "signers")) for item in named)
    if "signers" in source and not signers:
        raise MalformedError("the list of signers is empty", where="signers")
    message = check_text(get_string(source, "message", where), "message") if "message" in source else None
    return Revocation(
        _reason(get_string(source, "reason", where)),
        check_time(get_string(source, "revokedOn", where), "revokedOn"),
        attestations,
        signers,
        () if attestations or signers else tuple(_digests(statement.subject)),
        message,
    )


def _signer(source: Object) -> RevokedSigner:
    if unknown := sorted(set(source) - {"issuer", "subject", "from"}):
        raise MalformedError("unknown field in a revoked signer", where=ascii(unknown[0][:100]))
    issuer, subject, since = (get_string(source, name, "signers") for name in ("issuer", "subject", "from"))
    return RevokedSigner(issuer, subject, since)


def _digests(subjects: Sequence[ResourceDescriptor]) -> Iterator[tuple[str, str]]:
    for subject in subjects:
        if not subject.digest.accepted:
            raise MalformedError(
                "revoked artifact has no digest that is accepted",
                where=ascii(subject.rule_name)[:100],
                expected=" or ".join(ACCEPTED),
            )
        yield from subject.digest.accepted


def _reason(text: str) -> Reason:
    for known in REASONS:
        if text == known:
            return known
    raise MalformedError(
        "reason is unknown", where="reason", expected=", ".join(REASONS), got=ascii(text[:40])
    )
