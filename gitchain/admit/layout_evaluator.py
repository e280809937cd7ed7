"""Verdicts of one layout about digests, based on the last evidence read.

A verdict admits only with a PASSED decision about this digest; its constructor checks that. It is valid until the
first of: its time to live, the layout's expiry, and the maximum age of its evidence.

If evidence is unavailable (disk, network), the last state remains valid for the time in the settings. Contradictory
evidence invalidates it at once. One thread reads the evidence and another decides: each reading creates a new
verifier, which only the deciding thread uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gitchain.admit.conditions import ConditionReason, LayoutCondition, State, reason_of
from gitchain.admit.denial_reasons import DenialCode, DenialReason
from gitchain.admit.evidence import EvidenceReader, EvidenceState
from gitchain.admit.settings import Durations
from gitchain.admit.traces import OFF, Span, Traces
from gitchain.errors import ConflictError, GitchainError, LayoutExpiredError, StoreError, TransportError
from gitchain.evidence.digest import Sha256

if TYPE_CHECKING:
    from gitchain.layout.model import Layout
    from gitchain.verify.decide import Decision, Finding

MAX_FINDINGS = 8
_WORLD = (TransportError, StoreError, ConflictError)


@dataclass(frozen=True, slots=True)
class LayoutVerdict:
    """A decision about one digest, and its period of validity."""

    sha256: Sha256
    problems: tuple[DenialReason, ...]
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
        """Return True if the model with this digest may be served."""
        return not self.problems

    def counts(self, now: datetime) -> bool:
        """Return True if the verdict is valid now. A clock that went back invalidates it."""
        return self.made <= now < self.until


class LayoutEvaluator:
    """A layout with the last evidence read."""

    def __init__(self, name: str, reader: EvidenceReader, times: Durations, traces: Traces = OFF) -> None:
        self.name = name
        self._traces = traces
        self.is_superseded: Callable[[], bool] = lambda: False
        """Whether newer settings wait: a layout that matches those, and not the current ones, is no tampering."""
        self._reader = reader
        self._times = times
        self._opened: EvidenceState | None = None
        self._read: datetime | None = None
        self._began: datetime | None = None
        self._problem = "the evidence has not been read yet"
        self._error: GitchainError | None = None

    @property
    def opened(self) -> EvidenceState | None:
        """Return the last evidence read, or None."""
        return self._opened

    @property
    def read(self) -> datetime | None:
        """Return when the evidence was last read, or found unchanged."""
        return self._read

    @property
    def layout(self) -> Layout | None:
        """Return the last accepted layout."""
        return self._opened.verifier.accepted.signed.layout if self._opened else None

    @property
    def problem(self) -> str:
        """Return why the last reading failed, or an empty text."""
        return self._problem

    @property
    def error(self) -> GitchainError | None:
        """Return the error of the last reading, or None."""
        return self._error

    @property
    def forgotten(self) -> str:
        """Return why the last reading could not be stored for the next process, or an empty text."""
        return str(self._opened.verifier.forgotten or "") if self._opened else ""

    def refresh(self, now: datetime, digests: Iterable[Sha256] = ()) -> list[LayoutVerdict]:
        """Read the evidence if it changed; return new verdicts about the given digests."""
        with self._traces.reading(self.name) as span:
            return self._refresh(now, digests, span)

    def _refresh(self, now: datetime, digests: Iterable[Sha256], span: Span) -> list[LayoutVerdict]:
        self._began = self._began or now
        try:
            version = self._reader.version(now)
            is_same = self._opened is not None and self._opened.version == version
            span.set({"gitchain.evidence.changed": not is_same})
            if self._opened is not None and is_same:
                self._settled(self._opened, now)
                return []
            with self._traces.step("read evidence", {"gitchain.layout": self.name}):
                opened = EvidenceState(self._reader.open(now), version)
            warm = [self.decide(opened, digest, now) for digest in digests]
        except GitchainError as error:
            if (
                not isinstance(error, _WORLD)
                and not self.is_superseded()
                and not self._has_expired(error, now)
            ):
                self._opened, self._read = None, None
            self._problem, self._error = str(error), error
            span.fail(type(error).__name__)
            return []
        self._settled(opened, now)
        return warm

    def _has_expired(self, error: GitchainError, now: datetime) -> bool:
        """Return True if the error is the expiry of the layout in use: it remains known, but decides nothing."""
        layout = self.layout
        return isinstance(error, LayoutExpiredError) and layout is not None and layout.expires <= now

    def _settled(self, opened: EvidenceState, now: datetime) -> None:
        self._opened, self._read, self._problem, self._error = opened, now, "", None

    def condition(self, now: datetime) -> LayoutCondition:
        """Return whether reviews can be decided now, and the reason if something is wrong."""
        problem, age = self.unfit(now), self.age(now)
        why = self._problem if problem is None else problem.message
        what = self._error.what if self._error else ""
        if problem is None and self._error is None and not self.stale(now):
            return LayoutCondition("deciding")
        if self.layout is not None and self.layout.expires <= now:
            return LayoutCondition("closed", ConditionReason.EXPIRED, why)
        if self._error is not None:
            reason = reason_of(self._error)
        elif (
            age is None
            and self._began is not None
            and (now - self._began).total_seconds() <= self._times.fresh
        ):
            reason = ConditionReason.STARTING
        else:
            reason = ConditionReason.STARTING if self._began is None else ConditionReason.SLOW
        state: State = "closed" if problem else "stale" if self.stale(now) else "failing"
        return LayoutCondition(state, reason, why, what)

    def age(self, now: datetime) -> timedelta | None:
        """Return the age of the evidence; None if it was never read. A clock that went back counts as well."""
        return None if self._read is None else abs(now - self._read)

    def unfit(self, now: datetime) -> DenialReason | None:
        """Return why nothing can be decided now, or None if the layout is in force and the evidence is fresh enough."""
        age, layout = self.age(now), self.layout
        if layout is not None and layout.expires <= now:
            return self._expired("its owner must sign it again")
        if age is None or layout is None:
            expired = isinstance(self._error, LayoutExpiredError)
            return self._expired(self._problem) if expired else self._unavailable(self._problem)
        if age.total_seconds() > self._times.fresh + self._times.stale:
            why = f": {self._problem}" if self._problem else ""
            return self._unavailable(f"the evidence was last read {int(age.total_seconds())} s ago{why}")
        return None

    def stale(self, now: datetime) -> str:
        """Return the warning for decisions on evidence that is not fresh, or an empty text."""
        age = self.age(now)
        if age is None or age.total_seconds() <= self._times.fresh:
            return ""
        return f"decided on evidence of layout {self.name} that was read {int(age.total_seconds())} s ago"

    def _expired(self, why: str) -> DenialReason:
        return DenialReason(
            DenialCode.EXPIRED,
            f"the layout has expired: {why}",
            f"layout {self.name}",
            "its owner must raise expires and version, and sign it again",
        )

    def _unavailable(self, why: str) -> DenialReason:
        return DenialReason(
            DenialCode.UNAVAILABLE,
            f"no evidence to decide on: {why}",
            f"layout {self.name}",
            "see /readyz of gitchain serve, and gitchain doctor where the evidence is",
        )

    def decide(self, opened: EvidenceState, sha256: Sha256, now: datetime) -> LayoutVerdict:
        """Decide about one digest on this evidence. Blocks. Without a decision nothing is admitted."""
        about = {"gitchain.layout": self.name, "gitchain.model": f"sha256:{sha256}"}
        with self._traces.step("verify model", about) as span:
            found = self._decide(opened, sha256, now)
            codes = list(dict.fromkeys(str(one.code) for one in found.problems))
            span.set({"gitchain.passed": found.passed, "gitchain.findings": codes})
        return found

    def _decide(self, opened: EvidenceState, sha256: Sha256, now: datetime) -> LayoutVerdict:
        from gitchain.consume.inspections import inspected
        from gitchain.verify.decide import Target

        verifier = replace(opened.verifier, now=now)
        try:
            decision = verifier.decide(Target(sha256, directory=None))
            decision = inspected(decision, None, None)
        except GitchainError as error:
            problem = DenialReason(DenialCode.UNAVAILABLE, str(error), f"model sha256:{sha256}", error.help)
            return LayoutVerdict(sha256, (problem,), now, now + timedelta(seconds=self._times.denial))
        errors = [_problem(one, sha256) for one in decision.findings if one.severity == "error"]
        warnings = tuple(f"{one.code} {one.message}" for one in decision.findings if one.severity != "error")
        if not decision.passed:
            until = now + timedelta(seconds=self._times.denial)
            return LayoutVerdict(sha256, tuple(errors[:MAX_FINDINGS]), now, until, warnings=warnings)
        until = min(now + timedelta(seconds=self._times.verdict), *_ends(decision))
        return LayoutVerdict(sha256, (), now, until, decision, warnings)


def _ends(decision: Decision) -> Iterator[datetime]:
    """Yield the end of validity of the decision's evidence; evidence of sublayouts is left to the time to live."""
    layout = decision.signed.layout
    yield layout.expires
    for report in decision.steps:
        age = layout.step(report.name).max_age
        if age is not None:
            yield from (one.time + age for one in report.attestations)


def _problem(finding: Finding, sha256: Sha256) -> DenialReason:
    places = [
        f"model sha256:{sha256}",
        *(f"step {finding.step}" for _ in [0] if finding.step),
        *(f"artifact {finding.artifact}" for _ in [0] if finding.artifact),
    ]
    details = [
        f"{label} {value}" for label, value in (("expected", finding.expected), ("got", finding.got)) if value
    ]
    message = ", ".join([finding.message, *details])
    return DenialReason(finding.code, message, " ".join(places), finding.advice)
