"""Report rule violations to the cluster, as Events and reports, independent of the responses.

A notice is put into a bounded queue; one thread writes a few objects per turn. Notices beyond the limits, and those
that the API refuses, are counted and logged; responses never wait for them. The same notice is reported once per
`AGAIN`, so that a controller that retries a pod for hours causes no flood.

Several replicas write to the same reports: each change is applied to the current report, and repeated after a
conflict. `notices` defines the format.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from itertools import islice

from gitchain.admit.admission import AdmissionResult
from gitchain.admit.cluster import Cluster
from gitchain.admit.logs import log
from gitchain.admit.notices import (
    SOURCE,
    ViolationNotice,
    event,
    kept_results,
    notice,
    report,
    result,
)
from gitchain.admit.reports import Reports, ReportSettings
from gitchain.errors import GitchainError
from gitchain.evidence.canonical import Json
from gitchain.evidence.fields import Object, find_object

TURN_SECONDS = 2.0
BATCH = 20
"""Most notices per turn: ten Events a second from each replica, and as many reports."""

MAX_WAITING = 1000
MAX_REMEMBERED = 10_000
AGAIN = timedelta(minutes=10)
SECONDS = 5.0
"""Longest time for one object, in seconds."""

TRIES = 4
"""Attempts to change a report while others change it too."""

MAX_NAMESPACES = 1000
"""Most results of one audit; all are counted."""

DENIALS, AUDIT = "gitchain-admission", "gitchain-audit"
WRITTEN = frozenset({HTTPStatus.OK, HTTPStatus.CREATED})
_HELP = {
    403: "the chart's ClusterRole `NAME-reporting` has the right that is needed",
    404: "the namespace is gone, or the cluster does not know this kind of report: install its definition",
    409: "others change it at the same time",
}


class Reporting:
    """The notices of one server. `executor` has one thread, which waits for the cluster's API."""

    def __init__(
        self,
        writer: NoticeWriter,
        *,
        clock: Callable[[], datetime],
        executor: Executor,
        counted: Callable[[str, str, int], object],
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._executor = executor
        self._counted = counted
        self._waiting: deque[ViolationNotice] = deque()
        self._last_reported: OrderedDict[tuple[str, ...], datetime] = OrderedDict()
        self._trouble: dict[str, str] = {}

    def offer(self, admission_result: AdmissionResult) -> None:
        """Queue the notice of a response, if there is room. Never blocks, never raises."""
        found = notice(admission_result, self._clock())
        if found is not None:
            self._take(found)

    def _take(self, notice: ViolationNotice) -> None:
        before = self._last_reported.get(notice.key)
        if before is not None and abs(notice.when - before) < AGAIN:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._counted("notice", "dropped", 1)
            return
        self._waiting.append(notice)
        self._last_reported[notice.key] = notice.when
        self._last_reported.move_to_end(notice.key)
        while len(self._last_reported) > MAX_REMEMBERED:
            self._last_reported.popitem(last=False)

    async def keep(self) -> None:
        """Write queued notices, turn by turn, until cancelled."""
        while True:
            await asyncio.sleep(TURN_SECONDS)
            await self.turn()

    async def turn(self) -> None:
        """Write a batch of queued notices."""
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        if batch:
            await self._run(self._writer.write, batch, self._clock())

    def changed(self, notices: Iterable[ViolationNotice]) -> None:
        """Queue Events about the new findings of an audit, if there is room. Never blocks."""
        for fresh in notices:
            self._take(fresh)

    async def audited(
        self, notices: Sequence[ViolationNotice], places: Mapping[str, Mapping[str, int]]
    ) -> None:
        """Replace each namespace's report by the results of a complete audit.

        `places` has the number of objects by namespace and result.
        """
        await self._run(self._writer.replace, notices, places)

    async def _run(self, work: Callable[..., Iterator[WriteResult]], *about: object) -> None:
        loop = asyncio.get_running_loop()
        sent = await loop.run_in_executor(self._executor, lambda: list(work(*about)))
        for (what, outcome), number in Counter((one.what, one.outcome) for one in sent).items():
            self._counted(what, outcome, number)
        for what in dict.fromkeys(one.what for one in sent):
            why = next((one.why for one in sent if one.what == what and one.why), "")
            if why != self._trouble.get(what, ""):  # log changes of the state, not each object
                self._trouble[what] = why
                level, text = (logging.ERROR, "not written") if why else (logging.INFO, "written again")
                log(level, f"the cluster's {what}s are {text}", why=why)


@dataclass(frozen=True, slots=True)
class WriteResult:
    """Result of writing one object."""

    what: str
    why: str = ""

    @property
    def outcome(self) -> str:
        """Return the outcome as a metric label."""
        return "failed" if self.why else "written"


@dataclass(frozen=True, slots=True)
class NoticeWriter:
    """Writes notices to the cluster's API. Blocks; yields results with failures."""

    cluster: Cluster
    wanted: ReportSettings
    instance: str
    """The reporting instance: the pod's name."""

    def write(self, batch: Sequence[ViolationNotice], now: datetime) -> Iterator[WriteResult]:
        """Write the Events of a batch, and add it to the reports of its namespaces."""
        works: list[Work] = []
        if self.wanted.events:
            works += [("event", partial(self._event, one)) for one in batch]
        if self.wanted.reports is not None:
            for place in dict.fromkeys(one.namespace for one in batch if one.namespace):
                here = [one for one in batch if one.namespace == place]
                works.append(("report", partial(self._report, DENIALS, place, partial(_joined, here, now))))
        return self._done(works)

    def replace(
        self, notices: Sequence[ViolationNotice], places: Mapping[str, Mapping[str, int]]
    ) -> Iterator[WriteResult]:
        """Write the audit report of each namespace with a model, and of those with an earlier one."""
        group = self.wanted.reports
        if group is None:
            return
        try:
            there = self._left(group)
        except GitchainError as error:
            yield WriteResult("report", str(error))
            return
        named = [name for name, counts in places.items() if name and set(counts) - {"skip"}]
        works: list[Work] = []
        for place in list(dict.fromkeys((*named, *there)))[:MAX_NAMESPACES]:
            results = [result(one) for one in notices if one.namespace == place]
            change = partial(_renewed, results, places.get(place, {}))
            works.append(("report", partial(self._report, AUDIT, place, change)))
        yield from self._done(works)

    def _left(self, group: Reports) -> list[str]:
        """Return the namespaces with an audit report."""
        listed = self.cluster.list(
            f"/apis/{group.version}/{group.resource}", labels=f"app.kubernetes.io/managed-by={SOURCE}"
        )
        found = [find_object(one, "metadata", "report") or {} for one in islice(listed, 2 * MAX_NAMESPACES)]
        return [str(one.get("namespace")) for one in found if one.get("name") == AUDIT]

    def _event(self, one: ViolationNotice) -> int:
        place = f"/apis/events.k8s.io/v1/namespaces/{one.namespace or 'default'}/events"
        return self._post(place, event(one, self.instance))

    def _report(self, name: str, namespace: str, change: Change) -> int:
        """Change the current report, and retry after a conflict; return the last status."""
        group = self.wanted.reports or Reports.OPEN
        path = f"/apis/{group.version}/namespaces/{namespace}/{group.resource}"
        status = HTTPStatus.CONFLICT.value
        for _ in range(TRIES):
            there = self.cluster.get(f"{path}/{name}", SECONDS)
            results, counts = change(there or {})
            made = report(group, name, namespace, results, counts)
            if there is not None and all(there.get(key) == made[key] for key in ("summary", "results")):
                return HTTPStatus.OK.value  # nothing changed, and nothing is written
            if there is None:
                status = self._post(path, made)
            else:
                metadata = find_object(there, "metadata", "report") or {}
                made["metadata"] |= {"resourceVersion": metadata.get("resourceVersion")}  # type: ignore[operator]
                status = self.cluster.send("PUT", f"{path}/{name}", made, SECONDS)
            if status != HTTPStatus.CONFLICT:
                break
        return status

    def _post(self, path: str, made: Mapping[str, Json]) -> int:
        return self.cluster.send("POST", path, made, SECONDS)

    def _done(self, works: Sequence[Work]) -> Iterator[WriteResult]:
        """Do one after the other; skip the others if the API does not respond."""
        lost = ""
        for what, work in works:
            if lost:
                yield WriteResult(what, lost)
                continue
            try:
                status = work()
            except GitchainError as error:
                lost = str(error)
                yield WriteResult(what, lost)
            else:
                yield WriteResult(
                    what, "" if status in WRITTEN else f"HTTP {status}: {_HELP.get(status, 'refused')}"
                )


Change = Callable[[Object], tuple[Sequence[Object], Mapping[str, int] | None]]
Work = tuple[str, Callable[[], int]]


def _joined(
    here: Sequence[ViolationNotice], now: datetime, there: Object
) -> tuple[Sequence[Object], Mapping[str, int] | None]:
    return [*map(result, here), *kept_results(there, here, now)], None


def _renewed(
    results: Sequence[Object], counts: Mapping[str, int], _there: Object
) -> tuple[Sequence[Object], Mapping[str, int] | None]:
    return results, counts
