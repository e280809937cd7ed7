"""Traces of reviews: the interface, and its implementation that records nothing.

`gitchain serve --traces` replaces `OFF` by `otel.OpenTelemetry`, the only module that imports OpenTelemetry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from gitchain.errors import UsageError

Attributes = Mapping[str, str | bool | int | Sequence[str]]


class Span:
    """A span that records nothing."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""

    def fail(self, error: str) -> None:
        """Mark the span as failed, with the type of the error. Its text is not recorded."""


_NOTHING = nullcontext(Span())


class Traces:
    """Traces that are off. No method blocks or raises."""

    def request(self, route: str, parents: Sequence[str]) -> AbstractContextManager[Span]:
        """Begin the span of a request. `parents` are the values of its header `traceparent`, which is not trusted."""
        del route, parents
        return _NOTHING

    def note(self, attributes: Callable[[], Attributes]) -> None:
        """Add attributes to the current span. They are not computed where traces are off."""

    def reading(self, layout: str) -> AbstractContextManager[Span]:
        """Begin the root span of one reading of a layout's evidence."""
        del layout
        return _NOTHING

    def step(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """Begin a child of the current span."""
        del name, attributes
        return _NOTHING

    def close(self) -> None:
        """Send the queued spans, in bounded time."""


def wrong_variables(error: ValueError) -> UsageError:
    """Return the error for variables of the environment that OpenTelemetry refuses."""
    return UsageError(
        "the variables for traces have a wrong value",
        where="OTEL_*",
        got=str(error),
        help="correct the variable (docs/admission.md, Traces)",
    )


OFF = Traces()
