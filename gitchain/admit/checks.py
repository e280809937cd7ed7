"""Continuous checks: which running objects and models stopped being acceptable, or are acceptable again.

Each audit gives a result for each workload and model. A change is signed once (`deployment-check`, where deployments are
signed), logged and counted once; nothing is repeated while the codes stay the same. What fails is remembered in a file:
beside the deployment log, where replicas share it, else in the user's directory.

    {"schema": "https://gitchain.dev/checks/v1",
     "failing": [{"namespace": "prod", "workload": "Deployment/credit", "model": "SHA-256 or empty",
                  "codes": ["GC-E0342"], "since": "2026-11-30T09:15:00+00:00"}]}

A statement is durable before the file is written: a crash between the two repeats it, and loses none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from gitchain.admit.admission import AdmissionResult
from gitchain.admit.denial_reasons import UNDECIDED, printable, summary
from gitchain.admit.deployment_events import ClusterName
from gitchain.admit.logs import log
from gitchain.admit.notices import controller
from gitchain.admit.review import Review
from gitchain.errors import GitchainError, MalformedError
from gitchain.evidence.canonical import Json, canonical_json, strict_json
from gitchain.evidence.deployment import DeploymentVerdict
from gitchain.evidence.digest import Sha256
from gitchain.evidence.fields import Object, as_object, get_string
from gitchain.layout.model import Layout
from gitchain.platform.files import hold_lock, make_directory, read_regular, write_durably
from gitchain.produce.deployment_statements import DeploymentEvent
from gitchain.produce.deployments import DeploymentLog
from gitchain.workspace.user_directory import user_directory

SCHEMA = "https://gitchain.dev/checks/v1"
FILE = "checks.json"
MAX_BYTES = 16 << 20
MAX_FAILING = 10_000
"""Most failing workloads and models that are remembered; changes of others are not reported."""

MAX_LINES = 1000
"""Most changes of one audit that are logged; all are signed and counted."""

Key = tuple[str, str, Sha256]
"""Namespace, workload, and SHA-256 of the model; empty for what is wrong with the object itself."""

Result = Literal["PASSED", "FAILED", "undecided"]
_ORDER: tuple[Result, ...] = ("PASSED", "undecided", "FAILED")


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """The result about one model of a workload, or about the object apart from its models."""

    key: Key
    result: Result
    codes: tuple[str, ...] = ()
    message: str = ""
    policy: str = ""
    """The layout's name in the settings; empty without a rule."""

    mode: str = ""
    layout: Layout | None = None


@dataclass(frozen=True, slots=True)
class FailingCheck:
    """A check that failed: with which codes, and since when."""

    codes: tuple[str, ...]
    since: datetime


@dataclass(frozen=True, slots=True)
class AuditChanges:
    """The outcome of an audit: what changed, and everything that fails now."""

    changes: tuple[ModelCheck, ...]
    failing: Mapping[Key, FailingCheck]


def checks_of(admission_result: AdmissionResult) -> Iterator[ModelCheck]:
    """Yield the check of each model of an object, and of the object itself."""
    review, rule = admission_result.review, admission_result.rule
    if review is None:
        return
    place, policy = (review.namespace, workload_of(review)), rule.layout if rule else ""
    mode, layout = rule.mode if rule else "", admission_result.layout
    of_models = {problem for verdict in admission_result.verdicts for problem in verdict.problems}
    found = [(verdict.sha256, verdict.problems) for verdict in admission_result.verdicts]
    found.append((Sha256(""), tuple(one for one in admission_result.problems if one not in of_models)))
    for sha256, problems in found:
        codes = tuple(sorted({str(one.code) for one in problems}))
        result: Result = "PASSED" if not codes else "undecided" if UNDECIDED & set(codes) else "FAILED"
        yield ModelCheck((*place, sha256), result, codes, summary(problems), policy, mode, layout)


def merged(one: ModelCheck | None, other: ModelCheck) -> ModelCheck:
    """Return the worse of two checks of one key, with the codes of both failures: replicas of a workload count as one."""
    if one is None or _ORDER.index(other.result) > _ORDER.index(one.result):
        return other
    if one.result == other.result == "FAILED":
        return replace(one, codes=tuple(sorted({*one.codes, *other.codes})))
    return one


def workload_of(review: Review) -> str:
    """Return the kind and name of an object's controller, or of the object; of a Deployment's pod the Deployment.

    The names are the object's own claim: they group results, and decide nothing.
    """
    metadata = (review.object or {}).get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    owner = controller(metadata)
    if owner is None:
        return printable(f"{review.kind.kind}/{review.name}", 300)
    kind, name = str(owner.get("kind")), str(owner.get("name"))
    labels = metadata.get("labels")
    template = labels.get("pod-template-hash") if isinstance(labels, dict) else None
    if kind == "ReplicaSet" and isinstance(template, str) and name.endswith(f"-{template}"):
        kind, name = "Deployment", name.removesuffix(f"-{template}")
    return printable(f"{kind}/{name}", 300)


class AuditComparison:
    """Compares an audit with earlier failures, and reports each change once. Blocks; for one thread."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        deployments: DeploymentLog | None = None,
        place: ClusterName | None = None,
    ) -> None:
        self._clock = clock
        self._deployments = deployments
        self._place = place
        self._unwritten: dict[Key, FailingCheck] | None = None
        """What fails, where the file could not be written: else each audit would report it again."""

    def update(self, found: Mapping[Key, ModelCheck], *, whole: bool) -> AuditChanges:
        """Report the changes, and return them with all failures. Errors of the disk are logged, not raised.

        With `whole` the audit saw every object: what it did not see runs no more, and is forgotten.
        """
        changes: list[ModelCheck] = []
        after: dict[Key, FailingCheck] = {}
        try:
            with self._locked() as path:
                before = _read(path) if self._unwritten is None else self._unwritten
                after = self._compare(found, before, changes)
                if whole:
                    after = {key: failing for key, failing in after.items() if key in found}
                if after != before or self._unwritten is not None:
                    self._unwritten = after
                    _write(path, after)
                    self._unwritten = None
        except GitchainError as error:
            log(logging.ERROR, "changes of what runs cannot be recorded", why=str(error))
        return AuditChanges(tuple(changes), after)

    def _compare(
        self, found: Mapping[Key, ModelCheck], before: Mapping[Key, FailingCheck], changes: list[ModelCheck]
    ) -> dict[Key, FailingCheck]:
        """Return the failures after an audit. Adds the reported ones to `changes`, and stops if a statement fails."""
        now, after = self._clock(), dict(before)
        for key, check in found.items():
            old = after.get(key)
            if check.result == "undecided" or check.codes == (old.codes if old else ()):
                continue
            if old is None and len(after) >= MAX_FAILING:
                continue
            try:
                self._sign(check, now)
            except GitchainError as error:
                log(logging.ERROR, "a check of what runs cannot be stated", why=str(error))
                break
            changes.append(check)
            if len(changes) <= MAX_LINES:
                _tell(check)
            if check.codes:
                after[key] = FailingCheck(check.codes, old.since if old else now)
            else:
                del after[key]
        return after

    def _sign(self, check: ModelCheck, now: datetime) -> None:
        """Make the statement durable; nothing where deployments are not signed, or where no layout decided about a model."""
        (namespace, workload, sha256), layout, place = check.key, check.layout, self._place
        if self._deployments is None or place is None or layout is None or not sha256:
            return
        result: Literal["PASSED", "FAILED"] = "FAILED" if check.codes else "PASSED"
        event = DeploymentEvent(
            "checked",
            sha256,
            by="",
            when=now,
            environment=place.environment,
            cluster=place.cluster,
            namespace=namespace,
            workload=workload,
            verdict=DeploymentVerdict(result, layout.name, layout.version, layout.digest),
            codes=check.codes,
        )
        self._deployments.keep(event)

    @contextmanager
    def _locked(self) -> Iterator[Path]:
        """Yield the file's path under its lock. Raises StoreError where it cannot be had."""
        folder = self._deployments.project.state_dir if self._deployments else user_directory()
        make_directory(folder)
        with hold_lock(folder / f"{FILE}.lock"):
            yield folder / FILE


def _tell(check: ModelCheck) -> None:
    namespace, workload, sha256 = check.key
    facts = {"namespace": namespace, "workload": workload, "layout": check.policy, "mode": check.mode}
    facts |= {"model": f"sha256:{sha256}"} if sha256 else {}
    if check.codes:
        log(logging.WARNING, "runs and is not acceptable", **facts, problems=check.message)
    else:
        log(logging.INFO, "runs and is acceptable again", **facts)


def _read(path: Path) -> dict[Key, FailingCheck]:
    """Return the failures of the last audit; nothing if the file is missing or damaged. A damaged file is logged."""
    try:
        value = as_object(strict_json(read_regular(path, MAX_BYTES), FILE, max_bytes=MAX_BYTES), FILE)
        if get_string(value, "schema", FILE) != SCHEMA:
            raise MalformedError("unknown schema", where=FILE, expected=SCHEMA)
        listed = value.get("failing")
        if not isinstance(listed, list | tuple):
            raise MalformedError("not a list", where="failing")
        return dict(_entry(as_object(one, "failing")) for one in listed)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, GitchainError) as error:
        log(logging.ERROR, "the memory of checks is damaged: each is reported again", why=f"{path}: {error}")
        return {}


def _entry(value: Object) -> tuple[Key, FailingCheck]:
    namespace, workload, model, since = (
        get_string(value, name, "failing") for name in ("namespace", "workload", "model", "since")
    )
    codes = value.get("codes")
    if not isinstance(codes, list | tuple) or not codes:
        raise MalformedError("not a list of codes", where="codes")
    return (namespace, workload, Sha256(model)), FailingCheck(
        tuple(map(str, codes)), datetime.fromisoformat(since)
    )


def _write(path: Path, failing: Mapping[Key, FailingCheck]) -> None:
    listed: list[Json] = [
        {
            "namespace": namespace,
            "workload": workload,
            "model": model,
            "codes": list(one.codes),
            "since": one.since.isoformat(),
        }
        for (namespace, workload, model), one in sorted(failing.items())
    ]
    write_durably(path, canonical_json({"schema": SCHEMA, "failing": listed}))
