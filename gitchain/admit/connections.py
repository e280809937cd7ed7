"""Connection limits and deadlines, so that idle clients leave room for the API server.

accepted ─► handshake: 5 s, few at a time of one peer ─► open: limited in total, lower limit without a certificate

Over the limit the oldest is closed: any handshake, or an open connection without a request in progress, those never
used first. A connection with the API server's certificate does not count in the limits of others, and half of the
room is reserved for such connections. A peer is an IPv4 address or an IPv6 /64.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

HANDSHAKE_SECONDS = 5.0
"""Longest time of the TLS handshake from its first byte, and of its shutdown, in seconds."""

HANDSHAKES = 256
PEER_HANDSHAKES = 32
"""Concurrent handshakes, in total and of one peer. The API server's take milliseconds."""

FULL_SECONDS = 0.1
"""Pause in seconds while the system has no free descriptors."""


class Connection(Protocol):
    """State of an open connection."""

    peer: str
    is_trusted: bool
    is_used: bool
    since: float
    """When it was opened, or last answered."""

    @property
    def is_answering(self) -> bool:
        """Return True while a request on it is being answered."""
        ...

    def abort(self) -> None:
        """Close the connection at once."""
        ...


@dataclass
class OpenConnections:
    """The open connections of one listener, and their limit. `closed` receives the reason of a forced close."""

    limit: int
    keeps_reserve: bool
    closed: Callable[[str], None] = lambda _reason: None
    inside: set[Connection] = field(default_factory=set)

    @property
    def strangers(self) -> int:
        """Return the limit of connections without the API server's certificate."""
        return self.limit // 2 if self.keeps_reserve else self.limit

    @property
    def of_a_peer(self) -> int:
        """Return how many of these one peer may have."""
        return max(1, self.strangers // 2)

    def enter(self, new: Connection) -> None:
        """Add a connection; close another one, or this one, over the limit."""
        self.inside.add(new)
        if not new.is_trusted:
            others = [one for one in self.inside if not one.is_trusted]
            same = [one for one in others if one.peer == new.peer]
            if len(same) > self.of_a_peer:
                self._make_room(same, new, "peer")
            elif len(others) > self.strangers:
                self._make_room(others, new, "full")
        if len(self.inside) > self.limit:
            self._make_room(list(self.inside), new, "full")

    def leave(self, one: Connection) -> None:
        """Remove a closed connection."""
        self.inside.discard(one)

    def _make_room(self, among: Sequence[Connection], new: Connection, reason: str) -> None:
        idle = [one for one in among if one is not new and not one.is_answering]
        gone = min(idle, key=lambda one: (one.is_trusted, one.is_used, one.since), default=new)
        if gone.is_trusted and not new.is_trusted:
            gone = new
        self.closed(reason)
        self.leave(gone)
        gone.abort()


class ConnectionAcceptor:
    """Accepts connections of bound sockets, and creates protocols for those that finish their handshake in time."""

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext | None,
        closed: Callable[[str], None],
    ) -> None:
        self._make = make
        self._context = context
        self._closed = closed
        self._shaking: dict[asyncio.Task[None], tuple[str, socket.socket]] = {}
        self._accepting: list[asyncio.Task[None]] = []

    def open(self, sockets: Sequence[socket.socket]) -> None:
        """Start to accept."""
        self._accepting = [asyncio.create_task(self._accept(one)) for one in sockets]

    async def close(self) -> None:
        """Stop accepting, and abort the handshakes in progress."""
        tasks = [*self._accepting, *self._shaking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                found, address = await loop.sock_accept(listening)
            except OSError:  # no free descriptors, or the peer has disconnected
                await asyncio.sleep(FULL_SECONDS)
                continue
            self._begin(found, peer_of(address[0]))

    def _begin(self, connection: socket.socket, peer: str) -> None:
        same = [task for task, (other, _) in self._shaking.items() if other == peer]
        if len(same) >= PEER_HANDSHAKES:
            self._end(same[0])
        elif len(self._shaking) >= HANDSHAKES:
            self._end(next(iter(self._shaking)))
        task = asyncio.create_task(self._shake(connection))
        self._shaking[task] = (peer, connection)
        task.add_done_callback(self._shaken)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._closed("handshakes")
        task.cancel()
        del self._shaking[task]

    async def _shake(self, connection: socket.socket) -> None:
        seconds = HANDSHAKE_SECONDS if self._context is not None else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
            )
        except (
            OSError
        ):  # includes TLS errors: too slow, another version, a certificate of another authority, disconnected
            self._closed("handshake")
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise

    def _shaken(self, task: asyncio.Task[None]) -> None:
        entry = self._shaking.pop(task, None)
        if entry is not None and task.cancelled():
            entry[1].close()


def peer_of(address: str) -> str:
    """Return the peer that an address belongs to: the address, or the /64 network of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
