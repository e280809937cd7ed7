"""What happened to a model: every attestation on its chain, in the order of proven time, with who and where deployed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gitchain.errors import GitchainError, NoEvidenceError, UsageError
from gitchain.evidence.predicates import DEPLOYMENT, claim_of
from gitchain.evidence.statement import Statement
from gitchain.pipeline.home import pin_for_repository
from gitchain.pipeline.profiles import Profile, load_profile
from gitchain.pipeline.project import Project
from gitchain.pipeline.sources import Evidence, Unverified, gather
from gitchain.pipeline.targets import target_digests
from gitchain.verify.verified import VerifiedStatement

MIN_ID = 6  # shorter prefixes name too many attestations


@dataclass(frozen=True)
class Event:
    """One verified attestation as a line of history."""

    verified: VerifiedStatement

    def to_json(self) -> dict[str, Any]:
        """Return the event for --json."""
        statement, claim = self.verified.statement, claim_of(self.verified.statement)
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
        if statement.predicate_type == DEPLOYMENT:
            event["deployment"] = {
                key: statement.predicate[key]
                for key in ("environment", "cluster", "namespace", "workload", "deployedBy", "deployedOn")
                if key in statement.predicate
            }
        return event


@dataclass(frozen=True)
class History:
    """The events of one target, and what was found and not believed."""

    events: tuple[Event, ...]
    evidence: Evidence
    profile: Profile


def reading_profile(project: Project, trust: str | None, *, offline: bool) -> Profile:
    """Return the trust to read with: the flag's, the pin's, else the one that the repository signs with."""
    pin = pin_for_repository(project.git.common_dir)
    if trust or pin:
        return load_profile(trust or pin.trust, offline=offline)  # type: ignore[union-attr]
    return load_profile(project.configured().trust, base=project.root, offline=offline)


def history(project: Project, target: str | None, trust: str | None, *, offline: bool = False) -> History:
    """Return what is known about a target, or about the whole repository when `target` is None.

    Raises NoEvidenceError when nothing is known.
    """
    profile = reading_profile(project, trust, offline=offline)
    evidence = gather(project, profile.trust)
    if target is None:
        found = evidence.verified(evidence.candidates)
    else:
        digests = target_digests(project, target)
        found = tuple({one.raw: one for digest in digests for one in evidence.around(digest, None)}.values())
    if not found:
        raise NoEvidenceError(
            "nothing is attested",
            where=target or str(project.root),
            help="gitchain attest   or gitchain run -- dvc repro",
        )
    ordered = sorted(found, key=lambda one: (one.time, one.log.index))
    return History(tuple(Event(one) for one in ordered), evidence, profile)


def find_attestation(
    project: Project, prefix: str, trust: str | None, *, offline: bool = False
) -> tuple[Statement, VerifiedStatement | None, str]:
    """Return the attestation whose id starts with `prefix`, verified if it verifies, else with the reason why not."""
    if len(prefix) < MIN_ID:
        raise UsageError("an id needs more digits", expected=f"at least {MIN_ID}", got=prefix)
    profile = reading_profile(project, trust, offline=offline)
    evidence = gather(project, profile.trust)
    matches = [one for one in evidence.candidates if one.statement.attestation_id.startswith(prefix.lower())]
    if not matches:
        raise NoEvidenceError("no attestation has this id", where=prefix, help="gitchain log")
    if len({one.statement.attestation_id for one in matches}) > 1:
        raise UsageError(
            "several attestations have an id that starts so", got=prefix, help="give more digits"
        )
    return _verified_or_reason(evidence, matches)


def _verified_or_reason(
    evidence: Evidence, matches: list[Unverified]
) -> tuple[Statement, VerifiedStatement | None, str]:
    statement = matches[0].statement
    try:
        verified = evidence.verified(matches)
    except GitchainError as error:
        return statement, None, str(error)
    reason = "; ".join(
        refused.reason for refused in evidence.refused if refused.attestation_id == statement.attestation_id
    )
    return statement, verified[0] if verified else None, reason
