"""Definitions of kinds that others bring into a cluster: open ones, and one of reports that knows its fields.

The fields of reports are those of https://github.com/openreports/reports-api/blob/main/docs/api-docs.md , as far as anybody
here needs them. The API server drops every other, so that a misspelt one is seen to be missing.
"""

from __future__ import annotations

from typing import Any

from gitchain.admit.reports import Reports
from tests.stack.kube import Client, until

TEXT, COUNT = {"type": "string"}, {"type": "integer"}


def _of(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields}


def _one_of(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


_REFERENCE = _of(**dict.fromkeys(("apiVersion", "kind", "namespace", "name", "uid", "fieldPath"), TEXT))
_RESULT = _of(
    **dict.fromkeys(("source", "policy", "rule", "category", "message"), TEXT),
    severity=_one_of("critical", "high", "medium", "low", "info"),
    result=_one_of("pass", "fail", "warn", "error", "skip"),
    scored={"type": "boolean"},
    timestamp={**_of(seconds=COUNT, nanos=COUNT), "required": ["seconds", "nanos"]},
    resources={"type": "array", "items": _REFERENCE},
    properties={"type": "object", "additionalProperties": TEXT},
) | {"required": ["policy"]}


def _schema(group: Reports) -> dict[str, Any]:
    """Return the schema of a kind of report: only the newer one has a source of its own."""
    own = {"source": TEXT} if group is Reports.OPEN else {}
    return _of(
        **own,
        apiVersion=TEXT,
        kind=TEXT,
        metadata={"type": "object"},
        scope=_REFERENCE,
        summary=_of(**dict.fromkeys(("pass", "fail", "warn", "error", "skip"), COUNT)),
        results={"type": "array", "items": _RESULT},
    )


def define(
    admin: Client, kind: str, version: str, group: str = "serving.kserve.io", schema: Any = None
) -> None:
    """Define a kind, and wait until it can be used; without a schema it takes any fields."""
    plural = f"{kind.lower()}s"
    open_schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    one = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema or open_schema},
    }
    definition = {
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "scope": "Namespaced",
            "versions": [one],
        },
    }
    admin.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    where = f"/apis/{group}/{version}/{plural}"
    assert until(lambda: str(admin.call("GET", where).status), "200") == "200"


def define_report(admin: Client, group: Reports) -> None:
    """Define a kind of report."""
    define(admin, group.kind, group.version.partition("/")[2], str(group), _schema(group))
