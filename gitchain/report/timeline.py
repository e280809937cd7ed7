"""The events in the life of a target's models: steps, facts, releases, deployments, retirements, revocations.

Time and signer of every event are proven. That a deployment or a retirement happened is what its signer claims.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from gitchain.consume.history_rows import revoked_json
from gitchain.consume.placements import placement_json
from gitchain.evidence.predicates import REVOCATION
from gitchain.evidence.vocabulary import (
    DEPLOYMENT,
    DEPLOYMENT_CHECK,
    RELEASE,
    RETIREMENT,
    VERSION,
    VSA,
    time_text,
)
from gitchain.layout.model import Identity
from gitchain.report.evidence import ModelEvidence
from gitchain.report.text import document_text
from gitchain.verify.report import Attestation
from gitchain.verify.verified import VerifiedStatement

EVENTS = {
    RELEASE: "release",
    VERSION: "version",
    DEPLOYMENT: "deployment",
    DEPLOYMENT_CHECK: "deployment check",
    RETIREMENT: "retirement",
    VSA: "verification summary",
}
PLACE = ("environment", "cluster", "namespace", "workload")
MAX_EVENTS = 500
"""Most events in a document: revocations, and of the other counted ones the first and the newest."""

MAX_OTHERS = 100
"""Most revocations, and most events that do not count, among these: the newest."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: when, what, and who signed. `is_counted` is False for a signer that is no functionary."""

    time: datetime
    kind: str
    what: str
    signer: Identity
    id: str
    basis: Literal["proven", "claimed"]
    index: int = 0
    """Of the log entry: the order of events within one second."""
    is_counted: bool = True
    revoked: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the event as in `report --json`."""
        return {
            "time": time_text(self.time),
            "kind": self.kind,
            "what": document_text(self.what),
            "signer": {key: document_text(str(value)) for key, value in self.signer.to_json().items()},
            "id": self.id,
            "basis": self.basis,
            "counted": self.is_counted,
        } | ({"revoked": dict(self.revoked)} if self.revoked else {})


def timeline(evidence: ModelEvidence) -> list[Event]:
    """Return the events in the order of their times. One attestation is one event."""
    found = [*_revocations(evidence), *_steps(evidence), *_about(evidence), _layout(evidence)]
    unique = {(one.id, one.signer): one for one in reversed(found)}
    return sorted(unique.values(), key=lambda one: (one.time, one.index, one.id, str(one.signer)))


def bounded(events: list[Event]) -> list[Event]:
    """Return at most MAX_EVENTS events. No number of events that do not count hides one that does."""
    if len(events) <= MAX_EVENTS:
        return events
    negative = [one for one in events if one.kind == "revocation"][-MAX_OTHERS:]
    others = [one for one in events if not one.is_counted][-MAX_OTHERS:]
    counted = [one for one in events if one.is_counted and one.kind != "revocation"]
    half = (MAX_EVENTS - len(negative) - len(others)) // 2
    first, last = counted[:half], counted[half:][-half:]
    kept = {id(one) for one in (*negative, *others, *first, *last)}
    return [one for one in events if id(one) in kept]


def _layout(evidence: ModelEvidence) -> Event:
    signed = evidence.verifier.accepted.signed
    what = f"layout {signed.layout.name}, version {signed.layout.version}"
    return Event(signed.time, "layout", what, signed.signer, signed.attestation_id, "proven")


def _steps(evidence: ModelEvidence) -> Iterator[Event]:
    for step in evidence.steps:
        signed = {(str(one.attestation_id), one.identity): one for one in step.signed}
        for one in step.reported.attestations:
            statement = signed.get((one.id, one.signer))
            place = placement_json(statement.statement) if statement else None
            kind = EVENTS.get(statement.statement.predicate_type, "step") if statement else "step"
            what = step.name if not place else f"{step.name}: {_place(place)}"
            yield _step_event(evidence, one, kind, what, statement)


def _step_event(
    evidence: ModelEvidence, one: Attestation, kind: str, what: str, statement: VerifiedStatement | None
) -> Event:
    basis: Literal["proven", "claimed"] = "claimed" if kind in {"deployment", "retirement"} else "proven"
    revoked = evidence.revoked(statement) if statement else None
    as_json = revoked_json("attestation", revoked) if revoked else None
    return Event(one.time, kind, what, one.signer, one.id, basis, one.index, revoked=as_json)


def _about(evidence: ModelEvidence) -> Iterator[Event]:
    """Yield the statements about the models beside the chain."""
    for one in evidence.about_models(*EVENTS):
        kind = EVENTS[one.statement.predicate_type]
        place = placement_json(one.statement)
        what = _place(place) if place else _version(one)
        revoked = evidence.revoked(one)
        yield Event(
            one.time,
            kind,
            what,
            one.identity,
            one.attestation_id,
            "claimed",
            one.log.index,
            evidence.functionary(one) is not None,
            revoked_json("attestation", revoked) if revoked else None,
        )


def _place(place: Mapping[str, Mapping[str, str]]) -> str:
    (fields,) = place.values()
    where = " / ".join(fields[part] for part in PLACE if part in fields)
    by = next((f" by {fields[key]}" for key in ("deployedBy", "retiredBy") if key in fields), "")
    return f"{where or 'no place is stated'}{by}"


def _version(one: VerifiedStatement) -> str:
    purl = one.statement.predicate.get("purl")
    names = ", ".join(item.rule_name or "" for item in one.statement.subject[:3])
    return purl if isinstance(purl, str) else names


def _revocations(evidence: ModelEvidence) -> Iterator[Event]:
    """Yield the revocations that concern a statement, a signer or an artifact of the chain, once each."""
    negative = {str(one.attestation_id): one for one in evidence.verifier.evidence.of_type(REVOCATION)}
    concerned: dict[str, list[str]] = {}
    for step in evidence.steps:
        for one in step.signed:
            for what, found in (
                (f"attestation of step {step.name}", evidence.revocations.statement(one)),
                (f"signer {one.identity.subject}", evidence.revocations.signer(one.identity, one.time)),
            ):
                if found is not None:
                    concerned.setdefault(found.id, []).append(what)
        for item in (item for one in step.claims for item in (*one.materials, *one.products)):
            found = evidence.revoked_artifact(item)
            if found is not None:
                concerned.setdefault(found.id, []).append(f"artifact {item.rule_name or ''}")
    for name, whats in concerned.items():
        if (by := negative.get(name)) is not None:
            what = ", ".join(dict.fromkeys(whats))
            yield Event(by.time, "revocation", what, by.identity, by.attestation_id, "proven", by.log.index)
