"""HTTP endpoints: request limits and response formats.

POST /validate     AdmissionReview v1                    200 with the answer
POST /mutate       AdmissionReview v1                    200 with a patch that guards a pod
POST /gatekeeper   external data of Gatekeeper           200 with a value or an error for each key
POST /v1/decide    plain JSON                            200, `verified` true or false
GET  /healthz      the process answers                   200
GET  /readyz       it can answer reviews                 200, or 503 with the reasons
GET  /metrics      Prometheus                            200

A body that cannot be parsed gets a 4xx status, an unexpected exception a 500. Neither allows anything if the
webhook's `failurePolicy` is Fail. With a client CA, reviews are accepted from the API server only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gitchain.admit.admission import Admission, AdmissionResult
from gitchain.admit.conditions import ConditionReason, LayoutCondition
from gitchain.admit.denial_reasons import printable
from gitchain.admit.external_data import MAX_ASKED_BYTES, decide_external, decide_plain
from gitchain.admit.logs import log, log_result
from gitchain.admit.metrics import CONTENT_TYPE, Metrics
from gitchain.admit.refusals import RequestRefused, status_of
from gitchain.admit.review import MAX_BODY_BYTES
from gitchain.admit.tls import Client
from gitchain.admit.traced import facts_of, traced
from gitchain.admit.traces import OFF, Traces
from gitchain.admit.verdict_cache import VerdictCache
from gitchain.admit.watch import ConditionWatch
from gitchain.errors import GitchainError
from gitchain.evidence.canonical import Json
from gitchain.platform.http_body import parse_length

BODY_SECONDS = 5.0
"""Longest time for a body to arrive, in seconds: the API server sends it at once."""

MAX_WAITING_BYTES = 64 << 20
"""Most bytes of bodies in memory; further requests get a status that asks for a retry."""

Decider = Callable[[bytes, Mapping[str, VerdictCache]], Awaitable[dict[str, Json]]]


@dataclass
class Server:
    """Shared state of the endpoints: the verdict caches, the metrics, and whether the process is shutting down."""

    admission: Admission
    metrics: Metrics
    clock: Callable[[], datetime]
    certificate_end: Callable[[], datetime | None] = lambda: None
    takes_clients: bool = False
    client_names: tuple[str, ...] = ()
    """With `takes_clients`: common names of the API server's certificates; any name if empty."""

    report: Callable[[AdmissionResult, Client], Awaitable[None]] | None = None
    tell: Callable[[AdmissionResult], None] = lambda _result: None
    """Receives notices for the cluster. Never blocks."""

    traces: Traces = OFF
    """Records spans of requests. Never blocks."""

    draining: bool = False
    unused: str = ""
    """Why the settings in the file are not in use; empty if they are."""
    waiting: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.watch = ConditionWatch(self.clock, self.metrics.changed)
        self._has_started = False

    def unready(self) -> list[str]:
        """Return the reasons why this process cannot answer reviews; empty if it can.

        After the start, a closed layout is no such reason: its reviews are denied, with the reason.
        """
        found = ["the server is stopping"] if self.draining else []
        return [*found, *(why for _, why in self.faults()), *self._starting()]

    def _starting(self) -> list[str]:
        """Return the conditions that the start waits for: the first reading of each layout, and one readable source."""
        if self._has_started:
            return []
        now, evaluators = self.clock(), [cache.evaluator for cache in self.admission.caches.values()]
        unread = [evaluator for evaluator in evaluators if evaluator.read is None and evaluator.error is None]
        states = [(evaluator.read, evaluator.condition(now).reason) for evaluator in evaluators]
        if all(state == (None, ConditionReason.SOURCE) for state in states):
            unread = evaluators  # a new replica with wrong credentials must not replace a working one
        self._has_started = not unread
        return [str(problem) for evaluator in unread if (problem := evaluator.unfit(now)) is not None]

    @property
    def has_started(self) -> bool:
        """Return True after the first reading of every layout."""
        return not self._starting()

    def faults(self) -> list[tuple[str, str]]:
        """Return the problems of the server as a whole: names and reasons."""
        end = self.certificate_end()
        expired = end is not None and end <= self.clock()
        return [("certificate", "the server's certificate has expired")] if expired else []

    def is_trusted(self, client: Client | None) -> bool:
        """Return True if the client's certificate identifies it as the API server."""
        return client is not None and (not self.client_names or client.name in self.client_names)

    def _api_server(self, request: Request) -> Client | None:
        """Return the API server's client, or None if no client CA is set. Raises RequestRefused for other clients."""
        client: Client | None = getattr(request.state, "client", None)
        if self.takes_clients and not self.is_trusted(client):
            shown = printable(client.name, 100) if client is not None else "no certificate"
            raise RequestRefused(
                403, f"reviews are read from the API server alone, by its client certificate: {shown}"
            )
        return client

    def look(self) -> None:
        """Log and count changes since the last call, and detect the end of the start."""
        self._starting()
        self.watch.look(self.admission.caches, self.faults())

    async def validate(self, request: Request) -> Response:
        """Answer the API server's validating webhook call."""
        started, client = time.perf_counter(), self._api_server(request)
        async with self._body(request, MAX_BODY_BYTES) as body:
            result = await self.admission.decide(body)
            if self.report is not None and client is not None:
                await self.report(result, client)
        return self._answer("validate", result, time.perf_counter() - started, client)

    async def mutate(self, request: Request) -> Response:
        """Answer the API server's mutating webhook call."""
        started, client = time.perf_counter(), self._api_server(request)
        async with self._body(request, MAX_BODY_BYTES) as body:
            result = await self.admission.mutate(body)
        return self._answer("mutate", result, time.perf_counter() - started, client)

    def _answer(
        self, endpoint: str, result: AdmissionResult, seconds: float, client: Client | None
    ) -> Response:
        """Return the response to a review, after it was counted, logged and traced, and its notice queued."""
        self.metrics.answered(endpoint, result, seconds)
        log_result(result, endpoint, seconds, client)
        self.traces.note(partial(facts_of, result))
        self.tell(result)
        return self._response(result.answer.to_json(result.uid))

    async def gatekeeper(self, request: Request) -> Response:
        """Answer Gatekeeper."""
        return await self._decide(request, "gatekeeper", decide_external)

    async def plain(self, request: Request) -> Response:
        """Answer `/v1/decide`."""
        return await self._decide(request, "decide", decide_plain)

    async def _decide(self, request: Request, endpoint: str, decide: Decider) -> Response:
        started = time.perf_counter()
        async with self._body(request, MAX_ASKED_BYTES) as body:
            answer = await decide(body, self.admission.caches)
        self.metrics.reviews.labels(endpoint, "answered", "", "").inc()
        self.metrics.seconds.labels(endpoint).observe(time.perf_counter() - started)
        return self._response(answer)

    def _response(self, answer: Mapping[str, Json]) -> Response:
        """Return a response. During shutdown it closes the connection."""
        return _json(answer, headers={"connection": "close"} if self.draining else None)

    async def health(self, _request: Request) -> Response:
        """Return 200: the process answers."""
        return _json({"ok": True})

    async def ready(self, _request: Request) -> Response:
        """Return whether reviews can be answered, the reasons if not, and the state of each layout."""
        missing = self.unready()
        told: list[Json] = [printable(text) for text in missing]
        now = self.clock()
        layouts: dict[str, Json] = {
            name: _condition(cache.evaluator.condition(now)) for name, cache in self.admission.caches.items()
        }
        found: dict[str, Json] = {
            "ready": not missing,
            "missing": told,
            "layouts": layouts,
            "settings": self._settings(),
        }
        return _json(found, 503 if missing else 200)

    def _settings(self) -> dict[str, Json]:
        digest = self.admission.settings.digest
        found: dict[str, Json] = {"inUse": f"sha256:{digest}" if digest else None}
        return found | ({"refused": printable(self.unused, 2000)} if self.unused else {})

    async def scrape(self, _request: Request) -> Response:
        """Answer Prometheus."""
        return Response(self.metrics.render(), headers={"content-type": CONTENT_TYPE})

    @asynccontextmanager
    async def _body(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """Yield the body, which counts as in memory until the response. Raises RequestRefused for an invalid request."""
        _check_headers(request, limit)
        found = bytearray()
        try:
            await self._receive(request, limit, found)
            yield bytes(found)
        finally:
            self.waiting -= len(found)

    async def _receive(self, request: Request, limit: int, buffer: bytearray) -> None:
        """Read the body. Raises RequestRefused if it is too long, too slow, or exceeds the memory limit."""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.stream():
                    self.waiting += len(part)
                    buffer += part
                    if len(buffer) > limit:
                        raise RequestRefused(413, f"more than {limit} bytes")
                    if self.waiting > MAX_WAITING_BYTES:
                        raise RequestRefused(503, "too many large requests at a time")
        except TimeoutError as error:
            raise RequestRefused(408, f"the body took longer than {BODY_SECONDS} s") from error
        except ClientDisconnect as error:
            raise RequestRefused(400, "the body broke off") from error

    async def refused(self, request: Request, error: Exception) -> Response:
        """Answer a request that was not read, and close the connection, since more of the body may follow."""
        status = status_of(error)
        self.metrics.refused.labels(str(status)).inc()
        log(logging.WARNING, "request refused", status=status, why=str(error), path=request.url.path[:100])
        return _json({"error": printable(str(error))}, status, {"connection": "close"})

    async def failed(self, _request: Request, error: Exception) -> Response:
        """Answer an internal error: it is logged, and the caller gets no details."""
        del error  # Starlette raises it again, and uvicorn logs it
        self.metrics.refused.labels("500").inc()
        return _json({"error": "a bug in gitchain: see the log"}, 500)


def _condition(condition: LayoutCondition) -> dict[str, Json]:
    if condition.state == "deciding":
        return {"state": condition.state}
    return {"state": condition.state, "reason": condition.reason, "why": printable(condition.why)}


def application(server: Server) -> Starlette:
    """Return the ASGI application with all endpoints."""
    reviews = {
        "/validate": server.validate,
        "/mutate": server.mutate,
        "/gatekeeper": server.gatekeeper,
        "/v1/decide": server.plain,
    }
    return Starlette(
        routes=[*(traced(server.traces, *review) for review in reviews.items()), *probes(server)],
        exception_handlers={
            RequestRefused: server.refused,
            GitchainError: server.refused,
            Exception: server.failed,
        },
    )


def probes(server: Server) -> list[Route]:
    """Return the endpoints without data about models. They need no client certificate."""
    return [
        Route("/healthz", server.health, methods=["GET"]),
        Route("/readyz", server.ready, methods=["GET"]),
        Route("/metrics", server.scrape, methods=["GET"]),
    ]


def _check_headers(request: Request, limit: int) -> None:
    """Refuse a request whose headers declare another type than JSON, or too long a body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or request.headers.get("content-encoding", "identity") != "identity":
        raise RequestRefused(415, "send application/json, not compressed")
    length = parse_length(request.headers.get("content-length", ""))
    if length is not None and length > limit:  # longer bodies and invalid lengths are bounded while reading
        raise RequestRefused(413, f"more than {limit} bytes")


def _json(value: Mapping[str, Json], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response, on one line of ASCII."""
    body = json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=list).encode("ascii")
    fixed = {"content-type": "application/json", "cache-control": "no-store"}
    return Response(body, status, headers={**fixed, **(headers or {})})
