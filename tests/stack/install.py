"""gitchain installed in the tests' cluster by its own chart: two replicas, the webhook's URL on loopback."""

from __future__ import annotations

import contextlib
import copy
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitchain.admit.reports import Reports
from tests.stack import chart, ground
from tests.stack.authority import Authority
from tests.stack.definitions import define, define_report
from tests.stack.ground import Ground
from tests.stack.kube import DEVELOPER, SETTLE_SECONDS, Client, Cluster, Reply
from tests.stack.replicas import Service, serving

HOOKS = "/apis/admissionregistration.k8s.io/v1"
ROLES = "/apis/rbac.authorization.k8s.io/v1"
DENIED = 'admission webhook "models.gitchain.dev" denied the request: gitchain: '
KSERVE = ("InferenceService", "v1beta1"), ("ServingRuntime", "v1alpha1"), ("TrainedModel", "v1alpha1")


@dataclass(frozen=True)
class Installed:
    """The cluster, the replicas, and connections of the administrator and of a developer."""

    cluster: Cluster
    ground: Ground
    service: Service
    authority: Authority
    """Who signed the webhook's certificate."""
    configurations: tuple[dict[str, Any], ...]
    """The validating one and the mutating one."""
    admin: Client
    developer: Client


@contextlib.contextmanager
def installed(
    cluster: Cluster, base: Ground, helm: Path, folder: Path, before: Callable[[Client], None]
) -> Iterator[Installed]:
    """Install what the chart renders, and wait until the webhook is asked. `before` makes what is there already."""
    authority = Authority.make("gitchain test webhook")
    given = chart.values(base.settings(), authority.pem, scale=True)
    manifests = chart.rendered(helm, given)
    settings = chart.of_kind(manifests, "ConfigMap")["data"]["serve.yaml"]
    settings = settings.replace(ground.LOG, str(base.top / "repo"))
    files = {path.name: path.read_bytes() for path in base.policy} | {"clients.crt": cluster.clients.pem}
    admin = cluster.client()
    prepare(admin)
    define_report(admin, Reports.OPEN)
    before(admin)
    account(cluster, manifests, folder / "account")
    with serving(folder, settings, files, authority, cluster.port) as service:
        hook, mutating = (
            chart.aimed_at(chart.of_kind(manifests, f"{word}WebhookConfiguration"), service.url)
            for word in ("Validating", "Mutating")
        )
        for one in (hook, mutating):
            reply = configure(admin, one)
            assert reply.status in {200, 201}, reply.message
        found = Installed(
            cluster, base, service, authority, (hook, mutating), admin, cluster.client(DEVELOPER)
        )
        try:
            settle(admin)
            yield found
        finally:
            for word in ("validating", "mutating"):
                admin.call("DELETE", f"{HOOKS}/{word}webhookconfigurations/{chart.NAME}")


def account(cluster: Cluster, manifests: list[dict[str, Any]], folder: Path) -> None:
    """Give the chart's service account its rights, and put its token where a pod's would be."""
    kinds = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding"}
    text = json.dumps(
        {"kind": "List", "apiVersion": "v1", "items": [one for one in manifests if one["kind"] in kinds]}
    )
    done = cluster.kubectl("apply", "-n", chart.NAMESPACE, "-f", "-", stdin=text)
    assert done.returncode == 0, done.stderr
    done = cluster.kubectl("create", "token", chart.NAME, "-n", chart.NAMESPACE, "--duration=8h")
    assert done.returncode == 0, done.stderr
    folder.mkdir()
    (folder / "token").write_text(done.stdout, encoding="utf-8")
    (folder / "ca.crt").write_bytes(cluster.authority.pem)


def configure(admin: Client, hook: dict[str, Any]) -> Reply:
    """Create the configuration, or put another in its place."""
    path = f"{HOOKS}/{hook['kind'].lower()}s"
    there = admin.call("GET", f"{path}/{chart.NAME}")
    if there.status == 404:
        return admin.call("POST", path, hook)
    fresh = copy.deepcopy(hook)
    fresh["metadata"]["resourceVersion"] = there.document["metadata"]["resourceVersion"]
    return admin.call("PUT", f"{path}/{chart.NAME}", fresh)


def settle(admin: Client) -> None:
    """Wait until the API server asks the webhook: it takes configurations up a moment after they are written."""
    wait = threading.Event()
    probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": {}}
    probe["spec"] = {"containers": [{"name": "probe", "image": "probe"}]}
    path = f"/api/v1/namespaces/{ground.ENFORCED}/pods?dryRun=All"
    reply = Reply(0, {})
    for _ in range(int(SETTLE_SECONDS / 0.2)):
        reply = admin.call("POST", path, probe)
        if reply.message.startswith(DENIED):
            return
        wait.wait(0.2)
    raise AssertionError(f"the webhook is not asked: {reply.status} {reply.message}")


def prepare(admin: Client) -> None:
    """Make the namespaces, small definitions of KServe's kinds, and a developer's rights in all namespaces of tests."""
    for name in (*ground.NAMESPACES, chart.NAMESPACE):
        admin.call("POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": name}})
    for kind, version in KSERVE:
        define(admin, kind, version)
    everything = {"apiGroups": ["", "apps", "batch", "serving.kserve.io"], "resources": ["*"], "verbs": ["*"]}
    role = {"kind": "ClusterRole", "metadata": {"name": "developer"}, "rules": [everything]}
    admin.call("POST", f"{ROLES}/clusterroles", role)
    subject = {"kind": "Group", "name": "developers", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"kind": "ClusterRoleBinding", "metadata": {"name": "developer"}, "subjects": [subject]}
    binding["roleRef"] = {"kind": "ClusterRole", "name": "developer", "apiGroup": "rbac.authorization.k8s.io"}
    admin.call("POST", f"{ROLES}/clusterrolebindings", binding)
