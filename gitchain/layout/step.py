"""One step of a layout: its functionaries, its kind of evidence, and its artifact rules.

Every value is valid by construction: the constructors raise LayoutError with the field's name in `where`.
Does NOT check references to other steps (`gitchain.layout.model`) or evaluate constraints (`gitchain.layout.constraint`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from gitchain.errors import GitchainError, LayoutError
from gitchain.evidence.canonical import Json
from gitchain.evidence.names import check_uri
from gitchain.evidence.vocabulary import LAYOUT, LINK, NAMESPACE, PROVENANCE, PROVENANCE_V02, SOURCE, VSA
from gitchain.layout.fields import check_distinct, check_label
from gitchain.layout.parts import Constraint, Selector
from gitchain.layout.rule import ArtifactList, ArtifactRule

SLSA_PROVENANCE = PROVENANCE
TRANSFORMATIONAL = frozenset(
    {PROVENANCE, PROVENANCE_V02, LINK, SOURCE}
)  # ITE-10: these say what went in and came out; into a commit nothing does
MAX_VERSION = 2**53 - 1
SUMMARIES = "https://slsa.dev/verification_summary/"
"""What the predicate types of verification summaries begin with, in every version."""
_RESOURCE = re.compile(r"[!-~]{1,4096}", re.ASCII)

Evidence: TypeAlias = Literal["observed", "declared"]


@dataclass(frozen=True, slots=True)
class Sublayout:
    """A sublayout: its name, and the lowest accepted version."""

    name: str
    minimum_version: int = 1

    def __post_init__(self) -> None:
        check_label(self.name)
        if not 1 <= self.minimum_version <= MAX_VERSION:
            raise LayoutError(
                "version must be at least 1", where="minimumVersion", got=str(self.minimum_version)
            )

    def to_json(self) -> dict[str, Json]:
        """Return the reference as in the layout, without fields that have their default."""
        found: dict[str, Json] = {"name": self.name}
        return found if self.minimum_version == 1 else {**found, "minimumVersion": self.minimum_version}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: functionaries, threshold, required strength and age of evidence, artifact rules and constraints.

    A step with the layout predicate type has a `sublayout`; one with that of verification summaries has a `verifier`,
    and may have the `resource` that summaries must be about. A step with a `select` takes statements without gitchain's
    step facts.
    """

    name: str
    functionaries: tuple[str, ...]
    expected_materials: tuple[ArtifactRule, ...] = ()
    expected_products: tuple[ArtifactRule, ...] = ()
    threshold: int = 1
    predicate_type: str = SLSA_PROVENANCE
    evidence: Evidence | None = None
    max_age: timedelta | None = None
    constraints: tuple[Constraint, ...] = ()
    sublayout: Sublayout | None = None
    verifier: str | None = None
    resource: str | None = None
    select: Selector | None = None

    def __post_init__(self) -> None:
        check_label(self.name)
        if not self.functionaries:
            raise LayoutError(
                "the step has no functionary", where="functionaries", expected="at least one", got="none"
            )
        check_distinct("functionary", "functionaries", self.functionaries)
        if not 1 <= self.threshold <= len(self.functionaries):
            raise LayoutError(
                "threshold does not fit the functionaries of the step",
                where="threshold",
                expected=f"1 to {len(self.functionaries)}, the number of functionaries",
                got=str(self.threshold),
            )
        if ":" not in self.predicate_type or not self.predicate_type.isprintable():
            raise LayoutError(
                "predicate type is not a URI", where="predicateType", got=ascii(self.predicate_type)
            )
        if self.max_age is not None and self.max_age <= timedelta(0):
            raise LayoutError(
                "maximum age must be longer than nothing", where="maxAge", got=str(self.max_age)
            )
        check_distinct("constraint", "constraints", (one.name for one in self.constraints))
        _check_kind(self)

    @property
    def transformational(self) -> bool:
        """Return whether the predicate maps materials to products."""
        return self.predicate_type in TRANSFORMATIONAL

    @property
    def has_products(self) -> bool:
        """Return whether evidence for the step has products; for other predicates the subjects are the materials."""
        return self.transformational or self.predicate_type in {LAYOUT, VSA}

    @property
    def has_materials(self) -> bool:
        """Return whether evidence for the step has materials: a sublayout, a summary and a commit have none."""
        return self.predicate_type not in {LAYOUT, VSA, SOURCE}

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the steps that this step's MATCH rules name, each once, in order."""
        return tuple(dict.fromkeys(step for step, _ in self.looks))

    @property
    def looks(self) -> tuple[tuple[str, ArtifactList], ...]:
        """Return the lists of other steps that this step's MATCH rules look at, each once, in order."""
        rules = (*self.expected_materials, *self.expected_products)
        return tuple(dict.fromkeys((rule.match.step, rule.match.side) for rule in rules if rule.match))

    def to_json(self) -> dict[str, Json]:
        """Return the step as in the layout, without fields that have their default."""
        found: dict[str, Json] = {"name": self.name, "functionaries": self.functionaries}
        found["threshold"] = self.threshold
        found["predicateType"] = self.predicate_type
        if self.evidence:
            found["evidence"] = self.evidence
        if self.max_age:
            found["maxAge"] = format_duration(self.max_age)
        if self.sublayout:
            found["sublayout"] = self.sublayout.to_json()
        if self.verifier:
            found["verifier"] = self.verifier
        if self.resource:
            found["resource"] = self.resource
        if self.select:
            found["select"] = self.select.to_json()
        if self.has_materials:
            found["expectedMaterials"] = [rule.tokens for rule in self.expected_materials]
        if self.has_products:
            found["expectedProducts"] = [rule.tokens for rule in self.expected_products]
        if self.constraints:
            found["constraints"] = [one.to_json() for one in self.constraints]
        return found


def _check_kind(step: Step) -> None:
    """Raise LayoutError for fields that do not fit the predicate type, or a missing one."""
    if step.expected_products and not step.has_products:
        raise LayoutError(
            "this predicate type has no products",
            where="expectedProducts",
            expected="rules under expectedMaterials: they see the statement's subject",
            got=step.predicate_type,
        )
    if step.expected_materials and not step.has_materials:
        raise LayoutError(
            "this predicate type has no materials",
            where="expectedMaterials",
            expected="rules under expectedProducts: they see the statement's subject",
            got=step.predicate_type,
        )
    _check_pair("sublayout", step.sublayout, step.predicate_type, LAYOUT)
    _check_pair("verifier", step.verifier, step.predicate_type, VSA)
    if step.verifier is not None:
        try:
            check_uri(step.verifier, "verifier")
        except GitchainError as error:
            raise LayoutError(error.what, where="verifier", got=error.where) from error
    _check_resource(step)
    _check_select(step)
    for field, value in (
        ("evidence", step.evidence),
        ("maxAge", step.max_age),
        ("constraints", step.constraints),
    ):
        if step.sublayout and value:
            raise LayoutError(
                "the sublayout defines this field", where=field, expected=f"no {field} beside sublayout"
            )


def _check_resource(step: Step) -> None:
    """Check that `resource` is a URI, and that the step also has a `verifier`."""
    if step.resource is not None and step.verifier is None:
        raise LayoutError(
            "resource belongs to verifier", where="resource", expected="no resource without verifier"
        )
    if step.resource is not None and _RESOURCE.fullmatch(step.resource) is None:
        raise LayoutError(
            "resource is malformed",
            where="resource",
            expected="a URI of at most 4096 characters",
            got=ascii(step.resource[:100]),
        )


def _check_select(step: Step) -> None:
    """Check that a `select` is for statements of other tools: not gitchain's own, and no verification summaries."""
    if step.select is None:
        return
    if step.predicate_type.startswith((SUMMARIES, f"{NAMESPACE}/")):
        raise LayoutError(
            "statements of this predicate type are not selected",
            where="select",
            expected="a predicate type of another tool",
            got=step.predicate_type,
            help="a verification summary needs verifier; gitchain's own statements name their step",
        )
    if step.evidence is not None:
        raise LayoutError(
            "a selected statement has no strength",
            where="evidence",
            expected="no evidence beside select",
            got=step.evidence,
        )


def _check_pair(field: str, value: object, predicate_type: str, needed: str) -> None:
    if (value is not None) != (predicate_type == needed):
        raise LayoutError(
            f"{field} and predicate type do not fit",
            where=field,
            expected=f"{field} with {needed}, and with no other predicate type",
            got=predicate_type,
        )


def format_duration(age: timedelta) -> str:
    """Return an ISO 8601 duration in days and hours."""
    hours = age.seconds // 3600
    return "P" + (f"{age.days}D" if age.days else "") + (f"T{hours}H" if hours else "")
