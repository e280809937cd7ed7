"""Rows of `gitchain log`: events, revoked artifacts and those derived from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from gitchain.consume.placements import placement_json
from gitchain.evidence.digest import Sha256
from gitchain.sources.bundle_facts import claim_in
from gitchain.verify.revocations import Revoked
from gitchain.verify.verified import VerifiedStatement


@dataclass(frozen=True)
class HistoryEvent:
    """A verified attestation as one line of the history."""

    verified: VerifiedStatement
    revoked: tuple[tuple[str, Revoked], ...] = ()
    """Its revocations: of the attestation, the signer or an artifact."""

    @property
    def name(self) -> str:
        """Return the step; of a statement without one the name of its predicate type, such as `version`."""
        statement = self.verified.statement
        return claim_in(statement).step or statement.predicate_type.rstrip("/").rsplit("/", 2)[-2]

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON for --json."""
        statement, claim = self.verified.statement, claim_in(self.verified.statement)
        event: dict[str, Any] = {
            "time": self.verified.time.isoformat(),
            "step": claim.step,
            "evidence": claim.evidence,
            "predicateType": statement.predicate_type,
            "issuer": self.verified.identity.issuer,
            "signer": self.verified.identity.subject,
            "subject": [
                {"name": item.rule_name, "sha256": item.digest.get("sha256")} for item in statement.subject
            ],
            "log": {"origin": self.verified.log.origin, "index": self.verified.log.index},
            "id": self.verified.attestation_id,
        }
        if (placement := placement_json(statement)) is not None:
            event |= placement
        if self.revoked:
            event["revoked"] = [revoked_json(what, one) for what, one in self.revoked]
        return event


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """The events to show: of these steps, by these signers (`fnmatch` patterns), not before a time; all by default."""

    steps: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()
    since: datetime | None = None

    def matches(self, event: HistoryEvent) -> bool:
        """Return True if the event is to be shown."""
        verified = event.verified
        step, signer = event.name, verified.identity.subject
        return (
            (not self.steps or any(fnmatchcase(step, pattern) for pattern in self.steps))
            and (not self.signers or any(fnmatchcase(signer, pattern) for pattern in self.signers))
            and (self.since is None or verified.time >= self.since)
        )


def revoked_json(what: str, revocation: Revoked) -> dict[str, Any]:
    """Return a revocation as JSON for --json."""
    return {
        "what": what,
        "by": revocation.who.to_json(),
        "time": revocation.when.isoformat(),
        "reason": revocation.reason,
        "message": revocation.message,
        "id": revocation.id,
    }


@dataclass(frozen=True)
class DerivedArtifact:
    """An artifact that a verified statement claims to be derived from a revoked one, directly or indirectly."""

    name: str | None
    sha256: Sha256
    step: str | None
    id: str
    served: bool


@dataclass(frozen=True)
class AffectedArtifacts:
    """A revoked artifact, and all artifacts that verified statements claim to be derived from it."""

    sha256: Sha256
    revoked: Revoked
    made: tuple[DerivedArtifact, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON for --json."""
        return {
            "sha256": self.sha256,
            "revoked": revoked_json("artifact", self.revoked),
            "made": [asdict(one) for one in self.made],
        }
