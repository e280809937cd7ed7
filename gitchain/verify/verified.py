"""Types of verified values, so that unverified ones cannot be passed by mistake, and the check of their times.

Only these modules make them: `gitchain.verify.bundle` a VerifiedStatement and a VerifiedArtifact,
`gitchain.verify.gitsource` a VerifiedStatement, `gitchain.verify.layout` a SignedLayout, `gitchain.verify.gitsigned` a
VerifiedObject; tests/verify/test_makers.py enforces it.
Nothing here verifies a signature.

Evidence from the future does not count: `is_ahead(statement.time, now)` compares a proven time with the verifier's
clock. Only negative evidence counts before its time (docs/negative-evidence.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gitchain.errors import SignatureError
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.statement import Statement
from gitchain.layout.model import Identity, Layout

if TYPE_CHECKING:
    from gitchain.evidence.gitobject import GitObject

NEVER = datetime.max.replace(tzinfo=UTC)
"""A time that is ahead of every clock."""


@dataclass(frozen=True, slots=True)
class LogRef:
    """A log entry: the log's origin and the entry's index.

    `cosigned` is when the witnesses' quorum had cosigned the log's checkpoint: None if no witnesses are required,
    NEVER if they are required and did not.
    """

    origin: str
    index: int
    cosigned: datetime | None = None


@dataclass(frozen=True, slots=True)
class VerifiedStatement:
    """A statement whose signature, identity, time and log entry have been verified.

    `time` is proven, by a timestamp authority or a signed entry timestamp; it is never the certificate's.
    `claims` are Fulcio's claims in the certificate about the build, by name; keys have none.
    """

    statement: Statement
    identity: Identity
    time: datetime
    log: LogRef
    attestation_id: AttestationId
    raw: bytes = field(repr=False)
    claims: Mapping[str, str] = field(default_factory=dict, hash=False)
    other_ids: tuple[str, ...] = ()
    """Further ids for revocations: the SHA-256 of a commit or tag with its signature."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Return every id by which the attestation can be revoked."""
        return (self.attestation_id, *self.other_ids)


@dataclass(frozen=True, slots=True)
class VerifiedArtifact:
    """A verified signature over a file, or over a statement about it: signer, time and log entry."""

    identity: Identity
    time: datetime
    log: LogRef
    claims: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class SignedLayout:
    """A verified layout: by an allowed signer, not expired, and not older than the pinned version."""

    layout: Layout
    signer: Identity
    digest: str
    version: int
    attestation_id: AttestationId
    time: datetime


@dataclass(frozen=True, slots=True)
class VerifiedObject:
    """A commit or tag with a verified signature: signer, and time and log entry if it has them."""

    object: GitObject
    identity: Identity
    time: datetime | None
    log: LogRef | None
    claims: Mapping[str, str] = field(default_factory=dict, hash=False)


MAX_CLOCK_SKEW = timedelta(minutes=5)
"""How far a proven time may be ahead of the clock. Timestamps have whole seconds, and clocks differ."""


def is_ahead(time: datetime | None, now: datetime) -> bool:
    """Return whether a proven time is ahead of the verifier's clock. An unproven time is not ahead."""
    return time is not None and time > now + MAX_CLOCK_SKEW


def is_early(statement: VerifiedStatement, now: datetime) -> bool:
    """Return whether the statement, or the cosignatures of its log entry, are ahead of the verifier's clock.

    Missing cosignatures that a witness policy requires are ahead of every clock.
    """
    return is_ahead(statement.time, now) or is_ahead(statement.log.cosigned, now)


def check_time(time: datetime | None, log: LogRef | None, now: datetime) -> None:
    """Raise SignatureError if a signature, or the cosignatures of its log entry, are ahead of the verifier's clock."""
    for found in (time, log.cosigned if log else None):
        if found is not None and is_ahead(found, now):
            raise SignatureError(
                "signed in the future",
                expected=f"not after {now.isoformat()}",
                got=found.isoformat(),
                help="check the clock of this machine: gitchain doctor",
            )
