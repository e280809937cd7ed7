"""Revocations by the revokers of a layout: of attestations, of signers from a time on, of artifacts.

Only revocation statements by a member of the layout's `revokers` count, whatever chain they are on. They are applied in
the order of their proven times:

 1. A revocation whose signer was revoked by an earlier one, from its own time or before, does not count.
 2. A later revocation may withdraw an earlier one by its attestation id. One that (1) excludes cannot; nor can one that
    is ahead of the clock or that too few witnesses cosigned, although it still revokes.
 3. Revocations of the same second do not affect each other: both count.
 4. An unreadable statement of a revoker is a problem until a later revocation names its id.

Except for (2), adding a revocation only revokes more. Removing one from the store is detected by the store's history.
Pure. Does NOT look at other evidence: callers query each statement.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from gitchain.errors import GitchainError, LimitError, MalformedError
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.vocabulary import REVOCATION
from gitchain.layout.model import Functionary, Identity, Layout
from gitchain.verify.findings import MEANINGS, Finding, FindingCode
from gitchain.verify.verified import VerifiedStatement, is_early

if TYPE_CHECKING:
    from gitchain.evidence.revocation import Reason, Revocation

Signer: TypeAlias = tuple[str, str]
"""Issuer and subject. Not an Identity: a revocation may name one that no certificate can have."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revocation of something: its signer, proven time and reason; `id` is the revoking attestation."""

    who: Identity
    when: datetime
    reason: Reason
    message: str | None
    id: str

    def __str__(self) -> str:
        """Return one line for messages."""
        why = f"{self.reason}: {self.message}" if self.message else self.reason
        return f"revoked by {self.who.subject} at {self.when:%Y-%m-%d %H:%M:%S} UTC, {why} ({self.id[:12]})"


def is_signed_by(functionaries: Iterable[Functionary], one: VerifiedStatement) -> bool:
    """Return whether one of these functionaries signed the statement."""
    return any(who.matches(one.identity, one.claims) for who in functionaries)


@dataclass(frozen=True, slots=True)
class Revocations:
    """Everything that is revoked under a layout, and the unreadable revocations."""

    attestations: Mapping[str, Revoked] = field(default_factory=dict)
    signers: Mapping[Signer, tuple[tuple[datetime, Revoked], ...]] = field(default_factory=dict)
    artifacts: Mapping[tuple[str, str], Revoked] = field(default_factory=dict)
    problems: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, layout: Layout, statements: Iterable[VerifiedStatement], now: datetime) -> Revocations:
        """Return the revocations of the layout's revokers; skips other types and other signers."""
        revokers = [layout.functionary(name) for name in layout.revokers]
        return cls.by(lambda one: is_signed_by(revokers, one), statements, now)

    @classmethod
    def by(
        cls,
        is_revoker: Callable[[VerifiedStatement], bool],
        statements: Iterable[VerifiedStatement],
        now: datetime,
    ) -> Revocations:
        """Return the revocations of the signers for which `is_revoker` is true."""
        known = tuple(statements)
        said = [one for one in known if one.statement.predicate_type == REVOCATION and is_revoker(one)]
        said.sort(key=lambda one: (one.time, one.attestation_id))
        standing = _CountedRevocations(now)
        for _, same in itertools.groupby(said, key=lambda one: one.time):
            standing.take([_ParsedRevocation.of(one) for one in same if not standing.is_revoked(one)])
        found = _revocations(itertools.chain.from_iterable(standing.by_id.values()))
        return _with_other_ids(found, known)

    def statement(self, one: VerifiedStatement) -> Revoked | None:
        """Return the revocation of the attestation by one of its ids, or None."""
        return next((found for name in one.ids if (found := self.attestations.get(name))), None)

    def attestation(self, attestation_id: AttestationId) -> Revoked | None:
        """Return the revocation of the attestation, or None."""
        return self.attestations.get(attestation_id)

    def signer(self, identity: Identity, time: datetime | None) -> Revoked | None:
        """Return the revocation of a signer at this proven time, or None. Evidence without a proven time counts as later."""
        for since, revoked in self.signers.get((identity.issuer, identity.subject), ()):
            if time is None or time >= since:
                return revoked
        return None

    def artifact(self, digest: tuple[str, str]) -> Revoked | None:
        """Return the revocation of the artifact with this digest, or None."""
        return self.artifacts.get(digest)


@dataclass(frozen=True, slots=True)
class _ParsedRevocation:
    """A revocation statement: parsed, or the error."""

    by: VerifiedStatement
    what: Revocation | MalformedError | LimitError

    @classmethod
    def of(cls, one: VerifiedStatement) -> _ParsedRevocation:
        from gitchain.evidence.revocation import read_revocation

        try:
            return cls(one, read_revocation(one.statement))
        except (MalformedError, LimitError) as error:
            return cls(one, error)


@dataclass(slots=True)
class _CountedRevocations:
    """The revocations that count so far, by attestation id, and the signers that they revoke."""

    now: datetime
    by_id: dict[str, list[_ParsedRevocation]] = field(default_factory=dict)
    signers: dict[Signer, set[tuple[datetime, str]]] = field(default_factory=dict)

    def is_revoked(self, one: VerifiedStatement) -> bool:
        named = self.signers.get((one.identity.issuer, one.identity.subject), set())
        return any(since <= one.time and by in self.by_id for since, by in named)

    def take(self, same: Sequence[_ParsedRevocation]) -> None:
        """Apply the revocations of one moment: they withdraw earlier ones, not each other.

        A withdrawal is positive evidence: its time must not be ahead of the clock, and it needs its cosignatures.
        """
        for said in same:
            if not isinstance(said.what, GitchainError) and not is_early(said.by, self.now):
                for name in said.what.attestations:
                    self.by_id.pop(name, None)
        for said in same:
            self.by_id.setdefault(said.by.attestation_id, []).append(said)
            for one in said.what.signers if not isinstance(said.what, GitchainError) else ():
                named = self.signers.setdefault((one.issuer, one.subject), set())
                named.add((one.time, said.by.attestation_id))


def _revocations(counting: Iterable[_ParsedRevocation]) -> Revocations:
    attestations: dict[str, Revoked] = {}
    signers: dict[Signer, list[tuple[datetime, Revoked]]] = {}
    artifacts: dict[tuple[str, str], Revoked] = {}
    problems: list[Finding] = []
    for said in counting:
        what = said.what
        if isinstance(what, GitchainError):
            problems.append(_problem(said.by, what))
            continue
        revoked = Revoked(said.by.identity, said.by.time, what.reason, what.message, said.by.attestation_id)
        for name in what.attestations:
            attestations.setdefault(name, revoked)
        for signer in what.signers:
            signers.setdefault((signer.issuer, signer.subject), []).append((signer.time, revoked))
        for digest in what.artifacts:
            artifacts.setdefault(digest, revoked)
    ordered = {who: tuple(sorted(found, key=lambda item: item[0])) for who, found in signers.items()}
    return Revocations(attestations, ordered, artifacts, tuple(problems))


def _with_other_ids(found: Revocations, statements: Iterable[VerifiedStatement]) -> Revocations:
    """Return the revocations extended to all ids of each revoked statement."""
    attestations = dict(found.attestations)
    for one in statements:
        revoked = found.statement(one) if one.other_ids else None
        if revoked is not None:
            attestations |= {name: revoked for name in one.ids if name not in attestations}
    return replace(found, attestations=attestations)


def _problem(by: VerifiedStatement, error: MalformedError | LimitError) -> Finding:
    return Finding(
        FindingCode.MALFORMED_REVOCATION,
        f"revocation {by.attestation_id[:12]} by {by.identity}: {MEANINGS[FindingCode.MALFORMED_REVOCATION]}",
        got=str(error),
        help=f"use a newer gitchain, or set it aside: gitchain revoke attestation {by.attestation_id}",
    )
