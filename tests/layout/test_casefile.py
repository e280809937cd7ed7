"""Case files: what is read, and that every fault in one is named with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gitchain.errors import LayoutError
from gitchain.layout.casefile import (
    MAX_CASE_BYTES,
    ExpectedFinding,
    LayoutCase,
    UnlistedSigner,
    joined,
    parse_case,
)
from gitchain.layout.identities import Identity
from gitchain.layout.yaml import read_yaml

YAML = """\
schema: https://gitchain.dev/layout-case/v1
description: a case
target: {name: m, content: model}
later: P1DT2H
statements:
  - {step: train, signer: ci, materials: {d: {a.csv: rows}}, products: {m: model}, predicate: {loss: 0.5, n: -1.25, v: 1.2.3}}
  - signer: {issuer: "https://i.example", subject: s, claims: {buildTrigger: push}}
    predicateType: https://example.com/p
    run: r2
    evidence: declared
    layout: other
    subject: {m: model}
  - {step: data, signer: sam, sublayout: other}
expect: [GC-E0301, {code: GC-E0302, step: train}, {code: GC-E0303}]
"""


def parsed(change: Callable[[Any], object] = lambda _: None) -> LayoutCase:
    value: Any = read_yaml(YAML)
    change(value)
    return joined(parse_case(json.dumps(value).encode(), "x"), None)


def test_every_field_is_read() -> None:
    """What is written is what is tried; a decimal is a number here."""
    case = joined(parse_case(YAML.encode(), "x"), None)
    train, other, data = case.statements
    assert (case.name, case.description, case.target_name, case.target) == ("x", "a case", "m", "model")
    assert case.later == timedelta(days=1, hours=2)
    assert (train.step, train.signer, train.run, train.evidence) == ("train", "ci", "run-1", "observed")
    assert (train.materials, train.products, train.subject) == ({"d": {"a.csv": "rows"}}, {"m": "model"}, {})
    assert train.predicate == {"loss": 0.5, "n": -1.25, "v": "1.2.3"}
    assert (train.layout, train.predicate_type, train.sublayout) == (None, None, None)
    assert other.signer == UnlistedSigner(Identity("https://i.example", "s"), {"buildTrigger": "push"})
    assert (other.step, other.run, other.evidence, other.layout) == (None, "r2", "declared", "other")
    assert (other.predicate_type, other.subject) == ("https://example.com/p", {"m": "model"})
    assert data.sublayout == "other"
    assert case.expected == (
        ExpectedFinding("GC-E0301", None),
        ExpectedFinding("GC-E0302", "train"),
        ExpectedFinding("GC-E0303", None),
    )


def test_a_case_takes_over_what_it_extends() -> None:
    """Target, time and statements are those of the other case, but for the steps that are dropped."""
    base = parsed()
    text = {
        "schema": "https://gitchain.dev/layout-case/v1",
        "extends": "x",
        "drop": ["train"],
        "expect": "PASSED",
    }
    more = {
        "statements": [{"step": "train", "signer": "eve"}],
        "target": {"name": "n", "content": "c"},
        "later": "P9D",
    }
    file = parse_case(json.dumps(text).encode(), "y")
    case = joined(file, base)
    assert file.extends == "x"
    assert (case.target_name, case.target, case.later, case.expected) == ("m", "model", base.later, None)
    assert case.statements == base.statements[1:]
    own = joined(parse_case(json.dumps({**text, **more}).encode(), "y"), base)
    assert (own.target_name, own.target, own.later) == ("n", "c", timedelta(days=9))
    assert [one.signer for one in own.statements[-2:]] == ["sam", "eve"]


FAULTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "schema": (lambda v: v.update(schema="x"), "x.schema"),
    "no target": (lambda v: v.pop("target"), "x.target"),
    "target field": (lambda v: v["target"].update(x=1), "x.target.x"),
    "target content": (lambda v: v["target"].update(content=""), "x.target.content"),
    "empty directory": (lambda v: v["target"].update(content={}), "x.target.content"),
    "directory of numbers": (lambda v: v["target"].update(content={"a": 1}), "x.target.content"),
    "drop of nothing": (lambda v: v.update(drop=["train"]), "x.drop"),
    "later": (lambda v: v.update(later="soon"), "x.later"),
    "unknown field": (lambda v: v.update(extend="y"), "x.extend"),
    "unknown field of a statement": (lambda v: v["statements"][0].update(x=1), "x.statements[0].x"),
    "no signer": (lambda v: v["statements"][0].pop("signer"), "x.statements[0].signer"),
    "empty signer": (lambda v: v["statements"][0].update(signer=""), "x.statements[0].signer"),
    "signer field": (lambda v: v["statements"][1]["signer"].update(x=1), "x.statements[1].signer.x"),
    "signer's issuer": (
        lambda v: v["statements"][1]["signer"].update(issuer="x"),
        "x.statements[1].issuer",
    ),
    "signer's claims": (
        lambda v: v["statements"][1]["signer"].update(claims=[]),
        "x.statements[1].signer.claims",
    ),
    "evidence": (lambda v: v["statements"][0].update(evidence="seen"), "x.statements[0].evidence"),
    "predicate": (lambda v: v["statements"][0].update(predicate=[]), "x.statements[0].predicate"),
    "materials": (lambda v: v["statements"][0].update(materials=["d"]), "x.statements[0].materials"),
    "content": (lambda v: v["statements"][0].update(products={"m": 1}), "x.statements[0].products.m"),
    "no verdict": (lambda v: v.pop("expect"), "x.expect"),
    "another verdict": (lambda v: v.update(expect="FAILED"), "x.expect"),
    "no finding": (lambda v: v.update(expect=[]), "x.expect"),
    "finding field": (lambda v: v.update(expect=[{"code": "c", "x": 1}]), "x.expect[0].x"),
    "finding of a number": (lambda v: v.update(expect=[1]), "x.expect[0]"),
}


@pytest.mark.parametrize(("change", "where"), FAULTS.values(), ids=FAULTS)
def test_every_fault_is_named_with_its_place(change: Callable[[Any], object], where: str) -> None:
    """A misspelt case must not pass for one that was tried."""
    with pytest.raises(LayoutError) as caught:
        parsed(change)
    assert caught.value.where == where


@pytest.mark.parametrize(
    "data", [b"\xff", b"", b"- x", b"#" * (MAX_CASE_BYTES + 1)], ids=["utf8", "none", "list", "large"]
)
def test_files_that_are_no_case_are_refused(data: bytes) -> None:
    """Only a map within the limits is a case."""
    with pytest.raises(LayoutError):
        parse_case(data, "x")


def test_a_case_that_is_too_large() -> None:
    """Refused before it is read, whatever is in it."""
    with pytest.raises(LayoutError, match="too large"):
        parse_case(b"# " + b"x" * MAX_CASE_BYTES, "huge")


def test_a_case_may_be_as_large_as_its_limit() -> None:
    """A comment fills it up."""
    text = YAML.encode() + b"# "
    assert parse_case(text + b"x" * (MAX_CASE_BYTES - len(text)), "full")
