"""What was in the cluster before gitchain was: it runs on, and gets no further than that."""

from __future__ import annotations

from tests.stack.ground import GUARDED, LENIENT
from tests.stack.install import Installed
from tests.stack.kube import MERGE, Client, Reply
from tests.stack.matrix import claimed
from tests.stack.tries import BAD, GOOD, SERVER, case, created, patch, path, spec, workload
from tests.support.admission import digest

AUTOSCALER = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
SCALED = ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController")
WORKLOADS = {kind: workload(kind, spec(BAD)) for kind in SCALED}
POD = claimed("good")
"""Serves a signed model from a volume, and no container verifies it."""


def before(admin: Client) -> None:
    """Make everything that has to be there before the webhook is."""
    there = [(path(source), source) for source in WORKLOADS.values()]
    for where, source in (*there, (path(POD, GUARDED), POD)):
        reply = admin.call("POST", where, source)
        assert reply.status == 201, reply.message


def _at(kind: str) -> str:
    return f"{path(WORKLOADS[kind])}/{WORKLOADS[kind]['metadata']['name']}"


def _grow(on: Installed, where: str, by: int = 1) -> Reply:
    now = on.developer.call("GET", f"{where}/scale").document["spec"].get("replicas", 0)
    return patch(on, f"{where}/scale", {"spec": {"replicas": max(now + by, 0)}}, MERGE)


for _kind in SCALED:
    case("scale", f"up: a {_kind} with a signed model", "allowed")(
        lambda on, kind=_kind: _grow(on, created(on, workload(kind, spec(GOOD))))  # type: ignore[misc]
    )
    case("scale", f"up: a {_kind} with an unknown model, from before the webhook", "denied GC-E0201")(
        lambda on, kind=_kind: _grow(on, _at(kind))  # type: ignore[misc]
    )


@case("scale", "up: by the autoscaler", "denied GC-E0201")
def _(on: Installed) -> Reply:
    where = f"{_at('Deployment')}/scale"
    scale = on.admin.call("GET", where, user=AUTOSCALER).document
    scale["spec"]["replicas"] += 1
    return on.admin.call("PUT", where, scale, user=AUTOSCALER)


@case("scale", "up: a Deployment without a model, where none is demanded", "allowed")
def _(on: Installed) -> Reply:
    return _grow(on, created(on, workload("Deployment", spec()), LENIENT))


@case("scale", "down to nothing, with an unknown model from before the webhook", "allowed")
def _(on: Installed) -> Reply:
    return _grow(on, _at("StatefulSet"), by=-1)


@case("scale", "down to nothing, and up to what it was", "denied GC-E0201")
def _(on: Installed) -> Reply:
    reply = _grow(on, _at("ReplicaSet"), by=-1)
    return _grow(on, _at("ReplicaSet")) if reply.status == 200 else reply


@case("scale", "up: a status that says that there are more already", "denied GC-E0201")
def _(on: Installed) -> Reply:
    where = _at("ReplicationController")
    status = {"status": {"replicas": 9}}
    reply = patch(on, f"{where}/status", status, MERGE)
    return _grow(on, where) if reply.status == 200 else reply


@case("scale", "up: by the number in the workload itself, from before the webhook", "denied GC-E0201")
def _(on: Installed) -> Reply:
    return patch(on, _at("Deployment"), {"spec": {"replicas": 7}}, MERGE)


PATCHES = (
    ("a label", "", {"metadata": {"labels": {"role": "primary"}}}, "allowed"),
    (
        "another image",
        "",
        {"spec": {"containers": [{"name": "server", "image": "other"}]}},
        "denied GC-A0401",
    ),
    (
        "another digest for the volume",
        "",
        {"metadata": {"annotations": {"gitchain.dev/model": f"sha256:{digest('second')}"}}},
        "denied GC-A0401",
    ),
    (
        "an ephemeral container with the volume",
        "/ephemeralcontainers",
        {
            "spec": {
                "ephemeralContainers": [
                    {
                        "name": "debug",
                        "image": SERVER,
                        "volumeMounts": [{"name": "models", "mountPath": "/m"}],
                    }
                ]
            }
        },
        "denied GC-A0401",
    ),
)
for _name, _part, _change, _expected in PATCHES:
    case("guard", f"a pod from before that nobody guards: {_name}", _expected)(
        lambda on, part=_part, change=_change: patch(  # type: ignore[misc]
            on, f"{path(POD, GUARDED)}/{POD['metadata']['name']}{part}", change
        )
    )
