"""The layout: who may do which step of a model's life, and how the steps fit together.

docs/layout.md is the reference of the language. Every value here is valid by construction: the constructors
raise LayoutError with the field's name in `where`, and the loader puts the path before it.

This module reads no bytes (`gitchain.layout.load`), applies no rules (`gitchain.layout.rules`) and verifies
no signature (`gitchain.verify.layout`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from gitchain.errors import LayoutError, MalformedError
from gitchain.evidence.canonical import Json, canonical_json
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.names import check_step_name
from gitchain.layout.rule import Keyword, Rule, Side, check_pattern

SCHEMA = "https://gitchain.dev/layout/v1"
SLSA_PROVENANCE = "https://slsa.dev/provenance/v1"
TRANSFORMATIONAL = frozenset(  # ITE-10: these say what went in and what came out
    {SLSA_PROVENANCE, "https://slsa.dev/provenance/v0.2", "https://in-toto.io/attestation/link/v0.3"}
)
MAX_STEPS = 1000
MAX_FUNCTIONARIES = 10_000
MAX_VERSION = 2**53 - 1
MAX_IDENTITY_CHARS = 2048  # longer than any URL that a certificate authority would certify

KEY_ISSUER = "gitchain:key"  # who signs with a bare key; no certificate can name this issuer: it is no URL

Evidence: TypeAlias = Literal["observed", "declared"]


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A Sigstore identity: the OIDC issuer and the certificate's subject alternative name, both exact.

    A key's is KEY_ISSUER and `sha256:<hex>` of its DER SubjectPublicKeyInfo.
    """

    issuer: str
    subject: str

    def __post_init__(self) -> None:
        for field, value in (("issuer", self.issuer), ("subject", self.subject)):
            if not 0 < len(value) <= MAX_IDENTITY_CHARS or not value.isprintable() or value != value.strip():
                raise LayoutError("identity is empty or not printable", where=field, got=ascii(value[:80]))
        if self.issuer != KEY_ISSUER and not self.issuer.startswith(("https://", "http://")):
            raise LayoutError("issuer is not a URL", where="issuer", expected="https://…", got=self.issuer)

    def __str__(self) -> str:
        """Return subject and issuer, for messages."""
        return f"{self.subject} ({self.issuer})"

    def to_json(self) -> dict[str, Json]:
        """Return the identity as the layout holds it."""
        return {"issuer": self.issuer, "subject": self.subject}


@dataclass(frozen=True, slots=True)
class Functionary:
    """One principal, a person or a workload, with the identities that it owns. Counts once in a threshold."""

    name: str
    identities: tuple[Identity, ...]

    def __post_init__(self) -> None:
        _check_label(self.name)
        if not self.identities:
            raise LayoutError("a functionary needs an identity", where="identities", got="none")
        _check_distinct("identity", "identities", map(str, self.identities))


@dataclass(frozen=True, slots=True)
class Step:
    """One step: who may sign for it, how many, how strong and how fresh, and its artifact rules."""

    name: str
    functionaries: tuple[str, ...]
    expected_materials: tuple[Rule, ...] = ()
    expected_products: tuple[Rule, ...] = ()
    threshold: int = 1
    predicate_type: str = SLSA_PROVENANCE
    evidence: Evidence | None = None
    max_age: timedelta | None = None

    def __post_init__(self) -> None:
        _check_label(self.name)
        if not self.functionaries:
            raise LayoutError(
                "nobody may do this step", where="functionaries", expected="at least one", got="none"
            )
        _check_distinct("functionary", "functionaries", self.functionaries)
        if not 1 <= self.threshold <= len(self.functionaries):
            raise LayoutError(
                "threshold cannot be met as meant",
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
        if self.expected_products and not self.transformational:
            raise LayoutError(
                "this predicate type has no products",
                where="expectedProducts",
                expected="rules under expectedMaterials: they see the statement's subject",
                got=self.predicate_type,
            )

    @property
    def transformational(self) -> bool:
        """Tell whether the predicate says what was made from what; else the subject is the materials."""
        return self.predicate_type in TRANSFORMATIONAL

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the steps that this step's MATCH rules name, each once, in order."""
        return tuple(dict.fromkeys(step for step, _ in self.looks))

    @property
    def looks(self) -> tuple[tuple[str, Side], ...]:
        """Return the lists of other steps that this step's MATCH rules look at, each once, in order."""
        rules = (*self.expected_materials, *self.expected_products)
        return tuple(dict.fromkeys((rule.match.step, rule.match.side) for rule in rules if rule.match))

    def to_json(self) -> dict[str, Json]:
        """Return the step as the layout holds it, without fields that have their default."""
        found: dict[str, Json] = {"name": self.name, "functionaries": self.functionaries}
        found["threshold"] = self.threshold
        found["predicateType"] = self.predicate_type
        if self.evidence:
            found["evidence"] = self.evidence
        if self.max_age:
            found["maxAge"] = format_duration(self.max_age)
        found["expectedMaterials"] = [rule.tokens for rule in self.expected_materials]
        if self.transformational:
            found["expectedProducts"] = [rule.tokens for rule in self.expected_products]
        return found


@dataclass(frozen=True, slots=True)
class Served:
    """What may be served: the products of one step whose names match one of the patterns."""

    step: str
    products: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.products:
            raise LayoutError(
                "nothing is served", where="products", expected="at least one pattern", got="none"
            )
        for pattern in self.products:
            try:
                check_pattern(pattern)
            except LayoutError as error:
                raise LayoutError(
                    error.what, where="products", expected=error.expected, got=error.got
                ) from error

    def to_json(self) -> dict[str, Json]:
        """Return the entry as the layout holds it."""
        return {"step": self.step, "products": self.products}


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole layout. `canonical` are the bytes that its digest and its signature are about."""

    name: str
    version: int
    expires: datetime
    functionaries: tuple[Functionary, ...]
    steps: tuple[Step, ...]
    serve: tuple[Served, ...]

    def __post_init__(self) -> None:
        _check_label(self.name)
        if not 1 <= self.version <= MAX_VERSION:
            raise LayoutError("version must be at least 1", where="version", got=str(self.version))
        if self.expires.tzinfo != UTC or self.expires.microsecond:
            raise LayoutError("expiry must be UTC in whole seconds", where="expires", got=str(self.expires))
        for field, count, limit in (
            ("functionaries", len(self.functionaries), MAX_FUNCTIONARIES),
            ("steps", len(self.steps), MAX_STEPS),
            ("serve", len(self.serve), MAX_STEPS),
        ):
            if not 1 <= count <= limit:
                raise LayoutError(f"{field} must have 1 to {limit} entries", where=field, got=str(count))
        _check_references(self)

    def step(self, name: str) -> Step:
        """Return the step of that name; KeyError if the layout has none."""
        return {step.name: step for step in self.steps}[name]

    def to_json(self) -> dict[str, Json]:
        """Return the layout as JSON; parsing it gives an equal layout."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "expires": self.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "functionaries": {
                one.name: {"identities": [identity.to_json() for identity in one.identities]}
                for one in self.functionaries
            },
            "steps": [step.to_json() for step in self.steps],
            "serve": [served.to_json() for served in self.serve],
        }

    @property
    def canonical(self) -> bytes:
        """Return the layout's RFC 8785 bytes."""
        return canonical_json(self.to_json())

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the canonical layout, in hex."""
        return sha256_hex(self.canonical)


def format_duration(age: timedelta) -> str:
    """Return an ISO 8601 duration in days and hours."""
    hours = age.seconds // 3600
    return "P" + (f"{age.days}D" if age.days else "") + (f"T{hours}H" if hours else "")


def _check_label(name: str) -> None:
    try:
        check_step_name(name)
    except MalformedError as error:
        raise LayoutError(
            error.what, where="name", expected=error.expected, got=error.got or error.where
        ) from error


def _check_distinct(what: str, where: str, values: Iterable[str]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise LayoutError(f"{what} is listed twice", where=where, got=", ".join(sorted(twice)))


def _check_references(layout: Layout) -> None:
    """Check what one part of the layout says about another."""
    _check_distinct("functionary", "functionaries", (one.name for one in layout.functionaries))
    _check_distinct(
        "identity of two functionaries",
        "functionaries",
        (str(identity) for one in layout.functionaries for identity in one.identities),
    )
    _check_distinct("step", "steps", (step.name for step in layout.steps))
    people = {one.name for one in layout.functionaries}
    steps = {step.name: step for step in layout.steps}
    for index, step in enumerate(layout.steps):
        if unknown := set(step.functionaries) - people:
            raise LayoutError(
                "functionary is not defined",
                where=f"steps[{index}].functionaries",
                expected=", ".join(sorted(people)),
                got=", ".join(sorted(unknown)),
            )
        _check_sources(step, steps, index)
    made = ", ".join(name for name, step in steps.items() if step.transformational)
    for index, served in enumerate(layout.serve):
        if served.step not in steps or not steps[served.step].transformational:
            raise LayoutError(
                "served step is not a step with products",
                where=f"serve[{index}].step",
                expected=made or "one such step",
                got=served.step,
            )


def _check_sources(step: Step, steps: dict[str, Step], index: int) -> None:
    for rule in (*step.expected_materials, *step.expected_products):
        if rule.keyword is Keyword.MATCH and rule.match and rule.match.step not in steps:
            raise LayoutError(
                "MATCH names a step that the layout does not have",
                where=f"steps[{index}]",
                expected=", ".join(steps),
                got=str(rule),
            )
