"""Every case of the matrix on the real API server, and gitchain's own certificates and replicas changed under load."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitchain.admit.audit import Audit, audit
from gitchain.admit.cluster import Cluster as RealCluster
from gitchain.admit.config import read_settings
from gitchain.admit.notices import report, result
from gitchain.admit.reporting import AUDIT, NoticeWriter
from gitchain.admit.reports import Reports, ReportSettings
from tests.stack import (
    chart,
    departures,
    gatekeeper,
    ground,
    install,
    k8s,
    matrix_before,
    outage,
    rolling,
    told,
    tries,
)
from tests.stack.definitions import define_report
from tests.stack.kube import Cluster, until
from tests.stack.processes import free_ports
from tests.stack.tries import Case
from tests.support.admission import admission, settled
from tests.support.prepared_repository import GIT_IDENTITY

REVIEWS = 300


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("k8s")


@pytest.fixture(autouse=True)
def same_user(isolated: Path, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas that a test starts anew belong to the user who signed, and not to one of the test's own."""
    del isolated  # it has set them already
    monkeypatch.setenv("HOME", str(top))
    monkeypatch.setenv("GITCHAIN_HOME", str(top / "home"))


@pytest.fixture(scope="module")
def on(cluster: Cluster, helm: Path, top: Path) -> Iterator[install.Installed]:
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**GIT_IDENTITY, "HOME": str(top), "GITCHAIN_HOME": str(top / "home")}.items():
            patch.setenv(key, value)
        for name in ("ground", "serve"):
            (top / name).mkdir()
        base = ground.make(top / "ground")
        with install.installed(cluster, base, helm, top / "serve", matrix_before.before) as found:
            yield found


def grant(on: install.Installed, manifests: list[dict[str, Any]]) -> None:
    """Give the chart's account the rights of these manifests, and wait until the API server has taken them in."""
    for one in manifests:
        if one["kind"] in {"ServiceAccount", "ClusterRole", "ClusterRoleBinding"}:
            done = on.cluster.kubectl("apply", "-n", chart.NAMESPACE, "-f", "-", stdin=json.dumps(one))
            assert done.returncode == 0, done.stderr
    account = f"system:serviceaccount:{chart.NAMESPACE}:{chart.NAME}"

    def may_list_pods() -> str:
        asked = on.cluster.kubectl("auth", "can-i", "list", "pods", "--all-namespaces", "--as", account)
        return asked.stdout.strip()

    assert until(may_list_pods, "yes") == "yes"


def audited(on: install.Installed, cluster: RealCluster) -> Audit:
    """Return a whole audit that decided on everything: on a busy machine a review may be out of time once."""
    with (
        admission(read_settings(on.service.folder / "serve.yaml")) as judging,
        ThreadPoolExecutor(1) as executor,
    ):
        settled(judging)
        for _ in range(5):
            found = asyncio.run(audit(judging, cluster, executor))
            assert found.whole
            if not found.outcomes["undecided"]:
                break
    assert not found.outcomes["undecided"]
    return found


@pytest.mark.parametrize("one", k8s.CASES, ids=lambda one: f"{one.group}: {one.name}")
def test_it_comes_to_what_it_has_to(on: install.Installed, one: Case) -> None:
    reply = one.attempt(on)
    assert tries.come_to(reply) == one.expected, reply.message


def test_while_nothing_answers_no_model_gets_in_and_the_cluster_can_mend_itself(
    on: install.Installed,
) -> None:
    cases = outage.cases(on)
    with on.service.away():
        found = {one.name: tries.come_to(one.attempt(on)) for one in cases}
    assert found == {one.name: one.expected for one in cases}
    install.settle(on.admin)


def test_without_the_right_to_look_nothing_grows(on: install.Installed) -> None:
    """The chart's role is what lets a signed model grow: without it that is denied, and nothing else is."""
    (good,) = (one for one in k8s.CASES if one.name == "up: a Deployment with a signed model")
    where = f"{install.ROLES}/clusterrolebindings/{chart.NAME}-scale"
    binding = on.admin.call("GET", where).document
    on.admin.call("DELETE", where)
    try:
        denied = until(lambda: tries.come_to(good.attempt(on)), "denied GC-A0103")
        assert denied == "denied GC-A0103"
        assert tries.create(on, tries.pod(tries.spec(tries.GOOD))).status == 201
    finally:
        del binding["metadata"]["resourceVersion"], binding["metadata"]["uid"]
        assert on.admin.call("POST", where.rpartition("/")[0], binding).status == 201
    assert until(lambda: tries.come_to(good.attempt(on)), "allowed") == "allowed"


def test_the_audit_finds_what_got_in_with_the_charts_rights_and_these_are_no_more(
    on: install.Installed, helm: Path, tmp_path: Path
) -> None:
    grant(on, chart.rendered(helm, chart.values({**on.ground.settings(), "times": {"audit": 600}})))
    token = on.cluster.kubectl("create", "token", chart.NAME, "-n", chart.NAMESPACE).stdout.strip()
    (tmp_path / "token").write_text(token)
    slipped = tries.pod(tries.spec(tries.BAD))
    tries.created(on, slipped, namespace=ground.WARNED)

    account = on.cluster.client(token=token)
    for path in ("/api/v1/secrets", "/api/v1/configmaps", "/apis/apps/v1/deployments"):
        assert account.call("GET", path).status == 403
    assert tries.create(replace(on, developer=account), tries.pod(tries.spec(tries.GOOD))).status == 403

    there = RealCluster(
        f"https://127.0.0.1:{on.cluster.port}", tmp_path / "token", on.cluster.folder / "ca.crt"
    )
    found = audited(on, there)
    assert found.outcomes["denied"] >= 1


def test_a_deployment_and_its_end_are_in_the_models_log(on: install.Installed) -> None:
    assert departures.stated(on) == "", departures.log(on)[-2000:]


def test_a_denied_pod_leaves_an_event_and_a_report(on: install.Installed) -> None:
    """With the rights of the chart's account: one of them less, and nothing is written."""
    assert told.missing(on, "first") == ""
    where = f"{install.ROLES}/clusterrolebindings/{chart.NAME}-reporting"
    binding = on.admin.call("GET", where).document
    on.admin.call("DELETE", where)
    account = on.cluster.kubectl("create", "token", chart.NAME, "-n", chart.NAMESPACE).stdout.strip()
    client = on.cluster.client(token=account)
    try:
        assert until(lambda: str(client.call("GET", told.REPORTS).status), "403") == "403"
        tries.create(on, tries.pod(tries.spec(tries.BAD), name="second"))
        refused = until(lambda: str("-reporting" in on.service.log(0, 500) + on.service.log(1, 500)), "True")
        assert refused == "True"
    finally:
        del binding["metadata"]["resourceVersion"], binding["metadata"]["uid"]
        assert on.admin.call("POST", where.rpartition("/")[0], binding).status == 201
    assert until(lambda: str(client.call("GET", told.REPORTS).status), "200") == "200"
    assert client.call("GET", told.EVENTS).status == 403
    assert told.missing(on, "third") == ""


@pytest.mark.parametrize("group", Reports)
def test_an_audit_is_a_report_that_the_api_keeps_as_it_is(
    on: install.Installed, helm: Path, tmp_path: Path, group: Reports
) -> None:
    """Every field of it is one that the kind has, and both kinds are written with the chart's rights."""
    define_report(on.admin, group)
    settings = {**on.ground.settings(), "reporting": {"reports": str(group)}, "times": {"audit": 600}}
    grant(on, chart.rendered(helm, chart.values(settings)))
    token = on.cluster.kubectl("create", "token", chart.NAME, "-n", chart.NAMESPACE).stdout.strip()
    (tmp_path / "token").write_text(token)
    there = RealCluster(
        f"https://127.0.0.1:{on.cluster.port}", tmp_path / "token", on.cluster.folder / "ca.crt"
    )
    slipped = tries.pod(tries.spec(tries.BAD))
    tries.created(on, slipped, namespace=ground.WARNED)
    writer = NoticeWriter(there, ReportSettings(events=True, reports=group), "test")
    found = audited(on, there)
    notices, where = [one for _, one in found.notices], f"{told.place(group, ground.WARNED)}/{AUDIT}"
    sent = list(writer.replace(notices, found.places))
    version = on.admin.call("GET", where).document["metadata"]["resourceVersion"]
    sent += writer.replace(notices, found.places)
    running = [one for one in notices if one.namespace == ground.WARNED]
    assert slipped["metadata"]["name"] in {one.subject["name"] for one in running}
    sent += writer.write(running[:1], datetime.now(UTC))
    assert {one.why for one in sent} == {""}
    events = on.admin.call("GET", told.EVENTS.replace("/prod/", f"/{ground.WARNED}/")).document["items"]
    assert "ModelNotAcceptable" in {one["reason"] for one in events}
    kept = on.admin.call("GET", where).document
    assert kept["metadata"]["resourceVersion"] == version  # what did not change is not written
    here = [result(one) for one in running]
    made = report(group, AUDIT, ground.WARNED, here, found.places[ground.WARNED])
    assert {key: kept[key] for key in made if key != "metadata"} == {
        key: made[key] for key in made if key != "metadata"
    }
    assert slipped["metadata"]["name"] in {one["resources"][0]["name"] for one in kept["results"]}
    assert kept["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "gitchain"}


@pytest.mark.parametrize(("_name", "references", "code"), gatekeeper.CASES, ids=lambda one: str(one)[:40])
def test_gatekeepers_engine_asks_and_denies(
    on: install.Installed,
    engine: Path,
    _name: str,
    references: tuple[str, ...],
    code: str,
) -> None:
    found = gatekeeper.violations(on, engine, references)
    assert len(found) == (1 if code else 0)
    assert all(code in one for one in found)


def test_gatekeeper_denies_while_gitchain_does_not_answer(on: install.Installed, engine: Path) -> None:
    nobody = f"https://127.0.0.1:{free_ports(['nobody'])['nobody']}/gatekeeper"
    assert len(gatekeeper.violations(on, engine, (tries.GOOD,), url=nobody)) == 1


def test_no_call_fails_while_certificates_and_replicas_change(on: install.Installed) -> None:
    load = rolling.Load(on, REVIEWS)
    load.start()
    rolling.operate(on, load, lambda _: None)
    load.end()
    assert (load.failed, load.wrong) == ([], [])
    assert load.done >= REVIEWS


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ("pods/ephemeralcontainers", "ephemeral container, into a pod that was admitted"),
        ("deployments", "update: a Deployment's template, patched"),
        ("inferenceservices", "KServe: storageUri of a bucket"),
        ("deployments/scale", "up: a Deployment with an unknown model, from before the webhook"),
    ],
)
def test_without_the_charts_rule_the_same_try_gets_in(
    on: install.Installed, resource: str, name: str
) -> None:
    """What denies is gitchain by this very rule, and nothing else of the cluster."""
    (one,) = (one for one in k8s.CASES if one.name == name)
    hook = copy.deepcopy(
        on.admin.call("GET", f"{install.HOOKS}/validatingwebhookconfigurations/{chart.NAME}").document
    )
    before = copy.deepcopy(hook)
    for rule in hook["webhooks"][0]["rules"]:
        rule["resources"] = [kept for kept in rule["resources"] if kept != resource]
    hook["webhooks"][0]["rules"] = [rule for rule in hook["webhooks"][0]["rules"] if rule["resources"]]
    for configuration, expected in ((hook, "allowed"), (before, one.expected)):
        assert install.configure(on.admin, configuration).status == 200
        assert until(lambda: tries.come_to(one.attempt(on)), expected) == expected
