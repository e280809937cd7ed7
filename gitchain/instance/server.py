"""The instance as an HTTP/1.1 server on loopback, for Sigstore clients in other processes and languages.

Plain http never leaves the machine: only 127.0.0.1 and ::1 can be bound. Requests are bounded in size, time
and number, and refused if they come from a web page (an Origin header, or a Host that is not loopback: DNS
rebinding).
It does NOT authenticate clients: each service checks its own proof (token, certificate, signature).
"""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from gitchain.errors import GitchainError, TransportError, UsageError, os_errors_as
from gitchain.instance.local import Instance
from gitchain.instance.routes import (
    MAX_BODY_BYTES,
    HttpReply,
    HttpRequest,
    answer_get,
    answer_post,
    failure,
    refusal,
)
from gitchain.platform.http_body import BodyRefusedError, read_body

LOOPBACK = ("127.0.0.1", "::1")
LOOPBACK_NAMES = (*LOOPBACK, "localhost")
IDLE_SECONDS = 10.0  # for each read of a request line, header or body, and between requests
MAX_CONNECTIONS = 64
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
)
_logger = logging.getLogger(__name__)


class LocalServer(ThreadingHTTPServer):
    """A bound server of one instance. `serve_forever()` blocks; `with server:` serves in a thread."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, instance: Instance, *, host: str = "127.0.0.1", port: int | None = None) -> None:
        """Bind. Raises UsageError unless `host` is a loopback address, TransportError if the port is taken."""
        if host not in LOOPBACK:
            raise UsageError(
                "the local instance serves on loopback only",
                expected=" or ".join(LOOPBACK),
                got=ascii(host),
                help="gitchain local start",
            )
        self.instance = instance
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        wanted = instance.port if port is None else port
        remedy = "stop the program that listens there; exported trust configurations name this port"
        what = "the local instance's port cannot be used"
        with os_errors_as(TransportError, what, f"{host}:{wanted}", help=remedy):
            super().__init__((host, wanted), _InstanceHandler)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server_address[1]}"

    def server_bind(self) -> None:
        """Bind without the DNS lookup of http.server."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: object, client_address: object) -> None:
        """Serve the connection in a thread of its own, unless too many are open."""
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)  # type: ignore[arg-type]
            return
        if isinstance(request, socket.socket):
            with contextlib.suppress(OSError):
                request.sendall(_BUSY)
            self.shutdown_request(request)

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Free the connection's slot when it ends."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._slots.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Log a connection that broke off, or our bug; the other connections go on."""
        del request
        error = sys.exception()
        if isinstance(error, OSError):
            _logger.debug("connection from %s broke off: %s", client_address, error)
        else:
            _logger.error("a request from %s could not be answered", client_address, exc_info=error)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()


def serve(instance: Instance, *, host: str = "127.0.0.1", port: int | None = None) -> None:
    """Serve until interrupted; errors as `LocalServer`."""
    server = LocalServer(instance, host=host, port=port)
    try:
        server.serve_forever()
    finally:
        server.server_close()


class _InstanceHandler(BaseHTTPRequestHandler):
    server: LocalServer
    protocol_version = "HTTP/1.1"
    server_version = "gitchain"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True  # otherwise every answer waits 40 ms for the client's ACK

    def do_GET(self) -> None:
        self._answer(answer_get, b"")

    def do_POST(self) -> None:
        try:
            body = read_body(self.headers, self.rfile, MAX_BODY_BYTES)
        except BodyRefusedError as refused:
            self.close_connection = True
            self._send(failure(refused.status, refused.reason))
            return
        self._answer(answer_post, body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        _logger.debug(format, *args)

    def _answer(self, answer: Callable[[Instance, HttpRequest], HttpReply | None], body: bytes) -> None:
        if not self._is_local():
            self._send(failure(HTTPStatus.FORBIDDEN, "the local instance does not answer web pages"))
            return
        try:
            reply = answer(self.server.instance, self._request(body))
        except GitchainError as error:
            reply = refusal(error)
            _logger.warning("%s %s refused: %s", self.command, ascii(self.path[:100]), error)
        self._send(reply or failure(HTTPStatus.NOT_FOUND, "there is no such path"))

    def _is_local(self) -> bool:
        try:
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        except ValueError:
            return False
        return host in LOOPBACK_NAMES and "Origin" not in self.headers

    def _request(self, body: bytes) -> HttpRequest:
        scheme, _, bearer = self.headers.get("Authorization", "").partition(" ")
        content_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return HttpRequest(
            self.path,
            body,
            content_type,
            bearer.strip() if scheme.lower() == "bearer" else "",
            self.server.url,
        )

    def _send(self, reply: HttpReply) -> None:
        self.send_response(reply.status)
        headers = {
            "Content-Type": reply.content_type,
            "Content-Length": str(len(reply.body)),
            **reply.headers,
        }
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
