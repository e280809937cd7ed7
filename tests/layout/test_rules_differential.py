"""Artifact rules give in-toto's verdict: ours against the in-toto package on generated steps and rules.

Generated around what is stricter here on purpose, each refusal tested by itself: names that are not normalised,
character classes and backslashes in patterns, patterns that no name can match, wildcards in REQUIRE and after IN.
Directories are ours alone (`test_rules.py`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from in_toto.exceptions import RuleVerificationError
from in_toto.verifylib import verify_item_rules

from gitchain.errors import LayoutError, MalformedError
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.names import check_name
from gitchain.layout.artifact import Artifact, Link, Manifests
from gitchain.layout.rule import ArtifactList, ArtifactRule, check_pattern, parse_rule
from gitchain.layout.rules import apply_rules
from tests.support.fuzzing import FUZZ, sized

SHARDS = 20
CASES = sized(5_000, 100_000)  # in each shard
LETTERS = "aaaaabbbbAB.-é😀"
CONTENTS = [Artifact(DigestSet({"sha256": sha256_hex(text)})) for text in (b"x", b"y", b"z")]
PLAIN = {id(item): dict(item.digest) for item in CONTENTS}
WORDS = ("MATCH",) * 8 + ("CREATE", "DELETE", "MODIFY", "ALLOW", "DISALLOW", "REQUIRE")
NOTHING = Manifests(lambda _: None)

Words = list[str]


class Family(NamedTuple):
    """Rules and evidence over the same few names: what cases are put together from, each part made once."""

    rules: list[tuple[ArtifactRule, Words]]
    worlds: list[tuple[dict[str, Link], dict[str, SimpleNamespace]]]


def accepted(check: Callable[[str], object], text: str) -> bool:
    try:
        check(text)
    except (LayoutError, MalformedError):
        return False
    return True


def some_name(rng: random.Random) -> str:
    """Return a short name, so that chance makes equal ones, prefixes and directories."""
    while True:
        name = "/".join(
            "".join(rng.choices(LETTERS, k=rng.choice((1, 1, 1, 2))))
            for _ in range(rng.choice((1, 1, 2, 2, 3)))
        )
        if accepted(check_name, name):
            return name


def some_pattern(rng: random.Random, names: list[str]) -> str:
    """Return a pattern that is near one of the names: parts of it replaced by wildcards."""
    while True:
        chars = list(rng.choice(names))
        for _ in range(rng.choice((0, 1, 1, 2, 2, 3))):
            start = rng.randrange(len(chars) + 1)
            chars[start : start + rng.choice((0, 1, 1, 2, 9, 9))] = rng.choice("**?")
        if accepted(check_pattern, "".join(chars)):
            return "".join(chars)


def some_case(rng: random.Random, word: str) -> str:
    return rng.choice((word, word, word.lower(), word.title()))


def some_rule(rng: random.Random, names: list[str]) -> Words:
    """Return the tokens of one rule, keywords in any case, prefixes with and without a slash."""
    word = rng.choice(WORDS)
    if word == "REQUIRE":
        return [some_case(rng, word), rng.choice(names)]
    pattern = some_pattern(rng, names)
    if word != "MATCH":
        return [some_case(rng, word), pattern]
    prefixes = [name.rsplit("/", 1)[0] for name in names if "/" in name] + names[:2]
    dest, source = ([some_case(rng, "IN"), rng.choice(prefixes) + rng.choice(("", "/"))] for _ in "ds")
    return [
        *(some_case(rng, word), pattern),
        *(source if rng.random() < 0.3 else ()),
        *(some_case(rng, "WITH"), some_case(rng, rng.choice(("MATERIALS", "PRODUCTS")))),
        *(dest if rng.random() < 0.3 else ()),
        *(some_case(rng, "FROM"), rng.choice(("t", "t", "t", "t", "s", "gone"))),
    ]


def some_world(rng: random.Random, names: list[str]) -> tuple[dict[str, Link], dict[str, SimpleNamespace]]:
    """Return the evidence of two steps, as we and as in-toto hold it; much of it alike in both."""
    common = {name: rng.choice(CONTENTS[:2]) for name in names}
    ours = {}
    for step in ("s", "t"):
        sides = [
            {
                name: common[name] if rng.random() < 0.8 else rng.choice(CONTENTS)
                for name in rng.sample(names, rng.choice((0, 2, 4, 5, 6)))
            }
            for _ in ArtifactList
        ]
        ours[step] = Link(*sides)
    theirs = {
        step: SimpleNamespace(
            materials={name: PLAIN[id(item)] for name, item in link.materials.items()},
            products={name: PLAIN[id(item)] for name, item in link.products.items()},
        )
        for step, link in ours.items()
    }
    return ours, theirs


def some_family(rng: random.Random) -> Family:
    names: list[str] = []
    while len(names) < 7:
        names = sorted({*names, some_name(rng)})
    words = [some_rule(rng, names) for _ in range(50)] + [["DISALLOW", "*"]] * 8
    rules = [(parse_rule(tokens), tokens) for tokens in words]
    return Family(rules, [some_world(rng, names) for _ in range(15)])


def in_toto_passes(lines: list[Words], side: ArtifactList, links: dict[str, SimpleNamespace]) -> bool:
    try:
        verify_item_rules("s", side.value, lines, links)
    except RuleVerificationError:
        return False
    return True


@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_verdict_is_in_totos(shard: int) -> None:
    """On 100,000 cases in all, our rules pass exactly where in-toto's own verification passes."""
    rng, passed, consumed = random.Random(shard if not FUZZ else None), 0, 0
    families = [some_family(rng) for _ in range(sized(25, 500))]
    for _ in range(CASES):
        family = rng.choice(families)
        rules = rng.choices(family.rules, k=rng.randint(1, 7))
        ours, theirs = rng.choice(family.worlds)
        side = rng.choice((ArtifactList.MATERIALS, ArtifactList.PRODUCTS))
        expected = in_toto_passes([words for _, words in rules], side, theirs)
        sources = {name: (link,) for name, link in ours.items()}
        outcome = apply_rules([rule for rule, _ in rules], side, ours["s"], sources, NOTHING, explain=False)
        assert (not outcome.refusals) == expected, ([words for _, words in rules], side, ours)
        passed += expected
        consumed += bool(outcome.matches)
    assert CASES * 0.25 < passed < CASES * 0.75  # both verdicts are well covered
    assert consumed > CASES * 0.1  # and MATCH found something


def test_the_cases_add_up() -> None:
    """The shards are together what the comparison claims."""
    assert SHARDS * CASES >= 100_000


# Where ours refuses what in-toto takes ------------------------------------------------------------------------


def in_toto_disallows(pattern: str, name: str) -> bool:
    links = {"s": SimpleNamespace(materials={}, products={name: {"sha256": "0" * 64}})}
    return not in_toto_passes([["DISALLOW", pattern]], ArtifactList.PRODUCTS, links)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("[!x]", "a"), ("[^x]", "^"), ("[ab]", "a"), ("[]]", "]"), ("[", "["), ("x[", "x["), ("\\*", "\\*")],
)
def test_what_matchers_read_differently_is_refused_at_load(pattern: str, name: str) -> None:
    """Classes and backslashes, which in-toto in Python takes and others read otherwise, never become a rule."""
    assert in_toto_disallows(pattern, name)
    for word in ("DISALLOW", "ALLOW", "CREATE", "DELETE", "MODIFY"):
        with pytest.raises(LayoutError, match="character classes"):
            parse_rule([word, pattern])
    with pytest.raises(LayoutError, match="character classes"):
        parse_rule(["MATCH", pattern, "WITH", "PRODUCTS", "FROM", "t"])


@pytest.mark.parametrize(
    "name", ["a//b", "a/", "/a", "./a", "a/../b", "a/.", "..", "a\\b", "e\u0301", "a\nb"]
)
def test_names_that_are_not_normalised_never_reach_a_rule(name: str) -> None:
    """A second spelling of a name slips past DISALLOW in in-toto; here it is no name, and no REQUIRE either."""
    assert not in_toto_disallows("evil", name)
    with pytest.raises(MalformedError):
        check_name(name)
    with pytest.raises(LayoutError):
        parse_rule(["REQUIRE", name])


@pytest.mark.parametrize("pattern", ["a//b", "a/", "/a", "./*", "*/../b", "e\u0301*", "a\n*", ""])
def test_patterns_that_no_name_can_match_are_refused(pattern: str) -> None:
    """A DISALLOW that could never apply is a hole that looks like a wall."""
    with pytest.raises(LayoutError):
        parse_rule(["DISALLOW", pattern])


def test_a_prefix_that_is_only_a_slash_is_refused() -> None:
    """in-toto takes `IN /` and finds nothing with it; read as no prefix at all it would find everything."""
    links = {
        "s": SimpleNamespace(materials={"a": {"sha256": "0" * 64}}, products={"a": {"sha256": "0" * 64}})
    }
    tokens = ["MATCH", "a", "IN", "/", "WITH", "MATERIALS", "FROM", "s"]
    assert not in_toto_passes([tokens, ["DISALLOW", "*"]], ArtifactList.PRODUCTS, links)
    with pytest.raises(LayoutError, match="not well formed"):
        parse_rule(tokens)


# One meaning for every pattern that is accepted ---------------------------------------------------------------


def go_match(pattern: str, name: str, *, crossing: bool) -> bool:
    """Match as Go's path.Match does: classes and escapes are its own; `crossing` lets wildcards match a slash.

    in-toto in Go carries a copy of that function without its handling of separators.
    """
    any_char = "." if crossing else "[^/]"
    regex, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
            regex += re.escape(pattern[at])
        elif char == "[":
            end = pattern.index("]", at + 2)
            regex += pattern[at : end + 1]  # the negation is ^, as in a regular expression
            at = end
        else:
            regex += {"*": f"{any_char}*", "?": any_char}.get(char) or re.escape(char)
        at += 1
    return re.fullmatch(regex, name, re.DOTALL) is not None


def test_accepted_patterns_mean_the_same_to_python_and_go() -> None:
    """`*` and `?` cross `/` in both in-toto implementations; Go's own path.Match only ever matches less."""
    rng, hits, crossed = random.Random(3), 0, 0
    for _ in range(sized(500, 20_000)):
        names = [some_name(rng) for _ in range(8)]
        pattern = some_pattern(rng, names)
        for name in names:
            python = fnmatchcase(name, pattern)
            inside = go_match(pattern, name, crossing=False)
            assert go_match(pattern, name, crossing=True) == python, (pattern, name)
            assert python or not inside
            assert python == inside or "/" in name
            hits += python
            crossed += python and not inside
    assert hits > 500
    assert crossed > 50


def test_the_refused_patterns_are_those_that_differ() -> None:
    """The Go-like matcher really reads classes and backslashes in its own way."""
    assert (fnmatchcase("a", "[!x]"), go_match("[!x]", "a", crossing=True)) == (True, False)
    assert (fnmatchcase("a", "[^x]"), go_match("[^x]", "a", crossing=True)) == (False, True)
    assert (fnmatchcase("*", "\\*"), go_match("\\*", "*", crossing=True)) == (False, True)
