"""Compare statements by content, ignoring run id, time and commit.

`attest` skips equivalent attestations, and the outbox replaces a waiting statement by an equivalent new one. For
producing only: nothing is verified here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gitchain.evidence.canonical import Json, canonical_json
from gitchain.evidence.predicates import PROVENANCE, claim_of
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import STEP_FIELD


def step_content(statement: Statement) -> bytes:
    """Return the content of a statement about its step, as bytes to compare.

    Includes step, layout, kind, command, parameters, materials with sources, and products. Excludes the run id,
    times, environment, strength of the evidence, and the repository's commit: they change independently of the step.
    """
    claim = claim_of(statement)
    content: dict[str, Json] = {
        "step": claim.step,
        "layout": claim.layout,
        "type": statement.predicate_type,
        "materials": _descriptors(claim.materials),
        "products": _descriptors(claim.products),
    }
    if statement.predicate_type == PROVENANCE and claim.run is not None:
        external = _object(_object(statement.predicate, "buildDefinition"), "externalParameters")
        content["kind"] = _object(statement.predicate, "buildDefinition").get("buildType")
        content["command"] = _one_line(external.get("command"))
        content["parameters"] = external.get("parameters")
    return canonical_json(content)


def statement_content(statement: Statement) -> bytes:
    """Return the content of a statement without its run id and commit, as bytes to compare."""
    predicate = dict(statement.predicate)
    facts = predicate.get(STEP_FIELD)
    if isinstance(facts, dict):
        predicate[STEP_FIELD] = {**facts, "run": ""}
    if statement.predicate_type == PROVENANCE and claim_of(statement).run is not None:
        definition, details = _object(predicate, "buildDefinition"), _object(predicate, "runDetails")
        predicate["buildDefinition"] = {
            **definition,
            "externalParameters": {**_object(definition, "externalParameters"), "run": ""},
            "internalParameters": {**_object(definition, "internalParameters"), "git": {}},
            "resolvedDependencies": _descriptors(claim_of(statement).materials),
        }
        predicate["runDetails"] = {
            **details,
            "metadata": {**_object(details, "metadata"), "invocationId": ""},
        }
    subjects: list[Json] = [subject.to_json() for subject in statement.subject]
    return canonical_json([statement.predicate_type, subjects, predicate])


def _object(value: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    """Return the object in a field, or an empty one for other content."""
    field = value.get(name)
    return field if isinstance(field, Mapping) else {}


def _one_line(command: Json) -> Json:
    """Return the command as one text: DVC has a line, `gitchain run` has words."""
    if isinstance(command, Sequence) and not isinstance(command, str):
        return " ".join(str(word) for word in command)
    return command


def _descriptors(descriptors: Sequence[ResourceDescriptor]) -> list[Json]:
    """Return names with their SHA-256, and sources in full, without the commit of the repository itself."""
    own = "gitTree"  # only that commit has this annotation
    listed: list[Json] = [
        [descriptor.name, descriptor.digest.get("sha256")]
        if descriptor.name is not None
        else descriptor.to_json()
        for descriptor in descriptors
        if own not in descriptor.annotations
    ]
    return sorted(listed, key=canonical_json)
