"""What has been verified, as types of their own: nothing unverified can be passed for them by mistake.

Only these make them: `gitchain.verify.bundle` a VerifiedStatement and a VerifiedArtifact, `gitchain.verify.gitsource` a
VerifiedStatement, `gitchain.verify.layout` a SignedLayout, `gitchain.verify.gitsigned` a VerifiedObject;
tests/verify/test_makers.py enforces it.
Nothing here verifies anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gitchain.evidence.statement import Statement
from gitchain.layout.model import Identity, Layout

if TYPE_CHECKING:
    from gitchain.evidence.gitobject import GitObject

NEVER = datetime.max.replace(tzinfo=UTC)
"""A time that is ahead of every clock."""


@dataclass(frozen=True, slots=True)
class LogRef:
    """Where an attestation is logged: the log's origin and the entry's index in it.

    `cosigned` is when the witnesses' quorum had cosigned the log's checkpoint: None if the trust asks for no witnesses,
    NEVER if it asks for them and they did not.
    """

    origin: str
    index: int
    cosigned: datetime | None = None


@dataclass(frozen=True, slots=True)
class VerifiedStatement:
    """A statement whose signature, identity, time and log entry have been verified.

    `time` is the proven one, from a timestamp authority or a signed entry timestamp, never the certificate's.
    `claims` is what the certificate says about the build that asked for it, by Fulcio's names; keys have none.
    """

    statement: Statement
    identity: Identity
    time: datetime
    log: LogRef
    attestation_id: str
    raw: bytes = field(repr=False)
    claims: Mapping[str, str] = field(default_factory=dict, hash=False)
    other_ids: tuple[str, ...] = ()
    """By what else it can be revoked: the SHA-256 of a commit or tag with its signature."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Return every id by which the attestation can be revoked."""
        return (self.attestation_id, *self.other_ids)


@dataclass(frozen=True, slots=True)
class VerifiedArtifact:
    """That a file, or a statement about it, was signed: by whom, when, and where that is logged."""

    identity: Identity
    time: datetime
    log: LogRef
    claims: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class SignedLayout:
    """A layout that one of its accepted signers signed, that is in force and not older than was pinned."""

    layout: Layout
    signer: Identity
    digest: str
    version: int
    attestation_id: str
    time: datetime


@dataclass(frozen=True, slots=True)
class VerifiedObject:
    """A commit or tag whose own signature verified: by whom; and when and where it is logged, if it says so."""

    object: GitObject
    identity: Identity
    time: datetime | None
    log: LogRef | None
    claims: Mapping[str, str] = field(default_factory=dict, hash=False)
