"""Prometheus metrics: counts and ages, with label values from the settings or from fixed lists.

Caller input never becomes a label, because users could create unlimited series. So `namespace` is the matching
pattern of the settings: a literal name, or `ml-*`, or `*`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gitchain.admit.admission import AdmissionResult
from gitchain.admit.conditions import STATES, ConditionReason, LayoutCondition
from gitchain.admit.verdict_cache import VerdictCache

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_PATTERNS = 500
"""Most different values of the label `namespace`; further patterns count as `other`."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Metrics registry of one server."""

    def __init__(
        self, caches: Callable[[], Mapping[str, VerdictCache]], clock: Callable[[], datetime]
    ) -> None:
        self._registry = CollectorRegistry()
        self._patterns: set[str] = set()
        counter = partial(Counter, registry=self._registry)
        gauge = partial(Gauge, registry=self._registry)
        self.reviews = counter(
            "gitchain_reviews",
            "Answers by endpoint, reason, layout, and pattern of the namespace",
            ["endpoint", "reason", "layout", "namespace"],
        )
        self.changes = counter(
            "gitchain_layout_state_changes",
            "Changes of a layout's state, by the new state and its reason",
            ["layout", "state", "reason"],
        )
        self.seconds = Histogram(
            "gitchain_answer_seconds",
            "Time to an answer",
            ["endpoint"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.refused = counter("gitchain_refused_requests", "Requests that were not read", ["status"])
        self.refused.labels("500")  # initialise the series: an increase needs an earlier value
        self.closed = counter(
            "gitchain_closed_connections",
            "Connections that were ended for want of room, or did not end their handshake",
            ["reason"],
        )
        self.certificate = gauge("gitchain_certificate_expiry_seconds", "When the server's certificate ends")
        self.rotations = counter("gitchain_certificate_rotations", "Certificates taken into use")
        self._add_cluster(counter, gauge)
        self.settings_time.set(clock().timestamp())
        self._registry.register(_Layouts(caches, clock))

    def _add_cluster(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        """Add the results of the audit, the objects written to the cluster, and the settings in use."""
        self.audited = gauge("gitchain_audit_objects", "What runs, by what the last audit found", ["outcome"])
        self.audit_time = gauge("gitchain_audit_timestamp_seconds", "When the last whole audit ended")
        self.checks = counter(
            "gitchain_running_changes",
            "Models and objects that run and stopped being acceptable (FAILED), or are acceptable again (PASSED)",
            ["layout", "result"],
        )
        self.written = counter(
            "gitchain_cluster_objects",
            "Events and reports for the cluster, and notices for which there was no room",
            ["object", "outcome"],
        )
        for what, outcome in (("event", "failed"), ("report", "failed"), ("notice", "dropped")):
            self.written.labels(what, outcome)
        self.reloads = counter(
            "gitchain_settings_reloads",
            "Changes of the settings' file: used, refused, or back to those in use",
            ["result"],
        )
        self.settings_refused = gauge(
            "gitchain_settings_refused", "1 where the settings in the file are not those in use"
        )
        self.settings_time = gauge(
            "gitchain_settings_timestamp_seconds", "When the settings were taken into use"
        )

    def answered(self, endpoint: str, admission_result: AdmissionResult, seconds: float) -> None:
        """Count the response to a review, and its duration."""
        rule, review = admission_result.rule, admission_result.review
        pattern = rule.pattern(review.namespace) if rule and review else ""
        if pattern not in self._patterns and len(self._patterns) >= MAX_PATTERNS:
            pattern = "other"
        self._patterns.add(pattern)
        self.reviews.labels(endpoint, admission_result.reason, rule.layout if rule else "", pattern).inc()
        self.seconds.labels(endpoint).observe(seconds)

    def reloaded(self, result: Literal["used", "refused", "back"], now: datetime) -> None:
        """Count the result of changed settings."""
        self.reloads.labels(result).inc()
        self.settings_refused.set(float(result == "refused"))
        if result == "used":
            self.settings_time.set(now.timestamp())

    def changed(self, layout: str, condition: LayoutCondition) -> None:
        """Count a change of a layout's state."""
        self.changes.labels(layout, condition.state, condition.reason).inc()

    def render(self) -> bytes:
        """Return the metrics as text for a scrape."""
        return generate_latest(self._registry)


class _Layouts(Collector):
    """Collector of the layouts' metrics, from the verdict caches of the current settings."""

    def __init__(
        self, caches: Callable[[], Mapping[str, VerdictCache]], clock: Callable[[], datetime]
    ) -> None:
        self._caches = caches
        self._clock = clock

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Return nothing: the registry need not collect to know the names."""
        yield from ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield each metric with a sample for each layout."""
        now, caches = self._clock(), self._caches()
        by_layout: Mapping[str, tuple[str, Callable[[VerdictCache], float]]] = {
            "gitchain_evidence_age_seconds": (
                "Since the evidence was read, or found unchanged",
                lambda one: _age(one, now),
            ),
            "gitchain_layout_expiry_seconds": ("When the layout ends", _expiry),
            "gitchain_verdicts": ("Verdicts that are remembered", len),
            "gitchain_verdict_hits": ("Questions that a remembered verdict answered", lambda one: one.hits),
            "gitchain_verdict_misses": ("Questions that had to be decided", lambda one: one.misses),
            "gitchain_memory_failing": (
                "1 where the next process would not notice a rollback, as nothing can be remembered",
                lambda one: float(bool(one.evaluator.forgotten)),
            ),
        }
        for metric, (about, read) in by_layout.items():
            family = GaugeMetricFamily(metric, about, labels=["layout"])
            for name, cache in caches.items():
                family.add_metric([name], read(cache))
            yield family
        yield from _states({name: one.evaluator.condition(now) for name, one in caches.items()})


def _states(conditions: Mapping[str, LayoutCondition]) -> Iterator[GaugeMetricFamily]:
    states = GaugeMetricFamily(
        "gitchain_layout_state", "1 for the state that the layout is in", labels=["layout", "state"]
    )
    reasons = GaugeMetricFamily(
        "gitchain_layout_problem", "1 for the reason of that state", labels=["layout", "reason"]
    )
    for name, condition in conditions.items():
        for state in STATES:
            states.add_metric([name, state], float(condition.state == state))
        for reason in ConditionReason:
            if reason:
                reasons.add_metric([name, reason], float(condition.reason == reason))
    yield states
    yield reasons


def _age(cache: VerdictCache, now: datetime) -> float:
    found = cache.evaluator.age(now)
    return float("inf") if found is None else found.total_seconds()


def _expiry(cache: VerdictCache) -> float:
    layout = cache.evaluator.layout
    return layout.expires.timestamp() if layout else 0.0
