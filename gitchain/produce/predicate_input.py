"""Statements with a predicate from the caller, validated if gitchain knows its type.

A known predicate is rebuilt by its builder, and rejected if the builder would not write the same fields: a field that
no reader knows is an undetected mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from gitchain.errors import MalformedError, UsageError
from gitchain.evidence import predicates
from gitchain.evidence.canonical import Json, strict_json
from gitchain.evidence.digest import Sha256
from gitchain.evidence.predicates import (
    PROVENANCE,
    Consent,
    DeploymentVerdict,
    PersonalData,
    Reason,
    ReportedBy,
    RevokedSigner,
)
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import NAMESPACE, STEP_FIELD
from gitchain.platform.files import read_input
from gitchain.produce.draft import StatementDraft
from gitchain.produce.provenance import layout_name, new_run, with_manifests
from gitchain.produce.steps import callers_fault, check_step, collect_all
from gitchain.workspace.project import Project

MAX_PREDICATE_BYTES = 4 << 20  # a model card with embedded plots; Rekor v1 and the webhook allow less


def read_predicate(path: Path) -> dict[str, Any]:
    """Return the predicate in a JSON file. Raises UsageError for other content, LimitError for a large file."""
    remedy = "check the path and its permissions"
    data = read_input(path, MAX_PREDICATE_BYTES, UsageError, "cannot read the predicate", help=remedy)
    with callers_fault(str(path), f"correct the file: {path}"):
        value = strict_json(data, str(path), max_bytes=MAX_PREDICATE_BYTES)
    if not isinstance(value, dict):
        raise UsageError(
            "the predicate is no JSON object",
            where=str(path),
            got=type(value).__name__,
            help="write a JSON object into it: {…}",
        )
    return value


def typed_draft(
    project: Project, step: str, predicate_type: str, value: Mapping[str, Any], materials: Sequence[str]
) -> StatementDraft:
    """Return a statement of `predicate_type` about the materials, with the caller's predicate and the step's facts.

    Raises UsageError without materials, for a transforming type, and for an invalid predicate.
    """
    if not materials:
        raise UsageError("the statement needs a subject", help="--material PATH")
    if predicate_type == PROVENANCE:
        raise UsageError(
            "gitchain writes provenance itself", help="gitchain attest STEP --material PATH --product PATH"
        )
    check_step(step)
    artifacts = collect_all(project, materials)
    facts = predicates.step_facts(name=step, run=new_run(), evidence="declared", layout=layout_name(project))
    page = "docs/formats/predicates.md" if predicate_type.startswith(NAMESPACE) else predicate_type[:200]
    with callers_fault(
        f"predicate of type {predicate_type[:200]}",
        f"correct the file given as --predicate; its fields: {page}",
    ):
        predicate = checked(predicate_type, value) | facts
        statement = Statement.build([one.descriptor for one in artifacts], predicate_type, predicate)
    return with_manifests(statement, artifacts)


def checked(predicate_type: str, value: Mapping[str, Any]) -> dict[str, Json]:
    """Return the predicate, rebuilt if gitchain knows the type. Raises MalformedError if it is invalid."""
    if STEP_FIELD in value:
        raise MalformedError("the step facts are gitchain's to write", where=STEP_FIELD)
    build = _BUILDERS.get(predicate_type)
    if build is None:
        return dict(value)
    made = build(value)
    for place, known in _unread(dict(value), made):
        raise MalformedError("unknown field", where=place, expected=", ".join(known))
    return made


def _unread(given: Any, made: Any, where: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the path of each field that the builder did not write, at any depth, with the fields written there."""
    if isinstance(given, dict) and isinstance(made, dict):
        for key in sorted(given):
            place = f"{where}.{key}" if where else key
            if key in made:
                yield from _unread(given[key], made[key], place)
            else:
                yield place, sorted(made)
    elif isinstance(given, list) and isinstance(made, list):
        for number, (given_item, other) in enumerate(zip(given, made, strict=False)):
            yield from _unread(given_item, other, f"{where}[{number}]")


def _dataset(value: Mapping[str, Any]) -> dict[str, Json]:
    consent: Consent = _word(value, "consent", get_args(Consent))
    personal: PersonalData = _word(value, "personalData", get_args(PersonalData))
    return predicates.dataset(
        source=_text(value, "source"),
        licence=_text(value, "licence"),
        consent=consent,
        personal_data=personal,
        description=_maybe(value, "description"),
        croissant=ResourceDescriptor.parse(value["croissant"], "croissant") if "croissant" in value else None,
    )


def _deployment(value: Mapping[str, Any]) -> dict[str, Json]:
    return predicates.deployment(
        model=_text(value, "model"),
        environment=_text(value, "environment"),
        by=_text(value, "deployedBy"),
        when=_text(value, "deployedOn"),
        cluster=_maybe(value, "cluster"),
        namespace=_maybe(value, "namespace"),
        workload=_maybe(value, "workload"),
        uid=_maybe(value, "uid"),
        image=_maybe(value, "image"),
        verdict=_verdict(value["verdict"]) if "verdict" in value else None,
        reported_by=_reporter(value),
    )


def _retirement(value: Mapping[str, Any]) -> dict[str, Json]:
    return predicates.retirement(
        model=_text(value, "model"),
        environment=_text(value, "environment"),
        by=_text(value, "retiredBy"),
        when=_text(value, "retiredOn"),
        cluster=_maybe(value, "cluster"),
        namespace=_maybe(value, "namespace"),
        workload=_maybe(value, "workload"),
        uid=_maybe(value, "uid"),
        reported_by=_reporter(value),
    )


def _deployment_check(value: Mapping[str, Any]) -> dict[str, Json]:
    return predicates.deployment_check(
        model=_text(value, "model"),
        environment=_text(value, "environment"),
        when=_text(value, "checkedOn"),
        verdict=_verdict(value.get("verdict")),
        codes=_texts(value, "codes"),
        cluster=_maybe(value, "cluster"),
        namespace=_maybe(value, "namespace"),
        workload=_maybe(value, "workload"),
    )


def _reporter(value: Mapping[str, Any]) -> ReportedBy | None:
    if "reportedBy" not in value:
        return None
    reporter = _object(value["reportedBy"], "reportedBy")
    certificate = _object(reporter.get("certificate"), "reportedBy.certificate")
    return ReportedBy(_text(reporter, "name"), Sha256(_text(certificate, "sha256")))


def _verdict(value: Any) -> DeploymentVerdict:
    layout = _object(_object(value, "verdict").get("layout"), "verdict.layout")
    version = layout.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise MalformedError("the layout's version is no number", where="verdict.layout.version")
    result = _word(value, "result", ("PASSED", "FAILED"))
    digest = _object(layout.get("digest"), "verdict.layout.digest")
    return DeploymentVerdict(result, _text(layout, "name"), version, _text(digest, "sha256"))


def _svr(value: Mapping[str, Any]) -> dict[str, Json]:
    verifier = _object(value.get("verifier"), "verifier")
    return predicates.svr(
        verifier=_text(verifier, "id"),
        created=_text(value, "timeCreated"),
        properties=_texts(value, "properties"),
        policies=_descriptors(verifier, "policies"),
    )


def _test_result(value: Mapping[str, Any]) -> dict[str, Json]:
    return predicates.test_result(
        result=_word(value, "result", ("PASSED", "WARNED", "FAILED")),
        configuration=_descriptors(value, "configuration"),
        passed=_texts(value, "passedTests"),
        warned=_texts(value, "warnedTests"),
        failed=_texts(value, "failedTests"),
        url=_maybe(value, "url"),
    )


def _release(value: Mapping[str, Any]) -> dict[str, Json]:
    return predicates.release(purl=_text(value, "purl"), package_id=_maybe(value, "packageId"))


def _revocation(value: Mapping[str, Any]) -> dict[str, Json]:
    reason: Reason = _word(value, "reason", get_args(Reason))
    return predicates.revocation(
        reason=reason,
        when=_text(value, "revokedOn"),
        attestations=_texts(value, "attestations"),
        signers=_signers(value),
        message=_maybe(value, "message"),
    )


def _signers(value: Mapping[str, Any]) -> list[RevokedSigner]:
    items = value.get("signers", [])
    if not isinstance(items, list):
        raise MalformedError("not a list", where="signers", got=type(items).__name__)
    signers = [_object(item, "signers") for item in items]
    if unknown := sorted({name for signer in signers for name in signer} - {"issuer", "subject", "from"}):
        raise MalformedError("unknown field", where=f"signers.{unknown[0]}")
    return [
        RevokedSigner(_text(signer, "issuer"), _text(signer, "subject"), _text(signer, "from"))
        for signer in signers
    ]


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError("not an object", where=where, got=type(value).__name__)
    return value


def _text(value: Mapping[str, Any], name: str) -> str:
    field = value.get(name)
    if not isinstance(field, str):
        raise MalformedError("the predicate lacks a text field", where=name, got=type(field).__name__)
    return field


def _maybe(value: Mapping[str, Any], name: str) -> str | None:
    return _text(value, name) if name in value else None


def _texts(value: Mapping[str, Any], name: str) -> list[str]:
    items = value.get(name, [])
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise MalformedError("not a list of texts", where=name)
    return items


def _descriptors(value: Mapping[str, Any], name: str) -> list[ResourceDescriptor]:
    items = value.get(name, [])
    if not isinstance(items, list):
        raise MalformedError("not a list", where=name, got=type(items).__name__)
    return [ResourceDescriptor.parse(item, name) for item in items]


def _word(value: Mapping[str, Any], name: str, words: Sequence[str]) -> Any:
    """Return the value of a field that allows only certain values."""
    word = _text(value, name)
    if word not in words:
        raise MalformedError("not a known word", where=name, expected=", ".join(words), got=ascii(word[:100]))
    return word


_BUILDERS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Json]]] = {
    predicates.DATASET: _dataset,
    predicates.DEPLOYMENT: _deployment,
    predicates.DEPLOYMENT_CHECK: _deployment_check,
    predicates.RETIREMENT: _retirement,
    predicates.RELEASE: _release,
    predicates.REVOCATION: _revocation,
    predicates.SVR: _svr,
    predicates.TEST_RESULT: _test_result,
}
