"""What happens while no replica answers: no model gets in, and the cluster can still mend itself."""

from __future__ import annotations

from collections.abc import Callable

from tests.stack import chart
from tests.stack.install import Installed
from tests.stack.kube import MERGE, Reply
from tests.stack.tries import GOOD, Case, create, created, patch, pod, spec, workload

OUTAGE: list[tuple[str, str, Callable[[Installed], Callable[[], Reply]]]] = [
    ("a signed model", "closed", lambda on: lambda: create(on, pod(spec(GOOD)))),
    ("a pod of the system", "allowed", lambda on: lambda: create(on, pod(spec()), namespace="kube-system")),
    (
        "gitchain itself, deployed again",
        "allowed",
        lambda on: lambda: create(on, workload("Deployment", spec()), namespace=chart.NAMESPACE),
    ),
    ("the finalizer of a pod is taken off", "allowed", lambda on: _unfinish(on, created(on, _held()))),
    ("a pod's owner is written", "allowed", lambda on: _own(on, created(on, pod(spec(GOOD))))),
    ("a Deployment is scaled up", "closed", lambda on: _scale(on, 5)),
    ("a Deployment is scaled down", "allowed", lambda on: _scale(on, 0)),
    ("a pod is deleted", "allowed", lambda on: _delete(on, created(on, pod(spec(GOOD))))),
]


def cases(on: Installed) -> list[Case]:
    """Prepare everything while the replicas answer; the cases themselves are for when they do not."""
    prepared = [(name, expected, prepare(on)) for name, expected, prepare in OUTAGE]
    return [Case("outage", name, expected, lambda _, act=act: act()) for name, expected, act in prepared]  # type: ignore[misc]


def _held() -> dict[str, object]:
    return pod(spec(GOOD), finalizers=["gitchain.dev/test"])


def _unfinish(on: Installed, where: str) -> Callable[[], Reply]:
    return lambda: patch(on, where, {"metadata": {"finalizers": None}}, MERGE)


def _own(on: Installed, where: str) -> Callable[[], Reply]:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "owner", "uid": "1"}
    return lambda: patch(on, where, {"metadata": {"ownerReferences": [owner]}}, MERGE)


def _scale(on: Installed, replicas: int) -> Callable[[], Reply]:
    where = created(on, workload("Deployment", spec(GOOD)))
    return lambda: patch(on, f"{where}/scale", {"spec": {"replicas": replicas}}, MERGE)


def _delete(on: Installed, where: str) -> Callable[[], Reply]:
    return lambda: on.developer.call("DELETE", where)
