"""LRU cache of verdicts with single-flight evaluation.

The key of a verdict is the digest and the version of each of its inputs, so that a new layout, trusted root,
attestation or revocation misses the cache. A cached verdict is renewed before it expires, while the old one is still
served. The cache is not persistent.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from gitchain.admit.denial_reasons import DenialCode, DenialReason
from gitchain.admit.evidence import EvidenceState
from gitchain.admit.layout_evaluator import LayoutEvaluator, LayoutVerdict
from gitchain.admit.settings import Durations
from gitchain.evidence.digest import Sha256

MAX_FLYING = 1000
"""Most decisions that wait or run at a time; more are refused at once."""

MAX_WARM = 256
"""Models decided on new evidence before it replaces the old evidence."""

RENEW = 0.6
"""Fraction of a verdict's lifetime after which it is renewed in the background."""

Key = tuple[Sha256, str]


class VerdictCache:
    """Decides with one layout evaluator, for one event loop. `decider` has one thread, `reader` several."""

    def __init__(
        self,
        evaluator: LayoutEvaluator,
        times: Durations,
        *,
        limit: int,
        clock: Callable[[], datetime],
        decider: Executor,
        reader: Executor,
    ) -> None:
        self.evaluator = evaluator
        self._times = times
        self._limit = limit
        self._clock = clock
        self._decider, self._reader = decider, reader
        self._remembered: OrderedDict[Key, LayoutVerdict] = OrderedDict()
        self._flying: dict[Key, asyncio.Task[LayoutVerdict]] = {}
        self.hits = self.misses = self.readings = 0

    def __len__(self) -> int:
        """Return the number of cached verdicts."""
        return len(self._remembered)

    @property
    def stale(self) -> str:
        """Return the warning for decisions on evidence that is not fresh, or an empty text."""
        return self.evaluator.stale(self._clock())

    async def refresh(self) -> None:
        """Read the evidence again, and renew the verdicts that were requested last."""
        loop, now = asyncio.get_running_loop(), self._clock()
        passed = (key[0] for key, verdict in reversed(self._remembered.items()) if verdict.passed)
        digests = list(dict.fromkeys(islice(passed, MAX_WARM)))
        warm = await loop.run_in_executor(self._reader, self.evaluator.refresh, now, digests)
        self.readings += 1
        if self.evaluator.opened is not None:
            for verdict in warm:
                self._remember((verdict.sha256, self.evaluator.opened.version), verdict)

    async def keep(self) -> None:
        """Read the evidence repeatedly, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._times.refresh)

    async def verdict(self, sha256: Sha256) -> LayoutVerdict:
        """Return the verdict about a digest, in bounded time; a refusal without evidence or time."""
        now, opened = self._clock(), self.evaluator.opened
        unfit = self.evaluator.unfit(now)
        if unfit is not None or opened is None:
            return _refusal(sha256, unfit or _busy(), now)
        key = (sha256, opened.version)
        found = self._remembered.get(key)
        if found is not None and found.counts(now):
            self.hits += 1
            self._remembered.move_to_end(key)
            if found.passed and now - found.made > RENEW * (found.until - found.made):
                self._start(key, opened)
            return found
        self.misses += 1
        task = self._start(key, opened)
        if task is None:
            return _refusal(sha256, _busy(), now)
        try:
            async with asyncio.timeout(self._times.answer):
                return await asyncio.shield(task)
        except TimeoutError:
            return _refusal(sha256, _slow(self._times.answer), now)

    def _start(self, key: Key, opened: EvidenceState) -> asyncio.Task[LayoutVerdict] | None:
        """Return the running decision about this key, or start one; None if too many others run."""
        if key not in self._flying:
            if len(self._flying) >= MAX_FLYING:
                return None
            task = asyncio.get_running_loop().create_task(self._decide(key, opened))
            self._flying[key] = task
            task.add_done_callback(lambda _done: self._flying.pop(key, None))
        return self._flying[key]

    async def _decide(self, key: Key, opened: EvidenceState) -> LayoutVerdict:
        loop = asyncio.get_running_loop()
        decide = partial(
            copy_context().run, self.evaluator.decide, opened, key[0], self._clock()
        )  # the span of the review
        decided = await loop.run_in_executor(self._decider, decide)
        self._remember(key, decided)
        return decided

    def _remember(self, key: Key, verdict: LayoutVerdict) -> None:
        self._remembered[key] = verdict
        self._remembered.move_to_end(key)
        while len(self._remembered) > self._limit:
            self._remembered.popitem(last=False)


def _refusal(sha256: Sha256, problem: DenialReason, now: datetime) -> LayoutVerdict:
    return LayoutVerdict(sha256, (problem,), now, now + timedelta(0))


def _busy() -> DenialReason:
    return DenialReason(DenialCode.TIMEOUT, "too many decisions wait", "", "try again, or run more replicas")


def _slow(seconds: int) -> DenialReason:
    return DenialReason(
        DenialCode.TIMEOUT, f"no decision within {seconds} s", "", "try again: it is being made"
    )
