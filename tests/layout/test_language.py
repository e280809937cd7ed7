"""The whole language: every part loads, renders back, agrees with its schema, and has its faults named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gitchain.errors import LayoutError
from gitchain.evidence.vocabulary import LAYOUT, VSA
from gitchain.layout import parse_layout
from gitchain.layout.identities import KeyMember, SigstoreMember, SshMember
from gitchain.layout.load import MAX_CONSTRAINTS
from gitchain.layout.model import Layout
from gitchain.layout.parts import MAX_EXPRESSION, Constraint, Datasets, Inspection, ServedProducts
from gitchain.layout.step import Step, Sublayout

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "schemas" / "layout.schema.json").read_text(encoding="utf-8")
)
PEM = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAiojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=
-----END PUBLIC KEY-----
"""
YAML = """\
schema: https://gitchain.dev/layout/v1
name: credit-model
version: 3
expires: "2027-11-22T00:00:00Z"
functionaries:
  dev: {identities: [{ssh: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c dev@home"}]}
  alice: {identities: [{issuer: "https://issuer.example", subject: "alice@example.com"}]}
  ci:
    identities:
      - issuer: https://token.example
        subject: https://github.com/acme/m/.github/workflows/train.yml@refs/tags/v*
        claims: {sourceRepositoryIdentifier: "123", buildTrigger: push}
  hsm:
    identities:
      - key: |
          -----BEGIN PUBLIC KEY-----
          MCowBQYDK2VwAyEAiojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=
          -----END PUBLIC KEY-----
  supplier: {identities: [{issuer: "https://issuer.example", subject: "data@supplier.example"}]}
principals: {alice-smith: [alice, hsm]}
revokers: [alice]
steps:
  - name: data
    functionaries: [supplier]
    sublayout: {name: supplier-data, minimumVersion: 2}
    expectedProducts: [[ALLOW, "data/*"], [DISALLOW, "*"]]
  - name: base
    functionaries: [supplier]
    predicateType: https://slsa.dev/verification_summary/v1
    verifier: https://vendor.example/verifier
    resource: pkg:generic/base.safetensors
    maxAge: P90D
    expectedProducts: [[ALLOW, base.safetensors], [DISALLOW, "*"]]
  - name: train
    functionaries: [ci]
    constraints:
      - {name: enough, expression: "predicate.buildDefinition.externalParameters.epochs >= 10"}
    expectedMaterials: [[MATCH, "data/*", WITH, PRODUCTS, FROM, data], [DISALLOW, "*"]]
    expectedProducts: [[CREATE, model.pkl], [DISALLOW, "*"]]
  - name: evaluate
    functionaries: [ci, alice, hsm]
    threshold: 2
    predicateType: https://in-toto.io/attestation/test-result/v0.1
    expectedMaterials: [[MATCH, model.pkl, WITH, PRODUCTS, FROM, train], [DISALLOW, "*"]]
datasets:
  functionaries: [alice]
  artifacts: [{step: data, products: ["data/*"]}]
  constraints: [{name: licence, expression: "dataset.licence == 'CC-BY-4.0'"}]
constraints:
  - {name: same-model, expression: "steps.evaluate.materials['model.pkl'].sha256 == target.sha256"}
sameRun: [[train, evaluate]]
inspections:
  - {name: no-code, kind: pickle, artifacts: ["*.pkl"], allow: ["sklearn.*", "numpy.*"]}
  - {name: small, kind: size, artifacts: ["*"], maxBytes: 1000}
  - {name: kinds, kind: types, artifacts: ["*"], allow: [.pkl, .json]}
serve: [{step: train, products: [model.pkl]}]
"""


def whole() -> Layout:
    return parse_layout(YAML.encode())


def document() -> Any:
    return json.loads(whole().canonical)


def changed(change: Callable[[Any], object]) -> bytes:
    value = document()
    change(value)
    return json.dumps(value).encode()


def test_every_part_is_read() -> None:
    """Each field of the language ends where the verifier looks for it."""
    layout = whole()
    alice, ci, dev, hsm, supplier = (layout.functionary(one.name) for one in layout.functionaries)
    assert [one.name for one in (alice, ci, dev, hsm, supplier)] == ["alice", "ci", "dev", "hsm", "supplier"]
    assert ci.identities == (
        SigstoreMember(
            "https://token.example",
            "https://github.com/acme/m/.github/workflows/train.yml@refs/tags/v*",
            (("buildTrigger", "push"), ("sourceRepositoryIdentifier", "123")),
        ),
    )
    assert isinstance(hsm.identities[0], KeyMember)
    assert isinstance(dev.identities[0], SshMember)
    assert layout.keys == (hsm.identities[0].public_key,)
    assert layout.principals == {"alice-smith": ("alice", "hsm")}
    assert [layout.principal_of(name) for name in ("hsm", "ci")] == ["alice-smith", "ci"]
    assert layout.revokers == ("alice",)
    data, base, train, evaluate = layout.steps
    assert (data.sublayout, data.predicate_type) == (Sublayout("supplier-data", 2), LAYOUT)
    assert (base.verifier, base.predicate_type) == ("https://vendor.example/verifier", VSA)
    assert base.resource == "pkg:generic/base.safetensors"
    assert [step.has_products for step in layout.steps] == [True, True, True, False]
    assert [step.has_materials for step in layout.steps] == [False, False, True, True]
    assert train.constraints == (
        Constraint("enough", "predicate.buildDefinition.externalParameters.epochs >= 10"),
    )
    assert evaluate.threshold == 2
    assert layout.datasets == Datasets(
        ("alice",),
        (ServedProducts("data", ("data/*",)),),
        (Constraint("licence", "dataset.licence == 'CC-BY-4.0'"),),
    )
    assert [one.name for one in layout.constraints] == ["same-model"]
    assert layout.same_run == (("train", "evaluate"),)
    assert layout.inspections == (
        Inspection("no-code", "pickle", ("*.pkl",), allow=("sklearn.*", "numpy.*")),
        Inspection("small", "size", ("*",), max_bytes=1000),
        Inspection("kinds", "types", ("*",), allow=(".pkl", ".json")),
    )


def test_rendering_is_the_inverse_of_parsing() -> None:
    """The canonical layout parses to an equal one with the same digest, and fits its schema."""
    layout = whole()
    assert parse_layout(layout.canonical) == layout
    assert parse_layout(layout.canonical).digest == layout.digest
    jsonschema.Draft202012Validator(SCHEMA).validate(document())
    assert isinstance(hash(layout), int)


def test_a_part_that_is_left_out_leaves_no_trace() -> None:
    """A layout that uses none of the optional parts has the digest that it always had."""
    names = {"principals", "revokers", "datasets", "constraints", "sameRun", "inspections"}
    assert names <= set(document())
    plain = {name: value for name, value in document().items() if name not in names}
    layout = parse_layout(json.dumps(plain).encode())
    assert names & set(layout.to_json()) == set()
    assert (
        parse_layout(json.dumps({**plain, "principals": {}, "revokers": []}).encode()).digest == layout.digest
    )
    assert "minimumVersion" not in Sublayout("x").to_json()
    assert "constraints" not in Datasets(("a",), (ServedProducts("s", ("*",)),)).to_json()
    assert (layout.principal_of("hsm"), layout.principals) == ("hsm", {})


FAULTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "key beside issuer": (
        lambda v: v["functionaries"]["hsm"]["identities"][0].update(issuer="https://i"),
        "functionaries.hsm.identities[0].issuer",
    ),
    "ssh beside subject": (
        lambda v: v["functionaries"]["dev"]["identities"][0].update(subject="x"),
        "functionaries.dev.identities[0].subject",
    ),
    "no key": (
        lambda v: v["functionaries"]["hsm"]["identities"][0].update(key="x"),
        "functionaries.hsm.identities[0].key",
    ),
    "no ssh key": (
        lambda v: v["functionaries"]["dev"]["identities"][0].update(ssh="x"),
        "functionaries.dev.identities[0].ssh",
    ),
    "claim": (
        lambda v: v["functionaries"]["ci"]["identities"][0]["claims"].update(branch="x"),
        "functionaries.ci.identities[0].claims",
    ),
    "claim of a number": (
        lambda v: v["functionaries"]["ci"]["identities"][0]["claims"].update(sourceRepositoryIdentifier=1),
        "functionaries.ci.identities[0].claims.sourceRepositoryIdentifier",
    ),
    "star in a name": (
        lambda v: v["functionaries"]["alice"]["identities"][0].update(subject="*@example.com"),
        "functionaries.alice.identities[0].subject",
    ),
    "one key, two people": (
        lambda v: v["functionaries"].update(eve={"identities": [{"key": PEM}]}),
        "functionaries",
    ),
    "principal of nobody": (lambda v: v["principals"].update(x=[]), "principals.x"),
    "principal of a stranger": (lambda v: v["principals"].update(x=["eve"]), "principals.x"),
    "two principals": (lambda v: v["principals"].update(x=["hsm"]), "principals"),
    "principal twice": (lambda v: v["principals"].update(x=["ci", "ci"]), "principals"),
    "principal named as another": (lambda v: v["principals"].update(ci=["dev"]), "principals.ci"),
    "principal's name": (lambda v: v["principals"].update({" x": ["dev"]}), "principals. x"),
    "principals as list": (lambda v: v.update(principals=[]), "principals"),
    "revoker": (lambda v: v.update(revokers=["eve"]), "revokers"),
    "revoker twice": (lambda v: v.update(revokers=["ci", "ci"]), "revokers"),
    "threshold of one person": (lambda v: v["steps"][3].update(threshold=3), "steps[3].threshold"),
    "sublayout with materials": (
        lambda v: v["steps"][0].update(expectedMaterials=[["ALLOW", "*"]]),
        "steps[0].expectedMaterials",
    ),
    "sublayout with constraints": (
        lambda v: v["steps"][0].update(constraints=v["constraints"]),
        "steps[0].constraints",
    ),
    "sublayout with evidence": (lambda v: v["steps"][0].update(evidence="observed"), "steps[0].evidence"),
    "sublayout with age": (lambda v: v["steps"][0].update(maxAge="P1D"), "steps[0].maxAge"),
    "sublayout of another type": (lambda v: v["steps"][0].update(predicateType=VSA), "steps[0].sublayout"),
    "sublayout version": (
        lambda v: v["steps"][0]["sublayout"].update(minimumVersion=0),
        "steps[0].sublayout.minimumVersion",
    ),
    "sublayout name": (lambda v: v["steps"][0]["sublayout"].update(name=" "), "steps[0].sublayout.name"),
    "sublayout field": (lambda v: v["steps"][0]["sublayout"].update(version=1), "steps[0].sublayout.version"),
    "sublayout as text": (lambda v: v["steps"][0].update(sublayout="x"), "steps[0].sublayout"),
    "layout without sublayout": (lambda v: v["steps"][0].pop("sublayout"), "steps[0].sublayout"),
    "summary with materials": (
        lambda v: v["steps"][1].update(expectedMaterials=[["ALLOW", "*"]]),
        "steps[1].expectedMaterials",
    ),
    "summary of nobody": (lambda v: v["steps"][1].pop("verifier"), "steps[1].verifier"),
    "verifier of no summary": (lambda v: v["steps"][2].update(verifier="https://v"), "steps[2].verifier"),
    "verifier is no uri": (lambda v: v["steps"][1].update(verifier="vendor"), "steps[1].verifier"),
    "verifier is long": (
        lambda v: v["steps"][1].update(verifier="https://" + "v" * 5000),
        "steps[1].verifier",
    ),
    "resource without verifier": (lambda v: v["steps"][2].update(resource="pkg:x"), "steps[2].resource"),
    "resource is unprintable": (lambda v: v["steps"][1].update(resource="pkg:\u2028"), "steps[1].resource"),
    "resource is long": (lambda v: v["steps"][1].update(resource="p" * 4097), "steps[1].resource"),
    "empty resource": (lambda v: v["steps"][1].update(resource=""), "steps[1].resource"),
    "empty verifier": (lambda v: v["steps"][1].update(verifier=""), "steps[1].verifier"),
    "constraint twice": (
        lambda v: v["steps"][2]["constraints"].append(v["steps"][2]["constraints"][0]),
        "steps[2].constraints",
    ),
    "constraint field": (
        lambda v: v["steps"][2]["constraints"][0].update(message="x"),
        "steps[2].constraints[0].message",
    ),
    "blank expression": (lambda v: v["constraints"][0].update(expression=" \n"), "constraints[0].expression"),
    "long expression": (
        lambda v: v["constraints"][0].update(expression="1" * (MAX_EXPRESSION + 1)),
        "constraints[0].expression",
    ),
    "control in expression": (
        lambda v: v["constraints"][0].update(expression="a\x00"),
        "constraints[0].expression",
    ),
    "constraint name": (lambda v: v["constraints"][0].update(name="a\nb"), "constraints[0].name"),
    "too many constraints": (lambda v: v.update(constraints=[{}] * (MAX_CONSTRAINTS + 1)), "constraints"),
    "chain constraint twice": (lambda v: v["constraints"].append(v["constraints"][0]), "constraints"),
    "constraints as map": (lambda v: v.update(constraints={}), "constraints"),
    "data set of nobody": (lambda v: v["datasets"].update(functionaries=[]), "datasets.functionaries"),
    "data set of a stranger": (
        lambda v: v["datasets"].update(functionaries=["eve"]),
        "datasets.functionaries",
    ),
    "data set person twice": (
        lambda v: v["datasets"].update(functionaries=["ci", "ci"]),
        "datasets.functionaries",
    ),
    "no data set": (lambda v: v["datasets"].update(artifacts=[]), "datasets.artifacts"),
    "data set of a report": (
        lambda v: v["datasets"]["artifacts"][0].update(step="evaluate"),
        "datasets.artifacts[0].step",
    ),
    "data set pattern": (
        lambda v: v["datasets"]["artifacts"][0].update(products=["[a]"]),
        "datasets.artifacts[0].products",
    ),
    "data set constraint twice": (
        lambda v: v["datasets"]["constraints"].append(v["datasets"]["constraints"][0]),
        "datasets.constraints",
    ),
    "data set field": (lambda v: v["datasets"].update(x=1), "datasets.x"),
    "run of one": (lambda v: v.update(sameRun=[["train"]]), "sameRun[0]"),
    "run of a stranger": (lambda v: v.update(sameRun=[["train", "x"]]), "sameRun[0]"),
    "run of a sublayout": (lambda v: v.update(sameRun=[["train", "data"]]), "sameRun[0]"),
    "run of a summary": (lambda v: v.update(sameRun=[["train", "base"]]), "sameRun[0]"),
    "two runs": (lambda v: v["sameRun"].append(["evaluate", "train"]), "sameRun"),
    "run as text": (lambda v: v.update(sameRun=["train"]), "sameRun[0]"),
    "run of a number": (lambda v: v.update(sameRun=[["train", 1]]), "sameRun[0][1]"),
    "inspection kind": (lambda v: v["inspections"][0].update(kind="shell"), "inspections[0].kind"),
    "inspection of nothing": (lambda v: v["inspections"][0].update(artifacts=[]), "inspections[0].artifacts"),
    "inspection pattern": (
        lambda v: v["inspections"][0].update(artifacts=["/a"]),
        "inspections[0].artifacts",
    ),
    "inspection name": (lambda v: v["inspections"][0].update(name=" "), "inspections[0].name"),
    "inspection twice": (lambda v: v["inspections"].append(v["inspections"][0]), "inspections"),
    "inspection field": (lambda v: v["inspections"][0].update(command="id"), "inspections[0].command"),
    "size without bytes": (lambda v: v["inspections"][1].pop("maxBytes"), "inspections[1].maxBytes"),
    "size of nothing": (lambda v: v["inspections"][1].update(maxBytes=0), "inspections[1].maxBytes"),
    "bytes of a pickle": (lambda v: v["inspections"][0].update(maxBytes=1), "inspections[0].maxBytes"),
    "imports of a pickle": (
        lambda v: v["inspections"][0].update(allow=["os system"]),
        "inspections[0].allow",
    ),
    "extensions of sizes": (lambda v: v["inspections"][1].update(allow=[".json"]), "inspections[1].allow"),
    "types of nothing": (lambda v: v["inspections"][2].update(allow=[]), "inspections[2].allow"),
    "types without a dot": (lambda v: v["inspections"][2].update(allow=["json"]), "inspections[2].allow"),
    "type twice": (lambda v: v["inspections"][2].update(allow=[".a", ".a"]), "inspections[2].allow"),
    "framework that is unknown": (
        lambda v: v["inspections"][0].update(frameworks=["jax"]),
        "inspections[0].frameworks",
    ),
    "framework twice": (
        lambda v: v["inspections"][0].update(frameworks=["numpy", "numpy"]),
        "inspections[0].frameworks",
    ),
    "frameworks of sizes": (
        lambda v: v["inspections"][1].update(frameworks=["numpy"]),
        "inspections[1].frameworks",
    ),
    "types of a pickle": (lambda v: v["inspections"][0].update(allow=[".pkl"]), "inspections[0].allow"),
    "served report": (lambda v: v["serve"][0].update(step="evaluate"), "serve[0].step"),
}


@pytest.mark.parametrize(("change", "where"), FAULTS.values(), ids=FAULTS)
def test_every_fault_is_named_with_its_place(change: Callable[[Any], object], where: str) -> None:
    """A fault in one field is a LayoutError whose place is that field's path."""
    with pytest.raises(LayoutError) as caught:
        parse_layout(changed(change))
    assert caught.value.where == where


BEYOND_THE_SCHEMA = {
    *("one key, two people", "principal of a stranger", "two principals", "principal named as another"),
    *("revoker", "threshold of one person", "constraint twice", "chain constraint twice", "no ssh key"),
    *("data set of a stranger", "data set of a report", "data set constraint twice", "run of a stranger"),
    *("run of a sublayout", "run of a summary", "two runs", "inspection twice", "served report"),
    *("principal's name", "sublayout name", "inspection name", "control in expression", "inspection pattern"),
}
"""References between parts, equality by one field, and characters: a JSON Schema cannot say them."""


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - BEYOND_THE_SCHEMA))
def test_the_schema_refuses_what_the_loader_refuses(name: str) -> None:
    """An editor that knows the schema marks the same faults."""
    value = json.loads(changed(FAULTS[name][0]))
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(value)


def test_a_principal_may_bear_its_own_functionary_s_name() -> None:
    """`alice: [alice, hsm]` is one person; the name of another functionary would be confusion."""
    layout = parse_layout(changed(lambda v: v.update(principals={"alice": ["alice", "hsm"]})))
    assert layout.principal_of("hsm") == "alice"


def test_constants_of_yaml_are_no_strings() -> None:
    """A field that is null, or true where a number stands, is refused, not taken for its text."""
    for old, new in (("version: 3", "version: true"), ("name: credit-model", "name: ~")):
        with pytest.raises(LayoutError):
            parse_layout(YAML.replace(old, new).encode())


def test_constructors_check_without_the_loader() -> None:
    """Values made in Python are as valid as those that were loaded."""
    with pytest.raises(LayoutError, match="whole seconds"):
        replace(whole(), expires=whole().expires.replace(microsecond=1))
    with pytest.raises(LayoutError, match="whole seconds"):
        replace(whole(), expires=whole().expires.replace(tzinfo=None))
    with pytest.raises(LayoutError, match="unknown inspection"):
        Inspection("x", "shell", ("*",))  # type: ignore[arg-type]
    with pytest.raises(LayoutError, match="do not fit"):
        Step("x", ("a",), predicate_type=LAYOUT)


def test_an_expression_may_be_as_long_as_its_limit() -> None:
    """And no longer."""
    assert Constraint("c", "1" * MAX_EXPRESSION).expression
    with pytest.raises(LayoutError, match="wrong length"):
        Constraint("c", "1" * (MAX_EXPRESSION + 1))
