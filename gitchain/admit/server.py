"""One process that serves: an event loop for the connections, one thread that decides, one that reads evidence.

Start: listen, read the evidence, then be ready. End, at SIGTERM: be unready, answer on for the time that it takes until
nobody is sent here any more, let what is under way finish, exit with 0. Nothing is kept that a new process would need.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from gitchain.admit.admission import Admission
from gitchain.admit.app import Server, application, probes
from gitchain.admit.audit import audit
from gitchain.admit.cluster import Cluster
from gitchain.admit.config import Settings
from gitchain.admit.deployed import Place, Reporter
from gitchain.admit.engine import Engine
from gitchain.admit.evidence import Reader, SourceReader
from gitchain.admit.gate import Gate
from gitchain.admit.logs import log
from gitchain.admit.metrics import Metrics
from gitchain.admit.scale import Workloads
from gitchain.admit.tls import Certificate
from gitchain.errors import GitchainError, TransportError
from gitchain.pipeline.deployments import DeploymentLog

CERTIFICATE_SECONDS = 1.0
"""Between two looks at the certificate's files."""

HEADER_SECONDS = 10.0
"""Longest time from the first byte of a request to the end of its headers."""

IDLE_SECONDS = 75
"""Longest silence on a connection: longer than the load balancers and the API server keep one."""

FINISH_SECONDS = 10
LOOKS = 4
"""Workloads that are looked up at a time, when they are scaled."""

MAX_HEADER_BYTES = 64 << 10


class _Patient(H11Protocol):
    """HTTP/1.1 that closes a connection whose request does not get to the end of its headers."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self._busy:
            self._stop()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(HEADER_SECONDS, self._end)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        if not self._busy:
            self.transport.close()

    @property
    def _busy(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None until the first request
        return cycle is not None and not cycle.response_complete


class _Listener(uvicorn.Server):
    """A server that leaves signals to its owner."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Service:
    """Everything of one process, made from the settings."""

    def __init__(
        self,
        settings: Settings,
        certificate: Certificate,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        readers: Mapping[str, Reader] | None = None,
        cluster: Cluster | None = None,
        deployments: DeploymentLog | None = None,
    ) -> None:
        self._settings = settings
        self._certificate = certificate
        self._cluster = cluster
        self._decider = ThreadPoolExecutor(1, "decide")
        self._readers = ThreadPoolExecutor(len(settings.sources), "read")
        self._lister = ThreadPoolExecutor(1, "list")
        self._looker = ThreadPoolExecutor(LOOKS, "look")
        self.engines = {
            name: Engine(
                Gate(name, (readers or {}).get(name) or SourceReader(source), settings.times),
                settings.times,
                limit=settings.decisions,
                clock=clock,
                decider=self._decider,
                reader=self._readers,
            )
            for name, source in settings.sources.items()
        }
        self.metrics = Metrics(self.engines, clock)
        workloads = Workloads(cluster, self._looker, settings.times.answer) if cluster else None
        self.server = Server(
            Admission(settings, self.engines, workloads),
            self.metrics,
            clock,
            certificate_end=lambda: certificate.end,
        )
        self._deployments = deployments
        self._reporter = ThreadPoolExecutor(1, "report")
        if deployments is not None and settings.deployments is not None:
            place = Place(settings.deployments.environment, settings.deployments.cluster)
            self.server.report = Reporter(
                deployments, place, self.server.admission, clock=clock, executor=self._reporter
            ).report
        self.stopping = asyncio.Event()
        self.quick = False
        self._failure: BaseException | None = None

    async def run(
        self, sockets: Sequence[socket.socket], probe_sockets: Sequence[socket.socket] = ()
    ) -> None:
        """Serve on bound sockets until a signal, or `stop`; the sockets are closed at the end."""
        main = self._listener(application(self.server), tls=True)
        listeners = [(main, list(sockets))]
        if probe_sockets:
            plain = Starlette(routes=probes(self.server))
            listeners.append((self._listener(plain, tls=False), list(probe_sockets)))
        async with AsyncExitStack() as stack:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._listen_to(number, stack)
            chores = [self._watch_certificate(), *(engine.keep() for engine in self.engines.values())]
            if self._settings.times.audit and self._cluster is not None:
                chores.append(self._audit(self._cluster))
            for chore in chores:
                self._start(chore, stack)
            serving = [asyncio.create_task(one.serve(places)) for one, places in listeners]
            self._start(self._drain([one for one, _ in listeners]), stack)
            await asyncio.gather(*serving)
        self._decider.shutdown(wait=False, cancel_futures=True)
        self._readers.shutdown(wait=False, cancel_futures=True)
        for one in (self._lister, self._looker):
            one.shutdown(wait=False, cancel_futures=True)
        self._reporter.shutdown()
        if self._deployments is not None and not await asyncio.to_thread(self._deployments.close):
            log(logging.ERROR, "deployments are not all durable")
        if self._failure is not None:
            raise self._failure

    def stop(self, *, quick: bool = False) -> None:
        """Begin the end; a quick one does not wait for those who are still sent here."""
        self.quick = self.quick or quick or self.stopping.is_set()
        self.stopping.set()

    async def _drain(self, listeners: Sequence[uvicorn.Server]) -> None:
        await self.stopping.wait()
        self.server.draining = True
        log(logging.INFO, "stopping", drainSeconds=0 if self.quick else self._settings.times.drain)
        if not self.quick:
            await asyncio.sleep(self._settings.times.drain)
        for one in listeners:
            one.should_exit = True

    def _listener(self, app: Starlette, *, tls: bool) -> uvicorn.Server:
        config = uvicorn.Config(
            app,
            http=_Patient,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            limit_concurrency=self._settings.connections,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=FINISH_SECONDS,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            ssl_context_factory=(lambda _config, _default: self._certificate.context) if tls else None,
        )
        return _Listener(config)

    def _listen_to(self, number: signal.Signals, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        with suppress(RuntimeError, ValueError):  # not the main thread: the owner says when to stop
            loop.add_signal_handler(number, lambda: self.stop(quick=number == signal.SIGINT))
            stack.callback(loop.remove_signal_handler, number)

    def _start(self, chore: Coroutine[Any, Any, None], stack: AsyncExitStack) -> None:
        """Start what runs until the end; a chore that fails by a bug ends the process, which then starts anew."""
        task = asyncio.create_task(chore)
        task.add_done_callback(self._ended)
        stack.callback(task.cancel)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self.stop(quick=True)

    async def _watch_certificate(self) -> None:
        told = ""
        while True:
            try:
                changed, told = await asyncio.to_thread(self._certificate.reload), ""
            except GitchainError as error:
                changed = False
                if str(error) != told:
                    told = str(error)
                    log(logging.ERROR, "the new certificate is not used", why=told)
            if self._certificate.end is not None:
                self.metrics.certificate.set(self._certificate.end.timestamp())
            if changed:
                self.metrics.rotations.inc()
                log(logging.INFO, "certificate taken into use", end=str(self._certificate.end))
            await asyncio.sleep(CERTIFICATE_SECONDS)

    async def _audit(self, cluster: Cluster) -> None:
        """Audit again and again, from the moment on at which reviews can be decided."""
        while True:
            if not self.server.unready():
                found = await audit(self.server.admission, cluster, self._lister)
                self.metrics.audited.clear()
                for outcome, count in found.outcomes.items():
                    self.metrics.audited.labels(outcome).set(count)
                if found.whole:
                    self.metrics.audit_time.set_to_current_time()
                await asyncio.sleep(self._settings.times.audit)
            else:
                await asyncio.sleep(1)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket, on any free port for 0; TransportError if the address cannot be had."""
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
            "cannot listen", where=f"{host}:{port}", got=str(error), help="choose another --listen"
        ) from error
    found.setblocking(False)
    return found
