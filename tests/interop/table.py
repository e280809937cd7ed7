"""What `make interop` prints: one row for each peer and direction, with how many cases both sides agreed on.

A case agrees when what was to be accepted was accepted and what was to be refused was refused. A row without a case that
is to be accepted, or without one that is to be refused, proves nothing and counts as disagreement.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.interop.interop_run import InteropRun


class NotHere(Exception):  # noqa: N818 - no error: a peer that cannot be had is one loud line
    """The peer cannot be had on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question to a peer, or to us about what a peer made."""

    name: str
    accept: bool
    accepted: bool
    said: str = ""

    @property
    def agreed(self) -> bool:
        """Tell whether the answer is the one that it had to be."""
        return self.accept == self.accepted


@dataclass(slots=True)
class Cases:
    """Collects a row's cases."""

    found: list[Case] = field(default_factory=list)

    def accepts(self, name: str, answer: tuple[bool, str]) -> None:
        """Note the answer to something that must be accepted."""
        self.found.append(Case(name, True, *answer))

    def refuses(self, name: str, answer: tuple[bool, str]) -> None:
        """Note the answer to something that must be refused."""
        self.found.append(Case(name, False, *answer))


@dataclass(frozen=True, slots=True)
class Row:
    """A peer and a direction; `ask` asks every case, or raises NotHere."""

    peer: str
    version: Callable[[], str]
    direction: str
    ask: Callable[[InteropRun, Cases], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a row: `problem` is set where it could not be asked to the end, `missing` where there is no peer."""

    row: Row
    cases: tuple[Case, ...]
    seconds: float = 0.0
    problem: str = ""
    missing: str = ""

    @property
    def agreed(self) -> bool:
        """Tell whether every case agreed, and there was one of each kind."""
        kinds = {case.accept for case in self.cases}
        return not self.problem and kinds == {True, False} and all(case.agreed for case in self.cases)


def run(row: Row, world: InteropRun) -> Result:
    """Ask a row's cases. Whatever goes wrong is that row's, and the others are asked all the same."""
    cases, start = Cases(), time.monotonic()
    problem = missing = ""
    try:
        row.ask(world, cases)
    except NotHere as reason:
        missing = str(reason)
    except Exception:  # noqa: BLE001 - a test program: any defect of a row is that row's result
        problem = traceback.format_exc()
    return Result(row, tuple(cases.found), time.monotonic() - start, problem, missing)


def text(results: Sequence[Result]) -> str:
    """Return the table, what did not agree, and what could not be had."""
    lines: list[tuple[str, ...]] = [("peer", "version", "direction", "cases", "agreed", "s")]
    lines += [_line(result) for result in results if not result.missing]
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([*table, "", *_faults(results), *_absences(results)])


def _line(result: Result) -> tuple[str, ...]:
    agreed = sum(case.agreed for case in result.cases)
    verdict = str(agreed) if result.agreed else f"{agreed} DISAGREES"
    names = (result.row.peer, result.row.version(), result.row.direction)
    return (*names, str(len(result.cases)), verdict, f"{result.seconds:.0f}")


def _faults(results: Sequence[Result]) -> list[str]:
    lines = []
    for result in results:
        if result.missing or result.agreed:
            continue
        lines.append(f"DISAGREES  {result.row.peer}: {result.row.direction}")
        for case in result.cases:
            if not case.agreed:
                wanted, got = (("refused", "accepted")[flag] for flag in (case.accept, case.accepted))
                lines.append(f"  {case.name}: must be {wanted}, was {got}\n    {case.said.strip()[-600:]}")
        lines += [result.problem] if result.problem else []
    return lines


def _absences(results: Sequence[Result]) -> list[str]:
    return [
        f"SKIPPED  {result.row.peer}: {result.row.direction}: {result.missing}"
        for result in results
        if result.missing
    ]
