"""Exporter of spans to a collector: a bounded queue, bounded answers, and one log line for each change of its state."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from gitchain.admit.logs import log
from gitchain.errors import UsageError

STUCK_SECONDS = 30.0
"""Time after which a request without an end is logged: the exporter's own limit is for each byte."""

MAX_ANSWER_BYTES = 64 << 10
"""Most bytes of a collector's answer that are read."""

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
DEFAULT_ENDPOINT = "http://localhost:4318/v1/traces"


class _Session(requests.Session):
    """HTTP session that bounds answers, refuses redirects, and keeps the reason of the last failure."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = lambda request: request  # no login from ~/.netrc
        self.problem = ""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request and read the answer. Raises the errors of requests, and one of them for a redirect."""
        try:
            response = super().send(request, **options | {"stream": True})
            _read(response)
        except Exception as error:
            self.problem = type(error).__name__
            raise
        self.problem = "" if response.ok else f"HTTP status {response.status_code}"
        return response


def _read(response: requests.Response) -> None:
    """Read an answer, or the beginning of a long one. Raises TooManyRedirects for a redirect."""
    with response:
        content = response.raw.read(MAX_ANSWER_BYTES, decode_content=False)
        if len(content) == MAX_ANSWER_BYTES:
            response.raw.close()  # the rest would be in front of the next answer
        response._content, response._content_consumed = content, True  # noqa: SLF001 - has no public name
    if 300 <= response.status_code < 400:
        raise requests.TooManyRedirects("redirects are not followed")


class Exporter(SpanExporter):
    """Sends batches by OTLP. Logs the first failure, and the first success after it."""

    def __init__(self) -> None:
        self._endpoint = endpoint()
        self._session = _Session()
        self._exporter = OTLPSpanExporter(session=self._session)
        self._began = 0.0
        self._is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch, with the exporter's own retries. Blocks, in the processor's thread."""
        self._began = time.monotonic()
        try:
            result = self._exporter.export(spans)
        finally:
            self._began = 0.0
        self._note(result is not SpanExportResult.SUCCESS, self._session.problem or "they cannot be encoded")
        return result

    def look(self) -> None:
        """Log a request that does not end. Never blocks."""
        began = self._began
        if began and time.monotonic() - began > STUCK_SECONDS:
            self._note(True, "the request does not end")

    def _note(self, is_failing: bool, why: str) -> None:
        if is_failing != self._is_failing:
            self._is_failing = is_failing
            level, text = (
                (logging.WARNING, "traces cannot be sent, spans are dropped; reviews are not affected")
                if is_failing
                else (logging.INFO, "traces are sent again")
            )
            log(level, text, endpoint=self._endpoint, **({"why": why} if is_failing else {}))

    def shutdown(self) -> None:
        """Stop sending."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class Processor(BatchSpanProcessor):
    """Queue of ended spans in front of the exporter."""

    def __init__(self, exporter: Exporter) -> None:
        super().__init__(exporter)
        self._look = exporter.look

    def on_end(self, span: ReadableSpan) -> None:
        """Put a span into the queue, or drop the oldest one where it is full. Never blocks."""
        self._look()
        super().on_end(span)


def endpoint() -> str:
    """Return where traces are sent, without a login or a query. Raises UsageError if this is no URL."""
    for name in ENDPOINTS:
        if given := os.environ.get(name):
            break
    else:
        return DEFAULT_ENDPOINT
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if not host or parts.scheme not in {"http", "https"} or "@" in parts.netloc:
        raise UsageError(
            "not an address to send traces to",
            where=name,
            expected="http://HOST:PORT or https://HOST:PORT, without a login",
            got=given.rpartition("@")[2],
            help=f"for example {name}=http://collector:4318; a login belongs into OTEL_EXPORTER_OTLP_HEADERS",
        )
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"
