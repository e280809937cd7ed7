"""Deployment events of a response: the models that were deployed and retired.

An admitted create or update deploys the models of the object. An update retires those of the old object only, a
deletion all of them. There are no events for denials, dry runs, requests that start nothing new, and objects that a
controller of the cluster creates from an object with events of its own.

`gitchain.produce.deployments` stores and signs them. docs/admission.md, Deployment log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime

from gitchain.admit.admission import AdmissionResult
from gitchain.admit.kinds import KNOWN
from gitchain.admit.logs import log
from gitchain.admit.models import models_of
from gitchain.admit.review import Review
from gitchain.admit.settings import AdmissionRule
from gitchain.admit.tls import Client
from gitchain.errors import GitchainError
from gitchain.evidence.canonical import Json
from gitchain.evidence.deployment import DeploymentVerdict, ReportedBy
from gitchain.evidence.digest import Sha256
from gitchain.layout.model import Layout
from gitchain.produce.deployment_statements import DeploymentEvent
from gitchain.produce.deployments import DeploymentLog

CONTROLLERS = "system:serviceaccount:kube-system:"
"""Users that create pods of workloads: the controllers of the cluster itself, which no user can impersonate."""

_DOWN = ("jobTemplate", "template", "predictor", "spec")
OBJECTS = frozenset({"", "ephemeralcontainers"})


@dataclass(frozen=True, slots=True)
class ClusterName:
    """The operator's name and purpose of this cluster."""

    environment: str
    cluster: str


def events(
    result: AdmissionResult,
    rule: AdmissionRule | None,
    layout: Layout | None,
    place: ClusterName,
    now: datetime,
) -> Iterator[DeploymentEvent]:
    """Yield the events of a response; `rule` and `layout` are those of the object's namespace."""
    review = result.review
    if review is None or rule is None or not result.answer.allowed or _unstated(review):
        return
    deleted = review.operation == "DELETE"
    if result.reason == "nothing new" and not deleted:
        return
    before = _models(replace(review, object=review.old), rule)
    after = {} if deleted else _models(review, rule)
    passed = {one.sha256: one.passed for one in result.verdicts}
    for sha256 in after.keys() - before.keys():
        verdict = _verdict(layout, passed.get(sha256))
        yield replace(_event(review, sha256, place, now), verdict=verdict, image=_image(review.object))
    for sha256 in before.keys() - after.keys():
        yield replace(_event(review, sha256, place, now), kind="retired")


def _unstated(review: Review) -> bool:
    if review.dry_run or review.subresource not in OBJECTS or review.kind not in KNOWN:
        return True
    return review.user.startswith(CONTROLLERS) and _is_controlled(review.object or review.old)


def _is_controlled(source: Mapping[str, Json] | None) -> bool:
    """Return True if another object creates this one, by both its user and the object's owner."""
    owners = _metadata(source).get("ownerReferences")
    return isinstance(owners, list) and any(
        isinstance(one, dict) and one.get("controller") is True for one in owners
    )


def _models(review: Review, rule: AdmissionRule) -> Mapping[Sha256, tuple[str, ...]]:
    return models_of(review, rule.looking).models if review.object is not None else {}


def _event(review: Review, sha256: Sha256, place: ClusterName, now: datetime) -> DeploymentEvent:
    metadata = _metadata(review.object or review.old)
    name = metadata.get("name") or metadata.get("generateName") or review.name
    uid = metadata.get("uid")
    return DeploymentEvent(
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


def _verdict(layout: Layout | None, passed: bool | None) -> DeploymentVerdict | None:
    """Return the verdict of the layout; None if a mode admitted a model without a decision."""
    if layout is None or passed is None:
        return None
    return DeploymentVerdict("PASSED" if passed else "FAILED", layout.name, layout.version, layout.digest)


def _metadata(source: Mapping[str, Json] | None) -> Mapping[str, Json]:
    metadata = (source or {}).get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _image(source: Mapping[str, Json] | None) -> str | None:
    """Return the image of the first container, wherever the object has its pod specification."""
    inside: Json = source
    while isinstance(inside, dict):
        found = inside.get("containers")
        if isinstance(found, list):
            image = found[0].get("image") if found and isinstance(found[0], dict) else None
            return image if isinstance(image, str) else None
        inside = next((inside[key] for key in _DOWN if key in inside), None)
    return None


class Reporter:
    """Passes events to the deployment log. It waits for the disk only if the log's queue is full."""

    def __init__(
        self,
        deployments: DeploymentLog,
        place: ClusterName,
        *,
        clock: Callable[[], datetime],
        executor: Executor,
    ) -> None:
        self.deployments = deployments
        self._place = place
        self._clock = clock
        self._executor = executor

    async def report(self, result: AdmissionResult, client: Client) -> None:
        """Report the events of a response, with its API server. Failures are logged and do not change the response."""
        try:
            for one in events(result, result.rule, result.layout, self._place, self._clock()):
                with_reporter = replace(one, reporter=ReportedBy(client.name, client.sha256))
                await asyncio.get_running_loop().run_in_executor(
                    self._executor, self.deployments.admitted, with_reporter
                )
        except GitchainError as error:
            log(logging.ERROR, "deployment not stated", uid=result.uid, why=str(error))
