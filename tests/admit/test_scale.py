"""Scaling up is judged by the workload that is looked up; where it cannot be, nothing grows; down is always free."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitchain.admit import cluster as cluster_module
from gitchain.admit.admission import Admission
from gitchain.admit.deployment_events import ClusterName, events
from gitchain.admit.review import GroupVersionResource
from gitchain.admit.scale import SCALED, Workloads
from gitchain.admit.settings import AdmissionSettings
from tests.support.admission import (
    AdmissionFiles,
    admission,
    codes,
    judged,
    oci,
    pod,
    review,
    serving,
    settled,
    templated,
)
from tests.support.kubernetes_api import Api

WHERE = "/apis/apps/v1/namespaces/{}/deployments/w"
PLACE = WHERE.format("prod")


@contextmanager
def looking(settings: AdmissionSettings, api: Api) -> Iterator[Admission]:
    with admission(settings) as made, ThreadPoolExecutor(1) as executor:
        workloads = Workloads(api.cluster, executor, settings.times.answer)
        yield Admission(settings, settled(made).caches, workloads)


@pytest.fixture
def scaling(models: AdmissionFiles, api: Api) -> Iterator[Admission]:
    with looking(models.settings, api) as made:
        yield made


def deployment(*arguments: str) -> dict[str, Any]:
    return templated("apps/v1", "Deployment", pod(*arguments))


def scale(
    new: Any = 3, old: Any = 1, at: GroupVersionResource | None = None, name: str = "w", **more: Any
) -> dict[str, Any]:
    """Return the review of a scale as an API server sends it."""
    at = at or GroupVersionResource("apps", "v1", "deployments")
    sizes = [
        {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": name},
            "spec": {} if count is None else {"replicas": count},
            "status": {"replicas": 1000, "selector": "app=model"},
        }
        for count in (new, old)
    ]
    about = {"group": at.group, "version": at.version, "resource": at.resource}
    given = {"operation": "UPDATE", "subResource": "scale", "resource": about, "name": name} | more
    return review(sizes[0], old=sizes[1], **given)


@pytest.mark.parametrize("at", SCALED, ids=str)
def test_what_grows_is_judged_by_its_template(scaling: Admission, api: Api, at: GroupVersionResource) -> None:
    """Of each kind: the model that passes grows, the one that nobody signed does not."""
    kind = SCALED[at]
    version = f"{kind.group}/{kind.version}" if kind.group else kind.version
    path = f"/{'apis' if kind.group else 'api'}/{version}/namespaces/prod/{at.resource}/w"
    api.objects[path] = templated(version, kind.kind, pod(oci("good")))
    found = judged(scaling, scale(at=at))
    assert (found.answer.allowed, found.reason) == (True, "verified")
    assert found.review is not None
    assert found.review.subresource == "scale"
    api.objects[path] = templated(version, kind.kind, pod(oci("nosuch")))
    assert codes(judged(scaling, scale(at=at))) == {"GC-E0201"}


def test_without_a_model_the_rule_decides(scaling: Admission, api: Api) -> None:
    """A template that names none grows where none is demanded, and only there."""
    for namespace in ("prod", "lenient", "warn"):
        api.objects[WHERE.format(namespace)] = deployment("--port=80")
    assert codes(judged(scaling, scale())) == {"GC-A0205"}
    assert judged(scaling, scale(namespace="lenient")).reason == "no model"
    assert judged(scaling, scale(namespace="warn")).reason == "warned"


@pytest.mark.parametrize(("new", "old"), [(1, 3), (3, 3), (0, 3), (None, 3), (0, None), (0, "many"), (0, -1)])
def test_down_is_free_and_nothing_is_asked(scaling: Admission, api: Api, new: Any, old: Any) -> None:
    """To no more than was ordered, and to nothing whatever was; the status, which others may write, counts for nothing."""
    api.objects[PLACE] = deployment(oci("nosuch"))
    assert judged(scaling, scale(new, old)).reason == "nothing new"
    assert api.asked == []


@pytest.mark.parametrize(
    ("new", "old"), [(4, 3), (1, None), (1, "0"), (1, -1), (True, 3), ("0", 3), (-1, 3), (1.0, 3)]
)
def test_what_is_not_plainly_less_is_more(scaling: Admission, api: Api, new: Any, old: Any) -> None:
    """A count that is none is looked at as one that grows."""
    api.objects[PLACE] = deployment(oci("nosuch"))
    assert codes(judged(scaling, scale(new, old))) == {"GC-E0201"}


@pytest.mark.parametrize(
    "change",
    [
        {"at": GroupVersionResource("apps", "v1", "daemonsets")}, {"at": GroupVersionResource("apps", "v1beta1", "deployments")},
        {"at": GroupVersionResource("ml.example.com", "v1", "deployments")}, {"at": GroupVersionResource("", "v1", "deployments")},
        {"name": ""}, {"name": ".."}, {"name": "a/b"}, {"name": "w?x"}, {"name": "W"}, {"name": "w\n"}, {"name": "x" * 254},
        {"namespace": "prod-../../x"}, {"operation": "CREATE"}, {"operation": "CONNECT"},
        {"kind": {"group": "extensions", "version": "v1beta1", "kind": "Scale"}},
    ],
)  # fmt: skip
def test_what_cannot_be_looked_up_does_not_grow(scaling: Admission, api: Api, change: dict[str, Any]) -> None:
    """Another kind, or a name that would be another path: denied, and nothing is asked with the token."""
    made = scale(**change)
    if "kind" in change:
        for key in ("object", "oldObject"):
            made["request"][key]["apiVersion"] = "extensions/v1beta1"
    assert codes(judged(scaling, made)) == {"GC-A0103"}
    assert api.asked == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"{}"), (403, b"{}"), (401, b"{}"), (302, b"{}"), (500, b"{}"), (200, b"{"), (200, b"[]"), (200, b"{}"),
        (200, json.dumps(pod(oci("good"))).encode()),
        (200, json.dumps(templated("apps/v1", "StatefulSet", pod(oci("good")))).encode()),
        (200, json.dumps(templated("apps/v1beta1", "Deployment", pod(oci("good")))).encode()),
    ],
)  # fmt: skip
def test_a_look_that_fails_is_a_denial(scaling: Admission, api: Api, status: int, body: bytes) -> None:
    """Nothing grows without a look, as far as the rule enforces; no redirect is followed, so no token leaves."""
    for namespace in ("prod", "warn"):
        api.answers[WHERE.format(namespace)] = (status, body)
    assert codes(judged(scaling, scale())) == {"GC-A0103"}
    warned = judged(scaling, scale(namespace="warn"))
    assert (warned.answer.allowed, warned.reason) == (True, "warned")
    assert "GC-A0103" in warned.answer.warnings[0]
    assert not any("stolen" in path for path in api.asked)


def test_an_answer_that_does_not_end_is_none(
    models: AdmissionFiles, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one that comes byte by byte nor one that is too large: the look ends in half of the answer's time."""
    settings = replace(models.settings, times=replace(models.settings.times, answer=1))
    with looking(settings, api) as made:
        api.hangs.add(PLACE)
        found = judged(made, scale())
        assert codes(found) == {"GC-A0103"}
        assert "in time" in found.answer.problems[0].message
        api.hangs.clear()
        api.objects[PLACE] = deployment(oci("good"))
        assert judged(made, scale()).reason == "verified"
        monkeypatch.setattr(cluster_module, "MAX_OBJECT_BYTES", 100)
        assert "too large" in judged(made, scale()).answer.problems[0].message


def test_more_of_the_same_is_no_deployment(models: AdmissionFiles, scaling: Admission, api: Api) -> None:
    """The deployment log says which models came; how many pods serve one it does not."""
    api.objects[PLACE] = deployment(oci("good"))
    found = judged(scaling, scale())
    assert found.reason == "verified"
    told = events(found, models.settings.rules[0], None, ClusterName("production", "eu-1"), datetime.now(UTC))
    assert list(told) == []


def test_the_server_looks_up_where_there_is_a_cluster(
    models: AdmissionFiles, tmp_path: Path, api: Api
) -> None:
    """Over HTTP, with the cluster that the process is in."""
    api.objects[PLACE] = deployment(oci("good"))
    with serving(models.settings, tmp_path, cluster=api.cluster) as (_, client):
        assert client.post("/validate", scale())[1]["response"]["allowed"] is True
        api.objects[PLACE] = deployment(oci("revoked"))
        answer = client.post("/validate", scale())[1]["response"]
    assert answer["allowed"] is False
    assert "GC-E0342" in answer["status"]["message"]
