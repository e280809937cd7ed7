"""What was found out once about a trusted root and things verified under it, kept in a bounded memory.

Only what does not depend on the time or on another part of a bundle may be remembered: that a key signed these
bytes, that a certificate was issued by another. Refusals are not remembered, so that they are found anew.

Each `Trust` has its own, which no copy of it shares. Does NOT know what it keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar, cast

T = TypeVar("T")

MAX_REMEMBERED = 4096
"""Most things kept: a certificate with its chain takes some 10 kB, so 40 MB at the very most."""


class Memory:
    """Values by key; the one that was asked for longest ago goes first. A key's first item names the kind."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[tuple[str, Hashable], object] = {}

    def once(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` returned for this kind and key when it was first asked; passes on what it raises."""
        place = (kind, key)
        if place in self._found:
            found = self._found.pop(place)
        else:
            found = make()
            while len(self._found) >= MAX_REMEMBERED:
                self._found.pop(next(iter(self._found)))
        self._found[place] = found
        return cast("T", found)

    def __len__(self) -> int:
        """Return how many things are kept."""
        return len(self._found)
