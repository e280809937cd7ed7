"""Count the words that can name a model, up to a limit: each costs time, and authors can write any number."""

from __future__ import annotations

import re
from itertools import islice

from gitchain.evidence.canonical import Json

MAX_WORDS = 20_000
"""Most words of command lines, variables and annotations of one object."""

_BREAK = re.compile(r"[\s\"'`,;()<>\[\]{}|&=]+")


def count_words(value: Json) -> int:
    """Return the number of words in the texts of a value, or a number above `MAX_WORDS`."""
    if isinstance(value, str):
        breaks = sum(1 for _ in islice(_BREAK.finditer(value), MAX_WORDS))
        return 1 + breaks + value.count("://")
    total = 0
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inside:
        total += count_words(one)
        if total > MAX_WORDS:
            break
    return total
