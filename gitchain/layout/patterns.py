"""Compare two patterns of artifact names: can one name match both, and does one include the other.

In a pattern `*` matches any characters and `?` matches one, also `/`, as in in-toto's rules; `[*]`, `[?]` and `[[]`
match these characters themselves (`_coded`). Both comparisons use the patterns alone, and take time proportional to the
product of their lengths.

Does NOT match names (`gitchain.layout.rules` does), and knows nothing of the narrower `*` in an identity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from gitchain.layout.rule import literal_prefix, unescaped

_WILD = re.compile(r"[*?]{2,}")


def meets(one: str, other: str) -> bool:
    """Return whether some name matches both patterns."""
    left, right = _fixed(one), _fixed(other)
    if not (left.startswith(right) or right.startswith(left)):
        return False
    one, other = _coded(one), _coded(other)
    todo, seen = [(0, 0)], {(0, 0)}
    while todo:
        i, j = todo.pop()
        if (i, j) == (len(one), len(other)):
            return True
        for state in _steps(one, i, other, j):
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return False


def _steps(one: str, i: int, other: str, j: int) -> Iterator[tuple[int, int]]:
    left, right = one[i : i + 1], other[j : j + 1]
    if left == "*":
        yield i + 1, j
    if right == "*":
        yield i, j + 1
    if left and right and (left == right or left in "*?" or right in "*?"):
        yield (i if left == "*" else i + 1), (j if right == "*" else j + 1)


def includes(wide: str, narrow: str) -> bool:
    """Return whether every name that matches `narrow` matches `wide`; in doubt, it does not."""
    if not _fixed(narrow).startswith(_fixed(wide)):
        return False
    wide, narrow = _ordered(_coded(wide)), _ordered(_coded(narrow))
    at = _after_stars(wide, {0})
    for symbol in narrow:
        kept = {i for i in at if wide[i : i + 1] == "*"}
        moved = {i + 1 for i in at if symbol != "*" and wide[i : i + 1] in {symbol, "?"}}
        at = _after_stars(wide, kept | moved)
    return len(wide) in at


def above(pattern: str) -> Iterator[str]:
    """Yield patterns for the directories that can contain a matching name."""
    coded = _coded(pattern)
    for at, char in enumerate(coded):
        if char in "/?*" and (at or char == "*"):
            yield _decoded(coded[: at + (char == "*")])


@lru_cache(maxsize=65536)
def _fixed(pattern: str) -> str:
    """Return the common start of all matching names: most patterns already differ there."""
    return literal_prefix(pattern)


def _coded(pattern: str) -> str:
    """Return the pattern with one symbol for each character or wildcard: control characters encode `[*]` and `[?]`."""
    return unescaped(pattern, "\x01", "\x02")


def _decoded(coded: str) -> str:
    return coded.replace("[", "[[]").replace("\x01", "[*]").replace("\x02", "[?]")


def _ordered(pattern: str) -> str:
    """Return the pattern with each run of wildcards as its question marks, then one star if it had any."""
    return _WILD.sub(lambda run: "?" * run[0].count("?") + "*" * ("*" in run[0]), pattern)


def _after_stars(pattern: str, at: set[int]) -> set[int]:
    found = set(at)
    for i in at:
        while pattern[i : i + 1] == "*":
            i += 1  # noqa: PLW2901 - a star may stand for nothing
            found.add(i)
    return found
