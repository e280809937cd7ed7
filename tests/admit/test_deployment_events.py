"""What is admitted is stated: which model went where, by whom, under which verdict, and when it left."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitchain.admit import run
from gitchain.admit.admission import Admission
from gitchain.admit.deployment_events import CONTROLLERS, ClusterName, events
from gitchain.admit.run import deployment_log
from gitchain.admit.settings import Deployments
from gitchain.errors import TransportError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import DEPLOYMENT, RETIREMENT
from gitchain.produce import deployments
from gitchain.produce.deployment_statements import DeploymentEvent
from gitchain.trust.load_profile import load_profile
from gitchain.trust.profiles import Profile
from gitchain.workspace.project import open_project
from tests.support.admission import (
    WHO,
    AdmissionFiles,
    Authority,
    digest,
    judged,
    oci,
    pod,
    review,
    serving,
    templated,
)
from tests.support.manual_admission import Heard

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
PLACE = ClusterName("production", "eu-1")


def stated(admission: Admission, asked: dict[str, Any]) -> list[DeploymentEvent]:
    found = judged(admission, asked)
    rule = admission.settings.rule_for(asked["request"]["namespace"])
    layout = admission.caches["credit"].evaluator.layout
    return list(events(found, rule, layout, PLACE, NOW))


def test_a_create_is_a_deployment(ready: Admission) -> None:
    """Model, place, workload, image, person and verdict, as the API server said them."""
    source = templated("apps/v1", "Deployment", pod(oci("good")))
    source["metadata"]["uid"] = "uid-1"
    (found,) = stated(ready, review(source))
    assert (found.kind, found.sha256, found.by) == ("deployed", digest("good"), "dev@example.com")
    assert (found.environment, found.cluster, found.namespace) == ("production", "eu-1", "prod")
    assert (found.workload, found.uid, found.image) == (
        "Deployment/w",
        "uid-1",
        "registry.example.com/server:1",
    )
    assert found.verdict is not None
    assert (found.verdict.result, found.verdict.layout, found.verdict.layout_version) == (
        "PASSED",
        "credit",
        3,
    )


@pytest.mark.parametrize("kind", ["Pod", "CronJob", "PodTemplate"])
def test_the_image_is_that_of_the_first_container(ready: Admission, kind: str) -> None:
    """Wherever a kind keeps its pod."""
    source = (
        pod(oci("good"))
        if kind == "Pod"
        else templated("batch/v1" if kind == "CronJob" else "v1", kind, pod(oci("good")))
    )
    (found,) = stated(ready, review(source))
    assert found.image == "registry.example.com/server:1"


def test_an_update_states_what_changed(ready: Admission) -> None:
    """What came, and what left; nothing for what stayed."""
    old, new = pod(oci("good"), oci("second")), pod(oci("second"), "--port=81")
    found = stated(ready, review(new, operation="UPDATE", old=old))
    assert [(one.kind, one.sha256) for one in found] == [("retired", digest("good"))]
    found = stated(ready, review(old, operation="UPDATE", old=new))
    assert [(one.kind, one.sha256) for one in found] == [("deployed", digest("good"))]


def test_a_deletion_is_a_retirement(ready: Admission) -> None:
    """Of every model of the object, verified or not."""
    found = stated(ready, review(None, operation="DELETE", old=pod(oci("good"), oci("revoked"))))
    assert {(one.kind, one.sha256) for one in found} == {
        ("retired", digest("good")),
        ("retired", digest("revoked")),
    }


def test_what_a_mode_let_in_is_stated_as_failed(ready: Admission) -> None:
    """The log does not look better than the cluster is."""
    (found,) = stated(ready, review(pod(oci("revoked")), namespace="warn"))
    assert found.verdict is not None
    assert found.verdict.result == "FAILED"
    (found,) = stated(ready, review(pod(oci("good"), "s3://bucket/m"), namespace="audit"))
    assert found.verdict is None  # nothing was decided


def owned(user: str, *, controller: object = True) -> dict[str, Any]:
    source = pod(oci("good"))
    source["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "controller": controller}]
    return review(source, userInfo={"username": user})


def test_what_is_nobodys_deployment_is_not_stated(ready: Admission) -> None:
    """Denied, dry, bookkeeping, of another subresource; and pods that a controller makes of what was stated itself."""
    good = pod(oci("good"))
    assert stated(ready, review(pod(oci("nosuch")))) == []
    assert stated(ready, review(good, dryRun=True)) == []
    assert stated(ready, review(None, operation="DELETE", old=good, dryRun=True)) == []
    assert stated(ready, review(good, operation="UPDATE", old=good)) == []
    assert stated(ready, review(good, subResource="eviction")) == []
    assert stated(ready, owned(f"{CONTROLLERS}replicaset-controller")) == []


def test_nobody_else_can_pass_for_a_controller(ready: Admission) -> None:
    """Neither a pod that says it is owned nor a service account of another namespace gets around the log."""
    for asked in (
        owned("dev@example.com"),
        owned("system:serviceaccount:prod:replicaset-controller"),
        owned(f"{CONTROLLERS}replicaset-controller", controller="true"),
        review(pod(oci("good")), userInfo={"username": f"{CONTROLLERS}replicaset-controller"}),
    ):
        assert len(stated(ready, asked)) == 1


@pytest.fixture
def logged(models: AdmissionFiles, tmp_path: Path, isolated: Path) -> Iterator[tuple[AdmissionFiles, Any]]:
    """A server that states what it admits in a copy of the world's repository."""
    shutil.copytree(models.top, tmp_path / "copy", symlinks=True)
    shutil.copytree(models.top / "home", isolated)
    world = AdmissionFiles(tmp_path / "copy")
    told = Deployments(world.repository, "production", "eu-1", "local", identity=WHO)
    settings = replace(world.settings, deployments=told)
    clients = Authority(tmp_path / "clients")
    with serving(settings, tmp_path, clients, ("api-1",), deployments=deployment_log(told)) as (_, client):
        yield world, client


def test_a_trust_that_cannot_be_fetched_does_not_prevent_the_start(
    models: AdmissionFiles, tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    """What is admitted meanwhile waits in the outbox, and is signed once the TUF repository answers."""
    shutil.copytree(models.top, tmp_path / "copy", symlinks=True)
    shutil.copytree(models.top / "home", isolated)
    monkeypatch.setattr(deployments, "FIRST_PAUSE", 0.05)
    world, url, answers = AdmissionFiles(tmp_path / "copy"), "https://tuf.example.com", threading.Event()

    def load(name: str) -> Profile:
        assert name == url
        if not answers.is_set():
            raise TransportError("the trust repository cannot be reached", where=url)
        return replace(load_profile("local"), name=url)

    monkeypatch.setattr(run, "load_profile", load)
    log = deployment_log(Deployments(world.repository, "production", "eu-1", url, identity=WHO))
    log.keep(DeploymentEvent("deployed", digest("good"), by="dev", when=NOW, environment="production"))
    assert [record.msg for record in heard.records][:1] == [
        "deployments wait to be signed: the trust cannot be fetched"
    ]
    while not log.counts.failures:
        threading.Event().wait(0.02)
    assert (len(statements(world, DEPLOYMENT)), log.waiting) == (0, 1)
    answers.set()
    for _ in range(500):
        if log.counts.signed:
            break
        threading.Event().wait(0.02)
    assert log.close(60)
    assert (len(statements(world, DEPLOYMENT)), log.waiting, log.counts.problem) == (1, 0, "")


def statements(world: AdmissionFiles, kind: str) -> list[Statement]:
    store = open_project(world.repository).store
    found = [Bundle.parse(raw).statement() for _, raw in store.items(store.tip(), lambda _problem: None)]
    return [one for one in found if one.predicate_type == kind]


def test_the_server_states_what_it_admits(logged: tuple[AdmissionFiles, Any]) -> None:
    """Signed, logged and stored, after the answer; a denial leaves nothing."""
    world, client = logged
    for model in ("good", "nosuch"):
        client.post("/validate", review(pod(oci(model))))
    client.post("/validate", review(None, operation="DELETE", old=pod(oci("good"))))
    for _ in range(2000):  # each call waits for the server
        client.call("GET", "/healthz")
        if statements(world, DEPLOYMENT) and statements(world, RETIREMENT):
            break
    (came,), (left,) = statements(world, DEPLOYMENT), statements(world, RETIREMENT)
    for one in (came, left):
        assert one.subject[0].digest["sha256"] == digest("good")
        reported = one.predicate["reportedBy"]
        assert isinstance(reported, dict)
        assert reported["name"] == "api-1"
        assert client.sha256 == reported["certificate"]["sha256"]
    assert came.predicate["deployedBy"] == "dev@example.com"
