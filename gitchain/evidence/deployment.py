"""The builders of the predicates that say where a model went, and when it left.

Both are of their own type: a reader that knows deployments alone does not take a retirement for one.
docs/formats/predicates.md; schemas/deployment.schema.json, schemas/retirement.schema.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gitchain.evidence.canonical import Json
from gitchain.evidence.claim import StepFacts
from gitchain.evidence.provenance import with_optional
from gitchain.evidence.vocabulary import check_text, check_time

MAX_FIELD = 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the layout said when the model was deployed."""

    result: Literal["PASSED", "FAILED"]
    layout: str
    layout_version: int
    layout_digest: str

    def to_json(self) -> dict[str, Json]:
        """Return the verdict as JSON."""
        layout: dict[str, Json] = {"name": self.layout, "version": self.layout_version}
        return {"result": self.result, "layout": {**layout, "digest": {"sha256": self.layout_digest}}}


def deployment(  # noqa: PLR0913 - one keyword a field of the predicate
    *,
    model: str,
    environment: str,
    by: str,
    when: str,
    cluster: str | None = None,
    namespace: str | None = None,
    workload: str | None = None,
    uid: str | None = None,
    image: str | None = None,
    verdict: Verdict | None = None,
    step: StepFacts | None = None,
) -> dict[str, Json]:
    """Return a deployment v0.1 predicate: which model went where, when and by whom; raises MalformedError."""
    value: dict[str, Json] = {
        "model": check_text(model, "model", limit=MAX_FIELD),
        "environment": check_text(environment, "environment", limit=200),
        "deployedBy": check_text(by, "deployedBy", limit=MAX_FIELD),
        "deployedOn": check_time(when, "deployedOn"),
    }
    return with_optional(
        value,
        step,
        cluster=cluster,
        namespace=namespace,
        workload=workload,
        uid=uid,
        image=image,
        verdict=None if verdict is None else verdict.to_json(),
    )


def retirement(  # noqa: PLR0913 - one keyword a field of the predicate
    *,
    model: str,
    environment: str,
    by: str,
    when: str,
    cluster: str | None = None,
    namespace: str | None = None,
    workload: str | None = None,
    uid: str | None = None,
    step: StepFacts | None = None,
) -> dict[str, Json]:
    """Return a retirement v0.1 predicate: which model left where, when and by whom; raises MalformedError."""
    value: dict[str, Json] = {
        "model": check_text(model, "model", limit=MAX_FIELD),
        "environment": check_text(environment, "environment", limit=200),
        "retiredBy": check_text(by, "retiredBy", limit=MAX_FIELD),
        "retiredOn": check_time(when, "retiredOn"),
    }
    return with_optional(value, step, cluster=cluster, namespace=namespace, workload=workload, uid=uid)
