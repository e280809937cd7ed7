"""Events of the deployment log, and their statements.

Predicates: docs/formats/predicates.md, Deployment, Deployment check, Retirement.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypedDict

from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.deployment import (
    MAX_CODES,
    MAX_FIELD,
    DeploymentVerdict,
    ReportedBy,
    deployment,
    deployment_check,
    retirement,
)
from gitchain.evidence.digest import DigestSet, Sha256
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import DEPLOYMENT, DEPLOYMENT_CHECK, RETIREMENT


class _DeploymentFields(TypedDict):
    """The common fields of all three predicates."""

    model: str
    environment: str
    cluster: str | None
    namespace: str | None
    workload: str | None


@dataclass(frozen=True, slots=True)
class DeploymentEvent:
    """Deployment, retirement or check of a model in a workload. Texts come from the cluster and are truncated."""

    kind: Literal["deployed", "checked", "retired"]
    sha256: Sha256
    by: str
    when: datetime
    environment: str
    cluster: str | None = None
    namespace: str | None = None
    workload: str | None = None
    uid: str | None = None
    image: str | None = None
    model: str | None = None
    """The workload's name of the model, such as a reference."""

    verdict: DeploymentVerdict | None = None
    reporter: ReportedBy | None = None
    """The authenticated reporter; None for the signing program itself."""

    codes: tuple[str, ...] = ()
    """For `checked`: the codes of the findings if the verdict is FAILED."""

    def statement(self) -> Statement:
        """Return the statement to sign. Raises MalformedError for a malformed digest, or a check without a verdict."""
        kind, predicate = {
            "deployed": (DEPLOYMENT, self._deployment),
            "checked": (DEPLOYMENT_CHECK, self._check),
            "retired": (RETIREMENT, self._retirement),
        }[self.kind]
        subject = ResourceDescriptor(f"sha256:{self.sha256}", DigestSet({"sha256": self.sha256}))
        return Statement.build([subject], kind, predicate())

    def _deployment(self) -> dict[str, Json]:
        return deployment(
            by=self._by,
            when=self._when,
            uid=_text(self.uid),
            image=_text(self.image),
            verdict=self.verdict,
            reported_by=self._reporter,
            **self._place(),
        )

    def _retirement(self) -> dict[str, Json]:
        return retirement(
            by=self._by,
            when=self._when,
            uid=_text(self.uid),
            reported_by=self._reporter,
            **self._place(),
        )

    def _check(self) -> dict[str, Json]:
        if self.verdict is None:
            raise MalformedError("a check without a verdict", where="verdict")
        return deployment_check(
            when=self._when, verdict=self.verdict, codes=self.codes[:MAX_CODES], **self._place()
        )

    def _place(self) -> _DeploymentFields:
        return {
            "model": _text(self.model) or f"sha256:{self.sha256}",
            "environment": _text(self.environment, 200) or "unknown",
            "cluster": _text(self.cluster),
            "namespace": _text(self.namespace),
            "workload": _text(self.workload),
        }

    @property
    def _by(self) -> str:
        return _text(self.by) or "unknown"

    @property
    def _when(self) -> str:
        return self.when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    @property
    def _reporter(self) -> ReportedBy | None:
        if self.reporter is None:
            return None
        return ReportedBy(_text(self.reporter.name) or "unnamed", self.reporter.sha256)


def _text(text: str | None, limit: int = MAX_FIELD) -> str | None:
    """Return text for a predicate's field: unprintable characters are escaped, and long text is truncated."""
    if not text:
        return None
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:limit])
    return shown[:limit]
