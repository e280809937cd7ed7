"""What a developer tries with a signed model in plain view: another one that is named or held beside it."""

from __future__ import annotations

from typing import Any

from tests.stack.install import Installed
from tests.stack.kube import Reply
from tests.stack.tries import GOOD, case, container, create, inference, pod, spec, workload
from tests.support.admission import digest

NOTE = {"gitchain.dev/model": f"sha256:{digest('good')}"}
NAMED: dict[str, dict[str, Any]] = {
    "--model_id=evil/llama": {"args": ["--model_id=evil/llama"]},
    "--model evil/llama": {"args": ["--model", "evil/llama"]},
    "vllm serve gpt2": {"command": ["vllm", "serve", "gpt2"]},
    "an adapter": {"args": ["--lora-modules", "sql=evil/lora"]},
    "a tokenizer": {"args": ["--tokenizer=evil/tokenizer"]},
    "MODEL_ID": {"env": [{"name": "MODEL_ID", "value": "evil/llama"}]},
    "HF_MODEL_ID, a name without an owner": {"env": [{"name": "HF_MODEL_ID", "value": "gpt2"}]},
    "a program": {"command": ["sh", "-c", "m=evil; vllm serve $m/llama"]},
    "a hook": {"lifecycle": {"postStart": {"exec": {"command": ["/bin/get", "evil/llama"]}}}},
}
ELSEWHERE: dict[str, dict[str, Any]] = {
    "all of a ConfigMap": {"envFrom": [{"configMapRef": {"name": "models"}}]},
    "a key of a Secret": {
        "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "models", "key": "x"}}}]
    },
    "an annotation of its own": {
        "env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['m']"}}}]
    },
}
HELD: dict[str, tuple[dict[str, Any], str]] = {
    "a claim": ({"persistentVolumeClaim": {"claimName": "models"}}, "GC-A0208"),
    "the node's disk": ({"hostPath": {"path": "/models"}}, "GC-A0208"),
    "a share": ({"nfs": {"server": "nfs.example.com", "path": "/models"}}, "GC-A0208"),
    "a driver": ({"csi": {"driver": "models.example.com"}}, "GC-A0208"),
    "a ConfigMap": ({"configMap": {"name": "models"}}, "GC-A0207"),
}


def _with(more: dict[str, Any], volume: dict[str, Any] | None = None) -> dict[str, Any]:
    found = spec(GOOD, containers=[container(**more) if "args" not in more else {**container(), **more}])
    if volume is not None:
        found["volumes"].append({"name": "more", **volume})
    return found


for _name, _more in NAMED.items():
    case("decoy", f"{_name}, beside a signed model and its digest in an annotation", "denied GC-A0208")(
        lambda on, more=_more: create(on, pod(_with(more), annotations=NOTE))  # type: ignore[misc]
    )
for _name, _more in ELSEWHERE.items():
    case("decoy", f"{_name}, beside a signed model", "denied GC-A0207")(
        lambda on, more=_more: create(on, pod(_with(more), annotations=NOTE))  # type: ignore[misc]
    )
for _name, (_volume, _code) in HELD.items():
    case("decoy", f"{_name} as a volume, beside a signed model", f"denied {_code}")(
        lambda on, volume=_volume: create(on, pod(_with({}, volume), annotations=NOTE))  # type: ignore[misc]
    )


@case("decoy", "an address without a model's scheme", "denied GC-A0201")
def _(on: Installed) -> Reply:
    return create(on, pod(_with({"args": ["--x=https://hub.example.com/evil"]}), annotations=NOTE))


@case("decoy", "an annotation alone, that nothing binds to what runs", "denied GC-A0205")
def _(on: Installed) -> Reply:
    return create(on, pod(spec(), annotations=NOTE))


@case("decoy", "in a Deployment's template", "denied GC-A0208")
def _(on: Installed) -> Reply:
    return create(on, workload("Deployment", _with({"args": ["--model=evil/llama"]}), annotations=NOTE))


@case("decoy", "KServe: an argument beside a signed storageUri", "denied GC-A0208")
def _(on: Installed) -> Reply:
    return create(on, inference(storageUri=f"oci://{GOOD}", args=["--model_id=evil/llama"]))


@case("decoy", "none: what servers are told besides", "allowed")
def _(on: Installed) -> Reply:
    told = ["serve", "/mnt/models", "--served-model-name=credit", "--port", "8080", "--dtype", "auto"]
    return create(on, pod(_with({"args": told, "env": [{"name": "HF_HUB_OFFLINE", "value": "1"}]})))


@case("decoy", "none: KServe's runtime for scikit-learn, which names no model", "allowed")
def _(on: Installed) -> Reply:
    server = container("--model_name={{.Name}}", "--model_dir=/mnt/models", called="kserve-container")
    source = pod({"containers": [server]}) | {
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime"
    }  # fmt: skip
    return create(on, source)
