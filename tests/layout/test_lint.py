"""Lint: each code fires where it should, and stays silent on the layout next to it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.layout import parse_layout
from gitchain.layout.lint import Lint, LintCode, lint
from gitchain.layout.lint_code import LINT_MEANINGS
from gitchain.layout.model import Identity
from gitchain.layout.yaml import read_yaml

NOW = datetime(2027, 1, 1, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs" / "lint.md"
YAML = """\
schema: https://gitchain.dev/layout/v1
name: credit-model
version: 3
expires: "2027-12-01T00:00:00Z"
functionaries:
  alice: {identities: [{issuer: "https://issuer.example", subject: "alice@example.com"}]}
  bob: {identities: [{issuer: "https://issuer.example", subject: "bob@example.com"}]}
  ci:
    identities:
      - issuer: https://token.example
        subject: https://github.com/acme/m/.github/workflows/train.yml@refs/tags/v*
        claims: {sourceRepositoryIdentifier: "123"}
revokers: [bob]
steps:
  - name: prepare
    functionaries: [ci]
    expectedMaterials: [[ALLOW, "raw/*"], [ALLOW, src.py], [DISALLOW, "*"]]
    expectedProducts: [[CREATE, data], [DISALLOW, "*"]]
  - name: train
    functionaries: [ci]
    evidence: observed
    expectedMaterials:
      - [REQUIRE, data/train.csv]
      - [MATCH, "data/*", WITH, PRODUCTS, FROM, prepare]
      - [DISALLOW, "data/*"]
      - [ALLOW, "*.py"]
      - [DISALLOW, "*"]
    expectedProducts: [[CREATE, "models/*.pkl"], [CREATE, log.txt], [DISALLOW, "*"]]
  - name: approve
    functionaries: [alice, bob]
    threshold: 2
    predicateType: https://in-toto.io/attestation/svr/v0.2
    expectedMaterials: [[MATCH, "models/*", WITH, PRODUCTS, FROM, train], [DISALLOW, "*"]]
    constraints: [{name: short, expression: "size(predicate.properties) < 10"}]
datasets:
  functionaries: [alice]
  artifacts: [{step: prepare, products: [data]}]
  constraints: [{name: licence, expression: "dataset.licence == 'CC0-1.0'"}]
constraints: [{name: floor, expression: "steps.train.time < steps.approve.time"}]
inspections: [{name: no-code, kind: pickle, artifacts: ["*.pkl"], frameworks: [scikit-learn]}]
serve: [{step: train, products: ["models/*"]}]
"""
KEY = ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32).public_key()
PEM = KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
SSH = KEY.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
Change = Callable[[Any], object]


def linted(*changes: Change, now: datetime = NOW) -> tuple[Lint, ...]:
    value: Any = read_yaml(YAML)
    for change in changes:
        change(value)
    return lint(parse_layout(json.dumps(value).encode()), now)


def said(found: tuple[Lint, ...]) -> set[tuple[str, str, str]]:
    return {(one.code.name, one.severity, one.where) for one in found}


def materials(step: int, *rules: list[str]) -> Change:
    return lambda v: v["steps"][step].update(expectedMaterials=list(rules))


def products(step: int, *rules: list[str]) -> Change:
    return lambda v: v["steps"][step].update(expectedProducts=list(rules))


def subject(text: str, **claims: str) -> Change:
    def change(value: Any) -> None:
        one = {"issuer": "https://token.example", "subject": text}
        value["functionaries"]["ci"]["identities"] = [{**one, "claims": claims} if claims else one]

    return change


def person(name: str, **identity: Any) -> Change:
    return lambda v: v["functionaries"].update({name: {"identities": [identity]}})


def both(*changes: Change) -> Change:
    def change(value: Any) -> None:
        for one in changes:
            one(value)

    return change


ALL, NONE = ["ALLOW", "*"], ["DISALLOW", "*"]
PREPARED = ["MATCH", "data/*", "WITH", "PRODUCTS", "FROM", "prepare"]
TRAINED = ["MATCH", "models/*", "WITH", "PRODUCTS", "FROM", "train"]
WORKFLOW = "https://github.com/acme/m/.github/workflows/train.yml@refs/"
ISSUER = "https://issuer.example"
M0, M1, M2, P1 = (
    f"steps[{n}].expected{s}"
    for n, s in ((0, "Materials"), (1, "Materials"), (2, "Materials"), (1, "Products"))
)
CI = "functionaries.ci.identities[0]"

FIRES: dict[str, tuple[Change, set[tuple[str, str, str]]]] = {
    "open": (materials(0, ["ALLOW", "raw/*"]), {("OPEN", "error", M0)}),
    "empty list": (materials(0), {("OPEN", "error", M0)}),
    "open after a requirement": (materials(0, ["REQUIRE", "raw/a"]), {("OPEN", "error", M0)}),
    "open on purpose": (materials(0, ALL), {("OPEN", "warning", M0)}),
    "open before its end": (materials(0, ALL, NONE), {("OPEN", "warning", M0)}),
    "open long before its end": (
        materials(0, ALL, NONE, ["ALLOW", "raw/a"]),
        {
            ("OPEN", "warning", M0),
            ("UNREACHABLE", "error", f"{M0}[1]"),
            ("UNREACHABLE", "warning", f"{M0}[2]"),
        },
    ),
    "restriction after an allowance": (
        materials(0, ["ALLOW", "raw/*"], ["DISALLOW", "raw/secret/*"], NONE),
        {("UNREACHABLE", "error", f"{M0}[1]")},
    ),
    "restriction after an allowance, last": (
        materials(0, ["ALLOW", "raw/*"], ["DISALLOW", "raw/secret/*"]),
        {("OPEN", "error", M0), ("UNREACHABLE", "error", f"{M0}[1]")},
    ),
    "match after an allowance": (
        materials(1, ["ALLOW", "data/*"], PREPARED, NONE),
        {("UNREACHABLE", "error", f"{M1}[1]")},
    ),
    "allowance after a wider one": (
        materials(0, ["ALLOW", "raw/*"], ["ALLOW", "raw/a"], NONE),
        {("UNREACHABLE", "warning", f"{M0}[1]")},
    ),
    "allowance after the end": (
        materials(0, NONE, ["ALLOW", "raw/a"]),
        {("UNREACHABLE", "warning", f"{M0}[1]")},
    ),
    "restriction twice": (materials(0, NONE, NONE), {("UNREACHABLE", "warning", f"{M0}[1]")}),
    "create in materials": (
        materials(0, ["CREATE", "raw/a"], NONE),
        {("UNREACHABLE", "warning", f"{M0}[0]")},
    ),
    "delete in products": (
        products(1, ["CREATE", "models/*"], ["DELETE", "x"], NONE),
        {("UNREACHABLE", "warning", f"{P1}[1]")},
    ),
    "modify in a report": (
        materials(2, TRAINED, ["MODIFY", "x"], NONE),
        {("UNREACHABLE", "warning", f"{M2}[1]")},
    ),
    "unused": (
        person("eve", issuer=ISSUER, subject="eve@example.com"),
        {("UNUSED", "warning", "functionaries.eve")},
    ),
    "required too late": (
        materials(1, PREPARED, ["REQUIRE", "data/train.csv"], NONE),
        {("UNSATISFIABLE", "error", f"{M1}[1]")},
    ),
    "required and refused": (
        materials(1, PREPARED, ["REQUIRE", "README"], ["ALLOW", "src.py"], NONE),
        {("UNSATISFIABLE", "error", f"{M1}[1]")},
    ),
    "refused and required": (
        materials(1, PREPARED, ["DISALLOW", "x"], ["REQUIRE", "x"], ["ALLOW", "x"], NONE),
        {("UNSATISFIABLE", "error", f"{M1}[2]"), ("UNREACHABLE", "warning", f"{M1}[3]")},
    ),
    "ssh alone": (
        both(person("bob", ssh=SSH)),
        {("UNSATISFIABLE", "error", "steps[2]")},
    ),
    "one mail address": (
        person("bob", issuer="https://other.example", subject="Alice@Example.com"),
        {("FEW_PEOPLE", "error", "steps[2].threshold")},
    ),
    "one workflow, two claims": (
        both(
            person("alice", issuer=ISSUER, subject="alice@example.com", claims={"buildTrigger": "push"}),
            person("bob", issuer=ISSUER, subject="alice@example.com", claims={"buildTrigger": "schedule"}),
        ),
        {("FEW_PEOPLE", "error", "steps[2].threshold")},
    ),
    "one key": (
        both(
            lambda v: v["functionaries"]["alice"]["identities"].append({"key": PEM}),
            lambda v: v["functionaries"]["bob"]["identities"].append({"ssh": SSH}),
        ),
        {("FEW_PEOPLE", "error", "steps[2].threshold"), ("OVERLAP", "error", "functionaries.bob")},
    ),
    "pattern without a claim": (subject(f"{WORKFLOW}tags/v*"), {("OTHER_REPOSITORY", "error", CI)}),
    "workflow without a claim": (subject(f"{WORKFLOW}tags/v1"), {("OTHER_REPOSITORY", "warning", CI)}),
    "repository by name": (
        subject(f"{WORKFLOW}tags/v*", sourceRepositoryURI="https://github.com/acme/m"),
        {("OTHER_REPOSITORY", "warning", CI)},
    ),
    "owner alone": (
        subject(f"{WORKFLOW}tags/v*", sourceRepositoryOwnerIdentifier="45"),
        {("OTHER_REPOSITORY", "warning", CI)},
    ),
    "any ref": (
        subject(f"{WORKFLOW}*/*/merge", sourceRepositoryIdentifier="1"),
        {("PULL_REQUEST", "error", CI)},
    ),
    "a pull request": (
        subject(f"{WORKFLOW}pull/7/merge", sourceRepositoryIdentifier="1"),
        {("PULL_REQUEST", "error", CI)},
    ),
    "overlap": (
        both(
            person(
                "release",
                issuer="https://token.example",
                subject=f"{WORKFLOW}tags/v1*",
                claims={"sourceRepositoryIdentifier": "123", "buildTrigger": "push"},
            ),
            lambda v: v["revokers"].append("release"),
        ),
        {("OVERLAP", "error", "functionaries.release")},
    ),
    "overlap with one ref": (
        both(
            person(
                "release",
                issuer="https://token.example",
                subject=f"{WORKFLOW}tags/v1",
                claims={"sourceRepositoryIdentifier": "123"},
            ),
            lambda v: v["revokers"].append("release"),
        ),
        {("OVERLAP", "error", "functionaries.release")},
    ),
    "one ref before the pattern": (
        both(
            person(
                "aaa",
                issuer="https://token.example",
                subject=f"{WORKFLOW}tags/v1",
                claims={"sourceRepositoryIdentifier": "123"},
            ),
            lambda v: v["revokers"].append("aaa"),
        ),
        {("OVERLAP", "error", "functionaries.ci")},
    ),
    "all is allowed after a match": (
        materials(1, PREPARED, ["ALLOW", "*"]),
        {("UNBOUND", "error", f"{M1}[0]"), ("OPEN", "warning", M1)},
    ),
    "some is allowed after a match": (
        materials(1, PREPARED, ["ALLOW", "*.csv"], NONE),
        {("UNBOUND", "warning", f"{M1}[0]")},
    ),
    "deleted after a match": (
        materials(2, TRAINED, ["DELETE", "models/*"], NONE),
        {("UNBOUND", "error", f"{M2}[0]")},
    ),
    "match of nothing": (
        materials(1, PREPARED, ["MATCH", "x", "WITH", "PRODUCTS", "FROM", "prepare"], NONE),
        {("DEAD_MATCH", "error", f"{M1}[1]")},
    ),
    "match from an open list": (
        both(
            products(0, ["DISALLOW", "x"]),
            materials(1, PREPARED, ["MATCH", "y", "WITH", "PRODUCTS", "FROM", "prepare"], NONE),
        ),
        {("OPEN", "error", "steps[0].expectedProducts")},
    ),
    "match below another prefix": (
        materials(1, PREPARED, ["MATCH", "*", "WITH", "PRODUCTS", "IN", "x", "FROM", "prepare"], NONE),
        {("DEAD_MATCH", "error", f"{M1}[1]")},
    ),
    "match of a report's products": (
        materials(1, PREPARED, ["MATCH", "x", "WITH", "PRODUCTS", "FROM", "approve"], NONE),
        {("DEAD_MATCH", "error", f"{M1}[1]")},
    ),
    "untied": (
        materials(1, ["ALLOW", "data"], NONE),
        {("UNTIED", "error", "steps[0]")},
    ),
    "never needed": (
        lambda v: v["serve"][0].update(steps=["prepare", "train"]),
        {("NEVER_NEEDED", "error", "steps[2]"), ("LEFT_OUT", "warning", "serve[0].steps")},
    ),
    "independent models": (
        lambda v: v["steps"].append(
            {**v["steps"][1], "name": "other", "expectedProducts": [["ALLOW", "other/*"], ["DISALLOW", "*"]]}
        ),
        {("TOGETHER", "warning", "serve[0].steps")},
    ),
    "never served": (
        lambda v: v["serve"][0].update(products=["models/*", "out/*"]),
        {("NEVER_SERVED", "error", "serve[0].products[1]")},
    ),
    "no data set": (
        lambda v: v["datasets"]["artifacts"][0].update(products=["raw/*"]),
        {("NEVER_SERVED", "error", "datasets.artifacts[0].products[0]")},
    ),
    "all is served": (
        lambda v: v["serve"][0].update(products=["?*"]),
        {("SERVES_ALL", "warning", "serve[0].products[0]")},
    ),
    "not observed": (
        lambda v: v["steps"][1].update(evidence="declared"),
        {("NOT_OBSERVED", "warning", "steps[1].evidence")},
    ),
    "constant of a step": (
        lambda v: v["steps"][2]["constraints"][0].update(expression="1 < 2"),
        {("CONSTANT", "warning", "steps[2].constraints[0]")},
    ),
    "constant of a data set": (
        lambda v: v["datasets"]["constraints"][0].update(expression="true"),
        {("CONSTANT", "warning", "datasets.constraints[0]")},
    ),
    "constant of the chain": (
        lambda v: v["constraints"][0].update(expression="'a' in ['a']"),
        {("CONSTANT", "warning", "constraints[0]")},
    ),
    "no revokers": (lambda v: v.pop("revokers"), {("NO_REVOKERS", "warning", "revokers")}),
    "nobody else": (
        lambda v: v["steps"][2].update(functionaries=["ci"], threshold=1),
        {("NOBODY_ELSE", "warning", "steps[2].functionaries")},
    ),
    "inspection of nothing": (
        lambda v: v["inspections"][0].update(artifacts=["other/*"]),
        {("DEAD_INSPECTION", "warning", "inspections[0]")},
    ),
    "inspection of other files than the one that is served": (
        lambda v: (
            v["inspections"][0].update(artifacts=["*.bin"]),
            v["serve"][0].update(products=["models/model.pkl"]),
        ),
        {("DEAD_INSPECTION", "warning", "inspections[0]")},
    ),
    "pickle inspection without a list": (
        lambda v: v["inspections"][0].pop("frameworks"),
        {("UNLISTED_PICKLE", "error", "inspections[0]")},
    ),
    "pickle inspection with a pattern": (
        lambda v: v["inspections"][0].update(frameworks=[], allow=["a.B", "numpy.*", "a.?"]),
        {("WIDE_PICKLE", "warning", f"inspections[0].allow[{at}]") for at in (1, 2)},
    ),
}


@pytest.mark.parametrize("name", FIRES)
def test_what_is_wrong_is_said(name: str) -> None:
    """One change to a clean layout is found: with its code, its severity and its place, and nothing else is."""
    change, expected = FIRES[name]
    assert said(linted(change)) == expected


SILENT: dict[str, Change] = {
    "pickle inspection with names": lambda v: v["inspections"][0].update(frameworks=[], allow=["a.B"]),
    "size inspection, which has no names": lambda v: v["inspections"].append(
        {"name": "small", "kind": "size", "artifacts": ["*.pkl"], "maxBytes": 9}
    ),
    "nothing": lambda v: None,
    "deleted from a step with both": materials(1, PREPARED, ["DELETE", "old"], ["MODIFY", "x"], NONE),
    "changed beside what is new": products(1, ["CREATE", "models/*"], ["MODIFY", "models/*"], NONE),
    "required and taken": materials(1, ["REQUIRE", "a.py"], PREPARED, ["ALLOW", "a*.py"], NONE),
    "required before a restriction on others": materials(
        1, PREPARED, ["DISALLOW", "data/*"], ["REQUIRE", "x"], ["DISALLOW", "y"], ["ALLOW", "x"], NONE
    ),
    "one pattern in two places": materials(
        1, PREPARED, ["MATCH", "data/*", "WITH", "PRODUCTS", "FROM", "prepare"], NONE
    ),
    "match from a directory around": materials(
        1, ["MATCH", "data/a/b.csv", "WITH", "PRODUCTS", "FROM", "prepare"], NONE
    ),
    "match of a directory whose files are named": both(
        products(0, ["CREATE", "data/*"], NONE),
        materials(1, ["MATCH", "data", "WITH", "PRODUCTS", "FROM", "prepare"], NONE),
    ),
    "match from an open list": both(
        lambda v: None,
        materials(1, PREPARED, ["MATCH", "raw/x", "WITH", "MATERIALS", "FROM", "prepare"], NONE),
    ),
    "match below prefixes": materials(
        1, ["MATCH", "*", "IN", "in", "WITH", "PRODUCTS", "IN", "data", "FROM", "prepare"], NONE
    ),
    "claimed trigger": subject(f"{WORKFLOW}*/*/merge", sourceRepositoryIdentifier="1", buildTrigger="push"),
    "no workflow": subject("https://spiffe.example/ci"),
    "a path with an at sign is no mail address": both(
        person("alice", issuer=ISSUER, subject="https://spiffe.example/ci@main"),
        person("bob", issuer="https://other.example", subject="https://spiffe.example/ci@main"),
    ),
    "told apart by a claim": both(
        person(
            "release",
            issuer="https://token.example",
            subject=f"{WORKFLOW}tags/v*",
            claims={"sourceRepositoryIdentifier": "124"},
        ),
        lambda v: v["revokers"].append("release"),
    ),
    "told apart by the issuer": both(
        person(
            "release",
            issuer="https://token.other",
            subject=f"{WORKFLOW}tags/v*",
            claims={"sourceRepositoryIdentifier": "123"},
        ),
        lambda v: v["revokers"].append("release"),
    ),
    "told apart by the ref": both(
        person(
            "release",
            issuer="https://token.example",
            subject=f"{WORKFLOW}tags/w*",
            claims={"sourceRepositoryIdentifier": "123"},
        ),
        lambda v: v["revokers"].append("release"),
    ),
    "one person": both(
        person(
            "release",
            issuer="https://token.example",
            subject=f"{WORKFLOW}tags/v*",
            claims={"sourceRepositoryIdentifier": "123", "buildTrigger": "push"},
        ),
        lambda v: v["revokers"].append("release"),
        lambda v: v.update(principals={"train": ["ci", "release"]}),
    ),
    "principal of two": both(
        person("carol", issuer=ISSUER, subject="carol@example.com"),
        lambda v: v["steps"][2]["functionaries"].append("carol"),
        lambda v: v.update(principals={"bob-and": ["bob", "carol"]}),
    ),
    "ssh beside a key": lambda v: v["functionaries"]["bob"]["identities"].append({"ssh": SSH}),
    "created where nothing goes in": both(
        lambda v: v["steps"].append(
            {
                "name": "base",
                "functionaries": ["bob"],
                "sublayout": {"name": "base"},
                "expectedProducts": [["CREATE", "base/*"], NONE],
            }
        ),
        materials(1, PREPARED, ["MATCH", "base/*", "WITH", "PRODUCTS", "FROM", "base"], NONE),
    ),
    "no data sets": lambda v: v.pop("datasets"),
    "sublayout served": both(
        lambda v: v["steps"][1].update(sublayout={"name": "base"}, expectedMaterials=[], evidence=None),
        lambda v: v["steps"][1].pop("evidence"),
        lambda v: v["steps"].pop(0),
        lambda v: v.pop("datasets"),
    ),
    "somebody else too": lambda v: v["steps"][2].update(functionaries=["ci", "alice", "bob"]),
}


@pytest.mark.parametrize("name", SILENT)
def test_what_is_right_is_not_spoken_of(name: str) -> None:
    """The neighbours of what is found are silent."""
    assert said(linted(SILENT[name])) == set()


def test_created_after_a_match_is_unbound_where_nothing_goes_in() -> None:
    """A sublayout has no materials, so CREATE takes whatever is there."""
    change = both(
        SILENT["created where nothing goes in"],
        lambda v: v["steps"][3].update(
            expectedProducts=[
                ["MATCH", "base/*", "WITH", "PRODUCTS", "FROM", "train"],
                ["CREATE", "base/*"],
                NONE,
            ]
        ),
        products(1, ["CREATE", "base/*"], ["CREATE", "models/*"], NONE),
    )
    assert said(linted(change)) == {("UNBOUND", "error", "steps[3].expectedProducts[0]")}


def test_expiry() -> None:
    """Neither past, nor soon, nor too far, by the day."""
    end = datetime(2027, 12, 1, tzinfo=UTC)
    ages = {
        timedelta(0): {("EXPIRY", "error", "expires")},
        timedelta(seconds=1): {("EXPIRY", "warning", "expires")},
        timedelta(days=14) - timedelta(seconds=1): {("EXPIRY", "warning", "expires")},
        timedelta(days=14): set(),
        timedelta(days=398): set(),
        timedelta(days=398, seconds=1): {("EXPIRY", "warning", "expires")},
    }
    assert {left: said(linted(now=end - left)) for left in ages} == ages
    [expired] = linted(now=end)
    assert expired.help == "raise expires and version"


def test_errors_come_first() -> None:
    """The order is by severity, then by code."""
    found = linted(
        FIRES["no revokers"][0], FIRES["never served"][0], FIRES["not observed"][0], FIRES["open"][0]
    )
    assert [one.code for one in found] == ["GC-L01", "GC-L13", "GC-L15", "GC-L17"]


def test_a_finding_says_what_helps() -> None:
    """The JSON has every field; help is null where there is none."""
    found = {one.code: one.to_json() for one in linted(FIRES["no revokers"][0], FIRES["match of nothing"][0])}
    assert found[LintCode.NO_REVOKERS] == {
        "code": "GC-L17",
        "severity": "warning",
        "where": "revokers",
        "message": "no functionary may revoke anything: a stolen identity or a withdrawn data set counts until the layout changes",
        "help": "name functionaries under revokers",
    }
    assert found[LintCode.DEAD_MATCH]["help"] is None


def test_the_page_is_the_code_s() -> None:
    """docs/lint.md has each code once, in order, with its meaning, its severities and what to do."""
    table = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `GC-L")
    ]
    assert [row[:2] for row in table] == [[f"`{code}`", LINT_MEANINGS[code]] for code in LintCode]
    assert all(len(row) == 4 and row[3] for row in table)
    fired = {(code, severity) for _, expected in FIRES.values() for code, severity, _ in expected}
    fired |= {
        ("EXPIRY", "error"),
        ("EXPIRY", "warning"),
        ("ONE_PERSON", "warning"),
        ("SHORT_FRESHNESS", "warning"),
        ("ANY_BUILD", "warning"),  # tests/layout/test_selector.py
        ("ANY_ARTIFACT", "warning"),
    }
    told = {
        (code.name, word)
        for code, row in zip(LintCode, table, strict=True)
        for word in re.findall("error|warning", row[2])
    }
    assert told == fired


ALONE = """
schema: https://gitchain.dev/layout/v1
name: alone
version: 1
expires: "2027-03-01T00:00:00Z"
functionaries:
  ada: {identities: [{issuer: "https://issuer.example", subject: ada}]}
  ada2: {identities: [{issuer: "https://issuer.example", subject: ada2}]}
  bob: {identities: [{issuer: "https://issuer.example", subject: bob}]}
principals: {ada-lovelace: [ada, ada2]}
revokers: [bob]
freshness: P7D
steps:
  - {name: data, functionaries: [ada], expectedProducts: [[ALLOW, "*"]]}
  - {name: train, functionaries: [ada2], expectedMaterials: [[MATCH, "*", WITH, PRODUCTS, FROM, data]], expectedProducts: [[ALLOW, "*"]]}
serve: [{step: train, products: ["*"]}]
"""


def alone(text: str, *signers: str, name: str = "ONE_PERSON") -> bool:
    layout = parse_layout(text.encode())
    found = lint(
        layout,
        datetime(2026, 11, 22, tzinfo=UTC),
        [Identity("https://issuer.example", one) for one in signers],
    )
    return name in {one.code.name for one in found}


def test_one_person_who_does_everything_and_signs_is_a_warning() -> None:
    """Whichever identity signs; not if another may sign, performs a step, or if the signer is not known."""
    assert alone(ALONE, "ada")
    assert alone(ALONE, "ada2", "ada")
    assert not alone(ALONE)
    assert not alone(ALONE, "bob")
    assert not alone(ALONE, "ada", "bob")
    assert not alone(ALONE.replace("functionaries: [ada2]", "functionaries: [ada2, bob]"), "ada")


def test_a_freshness_of_less_than_a_day_is_a_warning() -> None:
    """Nobody syncs every hour; a day and more is silent."""
    for freshness, warned in (("PT23H", True), ("P1D", False), ("P7D", False)):
        text = ALONE.replace("P7D", freshness)
        assert alone(text, name="SHORT_FRESHNESS") is warned
    assert not alone(ALONE.replace("freshness: P7D\n", ""), name="SHORT_FRESHNESS")


WORDS = json.loads((Path(__file__).parent / "golden" / "lint.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FIRES)
def test_every_finding_in_its_words(name: str) -> None:
    """Word for word: what a person who writes a layout is told, and what to do about it."""
    assert [f"{one.message} / {one.help}" for one in linted(FIRES[name][0])] == WORDS[name]


def test_words_of_the_findings_that_need_more_than_a_layout() -> None:
    """The time, or the layout's signer."""
    layout, end = parse_layout(ALONE.replace("P7D", "PT1H").encode()), datetime(2027, 3, 1, tzinfo=UTC)
    found = [
        f"{one.code} {one.where} {one.message} / {one.help}"
        for left in (timedelta(0), timedelta(days=1), timedelta(days=500))
        for one in lint(layout, end - left, [Identity("https://issuer.example", "ada")])
    ]
    assert found == WORDS["alone"]
