"""Compare statements by what they say: two that differ in run id, time or commit alone say the same.

`attest` uses it to leave out what is attested already, and the outbox to replace a statement that waits by a new one.
For producing only: nothing here is verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gitchain.evidence.canonical import Json, canonical_json
from gitchain.evidence.predicates import PROVENANCE, claim_of
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import STEP_FIELD


def said_of_step(statement: Statement) -> bytes:
    """Return what a statement says about its step, as bytes to compare.

    Step, layout, kind, command, parameters, materials with their sources, and products. Left out: the run's id, its times,
    the environment, the strength of the evidence, and the commit that the repository was at: they change without the step.
    """
    claim = claim_of(statement)
    said: dict[str, Json] = {
        "step": claim.step,
        "layout": claim.layout,
        "type": statement.predicate_type,
        "materials": _descriptors(claim.materials),
        "products": _descriptors(claim.products),
    }
    if statement.predicate_type == PROVENANCE and claim.run is not None:
        external = _object(_object(statement.predicate, "buildDefinition"), "externalParameters")
        said["kind"] = _object(statement.predicate, "buildDefinition").get("buildType")
        said["command"] = _one_line(external.get("command"))
        said["parameters"] = external.get("parameters")
    return canonical_json(said)


def said_in_all(statement: Statement) -> bytes:
    """Return everything that a statement says except for its run's id and the commit it was made at, as bytes to compare."""
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
    """Return the object in a field, empty where the field holds something else."""
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def _one_line(command: Json) -> Json:
    """Return the command as one text: DVC has a line where `gitchain run` has words."""
    if isinstance(command, Sequence) and not isinstance(command, str):
        return " ".join(str(word) for word in command)
    return command


def _descriptors(found: Sequence[ResourceDescriptor]) -> list[Json]:
    """Return names with their SHA-256, and sources as they are, without the commit of the repository itself."""
    own = "gitTree"  # the annotation that only that commit has
    listed: list[Json] = [
        [one.name, one.digest.get("sha256")] if one.name is not None else one.to_json()
        for one in found
        if own not in one.annotations
    ]
    return sorted(listed, key=canonical_json)
