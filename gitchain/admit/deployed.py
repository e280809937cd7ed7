"""What an answer means for the deployment log: which models went somewhere, and which left.

An admitted create or update puts the models of the object where it says; an update takes away those that only the old
object has, a deletion all of them. Nothing is stated for what is denied, for dry runs, for what starts nothing new, and
for what a controller of the cluster makes of an object that was stated itself.

`gitchain.pipeline.deployments` keeps, signs and stores it. docs/admission.md, Deployment log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime

from gitchain.admit.admission import Admission, Judgement
from gitchain.admit.config import Rule
from gitchain.admit.kinds import KNOWN
from gitchain.admit.logs import log
from gitchain.admit.models import models_of
from gitchain.admit.review import Review
from gitchain.errors import GitchainError
from gitchain.evidence.canonical import Json
from gitchain.evidence.deployment import Verdict
from gitchain.layout.model import Layout
from gitchain.pipeline.deployments import DeploymentLog, Event

CONTROLLERS = "system:serviceaccount:kube-system:"
"""Who makes pods of workloads: the controllers of the cluster itself, and nobody who can be created elsewhere."""

_DOWN = ("jobTemplate", "template", "predictor", "spec")
OBJECTS = frozenset({"", "ephemeralcontainers"})


@dataclass(frozen=True, slots=True)
class Place:
    """What the operator calls this cluster, and what it is for."""

    environment: str
    cluster: str


def events(
    judgement: Judgement, rule: Rule | None, layout: Layout | None, place: Place, now: datetime
) -> Iterator[Event]:
    """Yield what is to be stated after an answer; `rule` and `layout` are those of the object's namespace."""
    review = judgement.review
    if review is None or rule is None or not judgement.answer.allowed or _unstated(review):
        return
    deleted = review.operation == "DELETE"
    if judgement.reason == "nothing new" and not deleted:
        return
    before = _models(replace(review, object=review.old), rule)
    after = {} if deleted else _models(review, rule)
    passed = {one.sha256: one.passed for one in judgement.verdicts}
    for sha256 in after.keys() - before.keys():
        told = _verdict(layout, passed.get(sha256))
        yield replace(_event(review, sha256, place, now), verdict=told, image=_image(review.object))
    for sha256 in before.keys() - after.keys():
        yield replace(_event(review, sha256, place, now), kind="retired")


def _unstated(review: Review) -> bool:
    if review.dry_run or review.subresource not in OBJECTS or review.kind not in KNOWN:
        return True
    return review.user.startswith(CONTROLLERS) and _is_controlled(review.object or review.old)


def _is_controlled(source: Mapping[str, Json] | None) -> bool:
    """Tell whether another object makes this one: its user alone cannot say so, nor can the object."""
    owners = _metadata(source).get("ownerReferences")
    return isinstance(owners, list) and any(
        isinstance(one, dict) and one.get("controller") is True for one in owners
    )


def _models(review: Review, rule: Rule) -> Mapping[str, tuple[str, ...]]:
    return models_of(review, rule.looking).models if review.object is not None else {}


def _event(review: Review, sha256: str, place: Place, now: datetime) -> Event:
    metadata = _metadata(review.object or review.old)
    name = metadata.get("name") or metadata.get("generateName") or review.name
    uid = metadata.get("uid")
    return Event(
        "deployed",
        sha256,
        by=review.user,
        when=now,
        environment=place.environment,
        cluster=place.cluster,
        namespace=review.namespace,
        workload=f"{review.kind.kind}/{name if isinstance(name, str) else ''}",
        uid=uid if isinstance(uid, str) else None,
    )


def _verdict(layout: Layout | None, passed: bool | None) -> Verdict | None:
    """Return what the layout said; nothing where a mode let something in that was never decided about."""
    if layout is None or passed is None:
        return None
    return Verdict("PASSED" if passed else "FAILED", layout.name, layout.version, layout.digest)


def _metadata(source: Mapping[str, Json] | None) -> Mapping[str, Json]:
    metadata = (source or {}).get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _image(source: Mapping[str, Json] | None) -> str | None:
    """Return the image of the first container, wherever the object keeps its pod's specification."""
    inside: Json = source
    while isinstance(inside, dict):
        found = inside.get("containers")
        if isinstance(found, list):
            image = found[0].get("image") if found and isinstance(found[0], dict) else None
            return image if isinstance(image, str) else None
        inside = next((inside[key] for key in _DOWN if key in inside), None)
    return None


class Reporter:
    """Hands what is admitted over to the deployment log; the disk is waited for only where the log's queue is full."""

    def __init__(
        self,
        deployments: DeploymentLog,
        place: Place,
        admission: Admission,
        *,
        clock: Callable[[], datetime],
        executor: Executor,
    ) -> None:
        self.deployments = deployments
        self._place = place
        self._admission = admission
        self._clock = clock
        self._executor = executor

    async def report(self, judgement: Judgement) -> None:
        """State what an answer means. What cannot be stated or kept is logged and counted, and changes no answer."""
        review = judgement.review
        rule = self._admission.settings.rule_for(review.namespace) if review else None
        layout = self._admission.engines[rule.layout].gate.layout if rule else None
        try:
            for one in events(judgement, rule, layout, self._place, self._clock()):
                await asyncio.get_running_loop().run_in_executor(
                    self._executor, self.deployments.admitted, one
                )
        except GitchainError as error:
            log(logging.ERROR, "deployment not stated", uid=judgement.uid, why=str(error))
