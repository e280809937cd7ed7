"""What a developer tries: models good and bad, in every place and by every way that the API has."""

from __future__ import annotations

import json
from typing import Any

from tests.stack.ground import ENFORCED, FLIPPED, GUARD, GUARDED, LENIENT, UNRULED, WARNED, image
from tests.stack.install import Installed
from tests.stack.kube import DEVELOPER, MERGE, Reply
from tests.stack.mutation import mutation
from tests.stack.tries import (
    BAD,
    GOOD,
    SERVER,
    case,
    container,
    create,
    created,
    inference,
    nothing,
    patch,
    path,
    pod,
    spec,
    volume,
    workload,
)
from tests.support.admission import REGISTRY, digest

CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
MANY = 1000

# The verdict


@case("verdict", "signed model, in an image volume", "allowed")
def _(on: Installed) -> Reply:
    return create(on, pod(spec(GOOD)))


@case("verdict", "signed model, named in an argument", "allowed")
def _(on: Installed) -> Reply:
    return create(on, pod(spec("", f"--model=oci://{GOOD}")))


@case("verdict", "signed model, a Deployment", "allowed")
def _(on: Installed) -> Reply:
    return create(on, workload("Deployment", spec(GOOD)))


@case("verdict", "signed model, an InferenceService", "allowed")
def _(on: Installed) -> Reply:
    return create(on, inference(storageUri=f"oci://{GOOD}"))


VERDICTS = (
    ("tampered: one digit of its digest is another", image("good", FLIPPED), "GC-E0201"),
    ("tampered: metrics edited before the approval", image("edited"), "GC-E0312"),
    ("stale: approved 13 hours ago, the layout takes 12", image("stale"), "GC-E0311"),
    ("revoked", image("revoked"), "GC-E0342"),
    ("unknown: nobody signed anything about it", BAD, "GC-E0201"),
    ("not approved", image("unapproved"), "GC-E0311"),
    ("trained by somebody who may not", image("stranger"), "GC-E0303"),
    ("named by a tag, without a digest", f"{REGISTRY}/good:latest", "GC-A0201"),
)
for _name, _reference, _code in VERDICTS:
    case("verdict", _name, f"denied {_code}")(lambda on, one=_reference: create(on, pod(spec(one))))  # type: ignore[misc]


@case("verdict", "no model named where the rule demands one", "denied GC-A0205")
def _(on: Installed) -> Reply:
    return create(on, pod(spec()))


@case("verdict", "unknown, by kubectl apply", "denied GC-E0201")
def _(on: Installed) -> Reply:
    source = pod(spec(BAD), namespace=ENFORCED)
    done = on.cluster.kubectl("apply", "-f", "-", user=DEVELOPER, stdin=json.dumps(source))
    return Reply(403 if done.returncode else 201, {"message": done.stderr.strip()})


@case("verdict", "unknown, in a namespace whose rule warns", "allowed")
def _(on: Installed) -> Reply:
    reply = create(on, pod(spec(BAD)), namespace=WARNED)
    assert any("gitchain: GC-E0201" in one for one in reply.warnings), reply.warnings
    return reply


@case("verdict", "a namespace without a rule", "denied GC-A0104")
def _(on: Installed) -> Reply:
    return create(on, pod(spec(GOOD)), namespace=UNRULED)


# Where it stands

for _kind in (
    *("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"),
    *("Job", "CronJob", "PodTemplate"),
):
    case("place", f"template of a {_kind}", "denied GC-E0201")(
        lambda on, kind=_kind: create(on, workload(kind, spec(BAD)))  # type: ignore[misc]
    )


@case("place", "init container", "denied GC-E0201")
def _(on: Installed) -> Reply:
    return create(on, pod(spec(GOOD, initContainers=[container(f"oci://{BAD}", called="fetch")])))


@case("place", "sidecar: init container that goes on", "denied GC-E0201")
def _(on: Installed) -> Reply:
    one = container(f"oci://{BAD}", called="fetch", restartPolicy="Always")
    return create(on, pod(spec(GOOD, initContainers=[one])))


@case("place", "ephemeral container, into a pod that was admitted", "denied GC-E0201")
def _(on: Installed) -> Reply:
    where = created(on, pod(spec(GOOD)))
    one = {"name": "debug", "image": SERVER, "args": [f"oci://{BAD}"]}
    return patch(on, f"{where}/ephemeralcontainers", {"spec": {"ephemeralContainers": [one]}})


@case("place", "ephemeral container, in the pod from its creation on", "impossible")
def _(on: Installed) -> Reply:
    one = {"name": "debug", "image": SERVER, "args": [f"oci://{BAD}"]}
    return create(on, pod(spec(GOOD, ephemeralContainers=[one])))


@case("place", "command, environment, probe of a container", "denied GC-E0201")
def _(on: Installed) -> Reply:
    odd = container(
        command=["serve", f"oci://{GOOD}"],
        env=[{"name": "ANY", "value": f"oci://{GOOD}"}],
        livenessProbe={"exec": {"command": ["load", f"oci+native://{BAD}"]}},
    )
    return create(on, pod({"containers": [odd]}))


@case("place", "a variable that is set from elsewhere", "denied GC-A0207")
def _(on: Installed) -> Reply:
    source = {"configMapKeyRef": {"name": "models", "key": "uri"}}
    odd = container(env=[{"name": "STORAGE_URI", "valueFrom": source}])
    return create(on, pod({"containers": [odd], "volumes": [volume(GOOD)]}))


@case("place", "KServe: storageUri of a bucket", "denied GC-A0201")
def _(on: Installed) -> Reply:
    return create(on, inference(storageUri="s3://models/good"))


@case("place", "KServe: storage by key and path", "denied GC-A0201")
def _(on: Installed) -> Reply:
    return create(on, inference(storage={"key": "models", "path": "good"}))


@case("place", "KServe: no model, under a rule that demands none", "denied GC-A0205")
def _(on: Installed) -> Reply:
    return create(on, inference(), namespace=LENIENT)


@case("place", f"{MANY} containers, the last one names it", "denied GC-E0201")
def _(on: Installed) -> Reply:
    many = [container(f"oci://{GOOD}", called=f"c{number}") for number in range(MANY - 1)]
    return create(on, pod({"containers": [*many, container(f"oci://{BAD}", called="last")]}))


@case("place", f"{MANY} containers, all of them name the signed one", "allowed")
def _(on: Installed) -> Reply:
    many = [container(f"oci://{GOOD}", called=f"c{number}") for number in range(MANY)]
    return create(on, pod({"containers": many}))


@case("place", f"{MANY} containers, each with another model", "denied GC-A0206")
def _(on: Installed) -> Reply:
    many = [
        container(f"oci://{image('good', digest(str(number)))}", called=f"c{number}")
        for number in range(MANY)
    ]
    return create(on, pod({"containers": many}))


# How it gets there


@case("way", "dry run", "denied GC-E0201")
def _(on: Installed) -> Reply:
    return create(on, pod(spec(BAD)), query="?dryRun=All")


@case("way", "generated name", "denied GC-E0201")
def _(on: Installed) -> Reply:
    source = pod(spec(BAD))
    source["metadata"] = {"generateName": "try-"}
    return create(on, source)


@case("way", "server-side apply", "denied GC-E0201")
def _(on: Installed) -> Reply:
    source = pod(spec(BAD))
    where = f"{path(source)}/{source['metadata']['name']}?fieldManager=dev"
    return patch(on, where, source, APPLY)


@case("way", "as the pod that a ReplicaSet's controller makes", "denied GC-E0201")
def _(on: Installed) -> Reply:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "scaled", "uid": "1", "controller": True}
    source = pod(spec(BAD), ownerReferences=[owner], generateName="scaled-")
    return create(on, source, user=CONTROLLER)


@case("way", "as a mirror pod", "denied GC-E0201")
def _(on: Installed) -> Reply:
    return create(on, pod(spec(BAD, nodeName="node-1"), annotations={"kubernetes.io/config.mirror": "1"}))


@case("way", "straight onto a node", "denied GC-E0201")
def _(on: Installed) -> Reply:
    return create(on, pod(spec(BAD, nodeName="node-1")))


@case("way", "update: a Deployment's template, replaced", "denied GC-E0201")
def _(on: Installed) -> Reply:
    source = workload("Deployment", spec(GOOD))
    where = created(on, source)
    source["spec"]["template"]["spec"] = spec(BAD)
    return on.developer.call("PUT", where, source)


@case("way", "update: a Deployment's template, patched", "denied GC-E0201")
def _(on: Installed) -> Reply:
    where = created(on, workload("Deployment", spec(GOOD)))
    change = [{"op": "replace", "path": "/spec/template/spec/volumes/0/image/reference", "value": BAD}]
    return patch(on, where, change, JSON_PATCH)


@case("way", "update: from the signed model to a bucket", "denied GC-A0201")
def _(on: Installed) -> Reply:
    where = created(on, inference(storageUri=f"oci://{GOOD}"))
    change = {"spec": {"predictor": {"model": {"storageUri": "s3://models/good"}}}}
    return patch(on, where, change, MERGE)


@case("way", "update: a running pod's container takes another model for its image", "denied GC-E0201")
def _(on: Installed) -> Reply:
    where = created(on, pod({"containers": [{"name": "modelcar", "image": GOOD}]}))
    return patch(on, where, {"spec": {"containers": [{"name": "modelcar", "image": BAD}]}})


@case("way", "update: a running pod's arguments", "impossible")
def _(on: Installed) -> Reply:
    where = created(on, pod(spec(GOOD)))
    return patch(on, where, {"spec": {"containers": [{"name": "server", "args": [f"oci://{BAD}"]}]}})


@case("way", "update by a status: the API server takes no spec from it", "impossible")
def _(on: Installed) -> Reply:
    where = created(on, pod(spec(GOOD)))
    change = {"spec": {"containers": [{"name": "server", "image": BAD}]}, "status": {"message": "x"}}
    reply = patch(on, f"{where}/status", change)
    now = on.admin.call("GET", where).document["spec"]["containers"][0]["image"]
    return nothing("the status was written and the image was left as it is") if now == SERVER else reply


@case("way", "created with a deletion time stamp", "denied GC-E0201")
def _(on: Installed) -> Reply:
    return create(on, pod(spec(BAD), deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=0))


def _leaving(on: Installed) -> str:
    where = created(on, pod(spec(GOOD), finalizers=["gitchain.dev/test"]))
    on.developer.call("DELETE", where)
    found = on.developer.call("GET", where).document
    assert "deletionTimestamp" in found["metadata"], found
    return where


@case("way", "ephemeral container, into a pod that is being deleted", "denied GC-E0201")
def _(on: Installed) -> Reply:
    one = {"name": "debug", "image": SERVER, "args": [f"oci://{BAD}"]}
    return patch(on, f"{_leaving(on)}/ephemeralcontainers", {"spec": {"ephemeralContainers": [one]}})


@case("way", "the finalizer of a pod that is being deleted is taken off", "allowed")
def _(on: Installed) -> Reply:
    return patch(on, _leaving(on), {"metadata": {"finalizers": None}}, MERGE)


@case("way", "what another admission plugin puts in after the user sent it", "denied GC-E0201")
def _(on: Installed) -> Reply:
    with mutation(on, BAD):
        return create(on, pod(spec(GOOD), labels={"mutate": "me"}))


# On the node: volumes whose bytes admission cannot see


def claimed(model: str, **more: Any) -> dict[str, Any]:
    """Return a pod that serves a model from a volume claim, and says which."""
    mount = {"name": "models", "mountPath": "/mnt/models"}
    claim = {"name": "models", "persistentVolumeClaim": {"claimName": "models"}}
    given = {"containers": [container(volumeMounts=[mount])], "volumes": [claim], **more}
    return pod(given, annotations={"gitchain.dev/model": f"sha256:{digest(model)}"})


@case("guard", "a signed model on a volume: the pod's first container verifies it", "allowed")
def _(on: Installed) -> Reply:
    source = claimed("good", initContainers=[container(called="first")])
    reply = create(on, source, namespace=GUARDED)
    names = [one["name"] for one in reply.document["spec"]["initContainers"]]
    assert [names[0].startswith("gitchain-guard-"), names[1:]] == [True, ["first"]], names
    assert reply.document["spec"]["initContainers"][0]["image"] == GUARD
    return reply


@case("guard", "an unknown model on a volume", "denied GC-E0201")
def _(on: Installed) -> Reply:
    return create(on, claimed("nobody"), namespace=GUARDED)


@case("guard", "a container that is only called as the guard is", "denied GC-A0401")
def _(on: Installed) -> Reply:
    source = claimed("good", initContainers=[container(called="gitchain-guard-models")])
    return create(on, source, namespace=GUARDED)


@case("guard", "a volume, and no digest for it", "denied GC-A0201")
def _(on: Installed) -> Reply:
    source = claimed("good")
    source["metadata"]["annotations"] = {}
    return create(on, source, namespace=GUARDED)
