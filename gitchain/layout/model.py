"""The layout: functionaries, steps of a model's lifecycle, and the rules between steps.

docs/layout.md is the reference of the language. Every value is valid by construction: the constructors raise
LayoutError with the field's name in `where`, and the loader adds the path. Steps are in `gitchain.layout.step`,
functionaries in `gitchain.layout.identities`; this module checks the references between them.

It reads no bytes (`gitchain.layout.load`), applies no rules (`gitchain.layout.rules`) and verifies no signature
(`gitchain.verify.layout`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gitchain.errors import LayoutError
from gitchain.evidence.canonical import Json, canonical_json
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.vocabulary import time_text
from gitchain.layout.fields import check_distinct, check_known, check_label
from gitchain.layout.identities import (
    KEY_ISSUER,
    OPENPGP_ISSUER,
    SSH_ISSUER,
    Functionary,
    Identity,
    KeyMember,
    Member,
    OpenPgpMember,
    SigstoreMember,
    SshMember,
)
from gitchain.layout.parts import Constraint, Datasets, Inspection, Selector, ServedProducts
from gitchain.layout.step import (
    MAX_VERSION,
    SLSA_PROVENANCE,
    TRANSFORMATIONAL,
    Evidence,
    Step,
    Sublayout,
    format_duration,
)

__all__ = [
    "KEY_ISSUER",
    "MAX_FUNCTIONARIES",
    "MAX_STEPS",
    "MAX_VERSION",
    "OPENPGP_ISSUER",
    "SCHEMA",
    "SLSA_PROVENANCE",
    "SSH_ISSUER",
    "TRANSFORMATIONAL",
    "Constraint",
    "Datasets",
    "Evidence",
    "Functionary",
    "Identity",
    "Inspection",
    "KeyMember",
    "Layout",
    "Member",
    "OpenPgpMember",
    "Selector",
    "ServedProducts",
    "SigstoreMember",
    "SshMember",
    "Step",
    "Sublayout",
    "format_duration",
]

SCHEMA = "https://gitchain.dev/layout/v1"
MAX_STEPS = 1000
MAX_FUNCTIONARIES = 10_000


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole layout. Its digest and signature are over the bytes `canonical`."""

    name: str
    version: int
    expires: datetime
    functionaries: tuple[Functionary, ...]
    steps: tuple[Step, ...]
    serve: tuple[ServedProducts, ...]
    principals: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    revokers: tuple[str, ...] = ()
    datasets: Datasets | None = None
    constraints: tuple[Constraint, ...] = ()
    same_run: tuple[tuple[str, ...], ...] = ()
    inspections: tuple[Inspection, ...] = ()
    freshness: timedelta | None = None
    """Maximum age of the newest signed checkpoint of the store; None for no such condition."""

    def __post_init__(self) -> None:
        check_label(self.name)
        if not 1 <= self.version <= MAX_VERSION:
            raise LayoutError("version must be at least 1", where="version", got=str(self.version))
        if self.expires.tzinfo != UTC or self.expires.microsecond:
            raise LayoutError("expiry must be UTC in whole seconds", where="expires", got=str(self.expires))
        for name, count, limit in (
            ("functionaries", len(self.functionaries), MAX_FUNCTIONARIES),
            ("steps", len(self.steps), MAX_STEPS),
            ("serve", len(self.serve), MAX_STEPS),
        ):
            if not 1 <= count <= limit:
                raise LayoutError(f"{name} must have 1 to {limit} entries", where=name, got=str(count))
        if self.freshness is not None and self.freshness <= timedelta():
            raise LayoutError("freshness must be longer than nothing", where="freshness", got="P0D")
        _check_people(self)
        _check_steps(self)
        _check_parts(self)

    def step(self, name: str) -> Step:
        """Return the step of that name. Raises KeyError if the layout has none."""
        return {step.name: step for step in self.steps}[name]

    def functionary(self, name: str) -> Functionary:
        """Return the functionary of that name. Raises KeyError if the layout has none."""
        return {one.name: one for one in self.functionaries}[name]

    def principal_of(self, functionary: str) -> str:
        """Return the person or workload that the functionary is: a principal's name, or else its own."""
        for name, members in self.principals.items():
            if functionary in members:
                return name
        return functionary

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Return the public keys of all functionaries, in DER, each once."""
        members = (member for one in self.functionaries for member in one.identities)
        return tuple(dict.fromkeys(one.public_key for one in members if isinstance(one, KeyMember)))

    @property
    def openpgp(self) -> tuple[OpenPgpMember, ...]:
        """Return the OpenPGP keys of all functionaries."""
        members = (member for one in self.functionaries for member in one.identities)
        return tuple(member for member in members if isinstance(member, OpenPgpMember))

    def to_json(self) -> dict[str, Json]:
        """Return the layout as JSON, without later fields that are at their default; parsing it gives an equal layout."""
        found: dict[str, Json] = {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "expires": time_text(self.expires),
            "functionaries": {one.name: one.to_json() for one in self.functionaries},
            "steps": [step.to_json() for step in self.steps],
            "serve": [served.to_json() for served in self.serve],
        }
        optional: dict[str, Json] = {
            "principals": dict(self.principals),
            "revokers": self.revokers,
            "datasets": self.datasets.to_json() if self.datasets else None,
            "constraints": [one.to_json() for one in self.constraints],
            "sameRun": self.same_run,
            "inspections": [one.to_json() for one in self.inspections],
            "freshness": format_duration(self.freshness) if self.freshness is not None else None,
        }
        return found | {name: value for name, value in optional.items() if value}

    @property
    def canonical(self) -> bytes:
        """Return the layout's RFC 8785 bytes."""
        return canonical_json(self.to_json())

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the canonical layout, in hex."""
        return sha256_hex(self.canonical)


def _check_people(layout: Layout) -> None:
    """Check functionaries, principals and revokers: all names exist, and no functionary has two principals."""
    people = tuple(one.name for one in layout.functionaries)
    check_distinct("functionary", "functionaries", people)
    check_distinct(
        "identity of two functionaries",
        "functionaries",
        (str(member) for one in layout.functionaries for member in one.identities),
    )
    for name, members in layout.principals.items():
        where = f"principals.{name}"
        check_label(name, where)
        if not members:
            raise LayoutError("a principal needs a functionary", where=where, got="none")
        check_known("functionary is not defined", where, members, people)
        if name in people and name not in members:
            raise LayoutError(
                "principal has the name of a functionary that it is not", where=where, got=", ".join(members)
            )
    listed = (one for members in layout.principals.values() for one in members)
    check_distinct("functionary of two principals", "principals", listed)
    check_distinct("revoker", "revokers", layout.revokers)
    check_known("functionary is not defined", "revokers", layout.revokers, people)


def _check_steps(layout: Layout) -> None:
    """Check the references of steps to functionaries and other steps."""
    check_distinct("step", "steps", (step.name for step in layout.steps))
    people = tuple(one.name for one in layout.functionaries)
    principal = {one: name for name, members in layout.principals.items() for one in members}
    steps = {step.name for step in layout.steps}
    for index, step in enumerate(layout.steps):
        check_known("functionary is not defined", f"steps[{index}].functionaries", step.functionaries, people)
        distinct = {principal.get(one, one) for one in step.functionaries}
        if step.threshold > len(distinct):
            raise LayoutError(
                "threshold does not fit the functionaries of the step",
                where=f"steps[{index}].threshold",
                expected=f"1 to {len(distinct)}, the number of distinct principals",
                got=str(step.threshold),
            )
        for rule in (*step.expected_materials, *step.expected_products):
            if rule.match and rule.match.step not in steps:
                raise LayoutError(
                    "MATCH names a step that the layout does not have",
                    where=f"steps[{index}]",
                    expected=", ".join(step.name for step in layout.steps),
                    got=str(rule),
                )


def _check_parts(layout: Layout) -> None:
    """Check `serve`, `datasets` and `sameRun`, and that names of constraints and inspections are distinct."""
    _check_made(layout, "serve", "served step is not a step with products", layout.serve)
    if layout.datasets:
        people = tuple(one.name for one in layout.functionaries)
        where = "datasets.functionaries"
        check_known("functionary is not defined", where, layout.datasets.functionaries, people)
        what = "step of a data set is not a step with products"
        _check_made(layout, "datasets.artifacts", what, layout.datasets.artifacts)
    check_distinct("constraint", "constraints", (one.name for one in layout.constraints))
    check_distinct("inspection", "inspections", (one.name for one in layout.inspections))
    own = tuple(step.name for step in layout.steps if step.has_materials and step.select is None)
    for index, group in enumerate(layout.same_run):
        where = f"sameRun[{index}]"
        if len(group) < 2:
            raise LayoutError(
                "one step alone is always of one run", where=where, expected="two steps or more"
            )
        check_known("step has no run here, or is not defined", where, group, own)
    check_distinct("step", "sameRun", (name for group in layout.same_run for name in group))
    _check_scopes(layout)


def _check_scopes(layout: Layout) -> None:
    """Check that the steps of a `serve` entry are closed: with its own, all that their rules name, and whole runs."""
    steps = {step.name: step for step in layout.steps}
    for index, entry in enumerate(layout.serve):
        where, named = f"serve[{index}].steps", set(entry.steps)
        if not named:
            continue
        check_known("step is not defined", where, entry.steps, steps)
        sources = {source for name in entry.steps for source in steps[name].sources}
        runs = {one for group in layout.same_run if named & set(group) for one in group}
        if missing := [name for name in steps if name in {entry.step} | sources | runs and name not in named]:
            raise LayoutError(
                "serve leaves out a step that the others need: it makes the product, or a MATCH rule or sameRun names it",
                where=where,
                expected=", ".join((*entry.steps, *missing)),
                got=", ".join(entry.steps),
            )


def _check_made(layout: Layout, where: str, what: str, entries: Iterable[ServedProducts]) -> None:
    made = {step.name for step in layout.steps if step.has_products}
    for index, one in enumerate(entries):
        check_known(what, f"{where}[{index}].step", (one.step,), made)
