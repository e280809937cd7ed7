"""What two patterns have to do with each other, against every short name there is."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from gitchain.layout.patterns import above, includes, meets

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
