"""The Helm chart in `deploy/`, rendered: what `helm install` would send to a cluster.

`python -m tests.stack.chart` writes the schema of the settings into the chart's values.schema.json.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.stack.build import KUBERNETES

CHART = Path(__file__).parents[2] / "deploy/helm/gitchain"
SCHEMA = CHART / "values.schema.json"
SETTINGS_SCHEMA = Path(__file__).parents[2] / "schemas/serve.schema.json"
NAME, NAMESPACE = "gitchain", "gitchain-system"
SETTINGS: Mapping[str, Any] = {
    "layouts": {
        "credit": {
            "layout": "credit.sigstore.json",
            "signers": [{"issuer": "https://issuer.example.com", "subject": "risk@example.com"}],
            "trust": "trust.json",
            "repository": "/evidence",
        }
    },
    "rules": [{"namespaces": ["*"], "layout": "credit"}],
}


def schema() -> dict[str, Any]:
    """Return values.schema.json as it has to be: what it says now, with the settings as `gitchain serve` takes them."""
    found = json.loads(SCHEMA.read_text(encoding="utf-8"))
    settings = json.loads(SETTINGS_SCHEMA.read_text(encoding="utf-8"))
    for name in ("$schema", "$id"):
        del settings[name]
    settings["required"].remove("schema")  # the chart writes it
    layout = settings["properties"]["layouts"]["additionalProperties"]
    assert layout.pop("anyOf") == [{"required": ["repository"]}, {"required": ["evidence"]}]
    layout |= {"if": {"not": {"required": ["evidence"]}}, "then": {"required": ["repository"]}}
    found["properties"]["settings"] = settings
    return dict(found)


def values(settings: Mapping[str, Any] = SETTINGS, ca: bytes = b"a CA", **webhook: Any) -> dict[str, Any]:
    """Return the values of an installation without cert-manager."""
    return {
        "settings": dict(settings),
        "policy": {"configMaps": ["gitchain-policy"]},
        "evidence": {"volume": {"persistentVolumeClaim": {"claimName": "evidence", "readOnly": True}}},
        "deployments": {"existingClaim": "deployments"} if "deployments" in settings else {},
        "tls": {"clientCA": {"configMap": "clients", "names": ["kube-apiserver"]}}
        if "deployments" in settings
        else {},
        "webhook": {"caBundle": base64.b64encode(ca).decode(), **webhook},
    }


def helm(
    binary: Path, verb: str, given: Mapping[str, Any], *options: str
) -> subprocess.CompletedProcess[str]:
    """Run `helm template` or `helm lint` with these values."""
    command = [str(binary), verb, *([NAME] if verb == "template" else []), str(CHART), "--values", "-"]
    command += ["--namespace", NAMESPACE, "--kube-version", KUBERNETES, *options]
    return subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)


def rendered(binary: Path, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the manifests."""
    done = helm(binary, "template", given)
    if done.returncode != 0:
        raise ValueError(done.stderr)
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def of_kind(manifests: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the one manifest of a kind."""
    (found,) = (one for one in manifests if one["kind"] == kind)
    return found


def aimed_at(configuration: dict[str, Any], url: str) -> dict[str, Any]:
    """Return a webhook configuration that calls a URL in place of its Service, and is the chart's in all else."""
    webhooks = []
    for one in configuration["webhooks"]:
        client = dict(one["clientConfig"])
        path = client.pop("service")["path"]
        webhooks.append({**one, "clientConfig": {**client, "url": f"{url}{path}"}})
    return {**configuration, "webhooks": webhooks}


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
