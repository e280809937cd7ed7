"""A collector of traces on loopback: it decodes what OTLP/HTTP brings, and answers as a test wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """What arrived, and the answer: a status, or None for no answer until the end."""

    port: int = 0
    status: int | None = 200
    answer: bytes = b""
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)
    sent: int | None = None
    """How much of an answer is sent; then the collector waits until the client closes the connection."""

    hung_up: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def resources(self) -> list[dict[str, Any]]:
        return [values(group.resource.attributes) for one in self._requests() for group in one.resource_spans]

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for one in self._requests()
            for group in one.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    def _requests(self) -> list[Any]:
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]

    def wait(self, wanted: Callable[[Any], bool], count: int = 1) -> list[Any]:
        """Return the spans that are wanted, once there are so many."""
        for _ in range(400):
            if len(found := [span for span in self.spans if wanted(span)]) >= count:
                return found
            time.sleep(0.025)
        raise AssertionError([span.name for span in self.spans])

    def named(self, name: str, count: int = 1) -> list[Any]:
        return self.wait(lambda span: span.name == name, count)


def values(attributes: Any) -> dict[str, Any]:
    """Return the attributes of a span or a resource."""
    return {one.key: value(one.value) for one in attributes}


def value(given: Any) -> Any:
    kind = given.WhichOneof("value")
    found = getattr(given, kind)
    return [value(one) for one in found.values] if kind == "array_value" else found


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """Yield a collector that listens."""
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.headers.append({key.lower(): text for key, text in self.headers.items()})
            made.paths.append(self.path)
            if made.status is None:
                made.end.wait(60)
                return
            if made.status == 200:
                made.bodies.append(body)
            self.send_response(made.status)
            if 300 <= made.status < 400:
                self.send_header("location", "http://127.0.0.1:1/v1/traces")
            self.send_header("content-length", str(len(made.answer)))
            self.end_headers()
            self.wfile.write(made.answer[: made.sent])
            if made.sent is not None:
                self.close_connection = True
                self.connection.settimeout(5)
                with suppress(OSError):
                    if not self.connection.recv(1):
                        made.hung_up.set()

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", port), Handler) as server:
        made.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield made
        finally:
            made.end.set()
            server.shutdown()
            thread.join()
