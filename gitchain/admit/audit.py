"""Audit running objects: review each as if it were created now, and change nothing.

It finds objects that were admitted before the webhook existed, while it failed open, or under a mode that does not
enforce, and models whose verdict changed: a revocation, an approval that is too old now, an expired layout. `checks`
compares the results with those of the last audit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from gitchain.admit.admission import Admission
from gitchain.admit.checks import Key, ModelCheck, checks_of, merged
from gitchain.admit.cluster import Cluster
from gitchain.admit.denial_reasons import UNDECIDED
from gitchain.admit.kinds import KSERVE
from gitchain.admit.logs import log
from gitchain.admit.notices import ViolationNotice, notice
from gitchain.admit.review import GroupVersionKind, GroupVersionResource, Review
from gitchain.errors import GitchainError
from gitchain.evidence.fields import Object, find_object, find_string

LISTS = (
    ("/api/v1/pods", GroupVersionKind("", "v1", "Pod"), "pods"),
    *(
        (f"/apis/{KSERVE}/{version}/{name}", GroupVersionKind(KSERVE, version, kind), name)
        for version, kind, name in (
            ("v1beta1", "InferenceService", "inferenceservices"),
            ("v1alpha1", "LLMInferenceService", "llminferenceservices"),
            ("v1alpha1", "TrainedModel", "trainedmodels"),
        )
    ),
)
"""Running objects, and KServe's objects. Other workloads create pods, which are audited themselves."""

MAX_NOTICES = 1000
"""Most failing objects of one audit in reports; all are counted."""

ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Audit:
    """Number of objects per outcome, and whether every list was read completely."""

    outcomes: Counter[str] = field(default_factory=Counter)
    whole: bool = True
    notices: list[tuple[Key, ViolationNotice]] = field(default_factory=list)
    """The first `MAX_NOTICES` objects that would not be admitted."""

    checks: dict[Key, ModelCheck] = field(default_factory=dict)
    """The result of each model and workload."""

    places: dict[str, Counter[str]] = field(default_factory=dict)
    """Number of objects of each namespace per outcome, in the terms of reports."""


async def audit(admission: Admission, cluster: Cluster, executor: Executor) -> Audit:
    """Judge everything that runs. `executor` reads the lists. A namespace without a rule counts as denied."""
    loop = asyncio.get_running_loop()
    found, whole = Audit(), True
    for path, kind, resource in LISTS:
        reviews = _reviews(cluster, path, kind, resource)
        while True:
            try:
                review = await loop.run_in_executor(executor, next, reviews, None)
            except GitchainError as error:
                log(logging.ERROR, "audit incomplete", why=str(error), list=path)
                whole = False
                break
            if review is None:
                break
            await _take(found, admission, review)
    log(logging.INFO, "audit", outcomes=dict(found.outcomes), whole=whole)
    return replace(found, whole=whole)


async def _take(totals: Audit, admission: Admission, review: Review) -> None:
    """Count the outcome of a review. Objects admitted by a lenient mode count as denied."""
    admission_result = await admission.review(review)
    for check in checks_of(admission_result):
        totals.checks[check.key] = merged(totals.checks.get(check.key), check)
    problems = admission_result.problems
    here = totals.places.setdefault(review.namespace, Counter())
    if not problems:
        totals.outcomes[admission_result.reason] += 1
        here["pass" if admission_result.verdicts else "skip"] += 1
        return
    if UNDECIDED.issuperset(problem.code for problem in problems):
        totals.outcomes["undecided"] += 1
        here["error"] += 1
        return
    totals.outcomes["denied"] += 1
    result = None if admission_result.rule is None else notice(admission_result, datetime.now(UTC), runs=True)
    here["skip" if admission_result.rule is None else result.outcome if result else "fail"] += 1
    if result is not None and len(totals.notices) < MAX_NOTICES:
        failed = next(check.key for check in checks_of(admission_result) if check.codes)
        totals.notices.append((failed, result))


def _reviews(cluster: Cluster, path: str, kind: GroupVersionKind, resource: str) -> Iterator[Review]:
    for item in cluster.list(path):
        status = find_object(item, "status", "item") or {}
        if kind.kind == "Pod" and find_string(status, "phase", "status") in ENDED:
            continue
        yield _review(item, kind, resource)


def _review(item: Object, kind: GroupVersionKind, resource: str) -> Review:
    """Return the review of the object's creation. Items of lists lack version and kind."""
    metadata = find_object(item, "metadata", "item") or {}
    name, namespace = (find_string(metadata, key, "metadata") or "" for key in ("name", "namespace"))
    place = GroupVersionResource(kind.group, kind.version, resource)
    found = Review("", kind, place, "", "CREATE", namespace, name, "", dry_run=True, object=item, old=None)
    version = f"{kind.group}/{kind.version}" if kind.group else kind.version
    return replace(found, object={**item, "apiVersion": version, "kind": kind.kind})
