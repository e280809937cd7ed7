"""The grammar of artifact rules."""

from __future__ import annotations

import pytest

from gitchain.errors import LayoutError
from gitchain.layout.rule import (
    ArtifactList,
    ArtifactRule,
    Keyword,
    MatchTarget,
    check_pattern,
    literal_name,
    literal_prefix,
    parse_rule,
    unescaped,
)

GOOD = {
    "ALLOW *": "ALLOW *",
    "allow src/*.py": "ALLOW src/*.py",
    "Disallow *": "DISALLOW *",
    "REQUIRE models/a.pkl": "REQUIRE models/a.pkl",
    "ALLOW git+https://example.com/repo//x": "ALLOW git+https://example.com/repo//x",
    "REQUIRE git+https://example.com/repo//x": "REQUIRE git+https://example.com/repo//x",
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
        ArtifactRule(Keyword.ALLOW, pattern)


def test_only_match_names_a_step() -> None:
    """A rule that carries a step and is no MATCH cannot be built, nor the other way round."""
    with pytest.raises(LayoutError):
        ArtifactRule(Keyword.ALLOW, "*", MatchTarget("s", ArtifactList.PRODUCTS))
    with pytest.raises(LayoutError):
        ArtifactRule(Keyword.MATCH, "*")


@pytest.mark.parametrize(
    ("tokens", "what"),
    [
        (["MATCH", "*", "IN", "", "WITH", "PRODUCTS", "FROM", "s"], "MATCH is not well formed"),
        (["MATCH", "*", "IN", "/", "WITH", "PRODUCTS", "FROM", "s"], "MATCH is not well formed"),
        (["MATCH", "*", "WITH", "PRODUCTS", "IN", "/", "FROM", "s"], "MATCH is not well formed"),
        (["MATCH", "*", "WITH", "", "FROM", "s"], "MATCH is not well formed"),
        (["MATCH", "*", "WITH", "PRODUCTS", "FROM", ""], "MATCH is not well formed"),
        (["MATCH", "*", "WITH", "PRODUCTS", "BY", "s"], "MATCH is not well formed"),
        (["MATCH", "*", "AS", "PRODUCTS", "FROM", "s"], "MATCH is not well formed"),
        (["MATCH", "*", "WITH", "PRODUCTS", "FROM", " s"], "begins or ends with a space"),
        (["MATCH", "*", "WITH", "PRODUCTS", "FROM", "s" * 201], "step name has the wrong length"),
        (["MATCH", "", "WITH", "PRODUCTS", "FROM", "s"], "pattern must have 1 to 1024 bytes"),
        (["MATCH", "*", "IN", "x" * 1025, "WITH", "PRODUCTS", "FROM", "s"], "artifact name is too long"),
        (["REQUIRE", "x:" + "y" * 1023], "name must have 1 to 1024 bytes"),
        (["REQUIRE", "x:e\u0301"], "name is not in Unicode form NFC"),
        (["REQUIRE", "x:\x85"], "name holds a control character"),
        (["REQUIRE", ""], "name must have"),
        (["REQUIRE", "a?"], "REQUIRE takes one literal name"),
        (["ALLOW", "a\n"], "pattern holds a control character"),
        (["ALLOW", "a\udfff"], "pattern holds a control character"),
        (["ALLOW", "\ud800"], "pattern holds a control character"),
        ([], "unknown artifact rule"),
    ],
    ids=ascii,
)
def test_a_refusal_says_what_is_wrong(tokens: list[str], what: str) -> None:
    """Each part of a rule is checked, and the message names that part and its form."""
    with pytest.raises(LayoutError) as caught:
        parse_rule(tokens)
    assert what in caught.value.what
    if what == "MATCH is not well formed":
        form = "MATCH <pattern> [IN <prefix>] WITH MATERIALS|PRODUCTS [IN <prefix>] FROM <step>"
        assert caught.value.expected == form
    if not tokens:
        assert caught.value.got == "[]"


def test_limits_are_inclusive_and_ordinary_letters_are_no_wildcards() -> None:
    """1,024 bytes are a pattern; an X in a name or prefix is a letter; prefixes are left out, not empty."""
    assert check_pattern("x" * 1024) == "x" * 1024
    assert check_pattern("git+https://example.com/*") == "git+https://example.com/*"
    assert parse_rule(["REQUIRE", "X"]).pattern == "X"
    rule = parse_rule(["MATCH", "*", "IN", "X", "WITH", "PRODUCTS", "FROM", "s"])
    assert rule.match == MatchTarget("s", ArtifactList.PRODUCTS, "X", "")
    assert rule.full_pattern == "X/*"
    assert MatchTarget("s", ArtifactList.PRODUCTS) == MatchTarget("s", ArtifactList.PRODUCTS, "", "")


def test_literal_prefix_ends_at_the_first_wildcard() -> None:
    """`*` and `?` are the wildcards."""
    assert [literal_prefix(text) for text in ("a/b*c*", "a?", "a/b", "*")] == ["a/b", "a", "a/b", ""]
    assert literal_prefix("[*]a[?]b[[]c*") == "*a?b[c"
    assert [literal_name(text) for text in ("[*]X[?]", "X*", "X?")] == ["*X?", None, None]


@pytest.mark.parametrize("pattern", ["[*]", "[?]", "[[]", "a[*]b[?]c[[]d", "*[*]*", "[[]*]", "[[][*][?]"])
def test_check_pattern_takes_escapes(pattern: str) -> None:
    """The three wildcards of the language can be meant as characters."""
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize("pattern", ["[", "[]", "[a]", "[*", "[[*]", "[**]", "[*?]", "[!*]", "[]]", "[[]a]["])
def test_check_pattern_refuses_every_other_bracket(pattern: str) -> None:
    """No class of two characters, none negated, none open: they mean different things to different programs."""
    with pytest.raises(LayoutError, match="character classes"):
        check_pattern(pattern)


def test_escapes_stand_for_their_characters() -> None:
    """Each for itself, or for what stands in its place."""
    assert unescaped("[[]a[*]b[?]c") == "[a*b?c"
    assert unescaped("[[]a[*]b[?]c", "1", "2") == "[a1b2c"
    with pytest.raises(LayoutError) as told:
        parse_rule([])
    assert told.value.got == "[]"
