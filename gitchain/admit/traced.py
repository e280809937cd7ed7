"""Endpoints whose requests are spans, and the attributes of a review's span."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gitchain.admit.admission import AdmissionResult
from gitchain.admit.refusals import status_of
from gitchain.admit.traces import Attributes, Traces

Handler = Callable[[Request], Awaitable[Response]]

MAX_CODES = 32
"""Most finding codes of a review that its span has."""


def traced(traces: Traces, path: str, handler: Handler) -> Route:
    """Return a route for POST requests, each of which is a span."""

    async def answer(request: Request) -> Response:
        with traces.request(path, request.headers.getlist("traceparent")) as span:
            try:
                response = await handler(request)
            except Exception as error:
                span.set({"http.response.status_code": (status := status_of(error))})
                if status >= 500:  # a request that is wrong is no failure of the server
                    span.fail(type(error).__name__)
                raise
            span.set({"http.response.status_code": response.status_code})
            return response

    return Route(path, answer, methods=["POST"])


def facts_of(result: AdmissionResult) -> Attributes:
    """Return attributes of a decision: no name of a user or an object, and no content."""
    review, rule, answer = result.review, result.rule, result.answer
    facts: dict[str, str | bool | int | Sequence[str]] = {
        "gitchain.allowed": answer.allowed,
        "gitchain.outcome": result.reason,
    }
    if review is not None:
        facts |= {
            "k8s.namespace.name": review.namespace,
            "gitchain.kind": str(review.kind),
            "gitchain.operation": review.operation,
            "gitchain.dry_run": review.dry_run,
        }
    if rule is not None:
        facts |= {"gitchain.layout": rule.layout, "gitchain.mode": rule.mode}
        facts["gitchain.rule"] = rule.pattern(review.namespace) if review is not None else ""
    codes = dict.fromkeys(str(one.code) for one in result.problems)
    if codes:
        facts["gitchain.findings"] = list(codes)[:MAX_CODES]
    return facts
