"""Structure of the room: who may make verified things, and that every finding has a meaning."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from gitchain.verify.findings import ADVICE, MEANINGS, Finding, FindingCode

ROOT = Path(__file__).parents[2] / "gitchain"


@pytest.mark.parametrize(
    ("made", "maker"),
    [
        ("VerifiedStatement", "bundle.py gitsource.py"),
        ("VerifiedArtifact", "bundle.py"),
        ("SignedLayout", "layout.py"),
        ("VerifiedObject", "gitsigned.py"),
    ],
)
def test_verified_things_have_known_makers(made: str, maker: str) -> None:
    """No module but the one that verifies calls the constructor of a verified type, anywhere in the package."""
    makers = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == made
    }
    assert makers == {f"verify/{one}" for one in maker.split()}


def test_every_code_has_a_meaning_and_a_severity() -> None:
    """Codes are unique, documented, and an error or a warning by their letter."""
    assert set(MEANINGS) == set(ADVICE) == set(FindingCode)
    assert len({code.value for code in FindingCode}) == len(FindingCode)
    assert {Finding(code, "m").severity for code in FindingCode} == {"error", "warning"}


@pytest.mark.parametrize("code", FindingCode)
def test_finding_without_help_of_its_own_says_what_to_do(code: FindingCode) -> None:
    """Each code has advice; a finding's own help comes before it."""
    assert Finding(code, "m").to_json()["help"] == ADVICE[code]
    assert len(ADVICE[code]) > 10
    assert Finding(code, "m", help="own").to_json()["help"] == Finding(code, "m", help="own").advice == "own"
