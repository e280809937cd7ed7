"""JSON of deployment, deployment check and retirement statements for `gitchain log --json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitchain.evidence.predicates import DEPLOYMENT, DEPLOYMENT_CHECK, RETIREMENT
from gitchain.evidence.statement import Statement

_KEYS = {DEPLOYMENT: "deployment", DEPLOYMENT_CHECK: "check", RETIREMENT: "retirement"}
_FIELDS = (
    *("environment", "cluster", "namespace", "workload", "uid", "image"),
    *("deployedBy", "deployedOn", "retiredBy", "retiredOn", "checkedOn"),
)


def placement_json(statement: Statement) -> dict[str, dict[str, str]] | None:
    """Return the statement's fields under its key of `log --json`; None for other predicate types.

    Fields that are missing or not text are omitted.
    """
    key, fields = _KEYS.get(statement.predicate_type), statement.predicate
    if key is None:
        return None
    shown = {name: value for name in _FIELDS if isinstance(value := fields.get(name), str)}
    reporter = fields.get("reportedBy")
    if isinstance(reporter, dict) and isinstance(name := reporter.get("name"), str):
        shown["reportedBy"] = name
    return {key: shown | (_check(fields) if statement.predicate_type == DEPLOYMENT_CHECK else {})}


def _check(fields: Mapping[str, Any]) -> dict[str, str]:
    verdict, codes = fields.get("verdict"), fields.get("codes")
    fields_of_verdict = verdict if isinstance(verdict, dict) else {}
    layout = fields_of_verdict.get("layout")
    shown = {"result": fields_of_verdict.get("result")}
    if isinstance(layout, dict):
        shown["layout"] = f"{layout.get('name')}@{layout.get('version')}"
    if isinstance(codes, list | tuple):
        shown["codes"] = " ".join(map(str, codes))
    return {key: value for key, value in shown.items() if isinstance(value, str)}
