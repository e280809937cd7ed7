"""Types of verified values, so that unverified ones cannot be passed by mistake, and the check of their times.

Only these modules make them: `gitchain.verify.bundle` a VerifiedStatement and a VerifiedArtifact,
`gitchain.verify.gitsource` a VerifiedStatement, `gitchain.verify.layout` a SignedLayout, `gitchain.verify.gitsigned` a
VerifiedObject; tests/verify/test_makers.py enforces it.
Nothing here verifies a signature, and nothing decides whether a statement counts for a step:
`gitchain.verify.authorization` does.

Evidence from the future does not count: `is_ahead(statement.time, now)` compares a proven time with the verifier's
clock. Only negative evidence counts before its time (docs/negative-evidence.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gitchain.errors import LimitError, MalformedError, SignatureError
from gitchain.evidence.claim import StepClaim, claim_of
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.layout.artifact import Artifacts, Link, Manifests
from gitchain.layout.model import Identity, Layout, Step
from gitchain.verify.findings import FindingCode

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


@dataclass(frozen=True, slots=True, eq=False)
class StepStatement:
    """A verified statement that names a step of the layout, with its claim.

    `functionary` and `principal` are those that it counts for; empty until that is known.
    """

    step: Step
    statement: VerifiedStatement
    claim: StepClaim
    link: Link
    functionary: str = ""
    principal: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class RejectedStatement:
    """A verified statement that does not count, with the reason. `attested` is None if its claim is unreadable."""

    code: FindingCode
    statement: VerifiedStatement
    attested: StepStatement | None
    expected: str
    got: str
    says: str = ""
    """The exact problem, in place of the code's general meaning."""


@dataclass(slots=True)
class StepReader:
    """Parses the claims of statements, each once for all layouts of a decision."""

    _claims: dict[int, tuple[VerifiedStatement, StepClaim | str]] = field(default_factory=dict)

    def claim(self, statement: VerifiedStatement) -> StepClaim | str:
        """Return the claim, or the error."""
        if id(statement) not in self._claims:  # the statement is kept too, so that its id() stays in use
            try:
                found: StepClaim | str = claim_of(statement.statement)
            except (MalformedError, LimitError) as error:
                found = str(error)
            self._claims[id(statement)] = statement, found
        return self._claims[id(statement)][1]


def distinct(statements: Iterable[VerifiedStatement]) -> Sequence[VerifiedStatement]:
    """Return each statement of a signer at one time once, with the log proof that was cosigned first.

    The log proof is not signed: anyone can store a bundle again, with a checkpoint without cosignatures.
    """
    found: dict[tuple[object, ...], VerifiedStatement] = {}
    for one in statements:
        key = (one.attestation_id, one.identity, one.time, *sorted(one.claims.items()))
        if key not in found or _cosigned(one) < _cosigned(found[key]):
            found[key] = one
    return tuple(found.values())


def _cosigned(one: VerifiedStatement) -> datetime:
    return one.log.cosigned or datetime.min.replace(tzinfo=UTC)  # None: no witnesses are required


def artifacts_of(descriptors: Sequence[ResourceDescriptor], manifests: Manifests) -> Artifacts:
    """Return the descriptors as rules see them."""
    return {item.rule_name or "": manifests.artifact(item) for item in descriptors}
