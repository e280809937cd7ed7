"""Parse a layout, YAML or JSON: strict, bounded, every field checked.

    schema: https://gitchain.dev/layout/v1
    name: credit-model
    version: 1
    expires: "2027-11-22T00:00:00Z"
    functionaries: {alice: {identities: [{issuer: "https://…", subject: "alice@example.com"}]}}
    steps: [{name: train, functionaries: [alice], expectedMaterials: […], expectedProducts: […]}]
    serve: [{step: train, products: [model.pkl]}]

docs/layout.md describes each field. Unknown fields are refused: a misspelt restriction must not be ignored.
Nothing in the file is executed or substituted. Does NOT check signatures or expiry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import cast

from gitchain.errors import LayoutError, LimitError, MalformedError
from gitchain.evidence.canonical import Json, strict_json
from gitchain.evidence.vocabulary import LAYOUT
from gitchain.layout.fields import Fields, layout_error, placed, texts
from gitchain.layout.identities import (
    CLAIM_NAMES,
    Functionary,
    KeyMember,
    Member,
    OpenPgpMember,
    SigstoreMember,
    SshMember,
)
from gitchain.layout.model import MAX_FUNCTIONARIES, MAX_STEPS, SCHEMA, Layout
from gitchain.layout.parts import Constraint, Datasets, Inspection, InspectionKind, Selector, ServedProducts
from gitchain.layout.rule import ArtifactRule, parse_rule
from gitchain.layout.step import SLSA_PROVENANCE, Evidence, Step, Sublayout

MAX_LAYOUT_BYTES = 1024 * 1024
MAX_SIGNED_BYTES = 4 * MAX_LAYOUT_BYTES
MAX_CONSTRAINTS = (
    100  # in one list; each is evaluated for every attestation, or every data set, that it is about
)
MAX_INSPECTIONS = 100
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
MAX_DURATION = timedelta(days=36_500)
"""100 years, so that subtracting it from a current time cannot overflow."""

_DURATION = re.compile(r"P(?:(\d{1,6})D)?(?:T(\d{1,6})H)?")


def parse_layout(data: bytes) -> Layout:
    """Return the layout in these bytes. Raises LayoutError, with the field's path, for any fault in them."""
    if len(data) > MAX_LAYOUT_BYTES:
        raise LayoutError(
            "layout is too large", expected=f"at most {MAX_LAYOUT_BYTES} bytes", got=str(len(data))
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LayoutError("layout is not UTF-8", got=str(error)) from error
    from gitchain.layout.yaml import MAX_DEPTH, read_yaml

    if not text.lstrip().startswith("{"):
        return layout_from_json(read_yaml(text))
    try:
        return layout_from_json(strict_json(data, "layout", max_bytes=MAX_LAYOUT_BYTES, max_depth=MAX_DEPTH))
    except (MalformedError, LimitError) as error:
        raise layout_error(error, "") from error


def layout_from_json(value: Json) -> Layout:
    """Return the layout that this JSON value describes. Raises LayoutError as `parse_layout` does."""
    fields = Fields(value, "")
    fields.constant("schema", SCHEMA)
    layout = Layout(
        name=fields.text("name"),
        version=fields.integer("version"),
        expires=_time(fields),
        functionaries=tuple(_functionaries(fields)),
        steps=tuple(_step(item) for item in fields.items("steps", MAX_STEPS)),
        serve=tuple(_served(item, scoped=True) for item in fields.items("serve", MAX_STEPS)),
        principals=_principals(fields),
        revokers=fields.texts("revokers", ()),
        datasets=_datasets(fields),
        constraints=_constraints(fields),
        same_run=_same_run(fields),
        inspections=tuple(
            _inspection(item) for item in fields.items("inspections", MAX_INSPECTIONS, optional=True)
        ),
        freshness=read_duration(fields, "freshness"),
    )
    fields.done()
    _check_constraints(layout)
    return layout


def _check_constraints(layout: Layout) -> None:
    """Raise LayoutError for a constraint that does not compile; the engine is loaded where there is one."""
    of_data_sets = layout.datasets.constraints if layout.datasets else ()
    if layout.constraints or of_data_sets or any(step.constraints or step.select for step in layout.steps):
        from gitchain.layout.constraint import check_constraints

        check_constraints(layout)


def _functionaries(fields: Fields) -> Iterator[Functionary]:
    """Yield the functionaries in the order of their names, as the canonical layout has them."""
    people = fields.map("functionaries")
    for name in sorted(people.names(MAX_FUNCTIONARIES)):
        one = people.map(name)
        with placed(one.where):
            identities = tuple(_member(item) for item in one.items("identities", MAX_FUNCTIONARIES))
            yield Functionary(name, identities)
        one.done()


def _member(fields: Fields) -> Member:
    with placed(fields.where):
        member: Member
        if "key" in fields:
            from gitchain.layout.keys import spki_of_pem

            member = KeyMember(spki_of_pem(fields.text("key")))
        elif "ssh" in fields:
            from gitchain.layout.keys import ssh_text

            member = SshMember(ssh_text(fields.text("ssh")))
        elif "openpgp" in fields:
            from gitchain.layout.openpgp import read_block

            member = OpenPgpMember(read_block(fields.text("openpgp")), fields.text("fingerprint"))
        else:
            member = SigstoreMember(fields.text("issuer"), fields.text("subject"), _claims(fields))
        fields.done()
        return member


def _claims(fields: Fields) -> tuple[tuple[str, str], ...]:
    if "claims" not in fields:
        return ()
    claims = fields.map("claims")
    if not (names := claims.names(len(CLAIM_NAMES))):
        raise LayoutError("no claim is named", where=claims.where, help="leave claims out, or name one")
    return tuple((name, claims.text(name)) for name in names)


def _principals(fields: Fields) -> dict[str, tuple[str, ...]]:
    if "principals" not in fields:
        return {}
    people = fields.map("principals")
    return {name: people.texts(name) for name in sorted(people.names(MAX_FUNCTIONARIES))}


def _step(fields: Fields) -> Step:
    with placed(fields.where):
        sublayout, select = _sublayout(fields), _select(fields)
        step = Step(
            name=fields.text("name"),
            functionaries=fields.texts("functionaries"),
            threshold=fields.integer("threshold", 1),
            predicate_type=fields.text("predicateType", LAYOUT if sublayout else SLSA_PROVENANCE),
            evidence=read_evidence(fields),
            max_age=read_duration(fields, "maxAge"),
            expected_materials=_rules(fields, "expectedMaterials"),
            expected_products=_rules(fields, "expectedProducts"),
            constraints=_constraints(fields),
            sublayout=sublayout,
            verifier=fields.text("verifier") if "verifier" in fields else None,
            resource=fields.text("resource") if "resource" in fields else None,
            select=select,
        )
        fields.done()
        return step


def _sublayout(fields: Fields) -> Sublayout | None:
    if "sublayout" not in fields:
        return None
    one = fields.map("sublayout")
    with placed(one.where):
        found = Sublayout(one.text("name"), one.integer("minimumVersion", 1))
        one.done()
        return found


def _select(fields: Fields) -> Selector | None:
    if "select" not in fields:
        return None
    if "predicateType" not in fields:
        raise LayoutError(
            "select needs a predicate type", where="predicateType", expected="a URI", got="none"
        )
    one = fields.map("select")
    with placed(one.where):
        found = Selector.of(one.text("where"), one.text("as") if "as" in one else None)
        one.done()
        return found


def _served(fields: Fields, *, scoped: bool = False) -> ServedProducts:
    with placed(fields.where):
        named = scoped and "steps" in fields
        steps = fields.texts("steps") if named else ()
        if named and not steps:
            raise LayoutError(
                "no step is named", where="steps", help="leave steps out: then every step is needed"
            )
        served = ServedProducts(fields.text("step"), fields.texts("products"), steps)
        fields.done()
        return served


def _datasets(fields: Fields) -> Datasets | None:
    if "datasets" not in fields:
        return None
    section = fields.map("datasets")
    with placed(section.where):
        artifacts = tuple(_served(item) for item in section.items("artifacts", MAX_STEPS))
        found = Datasets(section.texts("functionaries"), artifacts, _constraints(section))
        section.done()
        return found


def _constraints(fields: Fields) -> tuple[Constraint, ...]:
    return tuple(_constraint(item) for item in fields.items("constraints", MAX_CONSTRAINTS, optional=True))


def _constraint(fields: Fields) -> Constraint:
    with placed(fields.where):
        found = Constraint(fields.text("name"), fields.text("expression"))
        fields.done()
        return found


def _same_run(fields: Fields) -> tuple[tuple[str, ...], ...]:
    groups = fields.sequence("sameRun", ())
    return tuple(texts(group, f"{fields.path('sameRun')}[{at}]") for at, group in enumerate(groups))


def _inspection(fields: Fields) -> Inspection:
    with placed(fields.where):
        found = Inspection(
            name=fields.text("name"),
            kind=cast("InspectionKind", fields.text("kind")),  # the constructor refuses any other
            artifacts=fields.texts("artifacts"),
            max_bytes=fields.integer("maxBytes") if "maxBytes" in fields else None,
            allow=fields.texts("allow", ()),
            frameworks=fields.texts("frameworks", ()),
        )
        fields.done()
        return found


def _rules(fields: Fields, name: str) -> tuple[ArtifactRule, ...]:
    found: list[ArtifactRule] = []
    for index, item in enumerate(fields.sequence(name, default=())):
        with placed(f"{fields.path(name)}[{index}]"):
            if not isinstance(item, list) or not all(isinstance(token, str) for token in item):
                raise LayoutError("a rule is a list of strings", expected='[ALLOW, "src/*"]', got=str(item))
            found.append(parse_rule([str(token) for token in item]))
    return tuple(found)


def read_evidence(fields: Fields) -> Evidence | None:
    """Take the field `evidence`; None if it is not there, LayoutError for another word."""
    value = fields.text("evidence", "")
    if value in {"observed", "declared"}:
        return "observed" if value == "observed" else "declared"
    if value:
        raise LayoutError("unknown strength", where="evidence", expected="observed or declared", got=value)
    return None


def _time(fields: Fields) -> datetime:
    text = fields.text("expires")
    if _TIME.fullmatch(text):
        with suppress(ValueError):  # no such day
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    raise LayoutError("not a time in UTC", where="expires", expected="2027-11-22T00:00:00Z", got=text)


def read_duration(fields: Fields, name: str) -> timedelta | None:
    """Take a duration in days and hours; None if the field is not there, LayoutError for anything else."""
    text = fields.text(name, "")
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise LayoutError("not a duration", where=name, expected="P90D, PT12H or P1DT12H", got=text)
    found = timedelta(days=int(match[1] or 0), hours=int(match[2] or 0))
    if found > MAX_DURATION:
        raise LayoutError(
            "the duration is too long", where=name, expected=f"at most P{MAX_DURATION.days}D", got=text
        )
    return found
