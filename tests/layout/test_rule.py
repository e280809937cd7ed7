"""The grammar of artifact rules."""

from __future__ import annotations

import pytest

from gitchain.errors import LayoutError
from gitchain.layout.rule import Keyword, MatchTarget, Rule, Side, literal_prefix, parse_rule

GOOD = {
    "ALLOW *": "ALLOW *",
    "allow src/*.py": "ALLOW src/*.py",
    "Disallow *": "DISALLOW *",
    "REQUIRE models/a.pkl": "REQUIRE models/a.pkl",
    "ALLOW git+https://example.com/repo//x": "ALLOW git+https://example.com/repo//x",
    "ALLOW *//x": "ALLOW *//x",
    "match * with products from Prepare": "MATCH * WITH PRODUCTS FROM Prepare",
    "MATCH * IN in WITH MATERIALS FROM from": "MATCH * IN in WITH MATERIALS FROM from",
    "MATCH x WITH PRODUCTS IN out/ FROM s": "MATCH x WITH PRODUCTS IN out FROM s",
    "MATCH x IN a/b WITH PRODUCTS IN out FROM s": "MATCH x IN a/b WITH PRODUCTS IN out FROM s",
}
BAD = (
    "",
    "ALLOW",
    "ALLOW a b",
    "PERMIT *",
    "REQUIRE *.csv",
    "REQUIRE ../x",
    "ALLOW [!a]",
    "ALLOW [^a]",
    "ALLOW a[",
    r"ALLOW a\*",
    "ALLOW /etc/passwd",
    "ALLOW data/",
    "ALLOW ./a",
    "ALLOW a/../b",
    "ALLOW a//b",
    "DISALLOW *.e\u0301",
    "MATCH",
    "MATCH *",
    "MATCH * WITH PRODUCTS",
    "MATCH * WITH BYPRODUCTS FROM s",
    "MATCH * FROM s",
    "MATCH * WITH PRODUCTS FROM s x",
    "MATCH * IN a IN b WITH PRODUCTS FROM s",
    "MATCH * WITH PRODUCTS FROM s IN a",
    "MATCH * IN ../a WITH PRODUCTS FROM s",
    "MATCH * IN a* WITH PRODUCTS FROM s",
    "MATCH * IN a// WITH PRODUCTS FROM s",
)


@pytest.mark.parametrize(("text", "canonical"), GOOD.items())
def test_rules_parse_and_render_back(text: str, canonical: str) -> None:
    """Keywords fold case, names do not; parsing the canonical tokens gives the same rule."""
    rule = parse_rule(text.split(" "))
    assert str(rule) == canonical
    assert parse_rule(rule.tokens) == rule


@pytest.mark.parametrize("text", BAD)
def test_anything_else_is_refused(text: str) -> None:
    """Only in-toto's forms, and only patterns that can match and mean one thing, are rules."""
    with pytest.raises(LayoutError):
        parse_rule(text.split(" ") if text else [])


@pytest.mark.parametrize("pattern", ["a\nb", "a\x00", "\ud800", "x" * 1025, "a\u2028b"])
def test_patterns_hold_no_controls(pattern: str) -> None:
    """A pattern is one line of well-formed text of bounded length."""
    with pytest.raises(LayoutError):
        Rule(Keyword.ALLOW, pattern)


def test_only_match_names_a_step() -> None:
    """A rule that carries a step and is no MATCH cannot be built, nor the other way round."""
    with pytest.raises(LayoutError):
        Rule(Keyword.ALLOW, "*", MatchTarget("s", Side.PRODUCTS))
    with pytest.raises(LayoutError):
        Rule(Keyword.MATCH, "*")


def test_literal_prefix_ends_at_the_first_wildcard() -> None:
    """`*` and `?` are the wildcards."""
    assert [literal_prefix(text) for text in ("a/b*c", "a?", "a/b", "*")] == ["a/b", "a", "a/b", ""]
