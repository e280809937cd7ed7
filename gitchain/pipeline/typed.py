"""Statements of a given predicate type: the caller's predicate, checked where the type is one that gitchain knows.

A known predicate is made again by its builder, and what the builder would not write is refused: a field that nobody reads
is a mistake that nobody sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from gitchain.errors import MalformedError, UsageError
from gitchain.evidence import predicates
from gitchain.evidence.canonical import Json, strict_json
from gitchain.evidence.predicates import PROVENANCE, Consent, PersonalData, Reason, RevokedSigner, Verdict
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import STEP_FIELD
from gitchain.pipeline.project import Project
from gitchain.pipeline.record import Draft
from gitchain.pipeline.steps import (
    callers_fault,
    check_step,
    collect_all,
    layout_name,
    new_run,
    with_manifests,
)
from gitchain.platform.files import open_regular

MAX_PREDICATE_BYTES = 4 << 20  # a model card with plots inlined; Rekor v1 and the webhook want less


def read_predicate(path: Path) -> dict[str, Any]:
    """Return the predicate that the caller wrote into a JSON file; UsageError for what is none, LimitError."""
    try:
        with open_regular(path) as file:
            data = file.read(MAX_PREDICATE_BYTES + 1)
    except OSError as error:
        raise UsageError("cannot read the predicate", where=str(path), got=str(error.strerror)) from error
    with callers_fault(str(path)):
        value = strict_json(data, str(path), max_bytes=MAX_PREDICATE_BYTES)
    if not isinstance(value, dict):
        raise UsageError("the predicate is no JSON object", where=str(path), got=type(value).__name__)
    return value


def typed_draft(
    project: Project, step: str, predicate_type: str, value: Mapping[str, Any], materials: Sequence[str]
) -> Draft:
    """Return a statement of `predicate_type` about the materials, with the caller's predicate and our step facts.

    Raises UsageError without materials, for a transforming type, and for a predicate that its type refuses.
    """
    if not materials:
        raise UsageError("say what the statement is about", help="--material PATH")
    if predicate_type == PROVENANCE:
        raise UsageError(
            "gitchain writes provenance itself", help="gitchain attest STEP --material PATH --product PATH"
        )
    check_step(step)
    artifacts = collect_all(project, materials)
    facts = predicates.step_facts(name=step, run=new_run(), evidence="declared", layout=layout_name(project))
    with callers_fault(f"predicate of type {predicate_type[:200]}"):
        predicate = checked(predicate_type, value) | facts
        statement = Statement.build([one.descriptor for one in artifacts], predicate_type, predicate)
    return with_manifests(statement, artifacts)


def checked(predicate_type: str, value: Mapping[str, Any]) -> dict[str, Json]:
    """Return the predicate, made by its builder where gitchain knows the type; MalformedError for what it refuses."""
    if STEP_FIELD in value:
        raise MalformedError("the step facts are gitchain's to write", where=STEP_FIELD)
    build = _BUILDERS.get(predicate_type)
    if build is None:
        return dict(value)
    made = build(value)
    if unknown := sorted(set(value) - set(made)):
        raise MalformedError("unknown field", where=unknown[0], expected=", ".join(sorted(made)))
    return made


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
    )


def _verdict(value: Any) -> Verdict:
    layout = _object(_object(value, "verdict").get("layout"), "verdict.layout")
    version = layout.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise MalformedError("the layout's version is no number", where="verdict.layout.version")
    result = _word(value, "result", ("PASSED", "FAILED"))
    digest = _object(layout.get("digest"), "verdict.layout.digest")
    return Verdict(result, _text(layout, "name"), version, _text(digest, "sha256"))


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
    found = value.get("signers", [])
    if not isinstance(found, list):
        raise MalformedError("not a list", where="signers", got=type(found).__name__)
    signers = [_object(item, "signers") for item in found]
    if unknown := sorted({name for one in signers for name in one} - {"issuer", "subject", "from"}):
        raise MalformedError("unknown field", where=f"signers.{unknown[0]}")
    return [RevokedSigner(_text(one, "issuer"), _text(one, "subject"), _text(one, "from")) for one in signers]


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError("not an object", where=where, got=type(value).__name__)
    return value


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str):
        raise MalformedError("the predicate lacks a text field", where=name, got=type(found).__name__)
    return found


def _maybe(value: Mapping[str, Any], name: str) -> str | None:
    return _text(value, name) if name in value else None


def _texts(value: Mapping[str, Any], name: str) -> list[str]:
    found = value.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise MalformedError("not a list of texts", where=name)
    return found


def _descriptors(value: Mapping[str, Any], name: str) -> list[ResourceDescriptor]:
    found = value.get(name, [])
    if not isinstance(found, list):
        raise MalformedError("not a list", where=name, got=type(found).__name__)
    return [ResourceDescriptor.parse(item, name) for item in found]


def _word(value: Mapping[str, Any], name: str, words: Sequence[str]) -> Any:
    """Return one of the words that a field may hold."""
    found = _text(value, name)
    if found not in words:
        raise MalformedError(
            "not a known word", where=name, expected=", ".join(words), got=ascii(found[:100])
        )
    return found


_BUILDERS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Json]]] = {
    predicates.DATASET: _dataset,
    predicates.DEPLOYMENT: _deployment,
    predicates.RETIREMENT: _retirement,
    predicates.RELEASE: _release,
    predicates.REVOCATION: _revocation,
    predicates.SVR: _svr,
    predicates.TEST_RESULT: _test_result,
}
