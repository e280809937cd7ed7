"""Notices for the cluster about an object that violates a rule: an Event, and a result in a report.

events.k8s.io/v1 Event                                         in the object's namespace, else in `default`
openreports.io/v1alpha1 Report, wgpolicyk8s.io/v1alpha2 PolicyReport      two for each namespace

Format of reports: https://github.com/openreports/reports-api/blob/main/docs/api-docs.md ; results of the older group
have the same fields. All users with access to Events and reports of that namespace can read them, so they contain
only what the object's user was shown, and nothing about that user. Objects with names that the API does not allow get
no notice. `reporting` writes the notices.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from gitchain.admit.admission import AdmissionResult
from gitchain.admit.denial_reasons import UNDECIDED, printable
from gitchain.admit.reports import Reports
from gitchain.admit.review import Review
from gitchain.evidence.canonical import Json
from gitchain.evidence.fields import Object

SOURCE = "gitchain"
NOTE_BYTES = 1024
"""Longest note of an Event in the API."""

MAX_RESULTS = 100
"""Most results in a report: the newest ones."""

LIFE = timedelta(days=1)
"""Longest time that a denial stays in a report. Its object was never created, so nothing else ends it."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}", re.ASCII)
_VERSION = re.compile(r"([a-z0-9][-a-z0-9.]{0,251}/)?v[a-z0-9]{1,20}", re.ASCII)
_UID = re.compile(r"[-0-9a-zA-Z]{1,64}", re.ASCII)
Outcome = Literal["fail", "warn", "error"]


@dataclass(frozen=True, slots=True)
class ViolationNotice:
    """An object that violates a rule, and the reasons."""

    namespace: str
    subject: Mapping[str, Json]
    """A reference to the object, or to the creator of a pod that was not created."""

    outcome: Outcome
    """`fail`: denied. `warn`: admitted by the rule's mode. `error`: could not be decided."""

    policy: str
    code: str
    message: str
    when: datetime
    runs: bool = False
    """Whether the object runs: an audit found it."""

    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, ...]:
        """Return the key of equal notices: the object, the outcome and the reason."""
        named = (str(self.subject.get(name, "")) for name in ("apiVersion", "kind", "name"))
        return (self.namespace, *named, self.outcome, self.message)


def notice(
    admission_result: AdmissionResult, when: datetime, *, runs: bool = False
) -> ViolationNotice | None:
    """Return the notice of a response; None for a valid object, a dry run, or an object without a name.

    `runs` means that the object exists, and no request waits for the response.
    """
    review, answer = admission_result.review, admission_result.answer
    shown = answer.audit.get("problems", "")
    if review is None or not (answer.problems or shown) or (review.dry_run and not runs):
        return None
    subject = _subject(review, runs=runs)
    if subject is None:
        return None
    message = "; ".join(map(str, answer.problems)) or shown
    code = message.partition(" ")[0]
    outcome: Outcome = "error" if code in UNDECIDED else "warn" if answer.allowed else "fail"
    models = " ".join(f"sha256:{one.sha256}" for one in admission_result.verdicts[:4])
    details = {
        "operation": review.operation,
        "mode": admission_result.rule.mode if admission_result.rule else "",
        "models": models,
    }
    policy = admission_result.rule.layout if admission_result.rule else "none"
    kept = {key: printable(value, 400) for key, value in details.items() if value}
    return ViolationNotice(
        review.namespace, subject, outcome, policy, code, printable(message, 900), when, runs, kept
    )


def _subject(review: Review, *, runs: bool) -> Mapping[str, Json] | None:
    """Return a reference to the object of a review, or to its creator; None if the API does not allow it."""
    metadata = _map((review.object or review.old or {}).get("metadata"))
    owner = None if runs else controller(metadata)
    name = metadata.get("name") or review.name or str(metadata.get("generateName") or "").rstrip("-.")
    group = f"{review.kind.group}/" if review.kind.group else ""
    found = owner or {"apiVersion": f"{group}{review.kind.version}", "kind": review.kind.kind, "name": name}
    uid = (owner or metadata).get("uid")
    if review.namespace and _NAME.fullmatch(review.namespace) is None:
        return None
    for key, pattern in (("apiVersion", _VERSION), ("kind", _KIND), ("name", _NAME)):
        if pattern.fullmatch(str(found.get(key))) is None:
            return None
    known = {"uid": uid} if isinstance(uid, str) and _UID.fullmatch(uid) else {}
    place = {"namespace": review.namespace} if review.namespace else {}
    return {key: str(found[key]) for key in ("apiVersion", "kind", "name")} | place | known


def controller(metadata: Mapping[str, Json]) -> Mapping[str, Json] | None:
    """Return the owner that an object names as its controller; None without one."""
    owners = metadata.get("ownerReferences")
    found = (_map(one) for one in owners) if isinstance(owners, list) else ()
    return next((one for one in found if one.get("controller") is True), None)


def _map(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def event(one: ViolationNotice, instance: str) -> dict[str, Json]:
    """Return the Event of a notice in the API's format; `instance` is the reporting instance."""
    reason = {"fail": "ModelDenied", "warn": "ModelNotVerified", "error": "ModelNotDecided"}[one.outcome]
    reason = "ModelNotAcceptable" if one.runs else reason
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": "gitchain-", "namespace": one.namespace or "default"},
        "eventTime": one.when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": "gitchain.dev/admission",
        "reportingInstance": instance[:128],
        "action": "Audit" if one.runs else "Admission",
        "reason": reason,
        "type": "Warning",
        "regarding": dict(one.subject),
        "note": printable(one.message, NOTE_BYTES - 3),
    }


def result(one: ViolationNotice) -> dict[str, Json]:
    """Return the result of a notice in the format of reports."""
    return {
        "source": SOURCE,
        "policy": one.policy,
        "rule": one.code,
        "category": "Model provenance",
        "severity": "high",
        "result": one.outcome,
        "scored": one.outcome == "fail",
        "message": one.message,
        "timestamp": {"seconds": int(one.when.timestamp()), "nanos": 0},
        "resources": [dict(one.subject)],
        "properties": dict(one.details),
    }


def report(
    group: Reports,
    name: str,
    namespace: str,
    results: Iterable[Object],
    counts: Mapping[str, int] | None = None,
) -> dict[str, Json]:
    """Return a namespace's report with its newest results; `counts` are the totals if not all are included."""
    kept = sorted(results, key=_seconds, reverse=True)[:MAX_RESULTS]
    counted = Counter(str(one.get("result")) for one in kept) if counts is None else counts
    root: dict[str, Json] = {"source": SOURCE} if group is Reports.OPEN else {}
    return root | {
        "apiVersion": group.version,
        "kind": group.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": SOURCE},
        },
        "scope": {"apiVersion": "v1", "kind": "Namespace", "name": namespace},
        "summary": {key: counted.get(key, 0) for key in ("pass", "fail", "warn", "error", "skip")},
        "results": [dict(one) for one in kept],
    }


def kept_results(there: Object, fresh: Iterable[ViolationNotice], now: datetime) -> list[Object]:
    """Return the results of a report to keep with new ones: gitchain's, not too old, and about other objects."""
    about = {_about(result(one)) for one in fresh}
    since = (now - LIFE).timestamp()
    results = there.get("results")
    found = (one for one in (results if isinstance(results, list) else ()) if isinstance(one, dict))
    return [
        one
        for one in found
        if one.get("source") == SOURCE and _seconds(one) > since and _about(one) not in about
    ]


def _seconds(one: Object) -> float:
    value = _map(one.get("timestamp")).get("seconds")
    return float(value) if isinstance(value, int) else 0.0


def _about(one: Object) -> tuple[str, ...]:
    resources = one.get("resources")
    first = _map(resources[0]) if isinstance(resources, list) and resources else {}
    return tuple(str(first.get(key)) for key in ("apiVersion", "kind", "name"))
