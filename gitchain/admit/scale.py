"""Review scale-ups: the request lacks the object, so the workload is looked up and reviewed like an update.

PATCH /apis/apps/v1/namespaces/NAMESPACE/deployments/NAME/scale   leads to   GET …/deployments/NAME

The template was reviewed when it was written, or existed before gitchain; the second case is detected here.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import Executor
from dataclasses import replace

from gitchain.admit.cluster import Cluster
from gitchain.admit.review import GroupVersionKind, GroupVersionResource, Review
from gitchain.errors import MalformedError, TransportError, UsageError

SCALE = GroupVersionKind("autoscaling", "v1", "Scale")
LOOK_SECONDS = 2.0
"""Longest lookup in seconds; never more than half of the response time."""

SCALED = {
    GroupVersionResource("apps", "v1", "deployments"): GroupVersionKind("apps", "v1", "Deployment"),
    GroupVersionResource("apps", "v1", "statefulsets"): GroupVersionKind("apps", "v1", "StatefulSet"),
    GroupVersionResource("apps", "v1", "replicasets"): GroupVersionKind("apps", "v1", "ReplicaSet"),
    GroupVersionResource("", "v1", "replicationcontrollers"): GroupVersionKind(
        "", "v1", "ReplicationController"
    ),
}
"""Resources that the chart may read: a `scale` of others is denied."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)


class Workloads:
    """Looks workloads up. `executor` waits for the cluster's API: its threads limit concurrent lookups."""

    def __init__(self, cluster: Cluster, executor: Executor, answer: float) -> None:
        self._cluster = cluster
        self._executor = executor
        self._seconds = min(LOOK_SECONDS, answer / 2)

    async def scaled(self, review: Review) -> Review:
        """Return the review of the scaled workload.

        Raises UsageError, MalformedError or TransportError if it cannot be looked up.
        """
        kind = SCALED.get(review.resource)
        if kind is None or review.kind != SCALE or review.operation != "UPDATE":
            raise UsageError(f"{review.resource} is no workload that is looked up")
        for name in (review.namespace, review.name):  # they become part of a path
            if _NAME.fullmatch(name) is None:
                raise MalformedError("not a name", where="request", got=ascii(name)[:100])
        group = f"apis/{kind.group}" if kind.group else "api"
        place = f"namespaces/{review.namespace}/{review.resource}/{review.name}"
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._seconds):
                found = await loop.run_in_executor(
                    self._executor, self._cluster.get, f"/{group}/{kind.version}/{place}", self._seconds
                )
        except TimeoutError as error:
            raise TransportError("the cluster's API does not answer in time", where=place) from error
        if found is None:
            raise TransportError("the cluster has no such workload", where=place)
        version = f"{kind.group}/{kind.version}" if kind.group else kind.version
        if (found.get("apiVersion"), found.get("kind")) != (version, kind.kind):
            raise MalformedError("the cluster answered with another kind", where=place, expected=str(kind))
        return replace(review, kind=kind, subresource="", object=found, old=None)
