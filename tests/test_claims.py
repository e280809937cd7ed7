"""docs/claims.md: each claim is on its page word for word, and each test that it names exists."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from gitchain.collect.inspect import archive, onnx, pickle_machine, pickles
from gitchain.hooks import __main__ as hooks_main
from gitchain.hooks import drainer

ROOT = Path(__file__).parent.parent
CLAIMS = ROOT / "docs" / "claims.md"
NAMES = ("commands", "diff", "reference/exit-codes", "threats", "inspections", "guard", "hooks", "ci")
PAGES = ["README.md", *(f"docs/{name}.md" for name in NAMES)]
TEST_FILES = sorted((ROOT / "tests").rglob("test_*.py"))
SOURCES = {
    "demo": [ROOT / "examples" / "demo.py"],
    "k8s": sorted((ROOT / "tests" / "stack").glob("*.py")),
    "interop": sorted((ROOT / "tests" / "interop").glob("*.py")),
}
UNCLAIMED_SECTIONS = {
    "README.md": {"Documentation"},
    "docs/threats.md": {"", "Model files that attack their loader", "What is not defended"},
    "docs/guard.md": {"Not used, and why"},
}
"""Sections whose rows and items are not claims: lists of links, and the catalogue of docs/threats.md names its tests itself."""

Claim = tuple[str, str]


def fold(text: str) -> str:
    """Return the text with every run of white space as one space."""
    return " ".join(text.split())


def cells(row: str) -> list[str]:
    """Return the cells of a table's row; a `\\|` is part of its cell."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip())[1:-1]]


def table_rows(text: str) -> list[str]:
    """Return the rows of every table, without headers and separators."""
    lines = text.splitlines()
    headers = {number - 1 for number, line in enumerate(lines) if re.fullmatch(r"\|(-+\|)+", line)}
    return [
        line
        for number, line in enumerate(lines)
        if line.startswith("| ") and number not in headers and not re.fullmatch(r"\|(-+\|)+", line)
    ]


def prose(page: str) -> str:
    """Return a page without its fenced examples."""
    return re.sub(r"^```.*?^```$", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def sections(text: str) -> dict[str, str]:
    """Return the text below each second-level heading, and what stands before the first one under ""."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def claims() -> list[tuple[str, Claim]]:
    """Return the page, claim and tests of every row of docs/claims.md, in order."""
    found = []
    for page, section in sections(CLAIMS.read_text("utf-8")).items():
        for row in table_rows(section) if page else []:
            claim, tests = cells(row)
            found.append((page, (fold(claim), tests)))
    return found


def claims_of(page: str) -> list[str]:
    return [claim for name, (claim, _) in claims() if name == page]


def names_of_tests(room: str = "") -> set[str]:
    """Return the names of the test functions below tests/, or below one of its directories."""
    paths = [path for path in TEST_FILES if path.is_relative_to(ROOT / "tests" / room)]
    texts = [path.read_text("utf-8") for path in paths]
    return {name for text in texts for name in re.findall(r"^def (test_\w+)\(", text, re.MULTILINE)}


def string_literals(target: str) -> set[str]:
    """Return the string literals in the sources of a make target's cases."""
    trees = [ast.parse(path.read_text("utf-8")) for path in SOURCES[target]]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def demo_attacks() -> list[str]:
    """Return the names of the attacks that `make demo` runs."""
    for node in ast.parse(SOURCES["demo"][0].read_text("utf-8")).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "ATTACKS":
            return [ast.literal_eval(entry.elts[0]) for entry in node.value.elts]  # type: ignore[union-attr]
    raise AssertionError("examples/demo.py has no ATTACKS")


def items(section: str) -> list[str]:
    """Return what a section claims in a form that is recognised: rows of tables, bullets and numbered items."""
    bullets = re.findall(r"^(?:- |\d+\. )(.+(?:\n {2,}.+)*)", section, flags=re.MULTILINE)
    rows = [row.strip("| ") for row in table_rows(section)]
    return [fold(item) for item in [*bullets, *rows]]


@pytest.mark.parametrize("page", PAGES)
def test_claims_are_on_their_page(page: str) -> None:
    """A sentence that changes makes its claim red."""
    text = fold((ROOT / page).read_text("utf-8"))
    found = claims_of(page)
    assert found
    assert [claim for claim in found if claim not in text] == []


def test_claims_have_no_other_page_and_no_duplicate() -> None:
    """Every section is one of the pages, and no claim is there twice."""
    assert [page for page in sections(CLAIMS.read_text("utf-8")) if page] == PAGES
    counted = Counter((page, claim) for page, (claim, _) in claims())
    assert [one for one, number in counted.items() if number > 1] == []


def test_claims_name_tests_that_exist() -> None:
    """A test is a function below tests/, or `make TARGET: CASE`, a case in the sources of that target."""
    known = names_of_tests()
    for page, (claim, tests) in claims():
        named = re.findall(r"`([^`]+)`", tests)
        assert named, (page, claim)
        assert ", ".join(f"`{name}`" for name in named) == tests, (page, tests)
        for name in named:
            target = re.fullmatch(r"make (\w+): (.+)", name)
            if target:
                assert target[2] in string_literals(target[1]), (claim, name)
            else:
                assert name in known, (claim, name)


@pytest.mark.parametrize("page", PAGES)
def test_claims_cover_rows_and_items(page: str) -> None:
    """Each row of a table and each list item of a page is, or holds, a claim."""
    found = claims_of(page)
    skipped = UNCLAIMED_SECTIONS.get(page, set())
    uncovered = [
        item
        for heading, section in sections(prose(page)).items()
        if heading not in skipped
        for item in items(section)
        if not any(claim in item or item in claim for claim in found)
    ]
    assert uncovered == []


def test_claims_cover_the_threats_that_can_be_run() -> None:
    """Each row has a claim of its own with attack and answer; where it is shown is where its tests are."""
    rows = [cells(row) for row in table_rows(sections(prose("docs/threats.md"))["Attacks that you can run"])]
    assert len(rows) >= 30
    tests = {claim: named for page, (claim, named) in claims() if page == "docs/threats.md"}
    for attack, answer, where in rows:
        named = re.findall(r"`([^`]+)`", tests[f"{attack} | {answer}"])
        targets = {name.split(":")[0] for name in named if name.startswith("make ")}
        assert targets == set(re.findall(r"`(make \w+)`", where)), attack
        rooms = re.findall(r"`tests/(\w+)`", where)
        assert all(set(named) & names_of_tests(room) for room in rooms), attack


def test_claims_name_every_attack_of_the_demo() -> None:
    """The README says how many attacks `make demo` runs; each is in the table of docs/threats.md."""
    named = {
        name
        for page, (_, tests) in claims()
        if page == "docs/threats.md"
        for name in re.findall(r"`make demo: ([^`]+)`", tests)
    }
    attacks = demo_attacks()
    assert set(attacks) <= named
    assert len(attacks) == 14
    assert "then fourteen attacks" in (ROOT / "README.md").read_text("utf-8")


def test_numbers_on_the_pages_are_the_code_s() -> None:
    """Limits and times that a page names are the constants of the code and of the hooks."""
    pages = {page: fold((ROOT / page).read_text("utf-8")) for page in PAGES}
    for page, sentence in (
        (
            "docs/inspections.md",
            (
                f"Bounds for one file: {pickle_machine.MAX_OPCODES:,} opcodes, {archive.MAX_MEMBERS:,} members, "
                f"archives {number_word(pickles.MAX_DEPTH)} deep, {pickles.MAX_UNPACKED >> 30} GiB unpacked."
            ),
        ),
        ("docs/inspections.md", f"messages nest at most {onnx.MAX_DEPTH} deep"),
        ("docs/hooks.md", f"pre-push waits at most {hooks_main.PUSH_SECONDS} seconds"),
        ("docs/hooks.md", f"It waits {number_word(int(drainer.LINGER_SECONDS))} seconds for more events"),
    ):
        assert sentence in pages[page]
    assert "The drainer waits one second for further commits" in pages["docs/hooks.md"]
    assert "sleep 1; exec nice -n 19" in (ROOT / "hooks" / "common.sh").read_text("utf-8")


def number_word(number: int) -> str:
    return {1: "one", 3: "three", 10: "ten"}[number]
