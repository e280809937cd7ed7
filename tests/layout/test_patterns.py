"""What two patterns have to do with each other, against every short name there is."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from gitchain.layout.patterns import above, includes, meets
from gitchain.layout.rule import literal_name, literal_pattern, literal_prefix

NAMES = ["".join(letters) for size in range(6) for letters in product("ab/", repeat=size)]
PATTERNS = st.text("ab/*?", max_size=5)


@given(PATTERNS, PATTERNS)
def test_a_common_name_is_found(one: str, other: str) -> None:
    """`meets` is true exactly if some name matches both; five letters are enough for patterns of five."""
    both = any(fnmatchcase(name, one) and fnmatchcase(name, other) for name in NAMES)
    found = meets(one, other)
    assert found or not both
    if len(one.replace("*", "")) + len(other.replace("*", "")) <= 5:
        assert found == both


def test_patterns_that_begin_alike_may_meet() -> None:
    """What stands before the first wildcard of one may go on in the other, either way round."""
    assert meets("ab*", "a*")
    assert meets("a*", "ab*")
    assert not meets("ab*", "b*")


@given(PATTERNS, PATTERNS)
def test_inclusion_is_never_wrong(wide: str, narrow: str) -> None:
    """If `includes` says so, no name matches the narrow pattern and not the wide one."""
    if includes(wide, narrow):
        assert [name for name in NAMES if fnmatchcase(name, narrow) and not fnmatchcase(name, wide)] == []


@given(st.text("ab/", max_size=5), PATTERNS)
def test_inclusion_of_a_name_is_matching(name: str, wide: str) -> None:
    """For a literal name, inclusion is what the rules mean by matching."""
    assert includes(wide, name) is fnmatchcase(name, wide)


@given(PATTERNS)
def test_a_pattern_includes_itself(pattern: str) -> None:
    """Every pattern includes itself, and `*` every pattern; wildcards in a row have no order."""
    assert includes(pattern, pattern)
    assert includes("*", pattern)
    assert includes("?*", "*?")
    assert includes("a*?b", "a?*b")
    assert not includes("?*", "*")


def test_letters_are_no_wildcards() -> None:
    """Not one of them."""
    for letter in map(chr, range(33, 127)):
        if letter not in "*?":
            assert not meets(letter, "é")
            assert list(above(f"a{letter}b")) == (["a"] if letter == "/" else [])


@given(PATTERNS, st.text("ab/", min_size=1, max_size=5))
def test_directories_above_a_name_are_covered(pattern: str, name: str) -> None:
    """Whatever directory a name that matches lies in matches one of the patterns above."""
    if fnmatchcase(name, pattern):
        holders = {name[:at] for at, char in enumerate(name) if char == "/" and at}
        assert all(any(fnmatchcase(holder, one) for one in above(pattern)) for holder in holders)


ESCAPING = st.lists(st.sampled_from(["a", "/", "*", "?", "[*]", "[?]", "[[]"]), max_size=4).map("".join)
ODD_NAMES = ["".join(letters) for size in range(5) for letters in product("a/*?[", repeat=size)]


@given(ESCAPING, ESCAPING)
def test_escaped_wildcards_are_letters(one: str, other: str) -> None:
    """`[*]`, `[?]` and `[[]` match these characters and nothing else, for both questions and for directories."""
    mine = {name for name in ODD_NAMES if fnmatchcase(name, one)}
    theirs = {name for name in ODD_NAMES if fnmatchcase(name, other)}
    assert meets(one, other) or not mine & theirs
    if "*" not in one.replace("[*]", "") + other.replace("[*]", ""):
        assert meets(one, other) == bool(mine & theirs)
    if includes(one, other):
        assert theirs <= mine
    for name in mine:
        holders = {name[:at] for at, char in enumerate(name) if char == "/" and at}
        assert all(any(fnmatchcase(holder, pattern) for pattern in above(one)) for holder in holders)


@given(st.text("ab/*?[]!", max_size=6))
def test_literal_pattern_matches_its_name_alone(name: str) -> None:
    """The pattern of a name is included in itself, includes that name, and meets no other literal."""
    pattern = literal_pattern(name)
    assert [
        one
        for one in (name, f"{name}x", name.replace("*", "x"), name.replace("?", "x"))
        if fnmatchcase(one, pattern)
    ]
    assert all(one == name for one in ODD_NAMES if fnmatchcase(one, pattern))
    assert literal_name(pattern) == name
    assert literal_prefix(pattern) == name
    assert literal_prefix(f"{pattern}*x") == name
    assert literal_prefix(f"{pattern}?") == name
    assert literal_name(f"{pattern}*") is None
    assert literal_name(f"?{pattern}") is None
