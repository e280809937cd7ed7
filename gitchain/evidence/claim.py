"""Read what one statement claims about a step: its name, run, layout and strength, its materials and its products.

Transformational predicates (SLSA provenance, link) turn materials into subjects; of every other predicate the
subjects are materials and there are no products (in-toto ITE-10). Of a model signature (OMS), the files are
materials. A verification summary (SLSA VSA) covers the whole chain of its subjects: they are products, and there are
no materials.
Step facts are read from three places only: `externalParameters` of a provenance with a gitchain buildType, a link's
`name`, and the extension field `gitchain_step`. Missing facts are not guessed.

Does NOT decide whether a claim counts: it is only the signer's assertion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.fields import Object, find_array, find_string, get_object, get_string
from gitchain.evidence.names import check_step_name
from gitchain.evidence.statement import MAX_DESCRIPTORS, ResourceDescriptor, Statement, check_rule_names
from gitchain.evidence.vocabulary import (
    KINDS,
    LIFECYCLE_PREFIX,
    LINK,
    OMS,
    PROVENANCE,
    PROVENANCE_V02,
    SOURCE,
    STEP_FIELD,
    VSA,
    Evidence,
    build_type,
    builder_id,
    check_evidence,
    check_run,
)


@dataclass(frozen=True, slots=True)
class StepFacts:
    """Which step a statement is evidence for, and how strong. The constructor raises MalformedError."""

    name: str
    run: str
    evidence: Evidence
    layout: str | None = None

    def __post_init__(self) -> None:
        check_step_name(self.name)
        check_run(self.run)
        check_evidence(self.evidence, STEP_FIELD)
        if self.layout is not None:
            check_step_name(self.layout)

    def to_json(self) -> dict[str, Json]:
        """Return the value of the extension field `gitchain_step`."""
        value: dict[str, Json] = {"name": self.name, "run": self.run, "evidence": self.evidence}
        if self.layout is not None:
            value["layout"] = self.layout
        return value


ClaimKind = Literal["transformational", "informational", "summary"]
"""What the subjects are: products; materials; or products of a chain that another verifier checked (a VSA)."""


@dataclass(frozen=True, slots=True)
class StepClaim:
    """The claims of a statement about a step; a field is None if the statement lacks it."""

    step: str | None
    run: str | None
    layout: str | None
    evidence: Evidence | None
    materials: tuple[ResourceDescriptor, ...]
    products: tuple[ResourceDescriptor, ...]
    kind: ClaimKind

    @property
    def has_facts(self) -> bool:
        """Return whether the statement has gitchain's step facts. A link's name is not one of them."""
        return self.run is not None


def claim_of(statement: Statement) -> StepClaim:
    """Return the statement's claim about a step.

    Raises MalformedError if its step facts are malformed or contradict each other, if a material has no name or
    shares it with another, or if a model signature is malformed; LimitError beyond MAX_DESCRIPTORS materials.
    """
    predicate, kind = statement.predicate, statement.predicate_type
    step, run, layout, evidence = _facts(predicate, kind)
    if kind in {PROVENANCE, PROVENANCE_V02, LINK}:
        materials = _materials(predicate, kind)
        return StepClaim(step, run, layout, evidence, materials, statement.subject, "transformational")
    if kind == SOURCE:  # a signed commit or tag: its files are what it made, of nothing
        return StepClaim(step, run, layout, evidence, (), statement.subject, "transformational")
    if kind == VSA:
        return StepClaim(step, run, layout, evidence, (), statement.subject, "summary")
    about = statement.subject
    if kind == OMS:  # the digest of its subject is of the files' digests, and of no file
        from gitchain.evidence.oms import model_files

        about = model_files(statement)
        check_rule_names(about, "predicate.resources")
    return StepClaim(step, run, layout, evidence, about, (), "informational")


def claimless_artifacts(statement: Statement) -> tuple[ResourceDescriptor, ...]:
    """Return what a statement whose claim cannot be read is about: its subjects, and files that a model signature lists."""
    if statement.predicate_type != OMS:
        return statement.subject
    from gitchain.evidence.oms import listed_files

    return (*statement.subject, *listed_files(statement))


_Facts = tuple[str | None, str | None, str | None, Evidence | None]
_NO_FACTS: _Facts = (None, None, None, None)


def _facts(predicate: Object, kind: str) -> _Facts:
    found = [_extension_facts(predicate)]
    if kind == PROVENANCE:
        found.append(_provenance_facts(predicate))
    if kind == LINK:
        found.append((check_step_name(get_string(predicate, "name", "predicate")), None, None, None))
    said = [facts for facts in found if facts != _NO_FACTS]
    if len(said) > 1:
        raise MalformedError("step facts appear twice", where="predicate", help=f"leave {STEP_FIELD} out")
    return said[0] if said else _NO_FACTS


def _extension_facts(predicate: Object) -> _Facts:
    if STEP_FIELD not in predicate:
        return _NO_FACTS
    where = f"predicate.{STEP_FIELD}"
    source = get_object(predicate, STEP_FIELD, "predicate")
    facts = StepFacts(
        get_string(source, "name", where),
        get_string(source, "run", where),
        check_evidence(get_string(source, "evidence", where), where),
        find_string(source, "layout", where),
    )
    return facts.name, facts.run, facts.layout, facts.evidence


def _provenance_facts(predicate: Object) -> _Facts:
    definition = get_object(predicate, "buildDefinition", "predicate")
    kind = get_string(definition, "buildType", "buildDefinition")
    if not kind.startswith(LIFECYCLE_PREFIX):
        return _NO_FACTS
    if kind not in {build_type(known) for known in KINDS}:
        raise MalformedError(
            "lifecycle kind is unknown", where="buildDefinition.buildType", got=ascii(kind[:100])
        )
    external = get_object(definition, "externalParameters", "buildDefinition")
    internal = get_object(definition, "internalParameters", "buildDefinition")
    where = "internalParameters.evidence"
    evidence = check_evidence(get_string(internal, "evidence", "internalParameters"), where)
    builder = get_object(get_object(predicate, "runDetails", "predicate"), "builder", "runDetails")
    if get_string(builder, "id", "builder") != builder_id(evidence):
        raise MalformedError(
            "builder and evidence strength disagree", where=where, expected=builder_id(evidence)
        )
    facts = StepFacts(
        get_string(external, "step", "externalParameters"),
        get_string(external, "run", "externalParameters"),
        evidence,
        find_string(external, "layout", "externalParameters"),
    )
    return facts.name, facts.run, facts.layout, facts.evidence


def _materials(predicate: Object, kind: str) -> tuple[ResourceDescriptor, ...]:
    if kind == PROVENANCE:
        definition = get_object(predicate, "buildDefinition", "predicate")
        where = "resolvedDependencies"
        items = find_array(definition, where, "buildDefinition", limit=MAX_DESCRIPTORS)
    else:
        where = "materials"
        items = find_array(predicate, where, "predicate", limit=MAX_DESCRIPTORS)
    return _descriptors(items, where)


def _descriptors(items: Sequence[Json], where: str) -> tuple[ResourceDescriptor, ...]:
    found = tuple(ResourceDescriptor.parse(item, f"{where}[{index}]") for index, item in enumerate(items))
    check_rule_names(found, where)
    return found
