"""docs/layout.md is true: its example is a layout, and it names every field and keyword."""

from __future__ import annotations

from pathlib import Path

from gitchain.layout import parse_layout
from gitchain.layout.rule import Keyword

PAGE = (Path(__file__).parents[2] / "docs" / "layout.md").read_text(encoding="utf-8")


def test_the_example_is_a_layout() -> None:
    """The page's YAML parses, and every field of the result is explained below it."""
    layout = parse_layout(PAGE.split("```yaml\n")[1].split("```")[0].encode())
    fields = {*layout.to_json(), *(field for step in layout.steps for field in step.to_json())}
    assert [field for field in fields if f"`{field}`" not in PAGE and f".{field}`" not in PAGE] == []


def test_every_keyword_is_described() -> None:
    """The table of rules is complete."""
    assert [keyword for keyword in Keyword if keyword not in PAGE.split("## Rules")[1]] == []
