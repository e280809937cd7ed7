"""One HTTP request, bounded in time and size, that goes where the caller said and nowhere else.

The time counts over the whole request, byte by byte, so that a server that trickles ends like one that hangs. https
only, except to this machine. Redirects are answers like others: who wants to follow one decides that itself.
Proxies are those of the environment, through CONNECT; certificates are the system's, or SSL_CERT_FILE's. Neither is
used where the caller names the one CA that a server of its own network has.
It knows no credentials: callers put them into the headers of one request.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import SplitResult, urlsplit

from gitchain.errors import LimitError, TransportError, UsageError

MAX_URL = 4096
CONNECT_SECONDS = 10.0
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: its status, its headers by lower-case name, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def is_loopback(host: str) -> bool:
    """Tell whether a host, given as a name or an address, is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def checked_url(url: str) -> SplitResult:
    """Return the parts of a URL that may be asked; UsageError for what is none, or names another protocol."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError("not a URL", got=ascii(url[:200])) from error
    plain = len(url) <= MAX_URL and url.isascii() and url.isprintable() and " " not in url
    if not plain or not parts.hostname or parts.username is not None or port == 0:
        raise UsageError("not a URL that can be asked", got=ascii(url[:200]))
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise UsageError("only https is spoken to other machines", got=ascii(url[:200]))
    return parts


def followed(url: str, base: str) -> str:
    """Return a URL that the server at `base` sends us to, if that may be asked; else TransportError.

    https, by a host's name: no server leads into the network behind us. What runs on this machine may lead to it.
    """
    where = urlsplit(base).netloc
    try:
        parts = checked_url(url)
    except UsageError as error:
        raise TransportError(
            "the server leads to where nobody follows", where=where, got=error.got
        ) from error
    host = str(parts.hostname)
    try:
        ipaddress.ip_address(host)
        named = False
    except ValueError:
        named = not is_loopback(host)
    if (parts.scheme, parts.netloc) != urlsplit(base)[:2] and not named and not base.startswith("http:"):
        raise TransportError(
            "the server leads to where nobody follows",
            where=where,
            expected="a host's name",
            got=ascii(host[:200]),
        )
    return url


class Deadline:
    """A moment after which nothing more is waited for."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left; TimeoutError if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def ask(
    method: str,
    url: str,
    headers: Mapping[str, str],
    deadline: Deadline,
    *,
    limit: int,
    body: bytes | None = None,
    sink: Callable[[bytes], object] | None = None,
    trusted: Path | ssl.SSLContext | None = None,
) -> Answer:
    """Return the answer to one request; with a `sink` the body of a 200 goes there, piece by piece.

    The system's certificates are `trusted`. With a file of CA certificates those alone are, and no proxy is asked. Who
    asks often gives a context that has read the system's: that takes longer than most answers.

    UsageError for a URL that may not be asked; LimitError for a body beyond `limit` bytes; TransportError where the
    server cannot be reached, speaks no HTTP or needs longer than the deadline.
    """
    parts = checked_url(url)
    where = f"{parts.scheme}://{parts.netloc}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection, sock = _connect(parts, deadline, trusted)
        with sock:
            connection.request(
                method, path, body, {"User-Agent": "gitchain", "Connection": "close", **headers}
            )
            response = connection.getresponse()
            into = sink if response.status == 200 else None
            data = b"" if method == "HEAD" else _read(response, limit, where, into)
            return Answer(response.status, {key.lower(): text for key, text in response.getheaders()}, data)
    except TimeoutError as error:
        raise TransportError(
            "the server did not answer in time",
            where=where,
            expected=f"an answer within {deadline.seconds:g} s",
            help="try again",
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransportError(
            "the server cannot be asked", where=where, got=str(error)[:300] or type(error).__name__
        ) from error


def _read(
    response: http.client.HTTPResponse, limit: int, where: str, sink: Callable[[bytes], object] | None
) -> bytes:
    parts: list[bytes] = []
    size, take = 0, sink or parts.append
    while chunk := response.read1(_CHUNK):
        size += len(chunk)
        if size > limit:
            raise LimitError(
                "the server's answer is too large", where=where, expected=f"at most {limit} bytes"
            )
        take(chunk)
    if response.length:  # an answer that ended before it was whole
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)


def _connect(
    parts: SplitResult, deadline: Deadline, trusted: Path | ssl.SSLContext | None
) -> tuple[http.client.HTTPConnection, socket.socket]:
    """Return a connection, and the socket that its caller has to close."""
    host = cast("str", parts.hostname)
    timeout = min(CONNECT_SECONDS, deadline.left())
    secure = parts.scheme == "https"
    connection: http.client.HTTPConnection
    proxy = _proxy(parts) if secure and not isinstance(trusted, Path) else None
    to, port = proxy or (host, parts.port or (443 if secure else 80))
    if secure:
        context = (
            trusted if isinstance(trusted, ssl.SSLContext) else ssl.create_default_context(cafile=trusted)
        )
        connection = http.client.HTTPSConnection(to, port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(to, port, timeout=timeout)
    if proxy is not None:
        connection.set_tunnel(host, parts.port or 443)
    connection.connect()
    sock = connection.sock
    connection.sock = cast("socket.socket", _Timed(sock, deadline))
    return connection, sock


def _proxy(parts: SplitResult) -> tuple[str, int] | None:
    """Return the proxy that the environment names for a URL."""
    named = urllib.request.getproxies().get("https")
    if not named or urllib.request.proxy_bypass(parts.netloc):
        return None
    found = urlsplit(named if "://" in named else f"http://{named}")
    if found.scheme != "http" or not found.hostname or found.username is not None:
        raise UsageError(
            "this proxy cannot be used", where="HTTPS_PROXY", expected="http://HOST:PORT, without a password"
        )
    return found.hostname, found.port or 3128


class _Timed:
    """A socket whose every wait ends with the deadline, as far as `http.client` needs one."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send all, in pieces: each may wait as long as there is time."""
        view = memoryview(data)
        while view:
            self._sock.settimeout(self._deadline.left())
            view = view[self._sock.send(view[:_CHUNK]) :]

    def makefile(self, mode: str, buffering: int = -1) -> io.BufferedReader:
        """Return the reading side."""
        del mode, buffering
        return io.BufferedReader(_Reader(self._sock, self._deadline))

    def close(self) -> None:
        """Do nothing: the connection closes before its answer is read."""


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._sock.settimeout(self._deadline.left())
        return self._sock.recv_into(buffer)
