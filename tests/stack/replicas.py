"""Replicas of `gitchain serve` behind one address, as a Service of Kubernetes is: connections go to who is ready."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.stack.authority import Authority
from tests.stack.kube import API_SERVER
from tests.stack.processes import Pid, end, free_ports, is_alive, run_all
from tests.stack.servers import Server

ACCOUNT = Path(__file__).with_name("account.py")
LOOK_SECONDS = 0.1  # between two looks at who is ready
GONE_SECONDS = 30.0


@dataclass
class Service:
    """A folder with settings and a certificate, the replicas that read them, and the address before them."""

    folder: Path
    balancer: Balancer
    api: int
    """The port of the API server, as pods are told it."""
    running: list[Pid] = field(default_factory=list)
    backends: list[Backend] = field(default_factory=list)
    count: Iterator[int] = field(default_factory=itertools.count)

    @property
    def url(self) -> str:
        """Where the API server asks."""
        return f"https://127.0.0.1:{self.balancer.port}"

    def add(self) -> None:
        """Start a replica; it gets connections as soon as it is ready."""
        ports = free_ports(("tls", "probes"))
        number = next(self.count)
        home = self.folder / f"state-{number}"
        home.mkdir()
        command = (
            *(sys.executable, str(ACCOUNT), str(self.folder / "account")),
            *("serve", f"--settings={self.folder / 'serve.yaml'}"),
            *(f"--certificate={self.folder / 'tls.crt'}", f"--key={self.folder / 'tls.key'}"),
            *(f"--client-ca={self.folder / 'clients.crt'}", f"--client-name={API_SERVER}"),
            *(f"--listen=127.0.0.1:{ports['tls']}", f"--probes=127.0.0.1:{ports['probes']}"),
        )
        environ = {"HOME": str(home)}  # GITCHAIN_HOME has the embedded instance that signs deployments
        environ |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.api)}
        server = Server(f"replica-{number}", command, str(ports["probes"]), "/readyz", environ)
        self.running += run_all(self.folder, [server], owned=True)
        self.backends.append(Backend(ports["tls"], ports["probes"]))
        self.balancer.backends = tuple(self.backends)

    def retire(self) -> bool:
        """End the oldest replica as Kubernetes does; tell whether it went in time and by itself."""
        pid, born = self.running.pop(0)
        os.kill(pid, signal.SIGTERM)
        until = threading.Event()
        for _ in range(int(GONE_SECONDS / LOOK_SECONDS)):
            if not is_alive(pid, born):
                self.balancer.backends = tuple(self.backends[1:])
                del self.backends[0]
                return True
            until.wait(LOOK_SECONDS)
        self.running.insert(0, (pid, born))
        return False

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Let nothing answer: connections end at once, those that are open too."""
        self.balancer.backends = ()
        try:
            yield
        finally:
            self.balancer.backends = tuple(self.backends)

    def log(self, number: int, lines: int = 20) -> str:
        """Return the end of a replica's log."""
        text = (self.folder / f"replica-{number}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


@contextlib.contextmanager
def serving(
    folder: Path, settings: str, files: Mapping[str, bytes], authority: Authority, api: int
) -> Iterator[Service]:
    """Write what the chart's ConfigMaps hold and a certificate, start two replicas, end them again."""
    (folder / "serve.yaml").write_text(settings, encoding="utf-8")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    authority.issue(folder / "tls.crt", folder / "tls.key")
    with balancing() as balancer:
        service = Service(folder, balancer, api)
        try:
            for _ in range(2):
                service.add()
            yield service
        finally:
            end(service.running)


@dataclass(frozen=True)
class Backend:
    """The ports of a replica."""

    port: int
    probes: int


class Balancer:
    """Passes TCP connections on to replicas that are ready, in turn. It knows nothing of TLS or HTTP."""

    def __init__(self) -> None:
        self.backends: tuple[Backend, ...] = ()
        self.ready: tuple[Backend, ...] = ()
        self.port = 0
        self._turn = itertools.count()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, stop: asyncio.Event, started: threading.Event) -> None:
        """Serve until told to stop."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._keep(self._look())
        started.set()
        await stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self) -> None:
        while True:
            now = self.backends
            found = await asyncio.gather(*(_is_ready(one) for one in now))
            self.ready = tuple(one for one, ready in zip(now, found, strict=True) if ready)
            await asyncio.sleep(LOOK_SECONDS)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(100):
            ready = self.ready
            if not self.backends:
                break
            if ready:
                with contextlib.suppress(OSError):
                    chosen = ready[next(self._turn) % len(ready)]
                    there = await asyncio.open_connection("127.0.0.1", chosen.port)
                    self._keep(self._pump(reader, there[1]))
                    self._keep(self._pump(there[0], writer))
                    return
            await asyncio.sleep(LOOK_SECONDS / 2)
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while (data := await reader.read(1 << 16)) and self.backends:
                writer.write(data)
                await writer.drain()
        writer.close()


async def _is_ready(backend: Backend) -> bool:
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", backend.probes)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")
            line = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in line


@contextlib.contextmanager
def balancing() -> Iterator[Balancer]:
    """Run a balancer in a thread of its own."""
    balancer, stop, started, loop = Balancer(), asyncio.Event(), threading.Event(), asyncio.new_event_loop()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(balancer.run(stop, started)), daemon=True
    )
    thread.start()
    started.wait()
    try:
        yield balancer
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
