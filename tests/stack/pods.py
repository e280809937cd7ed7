"""A process that starts as a pod of the chart does: its command line, its environment, its files; only places are others."""

from __future__ import annotations

import base64
import functools
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stack.processes import free_ports

ACCOUNT = Path(__file__).with_name("account.py")
Get = Callable[[str, str], dict[str, Any]]
"""Returns a ConfigMap or a Secret by its kind and name."""


@dataclass
class Pod:
    """The process, its ports and its log."""

    process: subprocess.Popen[bytes]
    webhook: int
    probes: int
    log: Path

    def probe(self, path: str) -> tuple[int, str]:
        """Return what a kubelet gets; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.probes}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""


def mounted(spec: Mapping[str, Any], get: Get) -> dict[str, bytes]:
    """Return every file that a kubelet would put into the first container, by its path there."""
    places = {one["name"]: one["mountPath"] for one in spec["containers"][0]["volumeMounts"]}
    found: dict[str, bytes] = {}
    for volume in spec["volumes"]:
        sources = volume.get("projected", {}).get("sources", [volume])
        for source in sources:
            for name, data in _files(source, get).items():
                found[f"{places[volume['name']]}/{name}"] = data
    return found


def _files(source: Mapping[str, Any], get: Get) -> dict[str, bytes]:
    if "configMap" in source:
        held = get("configmap", source["configMap"]["name"])
        return {name: text.encode() for name, text in held.get("data", {}).items()}
    if "secret" not in source:
        return {}
    named = source["secret"].get("secretName") or source["secret"]["name"]
    data = {name: base64.b64decode(text) for name, text in get("secret", named)["data"].items()}
    items = source["secret"].get("items") or [{"key": name, "path": name} for name in data]
    return {one["path"]: data[one["key"]] for one in items}


@contextmanager
def running(
    spec: Mapping[str, Any],
    files: Mapping[str, bytes],
    folder: Path,
    moved: Mapping[str, str] = {},
    *,
    account: Path | None = None,
    api: int = 0,
) -> Iterator[Pod]:
    """Start what a pod's specification says; `account` has the service account's token, `api` is the API server's port."""
    container, ports = spec["containers"][0], free_ports(("webhook", "probes"))
    places = {"/etc/": f"{folder}/etc/", "/var/lib/gitchain": f"{folder}/state", **moved}
    for old, name in ((8443, "webhook"), (8080, "probes")):
        places[f"0.0.0.0:{old}"] = f"127.0.0.1:{ports[name]}"

    def here(text: str) -> str:
        return functools.reduce(lambda so_far, one: so_far.replace(*one), places.items(), text)

    for name in ("etc", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for place, data in files.items():
        (folder / place[1:]).parent.mkdir(parents=True, exist_ok=True)
        (folder / place[1:]).write_bytes(here(data.decode()).encode() if place.endswith(".yaml") else data)
    environ = {"PATH": os.environ["PATH"]} | {one["name"]: here(one["value"]) for one in container["env"]}
    command = [sys.executable, "-m", "gitchain"]
    if account is not None:
        command = [sys.executable, str(ACCOUNT), str(account)]
        environ |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api)}
    log = folder / "log"
    with log.open("ab") as stream:
        command += map(here, container["args"])
        process = subprocess.Popen(command, env=environ, stdout=stream, stderr=stream)
    try:
        yield Pod(process, ports["webhook"], ports["probes"], log)
    finally:
        process.terminate()
        process.wait(60)
