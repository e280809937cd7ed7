"""HTTP listener: uvicorn behind the connection limits of `connections`.

Deadlines: 5 seconds for a handshake, 10 from the first byte to the end of a request's headers, 75 of idle time
between requests; `app` has one for bodies. Each is absolute: sending single bytes does not extend it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from gitchain.admit.connections import ConnectionAcceptor, OpenConnections, peer_of
from gitchain.admit.tls import Client, client_of

HEADER_SECONDS = 10.0
"""Longest time from the first byte of a request to the end of its headers, in seconds."""

IDLE_SECONDS = 75
"""Longest idle time of a connection, in seconds: longer than load balancers and the API server keep one."""

FINISH_SECONDS = 10
MAX_HEADER_BYTES = 64 << 10


class _DeadlineProtocol(H11Protocol):
    """HTTP/1.1 protocol that closes a connection if the headers of a request are not complete in time."""

    def __init__(self, server: Listener) -> None:
        super().__init__(server.config, server.server_state, server.lifespan.state)
        self._room, self._trusts = server.room, server.trusts
        self._timer: asyncio.TimerHandle | None = None
        self.peer, self.is_trusted, self.is_used, self.since = "", False, False, 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        client = client_of(transport)
        self.app_state = {
            **self.app_state,
            "client": client,
        }  # the endpoints read these from the request's state
        self.peer = peer_of(self.client[0]) if self.client else ""
        self.is_trusted, self.since = self._trusts(client), self.loop.time()
        self._watch()
        self._room.enter(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        self.is_used, self.since = True, self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._room.leave(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close the connection at once."""
        self._stop()
        self.transport.abort()

    def _watch(self) -> None:
        if self._is_busy:
            self._stop()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(HEADER_SECONDS, self._end)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        if not self._is_busy:
            self.transport.abort()

    @property
    def _is_busy(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None until the first request
        return cycle is not None and not cycle.response_complete

    @property
    def is_answering(self) -> bool:
        """Return True if a request was received completely and its response is not complete."""
        return self._is_busy and not self.cycle.more_body


class Listener(uvicorn.Server):
    """Server that leaves signals to its owner, and accepts connections through `ConnectionAcceptor`."""

    def __init__(
        self,
        app: Starlette,
        room: OpenConnections,
        context: ssl.SSLContext | None = None,
        trusts: Callable[[Client | None], bool] = lambda _client: False,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=FINISH_SECONDS,
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            )
        )
        self.room, self.trusts = room, trusts
        self._door = ConnectionAcceptor(lambda: _DeadlineProtocol(self), context, room.closed)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept on bound sockets."""
        self.servers = []
        self._door.open(sockets or [])
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, and wait for responses in progress."""
        await self._door.close()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the owner."""
        yield
