"""The chart's volume for what replicas remember: off unless it is asked for, shared, and without the mirrors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.stack import chart
from tests.stack.kube import Cluster

HOME = "GITCHAIN_HOME"


def spec_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = chart.of_kind(found, "Deployment")["spec"]["template"]["spec"]
    return spec


def home_of(spec: dict[str, Any]) -> str:
    (container,) = spec["containers"]
    values: dict[str, str] = {one["name"]: one.get("value", "") for one in container["env"]}
    return values[HOME]


def test_state_is_no_volume_by_default(helm: Path) -> None:
    found = chart.rendered(helm, chart.values())
    assert not [one for one in found if one["kind"] == "PersistentVolumeClaim"]
    assert not [
        one
        for one in spec_of(found)["volumes"]
        if "persistentVolumeClaim" in one and one["name"] != "evidence"
    ]
    assert home_of(spec_of(found)) == "/var/lib/gitchain"


@pytest.mark.parametrize(
    ("given", "claim", "made"),
    [
        ({"size": "100Mi", "storageClassName": "nfs"}, "gitchain-state", 1),
        ({"existingClaim": "memory"}, "memory", 0),
        ({"existingClaim": "memory", "size": "1Gi"}, "memory", 0),
    ],
)
def test_state_is_a_volume_that_all_replicas_share(
    helm: Path, given: dict[str, str], claim: str, made: int
) -> None:
    """GITCHAIN_HOME is on it, and the mirrors below are the pod's own."""
    values = {**chart.values(), "state": given}
    assert chart.helm(helm, "lint", values, "--strict").returncode == 0
    found = chart.rendered(helm, values)
    claims = [one for one in found if one["kind"] == "PersistentVolumeClaim"]
    assert [one["metadata"]["name"] for one in claims] == [claim] * made
    for one in claims:
        assert one["spec"]["accessModes"] == ["ReadWriteMany"]
        assert one["spec"]["storageClassName"] == "nfs"
        assert one["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    spec = spec_of(found)
    home = home_of(spec)
    assert {"name": "memory", "persistentVolumeClaim": {"claimName": claim}} in spec["volumes"]
    mounts = {one["mountPath"]: one for one in spec["containers"][0]["volumeMounts"]}
    assert mounts[home] == {"name": "memory", "mountPath": home}
    mirrors = mounts[f"{home}/mirrors"]
    (volume,) = (one for one in spec["volumes"] if one["name"] == mirrors["name"])
    assert volume["emptyDir"]["sizeLimit"] == "1Gi"


def test_a_real_api_server_takes_the_state(helm: Path, cluster: Cluster) -> None:
    found = chart.rendered(helm, {**chart.values(), "state": {"size": "100Mi"}})
    client = cluster.client()
    client.call("POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": chart.NAMESPACE}})
    for kind, group, name in (
        ("PersistentVolumeClaim", "api/v1", "persistentvolumeclaims"),
        ("Deployment", "apis/apps/v1", "deployments"),
    ):
        path = f"/{group}/namespaces/{chart.NAMESPACE}/{name}?dryRun=All"
        assert client.call("POST", path, chart.of_kind(found, kind)).status == 201


@pytest.mark.parametrize("given", [{"size": "much"}, {"emptyDir": {}}, {"existingClaim": 1}])
def test_state_that_is_wrong_is_named(helm: Path, given: dict[str, Any]) -> None:
    done = chart.helm(helm, "template", {**chart.values(), "state": given})
    assert done.returncode != 0
    assert next(iter(given)) in done.stderr
