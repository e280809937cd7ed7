"""The endpoints over HTTP: what is read and how much of it, and what each answer looks like.

    POST /validate     AdmissionReview v1                    200 with the answer
    POST /mutate       AdmissionReview v1                    200 with a patch that guards a pod
    POST /gatekeeper   external data of Gatekeeper           200 with a value or an error for each key
    POST /v1/decide    plain JSON                            200, `verified` true or false
    GET  /healthz      the process answers                   200
    GET  /readyz       it would decide                       200, or 503 with what is missing
    GET  /metrics      Prometheus                            200

A body that cannot be read is refused with a 4xx; an exception that nobody foresaw is a 500. Neither is an allow, as long
as the webhook's `failurePolicy` is Fail. Callers are not authenticated here: that is for the client certificate (`tls`).
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

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gitchain.admit.admission import Admission, Judgement
from gitchain.admit.asked import MAX_ASKED_BYTES, decide_external, decide_plain
from gitchain.admit.engine import Engine
from gitchain.admit.logs import log, log_judgement
from gitchain.admit.metrics import CONTENT_TYPE, Metrics
from gitchain.admit.problems import printable
from gitchain.admit.review import MAX_BODY_BYTES
from gitchain.errors import GitchainError, LimitError
from gitchain.evidence.canonical import Json
from gitchain.platform.http_body import parse_length

BODY_SECONDS = 5.0
"""Longest time for a body to arrive: the API server sends it at once."""

MAX_WAITING_BYTES = 64 << 20
"""Most bytes of bodies that are held at a time; what comes on top is told to come again."""

Decider = Callable[[bytes, Mapping[str, Engine]], Awaitable[dict[str, Json]]]


class Refused(Exception):  # noqa: N818 - it is an answer, and ends as one
    """A request that is not read, with the status that it is answered with."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass
class Server:
    """What the endpoints share: the engines, what is counted, and whether the end has begun."""

    admission: Admission
    metrics: Metrics
    clock: Callable[[], datetime]
    certificate_end: Callable[[], datetime | None] = lambda: None
    report: Callable[[Judgement], Awaitable[None]] | None = None
    draining: bool = False
    waiting: int = field(default=0, init=False)

    def unready(self) -> list[str]:
        """Return everything for which a review could not be decided now."""
        now, found = self.clock(), ["the server is stopping"] if self.draining else []
        unfit = (engine.gate.unfit(now) for engine in self.admission.engines.values())
        found += [str(problem) for problem in unfit if problem is not None]
        end = self.certificate_end()
        if end is not None and end <= now:
            found.append("the server's certificate has expired")
        return found

    async def validate(self, request: Request) -> Response:
        """Answer the API server."""
        started = time.perf_counter()
        async with self._body(request, MAX_BODY_BYTES) as body:
            judgement = await self.admission.judge(body)
            if self.report is not None:
                await self.report(judgement)
        taken = time.perf_counter() - started
        self.metrics.reviews.labels("validate", judgement.reason).inc()
        self.metrics.seconds.labels("validate").observe(taken)
        log_judgement(judgement, "validate", taken)
        return self._told(judgement.answer.to_json(judgement.uid))

    async def mutate(self, request: Request) -> Response:
        """Answer the API server's mutating call."""
        started = time.perf_counter()
        async with self._body(request, MAX_BODY_BYTES) as body:
            judgement = await self.admission.mutate(body)
        taken = time.perf_counter() - started
        self.metrics.reviews.labels("mutate", judgement.reason).inc()
        self.metrics.seconds.labels("mutate").observe(taken)
        log_judgement(judgement, "mutate", taken)
        return self._told(judgement.answer.to_json(judgement.uid))

    async def gatekeeper(self, request: Request) -> Response:
        """Answer Gatekeeper."""
        return await self._decide(request, "gatekeeper", decide_external)

    async def plain(self, request: Request) -> Response:
        """Answer anybody else."""
        return await self._decide(request, "decide", decide_plain)

    async def _decide(self, request: Request, endpoint: str, decide: Decider) -> Response:
        started = time.perf_counter()
        async with self._body(request, MAX_ASKED_BYTES) as body:
            answer = await decide(body, self.admission.engines)
        self.metrics.reviews.labels(endpoint, "answered").inc()
        self.metrics.seconds.labels(endpoint).observe(time.perf_counter() - started)
        return self._told(answer)

    def _told(self, answer: Mapping[str, Json]) -> Response:
        """Return an answer; near the end, one after which nobody comes back on a connection that is about to end."""
        return _json(answer, headers={"connection": "close"} if self.draining else None)

    async def health(self, _request: Request) -> Response:
        """Say that the process answers."""
        return _json({"ok": True})

    async def ready(self, _request: Request) -> Response:
        """Say whether reviews can be decided, and what is missing if not."""
        missing = self.unready()
        told: list[Json] = [printable(text) for text in missing]
        return _json({"ready": not missing, "missing": told}, 503 if missing else 200)

    async def scrape(self, _request: Request) -> Response:
        """Answer Prometheus."""
        return Response(self.metrics.render(), headers={"content-type": CONTENT_TYPE})

    @asynccontextmanager
    async def _body(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """Yield the body, which counts as held until it is answered; Refused for one that is not to be read."""
        _check_headers(request, limit)
        found = bytearray()
        try:
            await self._receive(request, limit, found)
            yield bytes(found)
        finally:
            self.waiting -= len(found)

    async def _receive(self, request: Request, limit: int, found: bytearray) -> None:
        """Take the body in; Refused for one that is too long, too slow, or too much at this time."""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.stream():
                    self.waiting += len(part)
                    found += part
                    if len(found) > limit:
                        raise Refused(413, f"more than {limit} bytes")
                    if self.waiting > MAX_WAITING_BYTES:
                        raise Refused(503, "too many large requests at a time")
        except TimeoutError as error:
            raise Refused(408, f"the body took longer than {BODY_SECONDS} s") from error
        except ClientDisconnect as error:
            raise Refused(400, "the body broke off") from error

    async def refused(self, request: Request, error: Exception) -> Response:
        """Answer what was not read; the connection ends, as the rest of the body may still be on its way."""
        status = error.status if isinstance(error, Refused) else 413 if isinstance(error, LimitError) else 400
        self.metrics.refused.labels(str(status)).inc()
        log(logging.WARNING, "request refused", status=status, why=str(error), path=request.url.path[:100])
        return _json({"error": printable(str(error))}, status, {"connection": "close"})

    async def failed(self, _request: Request, error: Exception) -> Response:
        """Answer our own bug: it is logged, and the caller learns nothing of it."""
        del error  # Starlette raises it again, and uvicorn's logger writes it down
        self.metrics.refused.labels("500").inc()
        return _json({"error": "a bug in gitchain: see the log"}, 500)


def application(server: Server) -> Starlette:
    """Return the ASGI application with all endpoints."""
    return Starlette(
        routes=[
            Route("/validate", server.validate, methods=["POST"]),
            Route("/mutate", server.mutate, methods=["POST"]),
            Route("/gatekeeper", server.gatekeeper, methods=["POST"]),
            Route("/v1/decide", server.plain, methods=["POST"]),
            *probes(server),
        ],
        exception_handlers={
            Refused: server.refused,
            GitchainError: server.refused,
            Exception: server.failed,
        },
    )


def probes(server: Server) -> list[Route]:
    """Return the endpoints that tell nothing about models: they may be had without a client certificate."""
    return [
        Route("/healthz", server.health, methods=["GET"]),
        Route("/readyz", server.ready, methods=["GET"]),
        Route("/metrics", server.scrape, methods=["GET"]),
    ]


def _check_headers(request: Request, limit: int) -> None:
    """Refuse what is no JSON by its header, or too long by its own word."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "send application/json, not compressed")
    length = parse_length(request.headers.get("content-length", ""))
    if length is not None and length > limit:  # what is longer or no number is bounded while it is read
        raise Refused(413, f"more than {limit} bytes")


def _json(value: Mapping[str, Json], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer in JSON, on one line of ASCII."""
    body = json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=list).encode("ascii")
    return Response(
        body,
        status,
        headers={"content-type": "application/json", "cache-control": "no-store", **(headers or {})},
    )
