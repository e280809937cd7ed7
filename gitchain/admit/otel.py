"""Traces by OpenTelemetry, sent by OTLP over HTTP. Only `gitchain serve --traces` imports this module.

The standard variables configure it: `OTEL_EXPORTER_OTLP_*`, `OTEL_BSP_*`, `OTEL_TRACES_SAMPLER`,
`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`. A thread of its own sends spans from a bounded queue, and drops what
does not fit: a review never waits for the collector. Names follow the semantic conventions of OpenTelemetry where
these have one; the others begin with `gitchain.`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gitchain import __version__
from gitchain.admit.denial_reasons import printable
from gitchain.admit.otlp import Exporter, Processor
from gitchain.admit.traces import Attributes, Span, Traces, wrong_variables
from gitchain.errors import UsageError

CLOSE_SECONDS = 2.0
"""Longest time at the end of the process for spans that wait."""

MAX_TEXT = 256
"""Most characters of an attribute: callers choose some of them."""

_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROPAGATOR = TraceContextTextMapPropagator()


class _RecordedSpan(Span):
    """A span of OpenTelemetry."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        self._span.set_attributes(_bounded(attributes))

    def fail(self, error: str) -> None:
        """Mark the span as failed, with the type of the error. Its text is not recorded."""
        self._span.set_attribute("error.type", error)
        self._span.set_status(trace.StatusCode.ERROR)


class OpenTelemetry(Traces):
    """Traces that a provider records."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("gitchain", __version__)

    @contextmanager
    def request(self, route: str, parents: Sequence[str]) -> Iterator[Span]:
        """Begin the span of a request. `parents` are the values of its header `traceparent`, which is not trusted."""
        facts: Attributes = {
            "http.request.method": "POST",
            "http.route": route,
            "url.path": route,
            "url.scheme": "https",
        }
        with self._span(f"POST {route}", facts, parent_of(parents), trace.SpanKind.SERVER) as span:
            yield span

    def note(self, attributes: Callable[[], Attributes]) -> None:
        """Add attributes to the current span."""
        _RecordedSpan(trace.get_current_span()).set(attributes())

    @contextmanager
    def reading(self, layout: str) -> Iterator[Span]:
        """Begin the root span of one reading of a layout's evidence."""
        with self._span("refresh evidence", {"gitchain.layout": layout}, Context()) as span:
            yield span

    @contextmanager
    def step(self, name: str, attributes: Attributes) -> Iterator[Span]:
        """Begin a child of the current span."""
        with self._span(name, attributes, None) as span:
            yield span

    @contextmanager
    def _span(
        self,
        name: str,
        attributes: Attributes,
        parent: Context | None,
        kind: trace.SpanKind = trace.SpanKind.INTERNAL,
    ) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            name,
            parent,
            kind,
            _bounded(attributes),
            record_exception=False,  # its text may show content
            set_status_on_exception=False,
        ) as span:
            yield _RecordedSpan(span)

    def close(self) -> None:
        """Send the queued spans, in bounded time."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


def open_traces() -> OpenTelemetry:
    """Return traces that the environment configures. Raises UsageError for variables with wrong values."""
    for name in _PROTOCOLS:
        if (given := os.environ.get(name, "")) not in {"", "http/protobuf"}:
            raise UsageError(
                "this protocol is not supported for traces",
                where=name,
                expected="http/protobuf",
                got=given,
                help=f"set {name}=http/protobuf, and the collector's HTTP port (4318 as a rule) as the endpoint",
            )
    library = logging.getLogger("opentelemetry")  # `Exporter` logs failures, once
    library.setLevel(logging.CRITICAL + 1)
    library.propagate = False
    try:
        provider = TracerProvider(
            resource=_resource(),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_attribute_length=MAX_TEXT),
        )
        provider.add_span_processor(Processor(Exporter()))
    except ValueError as error:
        raise wrong_variables(error) from error
    return OpenTelemetry(provider)


def _resource() -> Resource:
    """Return the resource of the environment, with gitchain's name if it has no other."""
    ours = Resource({SERVICE_NAME: "gitchain", SERVICE_VERSION: __version__})
    given = Resource.create()
    is_named = not str(given.attributes.get(SERVICE_NAME, "")).startswith("unknown_service")
    return ours.merge(given) if is_named else given.merge(ours)


def parent_of(values: Sequence[str]) -> Context:
    """Return a context with the parent of one valid `traceparent`; a context without a parent for anything else.

    Only the ids are used. Whether a review is recorded is the sampler's decision, not the caller's.
    """
    if len(values) != 1:
        return Context()
    found = trace.get_current_span(
        _PROPAGATOR.extract({"traceparent": values[0]}, Context())
    ).get_span_context()
    if not found.is_valid:
        return Context()
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    parent = trace.SpanContext(found.trace_id, found.span_id, is_remote=True, trace_flags=sampled)
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())


def _bounded(attributes: Attributes) -> Attributes:
    """Return the attributes with texts of bounded length and in printable ASCII."""
    return {
        key: printable(value, MAX_TEXT) if isinstance(value, str) else value
        for key, value in attributes.items()
    }
