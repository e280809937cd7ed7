"""Problems that an inspection found in a file. They are data, not errors: an inspection returns all of them."""

from __future__ import annotations

from dataclasses import dataclass

from gitchain.errors import GitchainError

MAX_SHOWN = 200
"""Longest value that a problem shows: the file chose it."""


@dataclass(frozen=True, slots=True)
class ModelProblem:
    """One problem: the fault, the file and the part of it, expected, and got."""

    what: str
    where: str
    expected: str = ""
    got: str = ""
    help: str = ""

    @classmethod
    def of(cls, error: GitchainError, where: str) -> ModelProblem:
        """Return the problem that an error tells of."""
        place = f"{where}: {error.where}" if error.where and error.where != where else where
        return cls(error.what, place, error.expected, error.got, error.help)


def shown(value: object) -> str:
    """Return a value from a file as a problem may show it: in ASCII, cut short."""
    text = ascii(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
