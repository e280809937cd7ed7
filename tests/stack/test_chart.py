"""The chart is what helm and a real API server take, and what it installs is as careful as it says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gitchain.admit.config import read_settings
from gitchain.admit.scale import SCALED
from gitchain.workspace.project import open_project
from tests.stack import chart
from tests.stack.build import KUBERNETES
from tests.stack.kube import Cluster, until
from tests.support.admission import statement

LOG = {
    "repository": "/deployments/log",
    "environment": "production",
    "cluster": "eu-1",
    "trust": "trust.json",
    "key": "/etc/gitchain/key.pem",
}
STATEMENT = statement("train", {}, {"models/m": "m"})
SYSTEM = {"kube-system", "kube-public", "kube-node-lease"}


@pytest.fixture
def manifests(helm: Path) -> list[dict[str, Any]]:
    return chart.rendered(helm, chart.values())


def test_helm_finds_nothing_to_complain_about(helm: Path) -> None:
    done = chart.helm(helm, "lint", chart.values(), "--strict")
    assert done.returncode == 0, done.stdout + done.stderr


def everything() -> dict[str, Any]:
    """Return values that make every object and use every value that a pod gets."""
    settings = {
        **chart.SETTINGS,
        "deployments": LOG,
        "times": {"audit": 600},
        "reporting": {"reports": "openreports.io"},
    }
    settings["rules"] = [
        {"namespaces": ["*"], "layout": "credit", "guard": {"image": f"gitchain@sha256:{'0' * 64}"}}
    ]
    given = chart.values(settings, scale=True)
    given["deployments"] = {"size": "1Gi"}
    given["state"] = {"size": "100Mi"}
    given["policy"]["teams"] = ["risk"]
    given["evidence"] |= {"gitCredentials": "git-login", "registryCredentials": "pull", "caConfigMap": "ca"}
    given["evidence"] |= {"proxy": "http://proxy.example.com:3128", "noProxy": ".svc"}
    variable = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "more", "key": "password"}}}
    return given | {"env": [variable], "envFrom": [{"configMapRef": {"name": "more"}}]}


ACCEPTED = ("container-image-pull-policy",)
"""An image that a digest pins is no other one when it is pulled again."""


@pytest.mark.parametrize("given", [chart.values(), everything()], ids=["least", "everything"])
def test_kube_score_finds_nothing_serious(
    helm: Path, kube_score: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    """Neither critical nor a warning. No limit of CPU is wanted: throttling is latency of every creation."""
    (tmp_path / "chart.yaml").write_text(chart.helm(helm, "template", given).stdout)
    command = [str(kube_score), "score", "--kubernetes-version", KUBERNETES[: KUBERNETES.rindex(".")]]
    command += ["--ignore-container-cpu-limit", "--exit-one-on-warning", "--output-format", "ci"]
    command += [word for one in ACCEPTED for word in ("--ignore-test", one)]
    done = subprocess.run([*command, tmp_path / "chart.yaml"], capture_output=True, text=True, check=False)
    wrong = [line for line in done.stdout.splitlines() if line.startswith(("[CRITICAL]", "[WARNING]"))]
    assert (done.returncode, wrong) == (0, []), done.stderr
    assert "apps/v1/Deployment" in done.stdout


def test_a_real_api_server_takes_everything(helm: Path, cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", chart.NAMESPACE)
    text = chart.helm(helm, "template", everything()).stdout
    done = cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len([one for one in yaml.safe_load_all(text) if one])


def test_the_pods_are_what_a_restricted_namespace_takes(manifests: list[Any], cluster: Cluster) -> None:
    client = cluster.client()
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    client.call(
        "POST",
        "/api/v1/namespaces",
        {"metadata": {"name": "restricted", "labels": label}, "kind": "Namespace"},
    )
    template = chart.of_kind(manifests, "Deployment")["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"] = {**template["metadata"], "name": "gitchain"}
    path = "/api/v1/namespaces/restricted/pods?dryRun=All"
    assert client.call("POST", path, pod).status == 201
    del pod["spec"]["containers"][0]["securityContext"]["capabilities"]
    assert "violates PodSecurity" in client.call("POST", path, pod).message


def test_nothing_of_a_container_is_writable_but_two_volumes_in_memory_or_bounded(
    manifests: list[Any],
) -> None:
    spec = chart.of_kind(manifests, "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    writable = {one["name"] for one in container["volumeMounts"] if not one.get("readOnly")}
    assert writable == {one["name"] for one in spec["volumes"] if one.get("emptyDir", {}).get("sizeLimit")}


def test_a_failing_webhook_admits_nothing_and_blocks_neither_the_system_nor_itself(
    manifests: list[Any],
) -> None:
    (webhook,) = chart.of_kind(manifests, "ValidatingWebhookConfiguration")["webhooks"]
    assert webhook["failurePolicy"] == "Fail"
    (only,) = webhook["namespaceSelector"]["matchExpressions"]
    assert only["key"] == "kubernetes.io/metadata.name"
    assert (only["operator"], set(only["values"])) == ("NotIn", SYSTEM | {chart.NAMESPACE})
    assert "objectSelector" not in webhook


def test_pods_are_changed_only_where_a_rule_guards_and_as_carefully(helm: Path, manifests: list[Any]) -> None:
    assert not [one for one in manifests if one["kind"] == "MutatingWebhookConfiguration"]
    guard = {"image": f"gitchain@sha256:{'0' * 64}"}
    rules = [{"namespaces": ["*"], "layout": "credit", "guard": guard}]
    found = chart.rendered(helm, chart.values({**chart.SETTINGS, "rules": rules}))
    changing, judging = (
        chart.of_kind(found, f"{word}WebhookConfiguration")["webhooks"][0]
        for word in ("Mutating", "Validating")
    )
    for field in ("failurePolicy", "namespaceSelector", "matchPolicy", "timeoutSeconds"):
        assert changing[field] == judging[field]
    assert changing["reinvocationPolicy"] == "IfNeeded"


def test_the_api_server_waits_longer_than_an_answer_takes(manifests: list[Any], tmp_path: Path) -> None:
    (webhook,) = chart.of_kind(manifests, "ValidatingWebhookConfiguration")["webhooks"]
    settings = tmp_path / "serve.yaml"
    settings.write_text(chart.of_kind(manifests, "ConfigMap")["data"]["serve.yaml"])
    assert webhook["timeoutSeconds"] > read_settings(settings).times.answer


def test_the_settings_arrive_as_they_were_given(helm: Path) -> None:
    given = {**chart.SETTINGS, "times": {"verdict": 20}, "connections": 64}
    text = chart.of_kind(chart.rendered(helm, chart.values(given)), "ConfigMap")["data"]["serve.yaml"]
    found = yaml.safe_load(text)
    schema = json.loads((Path(__file__).parents[2] / "schemas/serve.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(found)
    assert found == {"schema": "https://gitchain.dev/serve/v1", **given}


def test_other_settings_are_another_rollout(helm: Path) -> None:
    found = [
        chart.of_kind(
            chart.rendered(helm, chart.values({**chart.SETTINGS, "connections": number})), "Deployment"
        )
        for number in (64, 65)
    ]
    first, second = (one["spec"]["template"]["metadata"]["annotations"] for one in found)
    assert first != second


def test_scaling_may_only_get_what_is_scaled(helm: Path) -> None:
    found = chart.rendered(helm, chart.values(scale=True))
    assert chart.of_kind(found, "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"]
    rules = chart.of_kind(found, "ClusterRole")["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get"}
    granted = {(group, name) for rule in rules for group in rule["apiGroups"] for name in rule["resources"]}
    assert granted == {(one.group, one.resource) for one in SCALED}
    (webhook,) = chart.of_kind(found, "ValidatingWebhookConfiguration")["webhooks"]
    asked = {name for rule in webhook["rules"] for name in rule["resources"] if name.endswith("/scale")}
    assert asked == {f"{one}/scale" for one in SCALED}


def test_admission_has_no_rights_and_the_audit_may_only_list(helm: Path) -> None:
    quiet = chart.rendered(helm, chart.values())
    assert not [one for one in quiet if "Role" in one["kind"]]
    assert not chart.of_kind(quiet, "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"]
    auditing = chart.rendered(helm, chart.values({**chart.SETTINGS, "times": {"audit": 600}}))
    role = chart.of_kind(auditing, "ClusterRole")
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list"}


@pytest.mark.parametrize(
    ("given", "claim", "made"),
    [
        ({"existingClaim": "log"}, "log", 0),
        ({"size": "1Gi"}, "gitchain-deployments", 1),
        ({"size": "1Gi", "existingClaim": "log"}, "log", 0),
    ],
)
def test_what_is_admitted_waits_on_a_volume_that_outlives_the_pods(
    helm: Path, cluster: Cluster, given: dict[str, str], claim: str, made: int
) -> None:
    values = {**chart.values({**chart.SETTINGS, "deployments": LOG}), "deployments": given}
    found = chart.rendered(helm, values)
    claims = [one for one in found if one["kind"] == "PersistentVolumeClaim"]
    assert [one["metadata"]["name"] for one in claims] == [claim] * made
    for one in claims:
        assert one["spec"]["accessModes"] == ["ReadWriteMany"]
        assert one["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        client = cluster.client()
        client.call(
            "POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": chart.NAMESPACE}}
        )
        path = f"/api/v1/namespaces/{chart.NAMESPACE}/persistentvolumeclaims?dryRun=All"
        assert client.call("POST", path, one).status == 201
    spec = chart.of_kind(found, "Deployment")["spec"]["template"]["spec"]
    volume = {"name": "deployments", "persistentVolumeClaim": {"claimName": claim}}
    assert volume in spec["volumes"]
    mount = {"name": "deployments", "mountPath": "/deployments"}
    for one in (*spec["initContainers"], *spec["containers"]):
        assert mount in one["volumeMounts"]
        assert one["securityContext"] == spec["containers"][0]["securityContext"]


def test_the_repository_of_the_log_is_made_once(helm: Path, tmp_path: Path) -> None:
    """The command of the chart's first container, as it is, but for the place: twice, and the log can be written."""
    values = {**chart.values({**chart.SETTINGS, "deployments": LOG}), "deployments": {"size": "1Gi"}}
    (first,) = chart.of_kind(chart.rendered(helm, values), "Deployment")["spec"]["template"]["spec"][
        "initContainers"
    ]
    place = tmp_path / "log"
    command = [*first["command"], *(one.replace("/deployments", str(tmp_path)) for one in first["args"])]
    for _ in range(2):
        subprocess.run(command, check=True, capture_output=True)
        project = open_project(place, configured=False, changes=False)
        project.outbox.put(STATEMENT.payload, {}, {"trust": "x"})
    assert len(project.outbox) == 1


def test_without_a_log_there_is_no_volume_for_it(helm: Path) -> None:
    found = chart.rendered(helm, {**chart.values(), "deployments": {"size": "1Gi"}})
    assert not [one for one in found if one["kind"] == "PersistentVolumeClaim"]
    assert "initContainers" not in chart.of_kind(found, "Deployment")["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("repository", "given", "told"),
    [
        ("/deployments/log", {}, "outlives the pods"),
        ("/var/lib/gitchain/log", {"size": "1Gi"}, "settings.deployments.repository"),
        ("/deployments", {"size": "1Gi"}, "settings.deployments.repository"),
        ("/deployments/..", {"size": "1Gi"}, "settings.deployments.repository"),
        ("log", {"existingClaim": "log"}, "settings.deployments.repository"),
        ("/deployments/log", {"size": "much"}, "size"),
        ("/deployments/log", {"emptyDir": {}}, "emptyDir"),
    ],
)
def test_a_log_that_a_restart_would_lose_is_refused(
    helm: Path, repository: str, given: dict[str, Any], told: str
) -> None:
    settings = {**chart.SETTINGS, "deployments": {**LOG, "repository": repository}}
    done = chart.helm(helm, "template", {**chart.values(settings), "deployments": given})
    assert done.returncode != 0
    assert told in done.stderr


def test_the_api_server_is_known_by_its_certificate(helm: Path) -> None:
    """The CA of clients is mounted from its ConfigMap and named to the server, with the names that count."""
    given = chart.values() | {"tls": {"clientCA": {"configMap": "clients", "names": ["api-1", "api 2"]}}}
    spec = chart.of_kind(chart.rendered(helm, given), "Deployment")["spec"]["template"]["spec"]
    told = [one for one in spec["containers"][0]["args"] if one.startswith("--client")]
    assert told == ["--client-ca=/etc/gitchain-clients/ca.crt", "--client-name=api-1", "--client-name=api 2"]
    assert {"name": "clients", "configMap": {"name": "clients"}} in spec["volumes"]
    mount = {"name": "clients", "mountPath": "/etc/gitchain-clients", "readOnly": True}
    assert mount in spec["containers"][0]["volumeMounts"]
    plain = chart.of_kind(chart.rendered(helm, chart.values()), "Deployment")["spec"]["template"]["spec"]
    assert not [one for one in plain["containers"][0]["args"] if one.startswith("--client")]


@pytest.mark.parametrize(
    ("settings", "given"), [({"deployments": LOG}, {}), ({}, {"names": ["api-1"]})], ids=["log", "names"]
)
def test_nothing_is_signed_for_a_caller_who_is_not_known(
    helm: Path, settings: dict[str, Any], given: dict[str, Any]
) -> None:
    """A deployment log and names of clients need the CA of clients."""
    values = chart.values({**chart.SETTINGS, **settings}) | {"tls": {"clientCA": given}}
    done = chart.helm(helm, "template", values)
    assert done.returncode != 0
    assert "tls.clientCA" in done.stderr


def test_the_network_policy_lets_the_named_peers_in_alone(helm: Path) -> None:
    """Reviews come from whom the operator names, metrics from others, and without names from everybody."""
    api: list[dict[str, Any]] = [{"ipBlock": {"cidr": "192.0.2.10/32"}}]
    metrics: list[dict[str, Any]] = [{"namespaceSelector": {}}]
    given = chart.values() | {"networkPolicy": {"webhookFrom": api, "metricsFrom": metrics}}
    rules = chart.of_kind(chart.rendered(helm, given), "NetworkPolicy")["spec"]["ingress"]
    assert rules == [
        {"ports": [{"port": "webhook"}], "from": api}, {"ports": [{"port": "probes"}], "from": metrics}
    ]  # fmt: skip
    plain = chart.of_kind(chart.rendered(helm, chart.values()), "NetworkPolicy")["spec"]["ingress"]
    assert plain == [{"ports": [{"port": "webhook"}]}]


def test_the_grace_of_a_pod_is_longer_than_its_drain(helm: Path) -> None:
    found = chart.rendered(helm, chart.values({**chart.SETTINGS, "times": {"drain": 40}}))
    assert (
        chart.of_kind(found, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 50
    )


def test_with_cert_manager_no_ca_has_to_be_given(helm: Path) -> None:
    given = chart.values()
    given["webhook"] = {}
    given["tls"] = {
        "certManager": {"enabled": True, "issuerRef": {"kind": "ClusterIssuer", "name": "internal"}}
    }
    found = chart.rendered(helm, given)
    configuration = chart.of_kind(found, "ValidatingWebhookConfiguration")
    assert "caBundle" not in configuration["webhooks"][0]["clientConfig"]
    assert configuration["metadata"]["annotations"] == {
        "cert-manager.io/inject-ca-from": f"{chart.NAMESPACE}/{chart.NAME}"
    }
    service = configuration["webhooks"][0]["clientConfig"]["service"]
    expected = f"{service['name']}.{service['namespace']}.svc"
    assert chart.of_kind(found, "Certificate")["spec"]["dnsNames"] == [expected]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"webhook": {}}, "webhook.caBundle"),
        ({"tls": {"certManager": {"enabled": True}}}, "tls.certManager.issuerRef.name"),
        ({"settings": {}}, "/settings"),
        ({"webhook": {"caBundle": "Zm9v", "failurePolicies": "Fail"}}, "failurePolicies"),
        ({"webhook": {"caBundle": "Zm9v", "timeoutSeconds": 60}}, "timeoutSeconds"),
        ({"image": {"digest": "sha256:1"}}, "digest"),
        ({"replica": 3}, "replica"),
    ],
)
def test_values_that_are_wrong_or_missing_are_named(helm: Path, change: dict[str, Any], told: str) -> None:
    done = chart.helm(helm, "template", chart.values() | change)
    assert done.returncode != 0
    assert told in done.stderr


def test_another_file_of_one_name_is_not_read_in_place_of_the_settings(helm: Path) -> None:
    """The kubelet writes the files of later sources over those of earlier ones; a team's lie elsewhere."""
    given = everything()
    given["policy"]["secrets"] = ["more"]
    spec = chart.of_kind(chart.rendered(helm, given), "Deployment")["spec"]["template"]["spec"]
    volumes = {one["name"]: one for one in spec["volumes"]}
    sources = volumes["settings"]["projected"]["sources"]
    assert sources[-1] == {"configMap": {"name": "gitchain-settings"}}
    mounts = {one["mountPath"]: one for one in spec["containers"][0]["volumeMounts"]}
    team = mounts["/etc/gitchain-teams/risk"]
    assert team["readOnly"] is True
    assert volumes[team["name"]]["configMap"] == {"name": "risk"}


def test_no_secret_is_in_the_environment_and_none_can_be_written(helm: Path) -> None:
    """Logins are files that are mounted read-only, and not for everybody on the node."""
    spec = chart.of_kind(chart.rendered(helm, everything()), "Deployment")["spec"]["template"]["spec"]
    volumes = {one["name"]: one for one in spec["volumes"]}
    for name in ("git", "registry"):
        assert volumes[name]["secret"]["defaultMode"] == 0o440
    container = spec["containers"][0]
    for one in container["volumeMounts"]:
        if one["mountPath"].startswith("/etc/"):
            assert one["readOnly"] is True
    ours = {one["name"] for one in container["env"] if "valueFrom" in one}
    assert ours == {"PASSWORD"}  # what the operator wrote


def test_a_pod_is_restarted_only_while_it_does_not_listen(helm: Path) -> None:
    """Evidence that takes an hour, an expired layout or a source that is down make no pod start anew."""
    given = chart.values() | {"startupSeconds": 3601}
    spec = chart.of_kind(chart.rendered(helm, given), "Deployment")["spec"]
    container = spec["template"]["spec"]["containers"][0]
    startup, liveness = container["startupProbe"], container["livenessProbe"]
    assert {one["httpGet"]["path"] for one in (startup, liveness)} == {"/healthz"}
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 3601
    assert spec["progressDeadlineSeconds"] > 3601
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_replicas_are_apart_and_go_last(helm: Path, cluster: Cluster) -> None:
    """And a quota lets critical pods be where the cluster asks for one."""
    found = chart.rendered(helm, chart.values())
    spec = chart.of_kind(found, "Deployment")["spec"]["template"]["spec"]
    assert spec["priorityClassName"] == "system-cluster-critical"
    (term,) = spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    (spread,) = spec["topologySpreadConstraints"]
    keys = {term["podAffinityTerm"]["topologyKey"], spread["topologyKey"]}
    assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    labels = chart.of_kind(found, "Deployment")["spec"]["selector"]["matchLabels"]
    assert term["podAffinityTerm"]["labelSelector"]["matchLabels"] == labels
    assert chart.of_kind(found, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    quota = chart.of_kind(found, "ResourceQuota")
    client = cluster.client()
    client.call("POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": chart.NAMESPACE}})
    path = f"/api/v1/namespaces/{chart.NAMESPACE}/resourcequotas?dryRun=All"
    assert client.call("POST", path, quota).status == 201
    plain = chart.rendered(
        helm, chart.values() | {"priorityClassName": "mine", "affinity": {"nodeAffinity": {}}}
    )
    assert not [one for one in plain if one["kind"] == "ResourceQuota"]
    assert chart.of_kind(plain, "Deployment")["spec"]["template"]["spec"]["affinity"] == {"nodeAffinity": {}}


def test_only_namespaces_that_opted_in_are_asked_about(helm: Path, cluster: Cluster) -> None:
    """On the real API server: nothing answers, so that a pod is denied where the webhook is asked, and nowhere else."""
    given = chart.values(ca=cluster.authority.pem, optIn=True)
    manifests = chart.rendered(helm, given)
    hook = chart.aimed_at(chart.of_kind(manifests, "ValidatingWebhookConfiguration"), "https://127.0.0.1:1")
    client = cluster.client()
    for name, labels in (
        ("opted", {"gitchain.dev/admission": "enabled"}),
        ("other", {}),
        ("off", {"gitchain.dev/admission": "disabled"}),
    ):
        metadata = {"name": name, "labels": labels}
        client.call("POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": metadata})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    pod["spec"] = {"containers": [{"name": "c", "image": "i"}]}

    def made(namespace: str) -> str:
        reply = client.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
        return "closed" if "failed calling webhook" in reply.message else str(reply.status)

    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    assert client.call("POST", path, hook).status == 201
    try:
        assert until(lambda: made("opted"), "closed") == "closed"
        assert (made("other"), made("off")) == ("201", "201")
        runtimes = [
            one for one in hook["webhooks"][0]["rules"] if "clusterservingruntimes" in one["resources"]
        ]
        assert runtimes == []  # no label leaves cluster-wide objects out
    finally:
        client.call("DELETE", f"{path}/{chart.NAME}")
    everywhere = chart.of_kind(chart.rendered(helm, chart.values()), "ValidatingWebhookConfiguration")
    (rule,) = (
        one for one in everywhere["webhooks"][0]["rules"] if "clusterservingruntimes" in one["resources"]
    )
    assert rule["scope"] == "Cluster"


def test_reporting_may_only_write_what_it_reports(helm: Path) -> None:
    settings = {**chart.SETTINGS, "reporting": {"reports": "wgpolicyk8s.io", "events": False}}
    found = chart.rendered(helm, chart.values(settings))
    (rule,) = chart.of_kind(found, "ClusterRole")["rules"]
    assert (rule["apiGroups"], rule["resources"]) == (["wgpolicyk8s.io"], ["policyreports"])
    assert set(rule["verbs"]) == {"get", "list", "create", "update"}
    assert chart.of_kind(found, "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"]
    events = chart.rendered(helm, chart.values({**chart.SETTINGS, "reporting": {}}))
    (rule,) = chart.of_kind(events, "ClusterRole")["rules"]
    assert (rule["resources"], rule["verbs"]) == (["events"], ["create"])


@pytest.mark.parametrize(
    ("base", "code"),
    [
        ("docker.io/library/python:3.13-slim-bookworm", 1),
        (f"docker.io/library/python:3.13-slim-bookworm@sha256:{'0' * 64}", 0),
    ],
)
def test_no_image_is_built_on_a_base_that_can_be_moved(base: str, code: int) -> None:
    """The Containerfile's own check, in a shell of this machine."""
    text = (chart.CHART.parents[1] / "container/Containerfile").read_text(encoding="utf-8")
    (check,) = (line.removeprefix("RUN ") for line in text.splitlines() if line.startswith("RUN case "))
    done = subprocess.run(
        ["sh", "-c", check], env={"BASE": base}, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert ("expected NAME@sha256:DIGEST" in done.stderr) == bool(code)
