"""Gatekeeper's own engine over the examples in `deploy/gatekeeper`, with gitchain as its source of external data."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.stack.ground import ENFORCED, image
from tests.stack.install import HOOKS, Installed
from tests.stack.tries import BAD, GOOD, pod, spec
from tests.support.admission import REGISTRY

EXAMPLES = Path(__file__).parents[2] / "deploy/gatekeeper"
CASES = (
    ("signed model", (GOOD,), ""),
    ("unknown model", (BAD,), "GC-E0201"),
    ("revoked model", (image("revoked"),), "GC-E0342"),
    ("a tag", (f"{REGISTRY}/good:latest",), "GC-A0201"),
    ("a signed one and an unknown one", (GOOD, BAD), "GC-E0201"),
    ("no image volume", (), ""),
)


def violations(on: Installed, binary: Path, references: tuple[str, ...], *, url: str = "") -> list[str]:
    """Return what Gatekeeper says of a pod with these models, asking where the provider is, or at `url`."""
    (provider,) = documents("provider")
    provider["spec"]["url"] = url or f"{on.service.url}/gatekeeper"
    hook = on.admin.call("GET", f"{HOOKS}/validatingwebhookconfigurations/gitchain").document["webhooks"][0]
    provider["spec"]["caBundle"] = hook["clientConfig"]["caBundle"]
    volumes = [{"name": f"m{number}", "image": {"reference": one}} for number, one in enumerate(references)]
    source = pod({**spec(), "volumes": volumes}, namespace=ENFORCED)
    given = yaml.safe_dump_all([provider, *documents("template"), *documents("constraint"), source])
    done = subprocess.run([binary], input=given, capture_output=True, text=True, check=True, timeout=120)
    return [json.loads(line) for line in done.stdout.splitlines()]


def documents(name: str) -> list[Any]:
    """Return an example."""
    return list(yaml.safe_load_all((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")))
