"""Layout files: what is accepted, and that everything else is one clear LayoutError with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import ExitCode, LayoutError
from gitchain.layout.fields import Fields
from gitchain.layout.load import MAX_LAYOUT_BYTES, parse_layout, read_duration
from gitchain.layout.yaml import MAX_DEPTH, read_yaml

YAML = """\
schema: https://gitchain.dev/layout/v1
name: credit-model
version: 3   # a comment
expires: 2027-11-22T00:00:00Z
functionaries:
  alice: {identities: [{issuer: "https://issuer.example", subject: "alice@example.com"}]}
  ci:
    identities:
      - issuer: https://token.example
        subject: https://example.com/repo/.ci@refs/heads/main
steps:
  - name: prepare
    functionaries: [alice, ci]
    threshold: 2
    maxAge: P90DT6H
    expectedMaterials: [[ALLOW, "*"]]
    expectedProducts:
      - [create, data/prepared]
      - [disallow, "*"]
  - name: evaluate
    functionaries: [ci]
    evidence: observed
    predicateType: https://in-toto.io/attestation/test-result/v0.1
    expectedMaterials: [[MATCH, data/prepared, WITH, PRODUCTS, FROM, prepare], [DISALLOW, "*"]]
serve: [{step: prepare, products: ["data/*"]}]
"""


def changed(change: Callable[[Any], object]) -> bytes:
    value = json.loads(json.dumps(parse_layout(YAML.encode()).to_json()))
    change(value)
    return json.dumps(value).encode()


def test_yaml_and_json_give_the_same_layout() -> None:
    """The two spellings of one layout have one digest, and rendering is the inverse of parsing."""
    layout = parse_layout(YAML.encode())
    assert layout.expires == datetime(2027, 11, 22, tzinfo=UTC)
    assert layout.steps[0].max_age == timedelta(days=90, hours=6)
    assert layout.steps[1].evidence == "observed"
    assert layout.steps[0].predicate_type == "https://slsa.dev/provenance/v1"
    assert parse_layout(layout.canonical) == layout
    assert parse_layout(layout.canonical).digest == layout.digest


def test_json_may_begin_with_space() -> None:
    """It is JSON where it begins with a brace, behind any white space; a brace at its end makes none."""
    layout = parse_layout(YAML.encode())
    assert parse_layout(b" \n\t" + layout.canonical) == layout
    with pytest.raises(LayoutError):
        parse_layout(b'{"schema": 1, "schema": 1}')
    assert parse_layout(YAML.encode() + b"# {") == layout


FAULTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "unknown field": (lambda v: v.update(extra=1), "extra"),
    "unknown field of a step": (
        lambda v: v["steps"][0].update(expectedMaterial=[]),
        "steps[0].expectedMaterial",
    ),
    "unknown field of a person": (
        lambda v: v["functionaries"]["ci"].update(role="x"),
        "functionaries.ci.role",
    ),
    "unknown field of an identity": (
        lambda v: v["functionaries"]["ci"]["identities"][0].update(claim={}),
        "functionaries.ci.identities[0].claim",
    ),
    "no claim": (
        lambda v: v["functionaries"]["alice"]["identities"][0].update(claims={}),
        "functionaries.alice.identities[0].claims",
    ),
    "unknown field of serve": (lambda v: v["serve"][0].update(where="x"), "serve[0].where"),
    "no schema": (lambda v: v.pop("schema"), "schema"),
    "other schema": (lambda v: v.update(schema="https://gitchain.dev/layout/v2"), "schema"),
    "no name": (lambda v: v.update(name=""), "name"),
    "control in name": (lambda v: v.update(name="a\nb"), "name"),
    "version 0": (lambda v: v.update(version=0), "version"),
    "version as text": (lambda v: v.update(version="1"), "version"),
    "version true": (lambda v: v.update(version=True), "version"),
    "local time": (lambda v: v.update(expires="2027-11-22T00:00:00"), "expires"),
    "no such day": (lambda v: v.update(expires="2027-02-30T00:00:00Z"), "expires"),
    "nobody": (lambda v: v.update(functionaries={}), "functionaries"),
    "no identity": (lambda v: v["functionaries"]["ci"].update(identities=[]), "functionaries.ci.identities"),
    "issuer is no url": (
        lambda v: v["functionaries"]["ci"]["identities"][0].update(issuer="x"),
        "functionaries.ci.identities[0].issuer",
    ),
    "empty subject": (
        lambda v: v["functionaries"]["ci"]["identities"][0].update(subject=""),
        "functionaries.ci.identities[0].subject",
    ),
    "one identity, two people": (
        lambda v: v["functionaries"].update(bob=v["functionaries"]["alice"]),
        "functionaries",
    ),
    "no steps": (lambda v: v.update(steps=[]), "steps"),
    "same step twice": (lambda v: v["steps"].append(v["steps"][0]), "steps"),
    "step without people": (lambda v: v["steps"][0].update(functionaries=[]), "steps[0].functionaries"),
    "unknown person": (lambda v: v["steps"][0].update(functionaries=["ci", "eve"]), "steps[0].functionaries"),
    "same person twice": (
        lambda v: v["steps"][0].update(functionaries=["ci", "ci"]),
        "steps[0].functionaries",
    ),
    "threshold 0": (lambda v: v["steps"][0].update(threshold=0), "steps[0].threshold"),
    "threshold -1": (lambda v: v["steps"][0].update(threshold=-1), "steps[0].threshold"),
    "threshold above people": (lambda v: v["steps"][0].update(threshold=3), "steps[0].threshold"),
    "strength": (lambda v: v["steps"][0].update(evidence="seen"), "steps[0].evidence"),
    "predicate type": (lambda v: v["steps"][0].update(predicateType="slsa"), "steps[0].predicateType"),
    "age in months": (lambda v: v["steps"][0].update(maxAge="P3M"), "steps[0].maxAge"),
    "age of nothing": (lambda v: v["steps"][0].update(maxAge="P0D"), "steps[0].maxAge"),
    "age beyond the calendar": (lambda v: v["steps"][0].update(maxAge="P999999D"), "steps[0].maxAge"),
    "age of more than 100 years": (lambda v: v["steps"][0].update(maxAge="P36500DT1H"), "steps[0].maxAge"),
    "freshness beyond the calendar": (lambda v: v.update(freshness="P999999D"), "freshness"),
    "age without number": (lambda v: v["steps"][0].update(maxAge="P"), "steps[0].maxAge"),
    "rule as text": (
        lambda v: v["steps"][0].update(expectedMaterials=["ALLOW *"]),
        "steps[0].expectedMaterials[0]",
    ),
    "rule of numbers": (
        lambda v: v["steps"][0].update(expectedMaterials=[["ALLOW", 1]]),
        "steps[0].expectedMaterials[0]",
    ),
    "unknown rule": (
        lambda v: v["steps"][0].update(expectedMaterials=[["ALOW", "*"]]),
        "steps[0].expectedMaterials[0]",
    ),
    "match of no step": (
        lambda v: v["steps"][0].update(
            expectedMaterials=[["MATCH", "*", "WITH", "PRODUCTS", "FROM", "nobody"]]
        ),
        "steps[0]",
    ),
    "products of a report": (
        lambda v: v["steps"][1].update(expectedProducts=[["ALLOW", "*"]]),
        "steps[1].expectedProducts",
    ),
    "nothing served": (lambda v: v.update(serve=[]), "serve"),
    "unknown step served": (lambda v: v["serve"][0].update(step="x"), "serve[0].step"),
    "report served": (lambda v: v["serve"][0].update(step="evaluate"), "serve[0].step"),
    "no product served": (lambda v: v["serve"][0].update(products=[]), "serve[0].products"),
    "class in serve": (lambda v: v["serve"][0].update(products=["[ab]"]), "serve[0].products"),
}


@pytest.mark.parametrize(("change", "where"), FAULTS.values(), ids=FAULTS)
def test_every_fault_is_named_with_its_place(change: Callable[[Any], object], where: str) -> None:
    """A fault in one field is a LayoutError (exit code 5) whose place is that field's path."""
    with pytest.raises(LayoutError) as caught:
        parse_layout(changed(change))
    assert caught.value.where == where
    assert caught.value.exit_code is ExitCode.LAYOUT


BROKEN = {
    "empty": b"",
    "comment": b"# nothing\n",
    "list": b"- a\n",
    "anchor": b"schema: &a x\nname: *a\n",
    "anchor alone": b"schema: &a x\n",
    "alias bomb": b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "tag": b"schema: !!str x\n",
    "python tag": b"schema: !!python/object/apply:os.system [id]\n",
    "local tag": b"schema: !x y\n",
    "directive": b"%YAML 1.1\n---\nschema: x\n",
    "two documents": YAML.encode() + b"---\n" + YAML.encode(),
    "duplicate key": b"schema: x\nschema: y\n",
    "duplicate key deep": YAML.replace("    threshold: 2\n", "    threshold: 2\n    threshold: 1\n").encode(),
    "duplicate key json": b'{"schema": "x", "schema": "y"}',
    "merge key": b"<<: {schema: x}\n",
    "number key": b"1: x\n",
    "map key": b"{a: b}: x\n",
    "deep yaml": b"a: " + b"[" * 5000,
    "deep json": b'{"a":' + b"[" * 5000,
    "not utf-8": b"schema: \xff\n",
    "nul": b"schema: \x00\n",
    "tab": b"schema:\n\t- x\n",
    "unclosed": b"schema: [x\n",
    "too large": b"#" * (MAX_LAYOUT_BYTES + 1),
    "huge integer": YAML.replace("version: 3", "version: 9007199254740993").encode(),
    "float version": YAML.replace("version: 3", "version: 3.0").encode(),
    "octal version": YAML.replace("version: 3", "version: 0o3").encode(),
    "trailing json": b"{} {}",
    "nan": b'{"version": NaN}',
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_files_outside_the_subset_are_refused(data: bytes) -> None:
    """Everything in which two YAML parsers could read different layouts is a LayoutError."""
    with pytest.raises(LayoutError):
        parse_layout(data)


def test_yaml_words_are_strings() -> None:
    """`no`, `on` and unquoted times are strings, as in YAML 1.2: a name can be `no`."""
    layout = parse_layout(YAML.replace("name: credit-model", "name: no").encode())
    assert layout.name == "no"


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_layout_errors(data: bytes) -> None:
    """The loader is total: nothing but LayoutError leaves it."""
    with pytest.raises(LayoutError):
        parse_layout(data)


@given(st.data())
def test_a_changed_byte_gives_another_layout_or_an_error(data: st.DataObject) -> None:
    """No byte of a canonical layout is without meaning."""
    layout = parse_layout(YAML.encode())
    raw = bytearray(layout.canonical)
    index = data.draw(st.integers(0, len(raw) - 1))
    raw[index] ^= data.draw(st.integers(1, 255))
    try:
        other = parse_layout(bytes(raw))
    except LayoutError:
        return
    assert other.digest != layout.digest or other == layout


@pytest.mark.parametrize("number", ["9007199254740993", "-9007199254740993"])
def test_integers_that_json_readers_round(number: str) -> None:
    """Refused when read: another reader would see another number."""
    with pytest.raises(LayoutError, match="too large"):
        read_yaml(f"a: {number}")
    assert read_yaml("a: 9007199254740991") == {"a": 9007199254740991}


@pytest.mark.parametrize(("opens", "closes"), [("{a: ", "}"), ("[", "]")], ids=["maps", "lists"])
def test_as_deep_as_the_limit(opens: str, closes: str) -> None:
    """A value at the limit is read, one level more is not."""
    assert read_yaml(opens * MAX_DEPTH + "x" + closes * MAX_DEPTH)
    with pytest.raises(LayoutError, match="deep"):
        read_yaml(opens * (MAX_DEPTH + 1) + "x" + closes * (MAX_DEPTH + 1))


@pytest.mark.parametrize("text", ["<<: x", '"<<": x', "1: x", "[a]: x", "null: x"])
def test_keys_are_strings_and_none_merges(text: str) -> None:
    """What other readers take for a merge, or for something else than a string, is no key."""
    with pytest.raises(LayoutError, match="a key must be a string"):
        read_yaml(text)


def test_a_layout_has_no_fractions() -> None:
    """`1.5` is text, as it stands; only where a reader asks for them is it a number."""
    assert read_yaml("a: 1.5") == {"a": "1.5"}
    assert read_yaml("a: 1.5", decimals=True) == {"a": 1.5}


def test_a_list_may_be_as_long_as_its_limit() -> None:
    """The limit itself is allowed, one more is not."""
    assert len(Fields({"x": [{}, {}]}, "").items("x", 2)) == 2
    with pytest.raises(LayoutError, match="too many"):
        Fields({"x": [{}, {}, {}]}, "").items("x", 2)


BAD = {"name": "c", "expression": "nobody.knows == 1"}
ALONE: dict[str, tuple[Callable[[Any], object], str]] = {
    "chain": (lambda v: v.update(constraints=[BAD]), "constraints.c"),
    "step": (lambda v: v["steps"][1].update(constraints=[BAD]), "steps[1].constraints.c"),
    "data set": (
        lambda v: v.update(
            datasets={
                "functionaries": ["ci"],
                "artifacts": [{"step": "prepare", "products": ["data/*"]}],
                "constraints": [BAD],
            }
        ),
        "datasets.constraints.c",
    ),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_constraint_is_compiled_wherever_it_stands_alone(name: str) -> None:
    """One constraint in one place is enough: of the chain, of one of the steps, or of the data sets."""
    change, where = ALONE[name]
    with pytest.raises(LayoutError) as caught:
        parse_layout(changed(change))
    assert caught.value.where == where


def test_a_sublayout_s_minimum_version_is_one_unless_it_is_given() -> None:
    """Any version of the sublayout will do where the layout names none."""

    def delegate(value: Any) -> None:
        value["steps"][0] = {
            "name": "prepare",
            "functionaries": ["ci"],
            "sublayout": {"name": "data-team"},
            "expectedProducts": [["ALLOW", "data/*"], ["DISALLOW", "*"]],
        }

    sublayout = parse_layout(changed(delegate)).steps[0].sublayout
    assert sublayout
    assert sublayout.minimum_version == 1


def test_steps_belong_to_what_is_served_and_name_one() -> None:
    """A list of steps that is empty says nothing, and a data set has none."""
    with pytest.raises(LayoutError, match="no step is named") as caught:
        parse_layout(changed(lambda v: v["serve"][0].update(steps=[])))
    assert caught.value.where == "serve[0].steps"
    assert parse_layout(changed(lambda v: v["serve"][0].update(steps=["prepare"]))).serve[0].steps
    artifact = {"step": "prepare", "products": ["data/*"], "steps": ["prepare"]}
    with pytest.raises(LayoutError) as caught:
        parse_layout(changed(lambda v: v.update(datasets={"functionaries": ["ci"], "artifacts": [artifact]})))
    assert caught.value.where == "datasets.artifacts[0].steps"


def test_a_duration_names_days_or_hours() -> None:
    """At most a hundred years of 365 days; a duration of no parts is none."""
    assert read_duration(Fields({"for": "P36500D"}, ""), "for") == timedelta(days=36_500)
    assert read_duration(Fields({"for": "PT1H"}, ""), "for") == timedelta(hours=1)
    assert read_duration(Fields({}, ""), "for") is None
    for text in ("P", "P36500DT1H", "P36501D"):
        with pytest.raises(LayoutError):
            read_duration(Fields({"for": text}, ""), "for")
