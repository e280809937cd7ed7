"""Continuous checks: each change about what runs is signed, reported and counted once, also across a restart."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitchain.admit import audit as audit_module
from gitchain.admit import checks as module
from gitchain.admit import reporting, server
from gitchain.admit.admission import Admission
from gitchain.admit.audit import Audit, audit
from gitchain.admit.checks import FILE, AuditChanges, AuditComparison, ModelCheck
from gitchain.admit.deployment_events import ClusterName
from gitchain.admit.reports import ReportSettings
from gitchain.admit.run import deployment_log
from gitchain.admit.settings import Deployments
from gitchain.cli.main import run
from gitchain.errors import LayoutExpiredError, StoreError, TransportError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.digest import Sha256
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import DEPLOYMENT_CHECK
from gitchain.produce.deployments import DeploymentLog
from gitchain.workspace.project import open_project
from tests.support.admission import LAYOUT, WHO, AdmissionFiles, Clock, digest, oci, pod, serving, taken_back
from tests.support.kubernetes_api import Api
from tests.support.manual_admission import Heard, Stand, add, stand

PODS = "/api/v1/pods"
NO_MODEL = Sha256("")


def running(name: str, model: str = "good", owner: str = "", namespace: str = "prod") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if owner:
        controller = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": f"{owner}-5f6",
            "controller": True,
        }
        metadata |= {"ownerReferences": [controller], "labels": {"pod-template-hash": "5f6"}}
    return {"metadata": metadata, "spec": pod(oci(model))["spec"], "status": {"phase": "Running"}}


class Watcher:
    """Audits of one cluster by a server that signs in a copy of the world, and that can be started anew."""

    def __init__(self, world: AdmissionFiles, one: Stand, api: Api) -> None:
        self.world, self.stand, self.api = world, one, api
        told = Deployments(world.repository, "production", "eu-1", "local", identity=WHO)
        self.log: DeploymentLog = deployment_log(told)
        self.start()

    def start(self) -> None:
        self.checks = AuditComparison(self.stand.clock, self.log, ClusterName("production", "eu-1"))

    def audit(self) -> AuditChanges:
        found = audited(self.stand.admission, self.api)
        return self.checks.update(found.checks, whole=found.whole)

    def changes(self) -> list[tuple[str, str, str]]:
        """Audit once; return the workload, the result and the codes of each change."""
        found = self.audit().changes
        return [(one.key[1], one.result, " ".join(one.codes)) for one in found]

    def signed(self) -> list[Statement]:
        assert self.log.close(60)
        store = open_project(self.world.repository).store
        found = [Bundle.parse(raw).statement() for _, raw in store.items(store.tip(), lambda _problem: None)]
        return [one for one in found if one.predicate_type == DEPLOYMENT_CHECK]


def audited(admission: Admission, api: Api) -> Audit:
    with ThreadPoolExecutor(1) as executor:
        return asyncio.run(audit(admission, api.cluster, executor))


@pytest.fixture
def watcher(models: AdmissionFiles, tmp_path: Path, isolated: Path, api: Api) -> Iterator[Watcher]:
    shutil.copytree(models.top, tmp_path / "copy", symlinks=True)
    shutil.copytree(models.top / "home", isolated)
    world = AdmissionFiles(tmp_path / "copy")
    for one in stand(world.settings):
        one.read()
        made = Watcher(world, one, api)
        yield made
        made.log.close(10)


def test_a_revocation_is_stated_once(watcher: Watcher, heard: Heard) -> None:
    """One statement for a workload, whatever its replicas; none while nothing changes, nor after a restart."""
    watcher.api.lists[PODS] = [running(f"web-5f6-{number}", owner="web") for number in range(3)]
    assert watcher.changes() == []
    add(watcher.stand, taken_back("good"))
    watcher.stand.clock.move(seconds=60)
    watcher.stand.read()
    assert watcher.changes() == [("Deployment/web", "FAILED", "GC-E0342")]
    assert watcher.changes() == []
    watcher.start()
    assert watcher.changes() == []
    (line,) = [one.__dict__["facts"] for one in heard.records if one.msg == "runs and is not acceptable"]
    assert (line["workload"], line["model"]) == ("Deployment/web", f"sha256:{digest('good')}")
    (found,) = watcher.signed()
    assert found.subject[0].digest["sha256"] == digest("good")
    layout = watcher.stand.cache.evaluator.layout
    assert layout is not None
    assert {key: value for key, value in found.predicate.items() if key != "checkedOn"} == {
        "model": f"sha256:{digest('good')}", "environment": "production", "cluster": "eu-1", "namespace": "prod",
        "workload": "Deployment/web", "codes": ["GC-E0342"],
        "verdict": {"result": "FAILED", "layout": {"name": "credit", "version": 3, "digest": {"sha256": layout.digest}}},
    }  # fmt: skip


def test_an_expired_layout_is_stated_once(watcher: Watcher) -> None:
    """Under its own version, also when it was read again since."""
    watcher.api.lists[PODS] = [running("p")]
    assert watcher.changes() == []
    layout = watcher.stand.cache.evaluator.layout
    assert layout is not None
    watcher.stand.clock.now = layout.expires
    assert watcher.changes() == [("Pod/p", "FAILED", "GC-A0303")]
    watcher.stand.reader.error = LayoutExpiredError("layout has expired")
    watcher.stand.read()
    assert watcher.changes() == []
    (found,) = watcher.signed()
    verdict: Any = found.predicate["verdict"]
    assert (found.predicate["codes"], verdict["layout"]["version"]) == (["GC-A0303"], 3)


def test_a_new_layout_version_is_stated_with_its_version(watcher: Watcher) -> None:
    """A model that version 4 does not accept; and acceptable again under version 5."""
    watcher.api.lists[PODS] = [running("p")]
    assert watcher.changes() == []
    text = LAYOUT.format(issuer=watcher.world.settings.sources["credit"].signers[0].issuer)
    stricter = text.replace('"models/*"', '"artifacts/*"').replace("version: 3", "version: 4")
    for one, result in ((stricter, "FAILED"), (text.replace("version: 3", "version: 5"), "PASSED")):
        (watcher.world.repository / ".gitchain/layout.yaml").write_text(one)
        command = ["-q", "-C", str(watcher.world.repository), "layout", "sign", "--no-lint", "--as", WHO]
        assert run(command) == 0
        watcher.stand.clock.move(seconds=60)
        watcher.stand.read()
        ((workload, found, codes),) = watcher.changes()
        assert (workload, found, bool(codes)) == ("Pod/p", result, result == "FAILED")
        assert watcher.changes() == []
    verdicts: list[Any] = [one.predicate["verdict"] for one in watcher.signed()]
    assert sorted((one["layout"]["version"], one["result"]) for one in verdicts) == [
        (4, "FAILED"),
        (5, "PASSED"),
    ]


def test_what_cannot_be_decided_changes_nothing(watcher: Watcher) -> None:
    """A source that is down states nothing about a model, and ends nothing that was stated."""
    watcher.api.lists[PODS] = [running("p"), running("r", "revoked")]
    assert watcher.changes() == [("Pod/r", "FAILED", "GC-E0342")]
    watcher.stand.reader.error = TransportError("no network")
    watcher.stand.clock.move(seconds=120)
    watcher.stand.read()
    found = audited(watcher.stand.admission, watcher.api)
    assert (dict(found.outcomes), found.notices) == ({"undecided": 2}, [])
    assert watcher.changes() == []
    watcher.stand.reader.error = None
    watcher.stand.read()
    assert watcher.changes() == []
    assert len(watcher.signed()) == 1


def test_what_is_gone_is_forgotten_by_a_whole_audit(watcher: Watcher) -> None:
    """An audit that could not read a list forgets nothing; a model that runs again is a new change."""
    watcher.api.lists[PODS] = [running("r", "revoked")]
    assert len(watcher.changes()) == 1
    watcher.api.answers[PODS] = (403, b"{}")
    assert watcher.changes() == []
    del watcher.api.answers[PODS]
    assert watcher.changes() == []
    watcher.api.lists[PODS] = []
    assert watcher.changes() == []
    watcher.api.lists[PODS] = [running("r", "revoked")]
    assert len(watcher.changes()) == 1


def test_what_is_wrong_with_an_object_is_no_statement(watcher: Watcher) -> None:
    """No rule, no digest: a change for the log and the cluster, and nothing about a model to sign."""
    bare = running("b")
    bare["spec"] = pod("s3://bucket/m")["spec"]
    watcher.api.lists[PODS] = [bare, running("u", namespace="unruled")]
    assert {one[0] for one in watcher.changes()} == {"Pod/b", "Pod/u"}
    assert watcher.changes() == []
    assert watcher.signed() == []


def test_without_a_deployment_log_nothing_is_signed(ready: Admission, api: Api, isolated: Path) -> None:
    """The user's directory remembers."""
    api.lists[PODS] = [running("r", "revoked")]
    clock = Clock()
    found = audited(ready, api)
    assert len(AuditComparison(clock).update(found.checks, whole=True).changes) == 1
    assert AuditComparison(clock).update(found.checks, whole=True).changes == ()
    (entry,) = json.loads((isolated / FILE).read_text())["failing"]
    assert (entry["workload"], entry["codes"]) == ("Pod/r", ["GC-E0342"])


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema": "x"}', '{"failing": 1, "schema": "https://gitchain.dev/checks/v1"}']
)
def test_a_damaged_memory_repeats_and_is_logged(isolated: Path, heard: Heard, text: str) -> None:
    """Rather a repetition than a change that is lost."""
    isolated.mkdir(exist_ok=True)
    (isolated / FILE).write_text(text)
    clock = Clock()
    failed = {("n", "w", NO_MODEL): ModelCheck(("n", "w", NO_MODEL), "FAILED", ("GC-A0104",))}
    assert len(AuditComparison(clock).update(failed, whole=True).changes) == 1
    assert any("damaged" in record.msg for record in heard.records)
    assert AuditComparison(clock).update(failed, whole=True).changes == ()


def test_a_disk_that_takes_nothing_loses_no_change(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    """What could not be stated is tried at the next audit; what could not be remembered is not stated again."""
    watcher.api.lists[PODS] = [running("r", "revoked")]

    def refuse(*_args: Any, **_more: Any) -> None:
        raise StoreError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(watcher.log, "keep", refuse)
        assert watcher.changes() == []
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_durably", refuse)
        assert len(watcher.changes()) == 1
        assert watcher.changes() == []
    assert watcher.changes() == []
    watcher.start()
    assert watcher.changes() == []
    assert len(watcher.signed()) == 1
    assert sum(record.levelname == "ERROR" for record in heard.records) == 3


def test_what_is_remembered_is_bounded(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FAILING", 3)
    keys = [("n", f"w{number}", NO_MODEL) for number in range(5)]
    failed = {key: ModelCheck(key, "FAILED", ("GC-A0104",)) for key in keys}
    checks = AuditComparison(Clock())
    assert len(checks.update(failed, whole=True).changes) == 3
    assert checks.update(failed, whole=True).changes == ()


def test_the_server_reports_a_change_once(
    models: AdmissionFiles, tmp_path: Path, isolated: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One Event and one count over several audits."""
    audits, real = threading.Semaphore(0), audit_module.audit

    async def watched(*args: Any) -> Audit:
        found = await real(*args)
        audits.release()
        return found

    monkeypatch.setattr(server, "audit", watched)
    monkeypatch.setattr(reporting, "TURN_SECONDS", 0.05)
    api.lists[PODS] = [running(f"web-5f6-{number}", "revoked", owner="web") for number in range(2)]
    times = replace(models.settings.times, audit=1)
    settings = replace(models.settings, times=times, reporting=ReportSettings())
    with serving(settings, tmp_path, cluster=api.cluster) as (_, client):
        for _ in range(3):
            assert audits.acquire(timeout=30)
        text = client.call("GET", "/metrics")[1]
    assert 'gitchain_running_changes_total{layout="credit",result="FAILED"} 1.0' in text
    assert 'gitchain_running_changes_total{layout="credit",result="PASSED"} 0.0' in text
    (made,) = [given for _, path, given in api.sent if "/events" in path]
    assert (made["reason"], made["regarding"]["name"]) == ("ModelNotAcceptable", "web-5f6-0")
