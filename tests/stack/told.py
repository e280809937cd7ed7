"""What the cluster is told of a denial: an Event and a report, on a real API server."""

from __future__ import annotations

from typing import Any

from gitchain.admit.reports import Reports
from tests.stack.install import Installed
from tests.stack.kube import Reply, until
from tests.stack.tries import BAD, create, pod, spec

EVENTS = "/apis/events.k8s.io/v1/namespaces/prod/events"
REPORTS = "/apis/openreports.io/v1alpha1/namespaces/prod/reports"


def missing(on: Installed, name: str = "told") -> str:
    """Let a developer try a pod with an unknown model; return what the cluster was not told, or nothing."""
    source = pod(spec(BAD))
    source["metadata"]["name"] = name
    denied = create(on, source)
    assert denied.status == 403, denied.message

    def look() -> str:
        event = _newest(on.admin.call("GET", EVENTS), name)
        found = on.admin.call("GET", f"{place(Reports.OPEN, 'prod')}/gitchain-admission").document
        results = [one for one in found.get("results", []) if one["resources"][0]["name"] == name]
        lacking = (
            [] if event.get("reason") == "ModelDenied" and event["note"] in denied.message else ["Event"]
        )
        told = results and results[0]["message"] in denied.message and found["summary"]["fail"] >= 1
        return ", ".join(lacking + ([] if told else ["Report"]))

    return until(look, "")


def place(group: Reports, namespace: str) -> str:
    """Return where a namespace's reports are."""
    return f"/apis/{group.version}/namespaces/{namespace}/{group.resource}"


def _newest(reply: Reply, name: str) -> dict[str, Any]:
    found = [one for one in reply.document.get("items", []) if one["regarding"]["name"] == name]
    return dict(found[-1]) if found else {}
