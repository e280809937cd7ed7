"""Cases for a layout: the example's are as they say, a wrong expectation is seen, and faults are named."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gitchain.errors import LayoutError
from gitchain.layout import parse_layout
from gitchain.layout.lint import lint
from gitchain.layout_test.cases import run_cases

EXAMPLE = Path(__file__).parents[2] / "examples" / "layouts" / "credit-model"
HEAD = "schema: https://gitchain.dev/layout-case/v1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the example with the good case alone."""
    shutil.copytree(EXAMPLE, tmp_path / "x", ignore=lambda _, names: [])
    for case in (tmp_path / "x" / "cases").iterdir():
        if case.name != "good":
            shutil.rmtree(case)
    return tmp_path / "x"


def put(folder: Path, text: str, name: str = "mine") -> None:
    (folder / "cases" / name).mkdir(exist_ok=True)
    (folder / "cases" / name / "case.yaml").write_text(HEAD + text, encoding="utf-8")


def test_the_example_is_as_it_says() -> None:
    """Every case of the example has the verdict that it expects, and every part of the layout decides one."""
    layout, results = run_cases(EXAMPLE)
    assert [one.case.name for one in results if not one.as_expected] == []
    assert len(results) >= 14
    assert sum(one.decision.passed for one in results) == 2
    codes = {found.code for one in results for found in one.found}
    assert codes >= {
        "GC-E0303",
        "GC-E0305",
        "GC-E0307",
        "GC-E0312",
        "GC-E0330",
        "GC-E0334",
        "GC-E0335",
        "GC-E0342",
    }
    assert layout.name == "credit-model"


@pytest.mark.parametrize("name", ["layout.yaml", "datahouse.yaml"])
def test_the_example_s_layouts_are_clean(name: str) -> None:
    """Lint has nothing to say about them, in their lifetime."""
    layout = parse_layout((EXAMPLE / name).read_bytes())
    assert lint(layout, datetime(2026, 12, 1, tzinfo=UTC)) == ()


def test_the_page_s_case_is_the_example_s() -> None:
    """docs/layout-test.md shows a case that is tried."""
    page = (EXAMPLE.parents[2] / "docs" / "layout-test.md").read_text(encoding="utf-8")
    shown = page.split("```yaml\n")[1].split("```")[0]
    assert shown == (EXAMPLE / "cases" / "swapped-data" / "case.yaml").read_text(encoding="utf-8")
    source = (EXAMPLE.parents[2] / "gitchain" / "layout" / "casefile.py").read_text(encoding="utf-8")
    fields = set(
        re.findall(r'(?:text|texts|items|map|take|_artifacts|_object)\((?:fields, |one, )?"(\w+)"', source)
    )
    assert {"extends", "signer", "claims", "sublayout"} <= fields
    assert [
        one
        for one in sorted(fields)
        if f"{one}`" not in page and f"`{{{one}" not in page and f" {one}" not in page
    ] == []


EXPECTATIONS = {
    "it passes, and should not": ("extends: good\nexpect: [GC-E0301]\n", False),
    "it fails, and should pass": ("extends: good\ndrop: [train]\nexpect: PASSED\n", False),
    "it fails at another step": (
        "extends: good\nlater: P91D\nexpect: [{code: GC-E0305, step: train}]\n",
        False,
    ),
    "it fails for one more reason": ("extends: good\nlater: P91D\nexpect: [GC-E0305, GC-E0301]\n", False),
    "it fails for a reason that is not expected": (
        "extends: good\ndrop: [check]\nexpect: [GC-E0324]\n",
        False,
    ),
    "at whichever step": ("extends: good\nlater: P91D\nexpect: [GC-E0305]\n", True),
}


def test_what_is_not_as_expected_is_seen(folder: Path) -> None:
    """A verdict that differs, a finding that is missing, and one that is too much: each differs."""
    for index, (text, _) in enumerate(EXPECTATIONS.values()):
        put(folder, text, f"case-{index}")
    _, (*results, good) = run_cases(folder)
    assert dict(zip(EXPECTATIONS, (one.as_expected for one in results), strict=True)) == {
        name: expected for name, (_, expected) in EXPECTATIONS.items()
    }
    assert good.as_expected
    assert good.to_json()["expected"] is None
    assert results[2].to_json()["expected"] == [{"code": "GC-E0305", "step": "train"}]


def test_digests_and_directories_are_contents(folder: Path) -> None:
    """A content may be its own digest, and a target a directory."""
    text = (folder / "cases/good/case.yaml").read_text(encoding="utf-8").removeprefix(HEAD)
    put(
        folder,
        text.replace("content: model 1", f"content: sha256:{'0' * 64}").replace("PASSED", "[GC-E0202]"),
    )
    put(
        folder,
        "extends: good\ntarget: {name: models/credit.pkl, content: {a: b}}\nexpect: [GC-E0202]\n",
        "other",
    )
    assert [one.as_expected for one in run_cases(folder)[1]] == [True, True, True]


def test_an_expired_layout_can_still_be_tried(folder: Path) -> None:
    """Expiry is no part of a case: the cases of a layout are true for longer than it is in force."""
    path = folder / "layout.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("2027-10-01", "2020-10-01"), encoding="utf-8")
    assert run_cases(folder)[1][0].as_expected


FAULTS: dict[str, tuple[str, str]] = {
    "signer": (
        "expect: PASSED\nextends: good\nstatements: [{step: train, signer: eve}]\n",
        "mine.statements[9].signer",
    ),
    "step": (
        "expect: PASSED\nextends: good\nstatements: [{step: x, signer: ci}]\n",
        "mine.statements[9].step",
    ),
    "no type": ("expect: PASSED\nextends: good\nstatements: [{signer: ci}]\n", "mine.statements[9].step"),
    "layout": (
        "expect: PASSED\nextends: good\nstatements: [{layout: x, signer: ci}]\n",
        "mine.statements[9].layout",
    ),
    "sublayout": (
        "expect: PASSED\nextends: good\nstatements: [{sublayout: x, signer: ci}]\n",
        "mine.statements[9].layout",
    ),
    "materials": (
        "expect: PASSED\nextends: good\nstatements: [{step: approve, signer: bob, materials: {a: b}}]\n",
        "mine.statements[9].subject",
    ),
    "no subject": (
        "expect: PASSED\nextends: good\nstatements: [{step: approve, signer: bob}]\n",
        "mine.statements[9]",
    ),
    "name": (
        "expect: PASSED\nextends: good\nstatements: [{step: approve, signer: bob, subject: {../x: b}}]\n",
        "mine.statements[9]",
    ),
    "extends nothing": ("expect: PASSED\nextends: x\n", "extends"),
    "extends itself": ("expect: PASSED\nextends: mine\n", "extends"),
}


@pytest.mark.parametrize(("text", "where"), FAULTS.values(), ids=FAULTS)
def test_a_case_that_cannot_be_tried_is_an_error(folder: Path, text: str, where: str) -> None:
    """What cannot be signed, or names what is not there, is no verdict of the layout."""
    put(folder, text)
    with pytest.raises(LayoutError) as caught:
        run_cases(folder)
    assert caught.value.where.startswith(where)


BROKEN: dict[str, Callable[[Path], object]] = {
    "no case": lambda folder: shutil.rmtree(folder / "cases"),
    "no layout": lambda folder: (folder / "layout.yaml").unlink(),
    "a case that is a directory": lambda folder: (folder / "cases" / "x" / "case.yaml").mkdir(parents=True),
    "a broken sublayout": lambda folder: (folder / "datahouse.yaml").write_text("x"),
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN)
def test_a_folder_that_is_none_is_an_error(folder: Path, spoil: Callable[[Path], object]) -> None:
    """Nothing tried is nothing passed."""
    spoil(folder)
    with pytest.raises(LayoutError):
        run_cases(folder)


LINKS = """
schema: https://gitchain.dev/layout/v1
name: links
version: 1
expires: "2027-10-01T00:00:00Z"
functionaries: {key: {identities: [{issuer: "https://issuer.example", subject: ci@org.example}]}}
steps:
  - name: clone
    functionaries: [key]
    predicateType: https://in-toto.io/attestation/link/v0.3
    expectedProducts: [[CREATE, foo], [DISALLOW, "*"]]
  - name: old
    functionaries: [key]
    predicateType: https://slsa.dev/provenance/v0.2
    expectedMaterials: [[MATCH, foo, WITH, PRODUCTS, FROM, clone], [DISALLOW, "*"]]
    expectedProducts: [[CREATE, bar], [DISALLOW, "*"]]
  - name: base
    functionaries: [key]
    predicateType: https://slsa.dev/verification_summary/v1
    verifier: https://vendor.example/verifier
    maxAge: P1D
    expectedProducts: [[ALLOW, base.bin], [DISALLOW, "*"]]
  - name: build
    functionaries: [key]
    predicateType: https://in-toto.io/attestation/link/v0.3
    expectedMaterials: [[MATCH, bar, WITH, PRODUCTS, FROM, old], [MATCH, base.bin, WITH, PRODUCTS, FROM, base], [DISALLOW, "*"]]
    expectedProducts: [[CREATE, app], [DISALLOW, "*"]]
serve: [{step: build, products: [app]}]
"""
GOOD_LINKS = """target: {name: app, content: app 1}
statements:
  - {step: clone, signer: key, subject: {foo: src}}
  - {step: old, signer: key, materials: {foo: src}, products: {bar: object}}
  - {step: base, signer: key, subject: {base.bin: weights}}
  - {step: build, signer: key, materials: {bar: object, base.bin: weights}, products: {app: app 1}}
"""
LINK_CASES = {
    "good": (GOOD_LINKS, "PASSED"),
    "predicate-name": (
        GOOD_LINKS.replace(
            "{step: clone, signer: key,",
            "{signer: key, predicateType: https://in-toto.io/attestation/link/v0.3, predicate: {name: clone},",
        ),
        "PASSED",
    ),
    "other-step": (
        GOOD_LINKS.replace("subject: {foo: src}", "subject: {foo: src}, predicate: {name: x}"),
        "[GC-E0301]",
    ),
    "extra-product": (
        GOOD_LINKS.replace("subject: {foo: src}", "subject: {foo: src}, products: {x: y}"),
        "[GC-E0311]",
    ),
    "other-material": (GOOD_LINKS.replace("materials: {foo: src}", "materials: {foo: other}"), "[GC-E0312]"),
    "failed-summary": (
        GOOD_LINKS.replace(
            "{base.bin: weights}}", "{base.bin: weights}, predicate: {verificationResult: FAILED}}", 1
        ),
        "[GC-E0320, GC-E0322]",
    ),
    "summary-of-another": (
        GOOD_LINKS.replace(
            "{base.bin: weights}}", "{base.bin: weights}, predicate: {resourceUri: 'pkg:generic/x'}}", 1
        ),
        "[GC-E0327]",
    ),
    "late-summary": (f"{GOOD_LINKS}later: P2D\n", "[GC-E0305]"),
}


def links(tmp_path: Path, cases: dict[str, tuple[str, str]]) -> Path:
    (tmp_path / "layout.yaml").write_text(LINKS, encoding="utf-8")
    (tmp_path / "cases").mkdir()
    for name, (text, expected) in cases.items():
        put(tmp_path, f"{text}expect: {expected}\n", name)
    return tmp_path


def test_links_and_summaries_are_decided_like_any_evidence(tmp_path: Path) -> None:
    """A link names its step in its own field; a summary counts unless the case says otherwise of it."""
    _, results = run_cases(links(tmp_path, LINK_CASES))
    assert {one.case.name: one.as_expected for one in results} == dict.fromkeys(LINK_CASES, True), [
        (one.case.name, [found.code for found in one.found]) for one in results
    ]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("{signer: key, predicateType: https://in-toto.io/attestation/link/v0.3,", "mine.statements[0].step"),
        ("{step: clone, signer: key, predicate: {name: 7},", "mine.statements[0].predicate.name"),
        (
            "{step: clone, signer: key, predicate: {gitchain_step: {name: clone, run: r, evidence: observed}},",
            "mine.statements[0].predicate",
        ),
    ],
)
def test_a_statement_whose_claim_cannot_be_read_is_an_error(tmp_path: Path, change: str, where: str) -> None:
    """It would be evidence for no step, in silence."""
    text = GOOD_LINKS.replace("{step: clone, signer: key,", change)
    with pytest.raises(LayoutError) as caught:
        run_cases(links(tmp_path, {"mine": (text, "PASSED")}))
    assert caught.value.where.startswith(where), caught.value.where
