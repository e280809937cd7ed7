"""Bounded LRU cache of verification results that depend on neither time nor other parts of a bundle.

For example: that a key signed these bytes, or that one certificate issued another. Failures are not cached.

Each `Trust` has its own cache, which copies do not share.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar, cast

T = TypeVar("T")

MAX_REMEMBERED = 4096
"""Most cached results. A certificate with its chain takes about 10 kB, so at most 40 MB."""


class VerificationCache:
    """LRU cache of values. A key's first item names the kind of value."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[tuple[str, Hashable], object] = {}

    def once(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """Return the cached value of this kind and key, or call `make` for it. Passes on the errors of `make`."""
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
        """Return the number of cached values."""
        return len(self._found)
