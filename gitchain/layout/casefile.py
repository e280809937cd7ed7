"""Parse the cases of `gitchain layout test`: evidence in a short form, and the expected verdict.

    schema: https://gitchain.dev/layout-case/v1
    extends: good                       # another case: its target and statements, but for those that are dropped
    drop: [approve]
    target: {name: models/credit.pkl, content: model 1}
    statements:
      - {step: train, signer: ci, materials: {data: {train.csv: rows}}, products: {models/credit.pkl: model 1}}
      - {step: approve, signer: alice, subject: {models/credit.pkl: model 1}, predicate: {properties: [OK]}}
    expect: [{code: GC-E0312, step: train}]           # or PASSED

A content is a text that is hashed, `sha256:` and a digest, or a map of file names to contents: a directory.
docs/layout-test.md describes each field. Unknown fields are refused. Does NOT build statements, nor decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeAlias

from gitchain.errors import LayoutError
from gitchain.evidence.canonical import Json
from gitchain.layout.fields import Fields, placed
from gitchain.layout.identities import Identity
from gitchain.layout.load import read_duration, read_evidence
from gitchain.layout.step import Evidence
from gitchain.layout.yaml import read_yaml

SCHEMA = "https://gitchain.dev/layout-case/v1"
MAX_CASE_BYTES = 1 << 20
MAX_STATEMENTS = 1000
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

Content: TypeAlias = "str | Mapping[str, str]"
Artifacts: TypeAlias = Mapping[str, Content]


@dataclass(frozen=True, slots=True)
class UnlistedSigner:
    """A signer by identity and claims, which may match a functionary of the layout."""

    identity: Identity
    claims: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CaseStatement:
    """One statement. `signer` is a functionary's name, or an identity; `layout` names the layout it is made for."""

    signer: str | UnlistedSigner
    step: str | None
    layout: str | None
    run: str
    evidence: Evidence
    predicate_type: str | None
    predicate: Mapping[str, Json]
    materials: Artifacts
    products: Artifacts
    subject: Artifacts
    sublayout: str | None


@dataclass(frozen=True, slots=True)
class ExpectedFinding:
    """One expected finding; with `step` None, of any step."""

    code: str
    step: str | None


@dataclass(frozen=True, slots=True)
class LayoutCase:
    """One case. `expected` None means PASSED; `later` is the time between the last statement and the decision."""

    name: str
    description: str
    target_name: str
    target: Content
    statements: tuple[CaseStatement, ...]
    expected: tuple[ExpectedFinding, ...] | None
    later: timedelta


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A case as written, before `extends` is resolved."""

    extends: str | None
    drop: tuple[str, ...]
    later: timedelta | None
    target: tuple[str, Content] | None
    case: LayoutCase


def parse_case(data: bytes, name: str) -> CaseFile:
    """Return the case in these bytes. Raises LayoutError, with the field's place, for any fault in them."""
    if len(data) > MAX_CASE_BYTES:
        raise LayoutError("case is too large", where=name, expected=f"at most {MAX_CASE_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LayoutError("case is not UTF-8", where=name, got=str(error)) from error
    with placed(name):
        return _case_file(Fields(read_yaml(text, decimals=True), ""), name)


def joined(file: CaseFile, base: LayoutCase | None) -> LayoutCase:
    """Return the case merged with the one that it extends. Raises LayoutError if something is missing."""
    case, kept = file.case, base.statements if base else ()
    known = {one.step for one in kept}
    if unknown := [step for step in file.drop if step not in known]:
        raise LayoutError(
            "no statement of that step to drop", where=f"{case.name}.drop", got=", ".join(unknown)
        )
    kept = tuple(one for one in kept if one.step not in file.drop)
    target = file.target or ((base.target_name, base.target) if base else None)
    if target is None:
        raise LayoutError("a case needs a target", where=f"{case.name}.target")
    later = file.later if file.later is not None else base.later if base else timedelta(0)
    statements = (*kept, *case.statements)
    return replace(case, target_name=target[0], target=target[1], statements=statements, later=later)


def _case_file(fields: Fields, name: str) -> CaseFile:
    fields.constant("schema", SCHEMA)
    extends = fields.text("extends") if "extends" in fields else None
    drop = fields.texts("drop", ())
    later = read_duration(fields, "later")
    target = _target(fields) if "target" in fields else None
    case = LayoutCase(
        name=name,
        description=fields.text("description", "-"),
        target_name="",
        target="",
        statements=tuple(
            _statement(one) for one in fields.items("statements", MAX_STATEMENTS, optional=True)
        ),
        expected=_expected(fields),
        later=timedelta(0),
    )
    fields.done()
    return CaseFile(extends, drop, later, target, case)


def _target(fields: Fields) -> tuple[str, Content]:
    one = fields.map("target")
    found = one.text("name"), _content(one.take("content"), one.path("content"))
    one.done()
    return found


def _statement(fields: Fields) -> CaseStatement:
    with placed(fields.where):
        found = CaseStatement(
            signer=_signer(fields),
            step=fields.text("step") if "step" in fields else None,
            layout=fields.text("layout") if "layout" in fields else None,
            run=fields.text("run", "run-1"),
            evidence=read_evidence(fields) or "observed",
            predicate_type=fields.text("predicateType") if "predicateType" in fields else None,
            predicate=dict(_object(fields, "predicate")),
            materials=_artifacts(fields, "materials"),
            products=_artifacts(fields, "products"),
            subject=_artifacts(fields, "subject"),
            sublayout=fields.text("sublayout") if "sublayout" in fields else None,
        )
        fields.done()
        return found


def _signer(fields: Fields) -> str | UnlistedSigner:
    value = fields.take("signer")
    if isinstance(value, str) and value:
        return value
    one = Fields(value, fields.path("signer"))
    claims = {name: str(text) for name, text in _object(one, "claims").items()}
    found = UnlistedSigner(Identity(one.text("issuer"), one.text("subject")), claims)
    one.done()
    return found


def _object(fields: Fields, name: str) -> Mapping[str, Json]:
    value = fields.take(name) if name in fields else {}
    if not isinstance(value, dict):
        raise LayoutError("not a map", where=fields.path(name), got=type(value).__name__)
    return value


def _artifacts(fields: Fields, name: str) -> Artifacts:
    where = fields.path(name)
    return {path: _content(value, f"{where}.{path}") for path, value in _object(fields, name).items()}


def _content(value: Json, where: str) -> Content:
    if isinstance(value, dict) and value and all(isinstance(text, str) for text in value.values()):
        return {name: str(text) for name, text in value.items()}
    if isinstance(value, str) and value:
        return value
    raise LayoutError("not a content", where=where, expected="a text, a digest, or a map of files to texts")


def _expected(fields: Fields) -> tuple[ExpectedFinding, ...] | None:
    value = fields.take("expect")
    if value == "PASSED":
        return None
    if not isinstance(value, list) or not value:
        raise LayoutError(
            "not a verdict",
            where="expect",
            expected="PASSED, or a list of findings",
            got=ascii(value)[:100],
            help="name the findings that fail it: expect: [GC-E0301]   (docs/findings.md)",
        )
    return tuple(_finding(item, f"expect[{index}]") for index, item in enumerate(value))


def _finding(value: Json, where: str) -> ExpectedFinding:
    if isinstance(value, str):
        return ExpectedFinding(value, None)
    fields = Fields(value, where)
    found = ExpectedFinding(fields.text("code"), fields.text("step") if "step" in fields else None)
    fields.done()
    return found
