"""Build the predicates for the deployment of a model, the check of a deployment, and its retirement.

Each has its own type: a reader that knows only deployments does not mistake a retirement or a check for one.
docs/formats/predicates.md; schemas/deployment.schema.json, deployment-check.schema.json, retirement.schema.json.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.claim import StepFacts
from gitchain.evidence.digest import Sha256, check_hex
from gitchain.evidence.provenance import with_optional
from gitchain.evidence.vocabulary import check_text, check_time

MAX_FIELD = 1024
MAX_CODES = 32
_CODE = re.compile(r"GC-[A-Z]\d{4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class DeploymentVerdict:
    """The layout's verdict about the model, when it was deployed or checked."""

    result: Literal["PASSED", "FAILED"]
    layout: str
    layout_version: int
    layout_digest: str

    def to_json(self) -> dict[str, Json]:
        """Return the verdict as JSON."""
        layout: dict[str, Json] = {"name": self.layout, "version": self.layout_version}
        return {"result": self.result, "layout": {**layout, "digest": {"sha256": self.layout_digest}}}


@dataclass(frozen=True, slots=True)
class ReportedBy:
    """Who said it to the signer, as authenticated by a client certificate: its common name and its SHA-256."""

    name: str
    sha256: Sha256

    def to_json(self) -> dict[str, Json]:
        """Return it as JSON. Raises MalformedError."""
        name = check_text(self.name, "reportedBy.name", limit=MAX_FIELD)
        sha256 = check_hex(self.sha256, (64,), "reportedBy.certificate.sha256")
        return {"name": name, "certificate": {"sha256": sha256}}


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
    verdict: DeploymentVerdict | None = None,
    reported_by: ReportedBy | None = None,
    step: StepFacts | None = None,
) -> dict[str, Json]:
    """Return a deployment v0.1 predicate: which model went where, when and by whom. Raises MalformedError."""
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
        reportedBy=None if reported_by is None else reported_by.to_json(),
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
    reported_by: ReportedBy | None = None,
    step: StepFacts | None = None,
) -> dict[str, Json]:
    """Return a retirement v0.1 predicate: which model left where, when and by whom. Raises MalformedError."""
    value: dict[str, Json] = {
        "model": check_text(model, "model", limit=MAX_FIELD),
        "environment": check_text(environment, "environment", limit=200),
        "retiredBy": check_text(by, "retiredBy", limit=MAX_FIELD),
        "retiredOn": check_time(when, "retiredOn"),
    }
    return with_optional(
        value,
        step,
        cluster=cluster,
        namespace=namespace,
        workload=workload,
        uid=uid,
        reportedBy=None if reported_by is None else reported_by.to_json(),
    )


def deployment_check(  # noqa: PLR0913 - one keyword a field of the predicate
    *,
    model: str,
    environment: str,
    when: str,
    verdict: DeploymentVerdict,
    codes: Sequence[str] = (),
    cluster: str | None = None,
    namespace: str | None = None,
    workload: str | None = None,
    step: StepFacts | None = None,
) -> dict[str, Json]:
    """Return a deployment-check v0.1 predicate: whether a model that runs is acceptable, and the codes if not.

    Raises MalformedError, also for a verdict FAILED without codes or PASSED with codes.
    """
    if (verdict.result == "FAILED") != bool(codes):
        raise MalformedError(
            "codes do not fit the verdict",
            where="codes",
            expected="codes for FAILED, none for PASSED",
            got=f"{verdict.result} with {len(codes)} codes",
        )
    if len(codes) > MAX_CODES or len(set(codes)) != len(codes):
        raise MalformedError("too many codes", where="codes", expected=f"at most {MAX_CODES}, each once")
    for code in codes:
        if _CODE.fullmatch(code) is None:
            raise MalformedError(
                "code is malformed", where="codes", expected="GC-E0342", got=ascii(code[:40])
            )
    value: dict[str, Json] = {
        "model": check_text(model, "model", limit=MAX_FIELD),
        "environment": check_text(environment, "environment", limit=200),
        "checkedOn": check_time(when, "checkedOn"),
        "verdict": verdict.to_json(),
    }
    return with_optional(
        value,
        step,
        codes=list(codes) or None,
        cluster=cluster,
        namespace=namespace,
        workload=workload,
    )
