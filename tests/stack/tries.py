"""Tries at the real API server: what they are made of, and how it is told what they came to.

`allowed`, `denied CODE` by gitchain under its own message, `closed` where nothing answered the API server, or
`refused` without having been read, or
`impossible`: the API server itself takes no such request or makes nothing of it. A refusal by Kubernetes' validation is
never counted as a denial.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tests.stack.ground import ENFORCED, image
from tests.stack.install import Installed
from tests.stack.kube import Reply

GOOD, BAD = image("good"), image("nobody")
SERVER = "registry.example.com/server:1"
STRATEGIC = "application/strategic-merge-patch+json"
REFUSED = "reviews are read from the API server alone"
"""What gitchain tells whoever asks in the API server's place."""

UNANSWERED = re.compile(r'failed calling webhook "(?:models|guard)\.gitchain\.dev"')
SAID = re.compile(
    r'admission webhook "(?:models|guard)\.gitchain\.dev" denied the request: gitchain: (GC-[AE]\d{4})'
)
Attempt = Callable[[Installed], Reply]
_number = itertools.count()


@dataclass(frozen=True)
class Case:
    """One try: what it shows, what it has to come to, and how it is done."""

    group: str
    name: str
    expected: str
    attempt: Attempt


_cases: list[tuple[str, Case]] = []


def cases_of(*rooms: ModuleType) -> list[Case]:
    """Return the cases that were put in by these modules."""
    names = {room.__name__ for room in rooms}
    return [one for name, one in _cases if name in names]


def case(group: str, name: str, expected: str) -> Callable[[Attempt], Attempt]:
    """Put a try into the matrix."""

    def add(attempt: Attempt) -> Attempt:
        _cases.append((attempt.__module__, Case(group, name, expected, attempt)))
        return attempt

    return add


def come_to(reply: Reply) -> str:
    """Return what a try came to; of a denial the first code of gitchain."""
    if 200 <= reply.status < 300:
        return "allowed"
    if found := SAID.search(reply.message):
        return f"denied {found[1]}"
    if reply.message.startswith(REFUSED):
        return "refused"
    return "closed" if UNANSWERED.search(reply.message) else "impossible"


def holds(one: Case, reply: Reply) -> bool:
    """Tell whether a try came to what it has to."""
    return come_to(reply) == one.expected


def name() -> str:
    """Return a name that no other object of the run has."""
    return f"try-{next(_number)}"


def volume(reference: str) -> dict[str, Any]:
    """Return an image volume with a model."""
    return {"name": "model", "image": {"reference": reference}}


def container(*arguments: str, called: str = "server", **more: Any) -> dict[str, Any]:
    """Return a container."""
    return {"name": called, "image": SERVER, "args": list(arguments), **more}


def spec(reference: str = "", *arguments: str, **more: Any) -> dict[str, Any]:
    """Return the specification of a pod that serves a model from an image volume."""
    volumes = {"volumes": [volume(reference)]} if reference else {}
    return {"containers": [container(*arguments)], **volumes, **more}


def pod(given: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """Return a pod."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name(), **metadata}, "spec": given}


def create(
    on: Installed, source: dict[str, Any], *, namespace: str = ENFORCED, query: str = "", user: str = ""
) -> Reply:
    """Create an object as the developer, or as the controller that `user` names."""
    client = on.admin if user else on.developer
    return client.call("POST", path(source, namespace) + query, source, user=user)


def path(source: Mapping[str, Any], namespace: str = ENFORCED) -> str:
    """Return where objects of this kind are."""
    group = source["apiVersion"]
    return f"/{'apis' if '/' in group else 'api'}/{group}/namespaces/{namespace}/{source['kind'].lower()}s"


def created(on: Installed, source: dict[str, Any], namespace: str = ENFORCED) -> str:
    """Create an object that is allowed; return its path."""
    reply = create(on, source, namespace=namespace)
    assert reply.status == 201, reply.message
    return f"{path(source, namespace)}/{reply.document['metadata']['name']}"


def workload(kind: str, given: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """Return a workload around a pod's specification."""
    labels = {"app": "model"}
    template = {"metadata": {"labels": labels, **metadata}, "spec": given}
    about = {"name": name()}
    if kind in {"Job", "CronJob"}:
        job = {"template": {**template, "spec": {**given, "restartPolicy": "Never"}}}
        body: dict[str, Any] = (
            job if kind == "Job" else {"schedule": "0 * * * *", "jobTemplate": {"spec": job}}
        )
        return {"apiVersion": "batch/v1", "kind": kind, "metadata": about, "spec": body}
    if kind == "PodTemplate":
        return {"apiVersion": "v1", "kind": kind, "metadata": about, "template": template}
    if kind == "ReplicationController":
        body = {"replicas": 1, "selector": labels, "template": template}
        return {"apiVersion": "v1", "kind": kind, "metadata": about, "spec": body}
    body = {"selector": {"matchLabels": labels}, "template": template}
    body |= {} if kind == "DaemonSet" else {"replicas": 1}
    body |= {"serviceName": "model"} if kind == "StatefulSet" else {}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": about, "spec": body}


def inference(**model: Any) -> dict[str, Any]:
    """Return an InferenceService of KServe."""
    body = {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, **model}}}
    about = {"name": name()}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": about,
        "spec": body,
    }


def patch(on: Installed, where: str, change: Any, kind: str = STRATEGIC) -> Reply:
    """Change an object as the developer."""
    return on.developer.call("PATCH", where, change, kind=kind)


def nothing(why: str) -> Reply:
    """Return what stands for a request of which the API server made nothing."""
    return Reply(0, {"message": why})
