"""Structure of the room: who may make verified things, and that every finding has a meaning."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from gitchain.verify.findings import MEANINGS, Code, Finding

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
    assert set(MEANINGS) == set(Code)
    assert len({code.value for code in Code}) == len(Code)
    assert {Finding(code, "m").severity for code in Code} == {"error", "warning"}
