"""What happened to a model: every attestation on its chain, in the order of proven time, with who and where deployed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from gitchain.errors import GitchainError, NoEvidenceError, TrustError, UsageError
from gitchain.evidence.predicates import DEPLOYMENT, RETIREMENT, REVOCATION
from gitchain.evidence.statement import Statement
from gitchain.layout.model import Layout
from gitchain.pipeline.acceptance import Policy, load_policy
from gitchain.pipeline.home import pin_for_repository
from gitchain.pipeline.profiles import Profile, load_profile
from gitchain.pipeline.project import Project
from gitchain.pipeline.seen import check_seen
from gitchain.pipeline.sources import Evidence, Unverified, claim_in, gather
from gitchain.pipeline.targets import target_digests
from gitchain.verify.clock import is_early
from gitchain.verify.revocations import Revocations, Revoked
from gitchain.verify.verified import VerifiedStatement

PLACES = {DEPLOYMENT: "deployment", RETIREMENT: "retirement"}
"""Predicate types that say where a model went or left, with the word for them."""

_FIELDS = (
    *("environment", "cluster", "namespace", "workload", "uid", "image"),
    *("deployedBy", "deployedOn", "retiredBy", "retiredOn"),
)
MIN_ID = 6  # shorter prefixes name too many attestations


@dataclass(frozen=True)
class Event:
    """One verified attestation as a line of history."""

    verified: VerifiedStatement
    revoked: tuple[tuple[str, Revoked], ...] = ()
    """What of it is revoked: the attestation, the signer or an artifact."""

    def to_json(self) -> dict[str, Any]:
        """Return the event for --json."""
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
        if statement.predicate_type in PLACES:
            what = PLACES[statement.predicate_type]
            fields = statement.predicate
            event[what] = {key: fields[key] for key in _FIELDS if isinstance(fields.get(key), str)}
        if self.revoked:
            event["revoked"] = [revoked_json(what, one) for what, one in self.revoked]
        return event


def revoked_json(what: str, one: Revoked) -> dict[str, Any]:
    """Return who took back what, for --json."""
    return {
        "what": what,
        "by": one.who.to_json(),
        "time": one.when.isoformat(),
        "reason": one.reason,
        "message": one.message,
        "id": one.id,
    }


@dataclass(frozen=True)
class Made:
    """What a verified statement claims to have made, directly or not, of a revoked artifact."""

    name: str | None
    sha256: str
    step: str | None
    id: str
    served: bool


@dataclass(frozen=True)
class Tainted:
    """A revoked artifact, and everything that verified statements claim was made of it."""

    sha256: str
    revoked: Revoked
    made: tuple[Made, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it for --json."""
        return {
            "sha256": self.sha256,
            "revoked": revoked_json("artifact", self.revoked),
            "made": [asdict(one) for one in self.made],
        }


@dataclass(frozen=True)
class History:
    """The events of one target, and what was found and not believed."""

    events: tuple[Event, ...]
    evidence: Evidence
    profile: Profile
    tainted: tuple[Tainted, ...] = ()
    warnings: tuple[str, ...] = ()


def reading_profile(project: Project, trust: str | None, *, offline: bool) -> Profile:
    """Return the trust to read with: the flag's, the pin's, else the one that the repository signs with."""
    pin = pin_for_repository(project.git.common_dir)
    if trust or pin:
        return load_profile(trust or pin.trust, offline=offline)  # type: ignore[union-attr]
    return load_profile(project.configured().trust, base=project.root, offline=offline)


def history(
    project: Project,
    target: str | None,
    trust: str | None,
    *,
    offline: bool = False,
    layout_name: str | None = None,
) -> History:
    """Return what is known about a target, or about the whole repository when `target` is None.

    Raises NoEvidenceError when nothing is known.
    """
    profile = reading_profile(project, trust, offline=offline)
    policy = Policy(trust=trust, offline=offline, name=layout_name)
    layout, warnings = _layout(project, policy)
    evidence = gather(project, profile.trust, keys=layout.keys if layout else ())
    warnings += _lost(project, evidence)
    if target is None:
        found = evidence.verified(evidence.candidates)
    else:
        found = evidence.around(target_digests(project, target, profile.trust, evidence.keys), None)
    now = datetime.now(UTC)
    early = [one for one in found if is_early(one, now)]
    if early:
        warnings += (
            f"not shown: {len(early)} attestations whose proven time is ahead of this machine's clock",
        )
        found = tuple(one for one in found if not is_early(one, now))
    if not found:
        raise NoEvidenceError(
            "nothing is attested",
            where=target or str(project.root),
            help="gitchain attest   or gitchain run -- dvc repro",
        )
    ordered = sorted(found, key=lambda one: (one.time, one.log.index))
    negative = evidence.of_type(REVOCATION)
    revocations = Revocations.of(layout, negative, now) if layout else Revocations()
    warnings += tuple(finding.message for finding in revocations.problems)
    events = tuple(Event(one, tuple(_revoked(one, revocations))) for one in ordered)
    return History(
        events, evidence, profile, tuple(_tainted(events, evidence, revocations, layout)), warnings
    )


def _layout(project: Project, policy: Policy) -> tuple[Layout | None, tuple[str, ...]]:
    """Return the pinned layout, which says whose revocations count, or why there is none."""
    try:
        found = load_policy(project, policy, datetime.now(UTC))
    except GitchainError as error:
        return None, (f"revocations are not shown: {error}",)
    return found.signed.layout, ()


def _lost(project: Project, evidence: Evidence) -> tuple[str, ...]:
    try:
        check_seen(project, evidence.tip, evidence.unreadable)
    except TrustError as error:
        return (str(error),)
    return ()


def _revoked(one: VerifiedStatement, revocations: Revocations) -> Iterator[tuple[str, Revoked]]:
    found = (
        ("attestation", revocations.attestation(one.attestation_id)),
        ("signer", revocations.signer(one.identity, one.time)),
    )
    yield from ((what, revoked) for what, revoked in found if revoked)
    if one.statement.predicate_type != REVOCATION:
        digests = dict.fromkeys(pair for item in one.statement.subject for pair in item.digest.accepted)
        yield from (("artifact", revoked) for digest in digests if (revoked := revocations.artifact(digest)))


def _tainted(
    events: Sequence[Event], evidence: Evidence, revocations: Revocations, layout: Layout | None
) -> Iterator[Tainted]:
    """Yield the revoked artifacts that the events speak of, with what was made of them."""
    spoken = {
        (*pair, item.digest["sha256"])
        for event in events
        for item in (*event.verified.statement.subject, *claim_in(event.verified.statement).materials)
        if "sha256" in item.digest
        for pair in item.digest.accepted
    }
    served = {(one.step, pattern) for one in layout.serve for pattern in one.products} if layout else set()
    tainted = {
        sha256: revoked
        for algorithm, value, sha256 in sorted(spoken)
        if (revoked := revocations.artifact((algorithm, value)))
    }
    for sha256, revoked in tainted.items():
        made = (
            Made(
                item.rule_name,
                item.digest["sha256"],
                claim.step,
                one.attestation_id,
                any(
                    claim.step == step and fnmatchcase(item.rule_name or "", pattern)
                    for step, pattern in served
                ),
            )
            for one in evidence.made_of(sha256)
            for claim in [claim_in(one.statement)]
            for item in claim.products
            if "sha256" in item.digest
        )
        yield Tainted(sha256, revoked, tuple(made))


def find_attestation(
    project: Project, prefix: str, trust: str | None, *, offline: bool = False
) -> tuple[Statement, VerifiedStatement | None, str]:
    """Return the attestation whose id starts with `prefix`, verified if it verifies, else with the reason why not."""
    if len(prefix) < MIN_ID:
        raise UsageError("an id needs more digits", expected=f"at least {MIN_ID}", got=prefix)
    profile = reading_profile(project, trust, offline=offline)
    evidence = gather(project, profile.trust)
    matches = [one for one in evidence.candidates if one.attestation_id.startswith(prefix.lower())]
    if not matches:
        raise NoEvidenceError("no attestation has this id", where=prefix, help="gitchain log")
    if len({one.attestation_id for one in matches}) > 1:
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
