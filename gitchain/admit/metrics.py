"""What Prometheus is told: counts and ages, under labels whose values come from the settings or from short lists.

Nothing that a caller wrote becomes a label: a cluster's users could make one series for each name they think of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gitchain.admit.engine import Engine

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One server's registry."""

    def __init__(self, engines: Mapping[str, Engine], clock: Callable[[], datetime]) -> None:
        self._registry = CollectorRegistry()
        self.reviews = Counter(
            "gitchain_reviews",
            "Answers by endpoint and reason",
            ["endpoint", "reason"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "gitchain_answer_seconds",
            "Time to an answer",
            ["endpoint"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.refused = Counter(
            "gitchain_refused_requests", "Requests that were not read", ["status"], registry=self._registry
        )
        self.certificate = Gauge(
            "gitchain_certificate_expiry_seconds",
            "When the server's certificate ends",
            registry=self._registry,
        )
        self.rotations = Counter(
            "gitchain_certificate_rotations", "Certificates taken into use", registry=self._registry
        )
        self.audited = Gauge(
            "gitchain_audit_objects",
            "What runs, by what the last audit found",
            ["outcome"],
            registry=self._registry,
        )
        self.audit_time = Gauge(
            "gitchain_audit_timestamp_seconds", "When the last whole audit ended", registry=self._registry
        )
        by_layout: Mapping[str, tuple[str, Callable[[Engine], float]]] = {
            "gitchain_evidence_age_seconds": (
                "Since the evidence was read, or found unchanged",
                lambda engine: _age(engine, clock()),
            ),
            "gitchain_layout_expiry_seconds": ("When the layout ends", _expiry),
            "gitchain_verdicts": ("Verdicts that are remembered", len),
            "gitchain_verdict_hits": ("Questions that a remembered verdict answered", lambda one: one.hits),
            "gitchain_verdict_misses": ("Questions that had to be decided", lambda one: one.misses),
        }
        for metric, (about, read) in by_layout.items():
            gauge = Gauge(metric, about, ["layout"], registry=self._registry)
            for name, engine in engines.items():
                gauge.labels(name).set_function(partial(read, engine))

    def render(self) -> bytes:
        """Return the text that a scrape gets."""
        return generate_latest(self._registry)


def _age(engine: Engine, now: datetime) -> float:
    found = engine.gate.age(now)
    return float("inf") if found is None else found.total_seconds()


def _expiry(engine: Engine) -> float:
    layout = engine.gate.layout
    return layout.expires.timestamp() if layout else 0.0
