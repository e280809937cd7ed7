"""Another admission plugin of the cluster, which puts a model into pods after their author sent them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from tests.stack.install import HOOKS, Installed

POLICIES = f"{HOOKS}/mutatingadmissionpolicies"
BINDINGS = f"{HOOKS}/mutatingadmissionpolicybindings"
NAME = "swap"
LOOKS = 150


@contextlib.contextmanager
def mutation(on: Installed, reference: str) -> Iterator[None]:
    """Swap the model of pods with a label `mutate`, as soon as the API server does so."""
    change = f'[JSONPatch{{op: "replace", path: "/spec/volumes/0/image/reference", value: "{reference}"}}]'
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    policy = {
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "matchConditions": [
                {"name": "marked", "expression": "'mutate' in object.metadata.?labels.orValue({})"}
            ],
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": change}}],
        },
    }
    binding = {
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME},
    }
    for where, source in ((POLICIES, policy), (BINDINGS, binding)):
        reply = on.admin.call("POST", where, source)
        assert reply.status == 201, reply.message
    try:
        _settle(on, reference)
        yield
    finally:
        for where in (BINDINGS, POLICIES):
            on.admin.call("DELETE", f"{where}/{NAME}")


def _settle(on: Installed, reference: str) -> None:
    """Wait until a pod in a namespace that gitchain does not look at is changed."""
    given = {
        "containers": [{"name": "a", "image": "a"}],
        "volumes": [{"name": "m", "image": {"reference": "a"}}],
    }
    source = {"kind": "Pod", "metadata": {"name": "probe", "labels": {"mutate": "me"}}, "spec": given}
    wait = threading.Event()
    for _ in range(LOOKS):
        reply = on.admin.call("POST", "/api/v1/namespaces/kube-public/pods?dryRun=All", source)
        if reply.status == 201 and reply.document["spec"]["volumes"][0]["image"]["reference"] == reference:
            return
        wait.wait(0.1)
    raise AssertionError("the API server takes no MutatingAdmissionPolicy up")
