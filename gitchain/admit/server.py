"""The server process: an event loop for connections, one thread that decides, one that reads evidence.

Start: listen, read the evidence, then become ready. Shutdown at SIGTERM: become unready, keep answering until no more
requests are routed here, finish requests in progress, exit with 0. No state is needed by the next process.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import uvicorn
from starlette.applications import Starlette

from gitchain.admit.admission import Admission
from gitchain.admit.app import Server, application, probes
from gitchain.admit.audit import Audit, audit
from gitchain.admit.checks import AuditChanges, AuditComparison
from gitchain.admit.cluster import Cluster
from gitchain.admit.connections import OpenConnections
from gitchain.admit.deployment_events import ClusterName, Reporter
from gitchain.admit.evidence import EvidenceReader
from gitchain.admit.listener import Listener
from gitchain.admit.logs import log
from gitchain.admit.metrics import Metrics
from gitchain.admit.reload import Reload
from gitchain.admit.reporting import NoticeWriter, Reporting
from gitchain.admit.scale import Workloads
from gitchain.admit.settings import AdmissionSettings, Durations
from gitchain.admit.tls import Certificate
from gitchain.admit.traces import OFF, Traces
from gitchain.admit.verdict_cache import VerdictCache
from gitchain.admit.verdict_caches import VerdictCaches
from gitchain.errors import GitchainError, TransportError, UsageError, reason
from gitchain.produce.deployments import DeploymentLog

CERTIFICATE_SECONDS = 1.0
"""Seconds between two checks of the certificate's files."""

LOOK_SECONDS = 1.0
"""Seconds between two checks whether each layout still decides."""

LOOKS = 4
"""Most concurrent lookups of scaled workloads."""


class Service:
    """All parts of one process, created from the settings."""

    def __init__(
        self,
        settings: AdmissionSettings,
        certificate: Certificate,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        readers: Mapping[str, EvidenceReader] | None = None,
        cluster: Cluster | None = None,
        deployments: DeploymentLog | None = None,
        traces: Traces = OFF,
    ) -> None:
        self._settings = settings
        self._certificate = certificate
        self._cluster = cluster
        self._lister = ThreadPoolExecutor(1, "list")
        self._looker = ThreadPoolExecutor(LOOKS, "look")
        self._maker = VerdictCaches(clock, readers, traces=traces)
        caches = self._maker.make(settings)
        self.metrics = Metrics(lambda: self.server.admission.caches, clock)
        self._clock = clock
        self.server = Server(
            self._admission(settings, caches),
            self.metrics,
            clock,
            certificate_end=lambda: certificate.end,
            client_names=certificate.client_names,
            takes_clients=certificate.takes_clients,
            traces=traces,
        )
        self._deployments = deployments
        self._reporter = ThreadPoolExecutor(1, "report")
        self._checks = AuditComparison(clock)
        if deployments is not None and settings.deployments is not None:
            place = ClusterName(settings.deployments.environment, settings.deployments.cluster)
            self.server.report = Reporter(deployments, place, clock=clock, executor=self._reporter).report
            self._checks = AuditComparison(clock, deployments, place)
        self._teller = ThreadPoolExecutor(1, "tell")
        self._reporting = self._telling(clock)
        self.stopping = asyncio.Event()
        self.quick = False
        self._failure: BaseException | None = None

    @property
    def caches(self) -> Mapping[str, VerdictCache]:
        """Return the verdict caches of the current settings."""
        return self.server.admission.caches

    @property
    def _times(self) -> Durations:
        return self.server.admission.settings.times

    def _admission(self, settings: AdmissionSettings, caches: Mapping[str, VerdictCache]) -> Admission:
        """Return the admission for settings. Raises UsageError if they need a cluster and there is none."""
        if settings.times.audit and self._cluster is None:
            raise UsageError(
                "an audit needs a cluster around it",
                where="times.audit",
                got="no service account",
                help="run it in a pod whose account has the chart's rights, or leave times.audit out",
            )
        cluster, seconds = self._cluster, settings.times.answer
        return Admission(settings, caches, Workloads(cluster, self._looker, seconds) if cluster else None)

    def _telling(self, clock: Callable[[], datetime]) -> Reporting | None:
        """Return the reporter of denials, if the settings enable it and there is a cluster."""
        wanted = self._settings.reporting
        if wanted is None or self._cluster is None:
            return None
        found = Reporting(
            NoticeWriter(self._cluster, wanted, socket.gethostname()),
            clock=clock,
            executor=self._teller,
            counted=lambda what, outcome, number: self.metrics.written.labels(what, outcome).inc(number),
        )
        self.server.tell = found.offer
        return found

    async def run(
        self, sockets: Sequence[socket.socket], probe_sockets: Sequence[socket.socket] = ()
    ) -> None:
        """Serve on bound sockets until a signal, or `stop`. The sockets are closed at the end."""
        kept = self._certificate.takes_clients
        room = OpenConnections(self._settings.connections, keeps_reserve=kept, closed=self._closed)
        main = Listener(application(self.server), room, self._certificate.context, self.server.is_trusted)
        listeners = [(main, list(sockets))]
        if probe_sockets:
            plain = Starlette(routes=probes(self.server))
            other = OpenConnections(self._settings.connections, keeps_reserve=False, closed=self._closed)
            listeners.append((Listener(plain, other), list(probe_sockets)))
        async with AsyncExitStack() as stack:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._listen_to(number, stack)
            reload = Reload(
                self.server,
                self._maker,
                start=partial(self._start, stack=stack),
                admission=self._admission,
                clock=self._clock,
            )
            chores = [self._watch_certificate(), self._watch_layouts(), reload.keep()]
            if self._cluster is not None:
                chores.append(self._audit(self._cluster))
            if self._reporting is not None:
                chores.append(self._reporting.keep())
            for chore in chores:
                self._start(chore, stack)
            serving = [asyncio.create_task(one.serve(places)) for one, places in listeners]
            self._start(self._drain([one for one, _ in listeners]), stack)
            await asyncio.gather(*serving)
        self._maker.close()
        for one in (self._lister, self._looker, self._teller):
            one.shutdown(wait=False, cancel_futures=True)
        self._reporter.shutdown()
        if self._deployments is not None and not await asyncio.to_thread(self._deployments.close):
            log(logging.ERROR, "deployments are not all durable")
        if self._failure is not None:
            raise self._failure

    def _closed(self, reason: str) -> None:
        self.metrics.closed.labels(reason).inc()

    def stop(self, *, quick: bool = False) -> None:
        """Start the shutdown; a quick one does not wait for clients that still connect."""
        self.quick = self.quick or quick or self.stopping.is_set()
        self.stopping.set()

    async def _drain(self, listeners: Sequence[uvicorn.Server]) -> None:
        await self.stopping.wait()
        self.server.draining = True
        log(logging.INFO, "stopping", drainSeconds=0 if self.quick else self._times.drain)
        if not self.quick:
            await asyncio.sleep(self._times.drain)
        for one in listeners:
            one.should_exit = True

    def _listen_to(self, number: signal.Signals, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        with suppress(RuntimeError, ValueError):  # not in the main thread: the owner calls `stop`
            loop.add_signal_handler(number, lambda: self.stop(quick=number == signal.SIGINT))
            stack.callback(loop.remove_signal_handler, number)

    def _start(self, chore: Coroutine[Any, Any, None], stack: AsyncExitStack) -> asyncio.Task[None]:
        """Start a task that runs until the end; an error in it ends the process, which is then restarted."""
        task = asyncio.create_task(chore)
        task.add_done_callback(self._ended)
        stack.callback(task.cancel)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self.stop(quick=True)

    async def _watch_certificate(self) -> None:
        problem = ""
        while True:
            try:
                changed, problem = await asyncio.to_thread(self._certificate.reload), ""
            except GitchainError as error:
                changed = False
                if str(error) != problem:
                    problem = str(error)
                    log(logging.ERROR, "the new certificate is not used", why=problem)
            if self._certificate.end is not None:
                self.metrics.certificate.set(self._certificate.end.timestamp())
            if changed:
                self.metrics.rotations.inc()
                log(logging.INFO, "certificate taken into use", end=str(self._certificate.end))
            await asyncio.sleep(CERTIFICATE_SECONDS)

    async def _watch_layouts(self) -> None:
        while True:
            self.server.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def _audit(self, cluster: Cluster) -> None:
        """Audit repeatedly, after the evidence of every layout was read."""
        while True:
            if self._times.audit and self.server.has_started:
                await self._compare(await audit(self.server.admission, cluster, self._lister))
                await asyncio.sleep(self._times.audit)
            else:
                await asyncio.sleep(1)

    async def _compare(self, found: Audit) -> None:
        """Count the results of an audit, and report the changes since the previous one."""
        self.metrics.audited.clear()
        for outcome, count in found.outcomes.items():
            self.metrics.audited.labels(outcome).set(count)
        for name in self.caches:
            for result in ("FAILED", "PASSED"):
                self.metrics.checks.labels(name, result)  # a series that begins with 1 has not increased
        update = partial(self._checks.update, found.checks, whole=found.whole)
        checked = await asyncio.get_running_loop().run_in_executor(self._lister, update)
        for change in checked.changes:
            self.metrics.checks.labels(change.policy, change.result).inc()
        if found.whole:
            self.metrics.audit_time.set_to_current_time()
        if self._reporting is not None:
            await self._report(self._reporting, found, checked)

    async def _report(self, reporting: Reporting, found: Audit, checked: AuditChanges) -> None:
        """Write one Event for each change that fails, and the reports if the audit saw everything."""
        changed = {change.key for change in checked.changes}
        reporting.changed(one for key, one in dict(reversed(found.notices)).items() if key in changed)
        if found.whole:
            since = {key: failing.since for key, failing in checked.failing.items()}
            dated = [replace(one, when=since.get(key, one.when)) for key, one in found.notices]
            await reporting.audited(dated, found.places)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 selects any free port. Raises TransportError if the address is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off for connections whose listener names TCP, and no others: 40 ms an answer.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(1024)
    except OSError as error:
        found.close()
        raise TransportError(
            "cannot listen", where=f"{host}:{port}", got=reason(error), help="choose another --listen"
        ) from error
    found.setblocking(False)
    return found
