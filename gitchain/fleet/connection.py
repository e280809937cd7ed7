"""Interface of the connections to databases, and their limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

SECONDS = 30.0
"""Longest time of one statement, and longest wait for another writer."""

Row = tuple[Any, ...]


class Connection(Protocol):
    """One connection of a driver. Every method raises StoreError or TransportError, never a driver's error."""

    shown: str

    def run(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Run one statement, and return its rows."""

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row."""

    def begin(self) -> None:
        """Start a transaction that excludes other writers."""

    def end(self, *, keep: bool) -> None:
        """Commit the transaction, or take it back."""

    def tables(self) -> set[str]:
        """Return the names of the tables."""

    def close(self) -> None:
        """Close the connection."""
