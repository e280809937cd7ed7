"""CONTRIBUTING.md: each change has its section, each file that it names exists, and each make target too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHANGES = (
    "predicate type", "evidence source", "artifact target", "finding", "verb", "rule keyword", "key type",
    "kubernetes kind", "version of the transparency log", "hash", "`verify --json`", "inspection", "dvc.lock",
    "oci registry", "exit code", "cel library",
)  # fmt: skip
SECTIONS = dict(part.split("\n", 1) for part in PAGE.split("\n### ")[1:])


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`([\w.-]+/[\w./-]*|[\w-]+\.(?:toml|md))`", PAGE))), ids=str
)
def test_contributing_names_files_that_exist(path: str) -> None:
    """A file that moved is red here, and CONTRIBUTING.md gets its new name."""
    assert (ROOT / path).exists()


@pytest.mark.parametrize("change", CHANGES)
def test_contributing_answers_each_change(change: str) -> None:
    """The section names a source file to change and a test file."""
    [section] = [text for heading, text in SECTIONS.items() if change in heading.lower()]
    assert re.search(r"`gitchain/[\w/]+\.py`", section)
    assert re.search(r"`tests/[\w/]+(?:\.py)?`", section)


def test_contributing_names_targets_that_exist() -> None:
    """Every `make …` is a target of the Makefile."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:\$ |`)make ([\w-]+)", PAGE)) <= targets


def test_contributing_has_no_other_change() -> None:
    """A section that is added is checked too."""
    assert len(SECTIONS) == len(CHANGES)
