"""The table of attacks is whole, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE / "README.md").read_text(encoding="utf-8")
ROWS = [line.split("|")[1:-1] for line in PAGE.splitlines() if re.match(r"\| (A\d|CVE|GHSA|PYSEC)", line)]
SOURCES = {path: path.read_text(encoding="utf-8") for path in HERE.parent.rglob("test_*.py")}
DEFINED = {name for text in SOURCES.values() for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}


def test_every_attack_has_its_row() -> None:
    """A1 to A29, each once and in order."""
    found = [row[0].strip() for row in ROWS if row[0].strip().startswith("A")]
    assert found == [f"A{number}" for number in range(1, 30)]


def test_every_row_names_a_test_that_exists_or_a_reason() -> None:
    """A name in the table is a test function or a file of tests; a row without one says why."""
    for row in ROWS:
        cell = row[2] if row[0].strip().startswith("A") else row[1]
        named = re.findall(r"`([^`]+)`", cell)
        for name in named:
            assert name in DEFINED or (HERE.parents[1] / name).is_file(), name
        assert named or re.search(r"not yet: .+ \(issue: |the lock pins|every fix here", cell), row


def test_every_attack_test_is_in_the_table() -> None:
    """A test that is named after an attack or an advisory stands in the table."""
    attacks = {
        name
        for path in HERE.glob("test_*.py")
        for name in re.findall(r"^def (test_(?:a\d\d|cve|ghsa)_\w+)", SOURCES[path], re.MULTILINE)
    }
    prefixes = {name[:8] for name in re.findall(r"`(test_\w+)`", PAGE)}
    assert {name for name in attacks if name[:8] not in prefixes} == set()


def test_attack_tests_are_named_as_their_rows() -> None:
    """test_a29_… stands in row A29, here and in docs/threats.md."""
    threats = (HERE.parents[1] / "docs/threats.md").read_text(encoding="utf-8")
    for row in (*PAGE.splitlines(), *threats.splitlines()):
        if found := re.match(r"\| (A\d+) \|", row):
            named = {f"A{int(number)}" for number in re.findall(r"`test_a(\d\d)_\w+`", row)}
            assert named <= {found[1]}, row


def test_guards_are_told_truly() -> None:
    """A row says `source` exactly when one of its tests names the source that it goes red without."""
    guarded = {
        name
        for text in SOURCES.values()
        for name in re.findall(r"^@guarded\((?:.|\n)*?^def (test_\w+)", text, re.MULTILINE)
    }
    for row in ROWS:
        tests = set(re.findall(r"`(test_\w+)`", "|".join(row)))
        assert ("source" in row[-1]) == bool(tests & guarded), row[0]
