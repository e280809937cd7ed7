"""The one HTTP client: a single request, bounded in time and size.

The deadline covers the whole request, so that a slow server ends like a hanging one. Only https, except on loopback.
Redirects are returned, not followed. Proxies come from the environment and are used with CONNECT; certificates are
the system's, or from SSL_CERT_FILE or REQUESTS_CA_BUNDLE. Neither is used if the caller gives the CA of a server in its
own network.

Credentials are not handled here: callers add them to the headers of a request.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from gitchain.errors import LimitError, TransportError, UsageError, reason
from gitchain.platform.timed_socket import TimedSocket, dial, tunnel

MAX_URL = 4096
MAX_OTHER = 1 << 16
"""Largest body of a response other than 200, such as redirects and errors."""

_CHUNK = 1 << 16


class UntrustedServerError(TransportError):
    """A server whose TLS fails, for example its certificate: trying again will not help."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """Response of a server: status, headers by lower-case name, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def is_loopback(host: str) -> bool:
    """Return True if a host name or address is loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def checked_url(url: str) -> SplitResult:
    """Return the parts of an allowed URL. Raises UsageError for an invalid URL or another protocol."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError("not a URL", got=ascii(url[:200])) from error
    plain = len(url) <= MAX_URL and url.isascii() and url.isprintable() and " " not in url
    if not plain or not parts.hostname or parts.username is not None or port == 0:
        raise UsageError("invalid URL", got=ascii(url[:200]))
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise UsageError("only https is spoken to other machines", got=ascii(url[:200]))
    return parts


def followed(url: str, base: str) -> str:
    """Return the target of a redirect from `base` if it is allowed, else raise TransportError.

    The target must be https with a host name, so that no server redirects into the local network. Services on
    loopback may redirect to loopback.
    """
    where = urlsplit(base).netloc
    try:
        parts = checked_url(url)
    except UsageError as error:
        raise TransportError(
            "the server's redirect or link is not allowed", where=where, got=error.got
        ) from error
    host = str(parts.hostname)
    named = not _is_address(host)
    if (parts.scheme, parts.netloc) != urlsplit(base)[:2] and not named and not base.startswith("http:"):
        raise TransportError(
            "the server's redirect or link is not allowed",
            where=where,
            expected="a host's name",
            got=ascii(host[:200]),
        )
    return url


def _is_address(host: str) -> bool:
    """Return True for an address in any spelling that resolvers accept, such as `127.1`, and for names of this machine."""
    name = host.rstrip(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        with suppress(OSError, ValueError):
            return bool(socket.inet_aton(name))
        return name == "localhost" or name.endswith(".localhost")
    return True


def led(url: str, link: str) -> str:
    """Return the absolute URL of a link in the response of `url`. Raises TransportError if it is not allowed."""
    try:
        found = urljoin(url, link)
        checked_url(found)
    except (ValueError, UsageError) as error:
        raise TransportError(
            "the server's redirect or link is not allowed",
            where=urlsplit(url).netloc,
            expected="https, or http to this machine",
            got=ascii(link[:200]),
        ) from error
    return found


def tls_context() -> ssl.SSLContext:
    """Return a context with the certificates that the environment or the system trusts. Raises UsageError.

    A system without any, such as a small container or Python from python.org on macOS, gets those of certifi.
    """
    chosen = not {"SSL_CERT_FILE", "SSL_CERT_DIR"}.isdisjoint(os.environ)
    named = None if "SSL_CERT_FILE" in os.environ else os.environ.get("REQUESTS_CA_BUNDLE") or None
    folder = named if named and Path(named).is_dir() else None
    try:
        context = ssl.create_default_context(cafile=None if folder else named, capath=folder)
    except OSError as error:
        raise UsageError(
            "the CA certificates cannot be read",
            where=f"REQUESTS_CA_BUNDLE={named}",
            got=reason(error),
            help="name a file of PEM certificates, or unset REQUESTS_CA_BUNDLE",
        ) from error
    if not (chosen or named or context.cert_store_stats()["x509_ca"] or _has_system_folder()):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _has_system_folder() -> bool:
    """Return True if OpenSSL's directory of certificates, which it reads when it needs one, is not empty."""
    with suppress(OSError):
        return any(Path(ssl.get_default_verify_paths().capath or os.devnull).iterdir())
    return False


class ReadDeadline:
    """A deadline for reading."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the remaining seconds. Raises TimeoutError if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def ask(
    method: str,
    url: str,
    headers: Mapping[str, str],
    deadline: ReadDeadline,
    *,
    limit: int,
    body: bytes | None = None,
    sink: Callable[[bytes], object] | None = None,
    trusted: Path | ssl.SSLContext | None = None,
) -> HttpResponse:
    """Send one request and return the response. With a `sink`, the body of a 200 is passed to it in chunks.

    `trusted` is a file of CA certificates, which replaces the system's and disables proxies, or a context with the
    system's certificates loaded: callers with many requests reuse one, since loading is slow. Raises UsageError for a
    URL that is not allowed, LimitError for a body beyond `limit` bytes, TransportError if the server is unreachable,
    violates HTTP, or exceeds the deadline.
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
            most = limit if response.status < 300 else max(limit, MAX_OTHER)
            data = b"" if method == "HEAD" else _read(response, most, where, into)
            return HttpResponse(
                response.status, {key.lower(): text for key, text in response.getheaders()}, data
            )
    except TimeoutError as error:
        raise TransportError(
            "the server did not answer in time",
            where=where,
            expected=f"an answer within {deadline.seconds:g} s",
            help="try again",
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        kind = UntrustedServerError if isinstance(error, ssl.SSLError) else TransportError
        raise kind("the server cannot be reached", where=where, got=reason(error)[:300]) from error


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
    if response.length:  # the response ended early
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)


def _connect(
    parts: SplitResult, deadline: ReadDeadline, trusted: Path | ssl.SSLContext | None
) -> tuple[http.client.HTTPConnection, socket.socket]:
    """Return a connection, and the socket, which the caller closes."""
    host = cast("str", parts.hostname)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    proxy = _proxy(parts) if secure and not isinstance(trusted, Path) else None
    sock = dial(*(proxy[:2] if proxy else (host, port)), deadline.left)
    try:
        if proxy is not None:
            tunnel(sock, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", proxy[2], deadline.left)
        connection: http.client.HTTPConnection = http.client.HTTPConnection(host, port)
        if secure:
            if isinstance(trusted, Path):
                trusted = ssl.create_default_context(cafile=trusted)
            context = trusted or tls_context()
            connection = http.client.HTTPSConnection(host, port, context=context)
            sock.settimeout(deadline.left())  # of the whole handshake
            sock = context.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
    connection.sock = cast("socket.socket", TimedSocket(sock, deadline.left))
    return connection, sock


def _proxy(parts: SplitResult) -> tuple[str, int, Mapping[str, str]] | None:
    """Return host and port of the environment's proxy for a URL, and the headers to log in there; None without a proxy."""
    named = urllib.request.getproxies().get("https")
    if not named or urllib.request.proxy_bypass(parts.netloc):
        return None
    found = urlsplit(named if "://" in named else f"http://{named}")
    if found.scheme != "http" or not found.hostname:
        raise UsageError("this proxy cannot be used", where="HTTPS_PROXY", expected="http://HOST:PORT")
    login = f"{unquote(found.username or '')}:{unquote(found.password or '')}".encode()
    headers = {} if login == b":" else {"Proxy-Authorization": f"Basic {b64encode(login).decode()}"}
    return found.hostname, found.port or 3128, headers
