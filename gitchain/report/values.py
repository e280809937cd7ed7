"""Parameters and metrics of a chain, and their course over the versions of the models. Signers claim all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from gitchain.consume.diff_facts import approved, code, command, metrics, parameters
from gitchain.consume.diff_sides import SideStep, chain_steps
from gitchain.consume.diff_values import Facts, combined, document_value, natural
from gitchain.consume.model_versions import ModelVersion, model_versions
from gitchain.errors import NoEvidenceError
from gitchain.evidence.canonical import Json
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import time_text
from gitchain.report.evidence import ModelEvidence
from gitchain.report.text import document_text
from gitchain.verify.report import Decision

MAX_VALUES = 1000
"""Most parameters, and most metrics, in a document; the total counts all."""

MAX_VERSIONS = 10
MAX_SERIES = 12
"""Most courses over versions of one kind: of numbers that differ first."""

NOT_INSPECTED = "NOT_INSPECTED"
"""Result of another version whose chain is complete, under a layout with inspections: its bytes are not here."""

Reader = Callable[[Statement], Facts]


def values(steps: Sequence[SideStep], read: Reader) -> Iterator[dict[str, Any]]:
    """Yield the facts of each step by name, as in `report --json`; `values` has all that attestations state."""
    for step in steps:
        facts = combined([read(one) for one in step.statements]) if step.statements else {}
        for name in sorted(facts, key=natural):
            value = facts[name]
            yield {
                "step": document_text(step.name),
                "name": document_text(name),
                "values": [_short(one) for one in (value if isinstance(value, tuple) else (value,))][:20],
            }


def bounded(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return at most MAX_VALUES of them with the total."""
    listed = list(found)
    return {"values": listed[:MAX_VALUES], "total": len(listed)}


def _short(value: Json) -> Json:
    return document_text(value) if isinstance(value, str) else document_value(value)


def facts_of(evidence: ModelEvidence) -> dict[str, Any]:
    """Return parameters, metrics, commands, approvals and code of the chain, and the course over versions."""
    steps = [step.reported for step in evidence.steps]
    readers = (
        ("parameters", parameters),
        ("metrics", metrics),
        ("commands", command),
        ("approvals", approved),
    )
    found = {name: bounded(values(steps, read)) for name, read in readers}
    return found | {"code": bounded(_of_several(values(steps, code))), "versions": _versions(evidence)}


def _of_several(found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield one for all steps with the same values of a name, with `step` as the list of these steps."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        groups.setdefault(repr((one["name"], one["values"])), []).append(one)
    for group in groups.values():
        yield group[0] | {"step": ", ".join(one["step"] for one in group[:20])}


def _versions(evidence: ModelEvidence) -> dict[str, Any]:
    """Return the newest versions of the models, the oldest first, and the numbers that versions with a chain state."""
    names = sorted({name for name in evidence.models.values() if name})
    try:
        known = model_versions(evidence.verifier, names, MAX_VERSIONS)
    except NoEvidenceError:
        return {"listed": [], "older": 0, "series": []}
    listed = [(one, *_decision(evidence, one)) for one in reversed(known.newest)]
    return {
        "listed": [_version(evidence, *one) for one in listed],
        "older": known.older,
        "series": [
            {"kind": kind, **one}
            for kind, read in (("metric", metrics), ("parameter", parameters))
            for one in _series(evidence, [decision for _, decision, _ in listed], read)
        ],
    }


def _decision(evidence: ModelEvidence, one: ModelVersion) -> tuple[Decision, str]:
    """Return the decision about a version, and its result in the report.

    That of this report, else about the attested digest. If that fails only because inspections have no bytes of another
    version, the decision is the one without inspections, and the result is NOT_INSPECTED: never PASSED.
    """
    for own in evidence.side.verification.decisions:
        if own.target.sha256 == one.decision.target.sha256:
            return own, own.result
    if one.decision.passed:
        return one.decision, one.decision.result
    signed = evidence.verifier.decide(one.decision.target)
    return signed, NOT_INSPECTED if signed.passed else signed.result


def _version(evidence: ModelEvidence, one: ModelVersion, _: Decision, result: str) -> dict[str, Any]:
    return {
        "name": document_text(one.name),
        "digest": {"sha256": one.decision.target.sha256},
        "tags": [document_text(tag) for tag in (*one.tags, *one.stages)[:20]],
        "made": time_text(one.made.time),
        "signer": document_text(one.made.identity.subject),
        "verificationResult": result,
        "deployments": [
            {**{key: document_text(text) for key, text in each.place.items()}, "time": time_text(each.time)}
            for each in one.placements[:20]
        ],
        "deploymentsTotal": len(one.placements),
        "current": one.decision.target.sha256 in evidence.models,
    }


def _series(evidence: ModelEvidence, decisions: Sequence[Decision], read: Reader) -> list[dict[str, Any]]:
    """Return for each name the numbers of the versions with a complete chain; null where a version states none."""
    columns = [
        _numbers(chain_steps(evidence.verifier, one.steps), read) if one.passed else {} for one in decisions
    ]
    names = sorted({name for column in columns for name in column}, key=natural)
    rows = [(name, [column.get(name) for column in columns]) for name in names]
    several = [row for row in rows if sum(value is not None for value in row[1]) > 1]
    several.sort(key=lambda row: len({value for value in row[1] if value is not None}) == 1)
    return [{"name": document_text(name), "values": found} for name, found in several[:MAX_SERIES]]


def _numbers(steps: Iterable[SideStep], read: Reader) -> dict[str, float]:
    """Return the numbers by name; names with several values or without a finite one are left out."""
    facts = combined([read(one) for step in steps for one in step.statements] or [{}])
    return {
        name: value
        for name, value in facts.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    }
