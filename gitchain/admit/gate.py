"""One layout's verdicts about digests, from the last evidence that was read.

A verdict admits only on a decision that is PASSED, about this very digest; its constructor sees to that. It counts
until the first of: its time to live, the layout's expiry, the age at which evidence that it rests on grows too old.

Evidence that the world withholds (a disk, a network) leaves the last state standing as long as the settings say.
Evidence that contradicts itself or its trust ends it at once. A gate is read by one thread and asked by another: each
reading makes a new verifier, and only the asking thread uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gitchain.admit.config import Times
from gitchain.admit.evidence import Opened, Reader
from gitchain.admit.problems import Code, Problem
from gitchain.errors import ConflictError, GitchainError, StoreError, TransportError

if TYPE_CHECKING:
    from gitchain.layout.model import Layout
    from gitchain.verify.decide import Decision, Finding

MAX_FINDINGS = 8
_WORLD = (TransportError, StoreError, ConflictError)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is decided about one digest, and from when until when that counts."""

    sha256: str
    problems: tuple[Problem, ...]
    made: datetime
    until: datetime
    decision: Decision | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        decision = self.decision
        if not self.problems and (
            decision is None or not decision.passed or decision.target.sha256 != self.sha256
        ):
            raise ValueError("a verdict that admits without a decision that passed")

    @property
    def passed(self) -> bool:
        """Tell whether the model of this digest may be served."""
        return not self.problems

    def counts(self, now: datetime) -> bool:
        """Tell whether the verdict counts now; a clock that went back ends it too."""
        return self.made <= now < self.until


class Gate:
    """A layout with the evidence that was read last."""

    def __init__(self, name: str, reader: Reader, times: Times) -> None:
        self.name = name
        self._reader = reader
        self._times = times
        self._opened: Opened | None = None
        self._read: datetime | None = None
        self._problem = "the evidence has not been read yet"

    @property
    def opened(self) -> Opened | None:
        """The state of the evidence that was read last."""
        return self._opened

    @property
    def read(self) -> datetime | None:
        """When the evidence was last read, or found unchanged."""
        return self._read

    @property
    def layout(self) -> Layout | None:
        """The layout that was accepted last."""
        return self._opened.verifier.accepted.signed.layout if self._opened else None

    @property
    def problem(self) -> str:
        """Why the last reading failed; empty when it did not."""
        return self._problem

    def refresh(self, now: datetime, asked: Iterable[str] = ()) -> list[Verdict]:
        """Read the evidence if it changed; return verdicts about the digests that were asked for, on the new state."""
        try:
            version = self._reader.version(now)
            if self._opened is not None and self._opened.version == version:
                self._settled(self._opened, now)
                return []
            opened = Opened(self._reader.open(now), version)
            warm = [self.decide(opened, digest, now) for digest in asked]
        except _WORLD as error:
            self._problem = str(error)
            return []
        except GitchainError as error:
            self._opened, self._read, self._problem = None, None, str(error)
            return []
        self._settled(opened, now)
        return warm

    def _settled(self, opened: Opened, now: datetime) -> None:
        self._opened, self._read, self._problem = opened, now, ""

    def age(self, now: datetime) -> timedelta | None:
        """Return how long ago the evidence was read; None if it never was. A clock that went back counts as well."""
        return None if self._read is None else abs(now - self._read)

    def unfit(self, now: datetime) -> Problem | None:
        """Return why nothing can be decided now; None if the layout is in force and the evidence fresh enough."""
        age, layout = self.age(now), self.layout
        if age is None or layout is None:
            return self._unavailable(self._problem)
        if layout.expires <= now:
            return self._unavailable("the layout has expired: its owner must sign it again")
        if age.total_seconds() > self._times.fresh + self._times.stale:
            why = f": {self._problem}" if self._problem else ""
            return self._unavailable(f"the evidence was last read {int(age.total_seconds())} s ago{why}")
        return None

    def stale(self, now: datetime) -> str:
        """Return the warning that goes with a decision on evidence that is no longer fresh, else nothing."""
        age = self.age(now)
        if age is None or age.total_seconds() <= self._times.fresh:
            return ""
        return f"decided on evidence of layout {self.name} that was read {int(age.total_seconds())} s ago"

    def _unavailable(self, why: str) -> Problem:
        return Problem(
            Code.UNAVAILABLE,
            f"no evidence to decide on: {why}",
            f"layout {self.name}",
            "see /readyz of gitchain serve, and gitchain doctor where the evidence is",
        )

    def decide(self, opened: Opened, sha256: str, now: datetime) -> Verdict:
        """Decide about one digest on this state of the evidence. Blocks; no decision is no admission."""
        from gitchain.pipeline.inspections import inspected
        from gitchain.verify.decide import Target

        verifier = replace(opened.verifier, now=now)
        try:
            decision = verifier.decide(Target(sha256, directory=None))
            decision = inspected(decision, None, f"sha256:{sha256}")
        except GitchainError as error:
            problem = Problem(Code.UNAVAILABLE, str(error), f"model sha256:{sha256}", error.help)
            return Verdict(sha256, (problem,), now, now + timedelta(seconds=self._times.denial))
        errors = [_problem(one, sha256) for one in decision.findings if one.severity == "error"]
        warnings = tuple(f"{one.code} {one.message}" for one in decision.findings if one.severity != "error")
        if not decision.passed:
            until = now + timedelta(seconds=self._times.denial)
            return Verdict(sha256, tuple(errors[:MAX_FINDINGS]), now, until, warnings=warnings)
        until = min(now + timedelta(seconds=self._times.verdict), *_ends(decision))
        return Verdict(sha256, (), now, until, decision, warnings)


def _ends(decision: Decision) -> Iterator[datetime]:
    """Yield when what the decision rests on ends; what stands behind a sublayout is left to the time to live."""
    layout = decision.signed.layout
    yield layout.expires
    for report in decision.steps:
        age = layout.step(report.name).max_age
        if age is not None:
            yield from (one.time + age for one in report.attestations)


def _problem(finding: Finding, sha256: str) -> Problem:
    places = [
        f"model sha256:{sha256}",
        *(f"step {finding.step}" for _ in [0] if finding.step),
        *(f"artifact {finding.artifact}" for _ in [0] if finding.artifact),
    ]
    details = [
        f"{label} {value}" for label, value in (("expected", finding.expected), ("got", finding.got)) if value
    ]
    message = ", ".join([finding.message, *details])
    return Problem(
        finding.code, message, " ".join(places), finding.help or "docs/findings.md says what to do"
    )
