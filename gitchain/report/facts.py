"""Collect the facts of a report about one target as one JSON document (schemas/report.schema.json).

 1. Verify the target under the accepted layout; list every check.
 2. Take the statements of the chain that satisfies it. Without one: of each step the nearest statement of a functionary.
 3. Read lineage, timeline, people, data sets, values and proofs from these, and from counted statements beside the chain.
 4. List the gaps.

The document depends on the evidence, the layout, the trust and the time of verification alone. The clock is not in it: the
time is there if it was given. Rendering is `gitchain.report.page`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gitchain.consume.load_layout import AcceptedLayout
from gitchain.consume.targets import GivenTarget
from gitchain.consume.verifier import Verification, Verifier
from gitchain.errors import ExitCode
from gitchain.evidence.vocabulary import time_text
from gitchain.report import proof, timeline
from gitchain.report.changes import changes
from gitchain.report.datasets import MAX_DATASETS, datasets
from gitchain.report.evidence import ModelEvidence
from gitchain.report.gaps import gaps
from gitchain.report.lineage import lineage_of
from gitchain.report.text import document_text
from gitchain.report.values import facts_of
from gitchain.verify.report import UNKNOWN, Decision, ReportedCheck

SCHEMA = "https://gitchain.dev/report/v1"
MAX_MODELS = 50
MAX_FINDINGS = 100
MAX_CHECKS = 1000
MAX_PEOPLE = 100


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """The document of a report, and the verification behind it."""

    document: dict[str, Any]
    exit_code: ExitCode
    accepted: AcceptedLayout
    verification: Verification


def report_facts(verifier: Verifier, given: GivenTarget, given_time: datetime | None = None) -> ReportFacts:
    """Return the facts about a target. `given_time` is the time of verification if the user gave it.

    Raises the errors of `Verifier.verify`, and NoEvidenceError if no attestation is about the target.
    """
    evidence = ModelEvidence(verifier, given)
    lineage, events, data = lineage_of(evidence), timeline.timeline(evidence), datasets(evidence)
    values = facts_of(evidence)
    proofs = list(proof.attestations(evidence))
    listed, people = timeline.bounded(events), _people(evidence)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "target": document_text(given.text),
        **_verdict(evidence),
        "timeVerified": time_text(given_time) if given_time else None,
        "newestEvidence": max(
            (time_text(one.time) for one in events if one.is_counted and one.kind != "layout"), default=None
        ),
        "layout": _layout(evidence),
        "trust": _trust(verifier.accepted),
        "people": people[:MAX_PEOPLE],
        "peopleTotal": len(people),
        "stepsTotal": sum(bool(step.reported.attestations) for step in evidence.steps),
        "lineage": lineage.to_json(),
        "timeline": [one.to_json() for one in listed],
        "timelineTotal": len(events),
        "dataSets": data[:MAX_DATASETS],
        "dataSetsTotal": len(data),
        "values": values,
        "changes": changes(evidence, values["versions"]),
        "attestations": proofs[: proof.MAX_ATTESTATIONS],
        "attestationsTotal": len(proofs),
        "gaps": [one.to_json() for one in gaps(evidence, lineage, events, data)],
        "unknown": list(UNKNOWN),
    }
    return ReportFacts(document, evidence.side.exit_code, verifier.accepted, evidence.side.verification)


def _verdict(evidence: ModelEvidence) -> dict[str, Any]:
    """Return the verdict, the models, the findings and the checks of all models together."""
    decisions = evidence.side.verification.decisions
    findings = [one for decision in decisions for one in decision.findings]
    checks = list(dict.fromkeys(one for decision in decisions for one in decision.checks))
    passed = evidence.side.passed
    return {
        "verificationResult": "PASSED" if passed else "FAILED",
        "exitCode": int(evidence.side.exit_code),
        "models": [_model(evidence, one) for one in decisions[:MAX_MODELS]],
        "modelsTotal": len(decisions),
        "findings": [_texts(one.to_json()) for one in findings[:MAX_FINDINGS]],
        "findingsTotal": len(findings),
        "checks": [_check(one) for one in checks[:MAX_CHECKS]],
        "checkCounts": _counts(checks),
    }


def _model(evidence: ModelEvidence, one: Decision) -> dict[str, Any]:
    name = evidence.models[one.target.sha256]
    return {
        "name": name or None,
        "digest": {"sha256": one.target.sha256},
        "directory": bool(one.target.directory),
        "verificationResult": one.result,
    }


def _check(one: ReportedCheck) -> dict[str, Any]:
    return {
        "check": one.kind,
        "passed": one.passed,
        "basis": one.basis,
        "step": document_text(one.step) or None,
        "message": document_text(one.message),
    }


def _counts(checks: Sequence[ReportedCheck]) -> list[dict[str, Any]]:
    """Return how many checks of each kind were made and passed, in the order of the checks."""
    made = Counter((one.kind, one.basis) for one in checks)
    passed = Counter((one.kind, one.basis) for one in checks if one.passed)
    return [
        {"check": kind, "basis": basis, "made": count, "passed": passed[kind, basis]}
        for (kind, basis), count in made.items()
    ]


def _layout(evidence: ModelEvidence) -> dict[str, Any]:
    signed = evidence.verifier.accepted.signed
    return {
        "name": document_text(signed.layout.name),
        "version": signed.layout.version,
        "digest": {"sha256": signed.digest},
        "signer": _texts(signed.signer.to_json()),
        "signed": time_text(signed.time),
        "expires": time_text(signed.layout.expires),
        "steps": [
            {
                "name": document_text(step.name),
                "functionaries": [document_text(one) for one in step.functionaries[:20]],
                "threshold": step.threshold,
                "evidence": step.evidence,
            }
            for step in signed.layout.steps[:200]
        ],
    }


def _trust(accepted: AcceptedLayout) -> dict[str, Any]:
    profile = accepted.profile
    return {
        "name": document_text(profile.name),
        "digest": profile.trust.digest,
        "local": profile.trust.is_local,
        "logs": [document_text(log.host) for log in profile.trust.logs[:20]],
        "witnesses": profile.trust.witnesses is not None,
    }


def _people(evidence: ModelEvidence) -> list[dict[str, Any]]:
    """Return each signer with the steps that it signed, sorted by the first time."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    names: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    signed = ((step, one) for step in evidence.steps for one in step.reported.attestations)
    for step, one in sorted(signed, key=lambda pair: (pair[1].time, pair[0].name)):
        key = (one.signer.issuer, one.signer.subject)
        person = found.setdefault(key, {"signer": _texts(one.signer.to_json()), "steps": []})
        person["steps"].append({"name": document_text(step.name), "time": time_text(one.time), "id": one.id})
        for each in step.signed:
            if each.identity == one.signer and (name := evidence.functionary(each)):
                names[key][name] = None
    for key, person in found.items():
        person["functionaries"] = [document_text(name) for name in names[key]]
        person["stepsTotal"], person["steps"] = len(person["steps"]), person["steps"][:50]
        person["revoker"] = any(name in evidence.layout.revokers for name in names[key])
    return list(found.values())


def _texts(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: document_text(value) if isinstance(value, str) else value for key, value in fields.items()}
