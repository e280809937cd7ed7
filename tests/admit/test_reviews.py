"""Who gets in: verified models in every kind of workload; and each way around that was ever found elsewhere, denied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gitchain.admit.admission import Admission
from gitchain.admit.review import MAX_WARNINGS
from tests.support.admission import (
    REGISTRY,
    codes,
    digest,
    judged,
    kserve,
    oci,
    pod,
    pod_spec,
    review,
    templated,
)  # fmt: skip

IMAGE = f"{REGISTRY}/good@sha256:{digest('good')}"
TEMPLATED = [
    ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("apps/v1", "ReplicaSet"),
    ("v1", "ReplicationController"), ("batch/v1", "Job"), ("batch/v1", "CronJob"), ("v1", "PodTemplate"),
]  # fmt: skip


def placed(where: str, text: str) -> dict[str, Any]:
    """Return a pod that names a model in one place."""
    holder = {"name": "x", "image": "registry.example.com/x:1", "args": [text]}
    places: dict[str, dict[str, Any]] = {
        "argument": pod(text),
        "command": pod(
            initContainers=[{"name": "x", "image": "x", "command": ["sh", "-c", f"exec /bin/get {text} /m"]}]
        ),
        "variable": pod(initContainers=[{"name": "x", "env": [{"name": "STORAGE_URI", "value": text}]}]),
        "any variable": pod(initContainers=[{"name": "x", "env": [{"name": "MODEL", "value": text}]}]),
        "init container": pod(initContainers=[holder]),
        "sidecar": pod(initContainers=[{**holder, "restartPolicy": "Always"}]),
        "ephemeral container": pod(ephemeralContainers=[holder]),
        "image volume": pod(volumes=[{"name": "m", "image": {"reference": text.removeprefix("oci://")}}]),
        "modelcar": pod(initContainers=[{"name": "modelcar-init", "image": text.removeprefix("oci://")}]),
        "the last of 1,000 containers": pod(
            initContainers=[{"name": f"c{n}", "image": "x"} for n in range(999)] + [holder]
        ),
    }
    return places[where]


PLACES = [
    "argument", "command", "variable", "any variable", "init container", "sidecar", "ephemeral container", "image volume",
    "modelcar", "the last of 1,000 containers",
]  # fmt: skip


@pytest.mark.parametrize("where", PLACES)
def test_a_model_is_seen_wherever_it_stands(ready: Admission, where: str) -> None:
    """In each place a verified model is admitted, and an unknown, revoked or unapproved one is not."""
    assert judged(ready, review(placed(where, oci("good")))).reason == "verified"
    for model, code in (("nosuch", "GC-E0201"), ("revoked", "GC-E0342"), ("unapproved", "GC-E0311")):
        found = judged(ready, review(placed(where, oci(model))))
        assert not found.answer.allowed
        assert code in codes(found)


@pytest.mark.parametrize("where", PLACES)
def test_one_bad_model_beside_a_good_one_is_enough(ready: Admission, where: str) -> None:
    """A good model vouches for no other one."""
    source = placed(where, oci("nosuch"))
    source["spec"]["containers"][0]["env"] = [{"name": "M", "value": oci("good")}]
    assert codes(judged(ready, review(source))) == {"GC-E0201"}


@pytest.mark.parametrize("key", ["metadata", "annotations", "status", "kind", "apiVersion"])
def test_a_free_name_hides_nothing(ready: Admission, key: str) -> None:
    """Where names are anybody's, as in a storage driver's settings, what is called metadata is none."""
    driver = {"driver": "models.example.com", "volumeAttributes": {key: oci("nosuch")}}
    source = pod(oci("good"), volumes=[{"name": "m", "csi": driver}])
    assert codes(judged(ready, review(source, namespace="lenient"))) == {"GC-E0201"}
    assert codes(judged(ready, review(source))) == {"GC-A0208"}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("namespace", ["prod", "lenient"])
def test_a_model_without_a_digest_is_denied(ready: Admission, where: str, namespace: str) -> None:
    """A tag says nothing about content, in whatever place."""
    found = judged(ready, review(placed(where, f"oci://{REGISTRY}/good:v1"), namespace=namespace))
    assert not found.answer.allowed
    assert codes(found) == {"GC-A0201"}


@pytest.mark.parametrize(("api", "kind"), TEMPLATED, ids=str)
def test_the_template_of_a_workload_is_looked_at(ready: Admission, api: str, kind: str) -> None:
    """What makes pods is held to what pods are held to."""
    assert judged(ready, review(templated(api, kind, pod(oci("good"))))).reason == "verified"
    assert codes(judged(ready, review(templated(api, kind, pod(oci("nosuch")))))) == {"GC-E0201"}
    assert codes(judged(ready, review(templated(api, kind, pod())))) == {"GC-A0205"}


SERVING: list[tuple[str, str, Any]] = [
    ("InferenceService", "v1beta1", lambda text: {"predictor": {"model": {"storageUri": text}}}),
    ("InferenceService", "v1beta1", lambda text: {"predictor": {"sklearn": {"storageUri": text}}}),
    ("InferenceService", "v1beta1", lambda text: {"predictor": {"model": {"storageUris": [{"uri": text}]}}}),
    ("InferenceService", "v1beta1", lambda text: {"predictor": {"storageUris": [{"uri": text, "mountPath": "/m"}]}}),
    ("InferenceService", "v1beta1", lambda text: {"predictor": pod_spec(text)}),
    ("InferenceService", "v1beta1", lambda text: {"predictor": {"workerSpec": pod_spec(text)}}),
    ("InferenceService", "v1beta1", lambda text: {"transformer": pod_spec(text)}),
    ("InferenceService", "v1beta1", lambda text: {"explainer": {"art": {"storageUri": text}}}),
    ("InferenceService", "v1beta1", lambda text: {"predictor": {"containers": [{"name": "k", "env": [{"name": "STORAGE_URI", "value": text}]}]}}),
    ("ServingRuntime", "v1alpha1", pod_spec),
    ("ClusterServingRuntime", "v1alpha1", pod_spec),
    ("TrainedModel", "v1alpha1", lambda text: {"model": {"storageUri": text}}),
    ("LLMInferenceService", "v1alpha1", lambda text: {"model": {"uri": text, "name": "x"}}),
    ("LLMInferenceService", "v1alpha2", lambda text: {"model": {"uri": text, "lora": {"adapters": [{"uri": text}]}}}),
    ("LLMInferenceService", "v1alpha1", lambda text: {"template": pod_spec(text)}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "version", "spec"), SERVING, ids=range(len(SERVING)))
def test_what_kserve_serves_is_looked_at(ready: Admission, kind: str, version: str, spec: Any) -> None:
    """Every place in which KServe takes a model, in its own kinds."""
    assert judged(ready, review(kserve(kind, spec(oci("good")), version))).reason == "verified"
    assert codes(judged(ready, review(kserve(kind, spec(oci("nosuch")), version)))) == {"GC-E0201"}
    for text in ("s3://bucket/model", f"https://example.com/m@sha256:{digest('good')}", "pvc://claim/m"):
        if "containers" not in json.dumps(spec("x")) or not text.startswith("https"):
            found = judged(ready, review(kserve(kind, spec(text), version), namespace="lenient"))
            assert codes(found) == {"GC-A0201"}, text


def test_a_serving_kind_that_names_no_model_is_denied_everywhere(ready: Admission) -> None:
    """An InferenceService serves something by its nature; a storage secret names nothing that could be verified."""
    bare = kserve("InferenceService", {"predictor": {"model": {"modelFormat": {"name": "sklearn"}}}})
    assert codes(judged(ready, review(bare, namespace="lenient"))) == {"GC-A0205"}
    stored = kserve("InferenceService", {"predictor": {"model": {"storage": {"key": "k", "path": "m"}}}})
    assert codes(judged(ready, review(stored, namespace="lenient"))) == {"GC-A0201"}


HIDDEN: dict[str, str] = {
    "a letter of another script": f"\u043eci://{REGISTRY}/nosuch@sha256:{digest('good')}",
    "full-width punctuation": f"oci\uff1a\uff0f\uff0f{REGISTRY}/nosuch",
    "a character without width": f"o\u200bci://{REGISTRY}/nosuch",
    "another script in the digest": f"oci://{REGISTRY}/good@sha256:{digest('good')[:-1]}\u0430",
    "another script in the name": f"oci://{REGISTRY}/g\u043e\u043ed@sha256:{digest('good')}",
}


@pytest.mark.parametrize("namespace", ["prod", "lenient"])
@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN)
def test_a_disguise_is_denied(ready: Admission, text: str, namespace: str) -> None:
    """Characters that look like a reference's are told, even beside a good model."""
    found = judged(ready, review(pod(oci("good"), text), namespace=namespace))
    assert codes(found) == {"GC-A0202"}


NOT_PINNED = {
    "upper case digest": oci("good").replace(digest("good"), digest("good").upper()),
    "short digest": oci("good")[:-1],
    "long digest": oci("good") + "0",
    "another algorithm": f"oci://{REGISTRY}/good@sha512:{digest('good') * 2}",
    "two digests": f"{oci('nosuch')}@sha256:{digest('good')}",
    "a digest in the query": f"oci://{REGISTRY}/good?x=@sha256:{digest('good')}",
    "a digest in front": f"oci://x@sha256:{digest('good')}/nosuch",
    "something behind it": f"{oci('good')}/nosuch",
    "a variable": f"oci://{REGISTRY}/$(NAME)@sha256:{digest('good')}",
    "another scheme": f"s3://bucket/good@sha256:{digest('good')}",
    "a scheme in capitals": f"OCI://{REGISTRY}/nosuch:v1",
    "behind another address": f"https://example.com/,oci://{REGISTRY}/nosuch:v1",
    "behind an option": f"--model=oci://{REGISTRY}/nosuch:v1",
}


@pytest.mark.parametrize("text", NOT_PINNED.values(), ids=NOT_PINNED)
def test_what_only_resembles_a_pin_is_none(ready: Admission, text: str) -> None:
    """A reference names its content exactly, or not at all."""
    for namespace in ("prod", "lenient"):
        found = codes(judged(ready, review(pod(text), namespace=namespace)))
        assert found - {"GC-A0208"} == {"GC-A0201"}  # under `strict`, a list of addresses is a finding too


def test_a_reference_from_elsewhere_is_denied(ready: Admission) -> None:
    """A variable that KServe's storage initialiser reads and whose value is not in the request."""
    hidden = {"name": "STORAGE_URI", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "uri"}}}
    source = pod(oci("good"), initContainers=[{"name": "x", "env": [hidden]}])
    assert codes(judged(ready, review(source))) == {"GC-A0207"}


BARE = "s3://bucket/model"


@pytest.mark.parametrize(
    ("annotations", "namespace", "expected"),
    [
        ({"gitchain.dev/model": f"sha256:{digest('good')}"}, "prod", {"GC-A0201"}),
        ({"gitchain.dev/model": f"sha256:{digest('good')}"}, "claims", set()),
        ({"gitchain.dev/model.server": f"sha256:{digest('good')}"}, "claims", set()),
        ({"gitchain.dev/model.other": f"sha256:{digest('good')}"}, "claims", {"GC-A0201"}),
        ({"gitchain.dev/model": f"sha256:{digest('nosuch')}"}, "claims", {"GC-E0201"}),
        (
            {"gitchain.dev/model": f"sha256:{digest('good')}, sha256:{digest('second')}"},
            "claims",
            {"GC-A0201"},
        ),
        ({"gitchain.dev/model": "latest"}, "claims", {"GC-A0203", "GC-A0201"}),
        ({}, "claims", {"GC-A0201"}),
    ],
)
def test_an_annotation_gives_a_digest_where_the_rule_takes_claims(
    ready: Admission, annotations: Mapping[str, str], namespace: str, expected: set[str]
) -> None:
    """A claim that the node has to check counts only where the operator says so, and for one reference."""
    found = judged(ready, review(pod(BARE, annotations=annotations), namespace=namespace))
    assert codes(found) == expected
    assert found.answer.allowed == (not expected)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("gitchain.dev/model", f"sha256:{digest('good')}", set()),
        ("gitchain.dev/model", f"sha256:{digest('nosuch')}", {"GC-E0201"}),
        ("gitchain.dev/model.server", f"sha256:{digest('second')}", {"GC-A0204"}),
        ("gitchain.dev/model.server", f"sha256:{digest('good')}", set()),
        ("gitchain.dev/model", "", {"GC-A0203"}),
        ("gitchain.dev/model", "sha256:" + digest("good").upper(), {"GC-A0203"}),
        ("gitchain.dev/mode", "audit", set()),
        ("gitchain.dev/ignore", "true", set()),
    ],
)
def test_an_annotation_only_adds(ready: Admission, key: str, value: str, expected: set[str]) -> None:
    """What the author of a pod writes beside a reference never takes anything away from what is demanded."""
    found = judged(ready, review(pod(oci("good"), annotations={key: value})))
    assert codes(found) == expected
    bad = judged(ready, review(pod(oci("nosuch"), annotations={key: value})))
    assert not bad.answer.allowed
    alone = templated("apps/v1", "Deployment", pod(annotations={key: value}))
    assert not judged(ready, review(alone)).answer.allowed
    counts = key.startswith("gitchain.dev/model") and not expected - {"GC-A0204"}
    assert judged(ready, review(alone, namespace="claims")).answer.allowed == counts


def test_labels_and_annotations_choose_no_rule(ready: Admission) -> None:
    """Only the request's namespace does: neither what the object says of itself nor its namespace's labels."""
    source = pod(oci("nosuch"), annotations={"gitchain.dev/mode": "audit", "gitchain.dev/layout": "other"})
    source["metadata"]["labels"] = {"gitchain.dev/mode": "audit", "kubernetes.io/metadata.name": "audit"}
    assert not judged(ready, review(source)).answer.allowed
    lying = review(source)
    lying["request"]["object"]["metadata"]["namespace"] = "audit"
    assert codes(judged(ready, lying)) == {"GC-A0101"}


def test_a_namespace_without_a_rule_is_denied(ready: Admission) -> None:
    """Nothing is admitted because the operator forgot it."""
    for namespace in ("other", "Prod", "prod\u200b", ""):
        assert codes(judged(ready, review(pod(oci("good")), namespace=namespace))) == {"GC-A0104"}


def test_dry_runs_generated_names_and_deletion_exempt_nothing(ready: Admission) -> None:
    """A bad model is bad whatever else the object or the request says."""
    source = pod(oci("nosuch"))
    source["metadata"] |= {"generateName": "x-", "deletionTimestamp": "2026-01-01T00:00:00Z", "name": ""}
    for operation, old in (("CREATE", None), ("UPDATE", pod(oci("good"))), ("UPDATE", pod())):
        for more in ({}, {"dryRun": True}, {"name": ""}):
            found = judged(ready, review(source, operation=operation, old=old, **more))
            assert codes(found) == {"GC-E0201"}


def test_an_old_object_exempts_nothing_that_changes(ready: Admission) -> None:
    """An update is looked at as a whole, also where the bad model was there before; bookkeeping changes nothing."""
    old = pod(oci("nosuch"))
    for change in (
        {"spec": pod_spec(oci("nosuch"), hostNetwork=True)},
        {"metadata": {**old["metadata"], "labels": {"a": "b"}}},
        {"metadata": {**old["metadata"], "annotations": {"a": "b"}}},
    ):
        assert codes(judged(ready, review({**old, **change}, operation="UPDATE", old=old))) == {"GC-E0201"}
    kept = {
        **old,
        "metadata": {**old["metadata"], "finalizers": [], "deletionTimestamp": "2026-01-01T00:00:00Z"},
    }
    assert judged(ready, review(kept, operation="UPDATE", old=old)).reason == "nothing new"
    assert (
        judged(ready, review(kept, operation="UPDATE", old=old, subResource="status")).reason == "nothing new"
    )
    assert codes(judged(ready, review(kept, operation="CREATE", old=old))) == {"GC-E0201"}
    assert codes(
        judged(ready, review(kept, operation="UPDATE", old=old, subResource="ephemeralcontainers"))
    ) == {"GC-E0201"}


def test_what_stands_outside_of_spec_is_no_bookkeeping(ready: Admission) -> None:
    """A PodTemplate has no spec: its template is looked at, and a change of it is a change."""
    old, new = (templated("v1", "PodTemplate", pod(oci(model))) for model in ("good", "nosuch"))
    assert codes(judged(ready, review(new, operation="UPDATE", old=old))) == {"GC-E0201"}
    assert judged(ready, review(old, operation="UPDATE", old=old)).reason == "nothing new"


def scale(new: Any, old: Any, **more: Any) -> dict[str, Any]:
    sizes = [
        {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": "w"},
            "spec": {"replicas": count},
        }
        for count in (new, old)
    ]
    return review(sizes[0], operation="UPDATE", old=sizes[1], subResource="scale", **more)


def test_subresources_that_carry_no_object_are_denied(ready: Admission) -> None:
    """Scaling up, running a command beside the model, and what is not known; taking away is free."""
    assert codes(judged(ready, scale(3, 1))) == {"GC-A0103"}
    assert codes(judged(ready, scale("0", 1))) == {"GC-A0103"}
    assert judged(ready, scale(1, 3)).reason == "nothing new"
    command = {"apiVersion": "v1", "kind": "PodExecOptions", "command": ["sh"]}
    for name in ("exec", "attach", "portforward", "proxy"):
        assert codes(judged(ready, review(command, operation="CONNECT", subResource=name))) == {"GC-A0103"}
    for name in ("binding", "token", "Scale", "status "):
        assert codes(judged(ready, review(pod(oci("good")), subResource=name))) == {"GC-A0103"}
    assert judged(ready, review(None, operation="DELETE", old=pod(oci("nosuch")))).reason == "nothing new"
    assert judged(ready, review(pod(), operation="CREATE", subResource="eviction")).reason == "nothing new"


@pytest.mark.parametrize(
    ("api", "kind"),
    [
        ("v1", "ConfigMap"),
        ("apps/v1beta1", "Deployment"),
        ("v2", "Pod"),
        ("ml.example.com/v1", "Pod"),
        ("v1", "pod"),
    ],
)
def test_an_unknown_kind_is_denied(ready: Admission, api: str, kind: str) -> None:
    """What gitchain cannot read it does not let through, even where no model is demanded."""
    source = {"apiVersion": api, "kind": kind, "metadata": {}, "spec": pod_spec(oci("good"))}
    for namespace in ("prod", "lenient"):
        assert codes(judged(ready, review(source, namespace=namespace))) == {"GC-A0102"}


def test_where_no_model_is_demanded_none_may_be_hidden(ready: Admission) -> None:
    """Not our business is what names no model at all; the operator may pass over texts, and no field that holds one."""
    assert (
        judged(ready, review(pod("--port=80", "https://example.com/"), namespace="lenient")).reason
        == "no model"
    )
    assert judged(ready, review(pod("s3://logs/today"), namespace="lenient")).reason == "no model"
    assert codes(judged(ready, review(pod("--port=80")))) == {"GC-A0205"}
    field = pod(initContainers=[{"name": "x", "env": [{"name": "STORAGE_URI", "value": "s3://logs/x"}]}])
    assert codes(judged(ready, review(field, namespace="lenient"))) == {"GC-A0201"}


def test_modes_tell_and_do_not_enforce(ready: Admission) -> None:
    """warn says what is wrong to the client, audit to the audit log, and only these two let it in."""
    warned = judged(ready, review(pod(oci("nosuch")), namespace="warn"))
    assert (warned.answer.allowed, warned.reason) == (True, "warned")
    assert "GC-E0201" in warned.answer.warnings[0]
    audited = judged(ready, review(pod(oci("nosuch")), namespace="audit"))
    assert (audited.answer.allowed, audited.reason, audited.answer.warnings) == (True, "audited", ())
    assert "GC-E0201" in audited.answer.audit["problems"]
    many = pod(*(f"s3://bucket/{number}" for number in range(100)))
    told = judged(ready, review(many, namespace="warn")).answer.to_json("x")["response"]
    assert isinstance(told, dict)
    assert len(told["warnings"]) == MAX_WARNINGS


def test_too_many_models_are_denied(ready: Admission) -> None:
    """Work is bounded: 65 different models, and references without end."""
    many = pod(*(f"oci://x/y@sha256:{number:064x}" for number in range(65)))
    assert codes(judged(ready, review(many))) == {"GC-A0206"}
    endless = pod(*(f"s3://bucket/{number}" for number in range(5000)))
    assert codes(judged(ready, review(endless))) == {"GC-A0206"}


def test_a_denial_says_what_and_what_to_do(ready: Admission) -> None:
    """The message at the client: the finding's code, the model, what helps; plain text whatever the object holds."""
    answer = judged(ready, review(pod(oci("nosuch"), "s3://\x1b[31mred\u202e/x"))).answer.to_json("u")
    response = answer["response"]
    assert isinstance(response, dict)
    message = response["status"]["message"]
    assert "GC-A0202" in message
    assert message.isascii()
    assert message.isprintable()
    lone = judged(ready, review(pod(oci("nosuch")))).answer.to_json("u")["response"]
    assert isinstance(lone, dict)
    assert "GC-E0201" in lone["status"]["message"]
    assert f"sha256:{digest('nosuch')}" in lone["status"]["message"]
    assert "gitchain" in lone["status"]["message"].split(": ")[-1]
