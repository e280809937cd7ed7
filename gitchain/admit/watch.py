"""Log and count each change of a layout's condition, once.

Conditions are checked once a second. They change only when evidence is read, ages, or expires, so that an unstable
source causes at most two lines per `times.refresh` seconds, independent of the number of reviews.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from gitchain.admit.conditions import ConditionReason, LayoutCondition, State
from gitchain.admit.logs import log
from gitchain.admit.verdict_cache import VerdictCache

_LEVELS: dict[State, int] = {
    "deciding": logging.INFO,
    "failing": logging.WARNING,
    "stale": logging.WARNING,
    "closed": logging.ERROR,
}
_MESSAGES: dict[State, str] = {
    "deciding": "reviews are decided under the layout",
    "failing": "the evidence cannot be read; the evidence of the last reading still counts",
    "stale": "reviews are decided on stale evidence",
    "closed": "no review is decided under the layout",
}


class ConditionWatch:
    """The last condition of each layout. Logs and counts each change."""

    def __init__(self, clock: Callable[[], datetime], count: Callable[[str, LayoutCondition], None]) -> None:
        self._clock = clock
        self._count = count
        self._last: dict[str, tuple[LayoutCondition, datetime]] = {}
        self._wrong: dict[str, str] = {}

    def look(self, caches: Mapping[str, VerdictCache], server: Iterable[tuple[str, str]] = ()) -> None:
        """Check every layout, and the problems of the server as a whole: pairs of name and reason."""
        now = self._clock()
        for name, cache in caches.items():
            self._layout(name, cache, now)
        for gone in self._last.keys() - caches.keys():
            del self._last[gone]
        forgotten = ((f"memory of layout {name}", one.evaluator.forgotten) for name, one in caches.items())
        self._whole({name: why for name, why in (*server, *forgotten) if why})

    def _layout(self, name: str, cache: VerdictCache, now: datetime) -> None:
        found = cache.evaluator.condition(now)
        before, since = self._last.get(name, (None, now))
        if before is not None and before.key == found.key:
            return
        self._last[name] = found, now
        self._count(name, found)
        if found.reason is ConditionReason.STARTING:
            return
        layout = cache.evaluator.layout
        facts: dict[str, object] = {"layout": name, "state": found.state}
        facts |= {"version": layout.version} if layout else {}
        facts |= {"reason": found.reason.value, "why": found.why} if found.reason else {}
        facts |= {"before": before.state, "seconds": round((now - since).total_seconds())} if before else {}
        log(_LEVELS[found.state], _MESSAGES[found.state], **facts)

    def _whole(self, wrong: Mapping[str, str]) -> None:
        for name in wrong.keys() - self._wrong.keys():
            log(logging.ERROR, "something is wrong", what=name, why=wrong[name])
        for name in self._wrong.keys() - wrong.keys():
            log(logging.INFO, "no longer wrong", what=name)
        self._wrong = dict(wrong)
