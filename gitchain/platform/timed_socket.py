"""Connections whose every step ends with one deadline: connect, the proxy's answer, sending and reading.

Used by `gitchain.platform.http`, but for `hang_up`. `http.client` bounds each operation of a socket, and not their sum.
"""

from __future__ import annotations

import http
import http.client
import io
import os
import socket
from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

CONNECT_SECONDS = 10.0
_CHUNK = 1 << 16

Left: TypeAlias = Callable[[], float]
"""Returns the remaining seconds, or raises TimeoutError if there are none."""


def dial(host: str, port: int, left: Left) -> socket.socket:
    """Connect to the first address of the host that answers, before the deadline. Looking up the name is not bounded."""
    failure = OSError("the name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(min(CONNECT_SECONDS, left()))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def tunnel(sock: socket.socket, to: str, headers: Mapping[str, str], left: Left) -> None:
    """Let a proxy connect to `to`. Its answer is bounded like any other, in bytes and time."""
    connection = http.client.HTTPConnection(to)
    connection.sock = cast("socket.socket", TimedSocket(sock, left))
    connection.request("CONNECT", to, headers={"Host": to, **headers})
    response = connection.getresponse()
    if response.status != http.HTTPStatus.OK:
        raise OSError(f"the proxy refused the connection: {response.status} {response.reason}")


class TimedSocket:
    """A socket whose operations end with the deadline, limited to the methods that `http.client` uses."""

    def __init__(self, sock: socket.socket, left: Left) -> None:
        self._sock = sock
        self._left = left

    def sendall(self, data: bytes) -> None:
        """Send all bytes, in chunks that share the deadline."""
        view = memoryview(data)
        while view:
            self._sock.settimeout(self._left())
            view = view[self._sock.send(view[:_CHUNK]) :]

    def makefile(self, mode: str, buffering: int = -1) -> io.BufferedReader:
        """Return the reader."""
        del mode, buffering
        return io.BufferedReader(_Reader(self._sock, self._left))

    def close(self) -> None:
        """Do nothing: `http.client` closes the connection before its response is read."""


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, left: Left) -> None:
        self._sock = sock
        self._left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._sock.settimeout(self._left())
        return self._sock.recv_into(buffer)


def hang_up(descriptor: int) -> None:
    """End the connection of another library's socket: what reads or writes there fails. Raises OSError."""
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        copy.shutdown(socket.SHUT_RDWR)
