"""The output in README.md and docs/tutorial.md, and the picture, are what a run gives today."""

from __future__ import annotations

import importlib
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.support.preloaded import programs

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def walk(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module examples/walk.py, which runs preloaded programs."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    sys.modules.pop("walk", None)
    module = importlib.import_module("walk")
    environment = module.Shell.environment

    def with_programs(shell: Any) -> dict[str, str]:
        found: dict[str, str] = environment(shell)
        return found | {"PATH": f"{programs()}{os.pathsep}{found['PATH']}"}

    monkeypatch.setattr(module.Shell, "environment", with_programs)
    return module


def test_walk_output_is_todays(walk: ModuleType, tmp_path: Path) -> None:
    """If this fails because output changed: python examples/walk.py, then read what changed."""
    for path, text in walk.today(tmp_path).items():
        assert path.read_text(encoding="utf-8") == text, path.name


def test_walk_notices_other_output(walk: ModuleType, tmp_path: Path) -> None:
    """A line of output that no run gives is replaced by what a run gives."""
    marked = "<!-- output: plain -->\n```console\n$ wc -l data.csv\n11 data.csv\n```\n"
    assert walk.page(marked, tmp_path) == marked.replace("11", "10")


def test_walk_picture_shows_passed_and_failed(walk: ModuleType) -> None:
    """The SVG is well-formed, has both verdicts in colour, and is no wider than a terminal."""
    text = walk.PICTURE.read_text(encoding="utf-8")
    lines = ["".join(node.itertext()) for node in ET.fromstring(text).iter() if node.tag.endswith("text")]
    assert [line.split()[0] for line in lines if line.startswith(("PASSED", "FAILED"))] == [
        "PASSED",
        "FAILED",
    ]
    assert max(map(len, lines)) <= walk.COLUMNS
    assert re.findall(r'class="(\w+) bold">(\w+)<', text) == [("green", "PASSED"), ("red", "FAILED")]
    assert "<script" not in text
    assert "prefers-color-scheme: dark" in text


def test_walk_svg_escapes_text(walk: ModuleType) -> None:
    """Output is text, never markup, and lines wrap."""
    text = walk.svg("\x1b[31m<b>\x1b[0m&\n" + "x" * (walk.COLUMNS + 1) + "\n")
    rows = [node for node in ET.fromstring(text).iter() if node.tag.endswith("}text")]
    assert ["".join(row.itertext()) for row in rows] == ["<b>&", "x" * walk.COLUMNS, "x"]
