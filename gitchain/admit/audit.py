"""The audit of what already runs: every object is judged as if it came in now, and nothing is changed.

It finds what got in before the webhook was there, while it failed open, under a mode that does not enforce, and what was
verified then and is not now: a revocation, an approval that grew too old. What it finds goes to the log and the metrics.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from gitchain.admit.admission import Admission
from gitchain.admit.cluster import Cluster
from gitchain.admit.kinds import KSERVE
from gitchain.admit.logs import log
from gitchain.admit.problems import summary
from gitchain.admit.review import Kind, Resource, Review
from gitchain.errors import GitchainError
from gitchain.evidence.fields import Object, find_object, find_string

LISTS = (
    ("/api/v1/pods", Kind("", "v1", "Pod"), "pods"),
    *(
        (f"/apis/{KSERVE}/{version}/{name}", Kind(KSERVE, version, kind), name)
        for version, kind, name in (
            ("v1beta1", "InferenceService", "inferenceservices"),
            ("v1alpha1", "LLMInferenceService", "llminferenceservices"),
            ("v1alpha1", "TrainedModel", "trainedmodels"),
        )
    ),
)
"""What runs, and what KServe was told to run. Other workloads are what makes pods, and are not asked for."""

MAX_TOLD = 1000
"""Lines of one audit; the counts go on."""

ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Audit:
    """How many objects each outcome has, and whether every list could be read to its end."""

    outcomes: Counter[str]
    whole: bool


async def audit(admission: Admission, cluster: Cluster, executor: Executor) -> Audit:
    """Judge everything that runs. `executor` reads the lists; a namespace that no rule is for counts as denied."""
    loop = asyncio.get_running_loop()
    outcomes: Counter[str] = Counter()
    whole = True
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
            outcomes[await _outcome(admission, review, tell=sum(outcomes.values()) < MAX_TOLD)] += 1
    log(logging.INFO, "audit", outcomes=dict(outcomes), whole=whole)
    return Audit(outcomes, whole)


async def _outcome(admission: Admission, review: Review, *, tell: bool) -> str:
    """Return what a review comes to; what a mode lets in counts as denied, as the rule would like it to be."""
    judgement = await admission.review(review)
    problems = judgement.answer.problems or judgement.answer.audit.get("problems")
    if not problems:
        return judgement.reason
    if tell:
        log(
            logging.WARNING,
            "runs and would not be admitted",
            kind=str(review.kind),
            namespace=review.namespace,
            name=review.name,
            mode=judgement.rule.mode if judgement.rule else None,
            problems=problems if isinstance(problems, str) else summary(problems),
        )
    return "denied"


def _reviews(cluster: Cluster, path: str, kind: Kind, resource: str) -> Iterator[Review]:
    for item in cluster.list(path):
        status = find_object(item, "status", "item") or {}
        if kind.kind == "Pod" and find_string(status, "phase", "status") in ENDED:
            continue
        yield _review(item, kind, resource)


def _review(item: Object, kind: Kind, resource: str) -> Review:
    """Return the question that the object's creation would have been; lists leave out version and kind."""
    metadata = find_object(item, "metadata", "item") or {}
    name, namespace = (find_string(metadata, key, "metadata") or "" for key in ("name", "namespace"))
    place = Resource(kind.group, kind.version, resource)
    found = Review("", kind, place, "", "CREATE", namespace, name, "", dry_run=True, object=item, old=None)
    version = f"{kind.group}/{kind.version}" if kind.group else kind.version
    return replace(found, object={**item, "apiVersion": version, "kind": kind.kind})
