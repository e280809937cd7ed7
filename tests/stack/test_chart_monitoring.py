"""Alerts and the dashboard ask only for what gitchain exports, and a real API server takes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import GaugeMetricFamily

from gitchain.admit.metrics import Metrics
from tests.stack import chart
from tests.stack.definitions import define
from tests.stack.kube import Cluster

GROUP = "monitoring.coreos.com"
PAGE = (Path(__file__).parents[2] / "docs/runbook.md").read_text(encoding="utf-8")
WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABELS = re.compile(r"\{([^{}]*)\}|\bby \(([^()]*)\)")


def values() -> dict[str, Any]:
    settings = {
        **chart.SETTINGS,
        "times": {"audit": 600, "fresh": 90},
        "reporting": {"reports": "openreports.io"},
    }
    kinds = ("serviceMonitor", "prometheusRule", "dashboard")
    return {**chart.values(settings), "monitoring": {kind: {"enabled": True} for kind in kinds}}


@pytest.fixture
def manifests(helm: Path) -> list[dict[str, Any]]:
    return chart.rendered(helm, values())


def exported() -> dict[str, set[str]]:
    """Return the labels of every sample that a scrape can get, by the sample's name."""
    metrics = Metrics(dict, lambda: datetime.now(UTC))
    found: dict[str, set[str]] = {}
    for one in vars(metrics).values():
        for family in one.collect() if hasattr(one, "_labelnames") else ():
            kinds = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
            for suffix in kinds.get(family.type, ("",)):
                found[family.name + suffix] = {*one._labelnames, *(["le"] if suffix == "_bucket" else [])}
    for family in metrics._registry.collect():  # those of layouts: there are none here
        if isinstance(family, GaugeMetricFamily):
            found[family.name] = set(family._labelnames)
    assert {"gitchain_layout_state", "gitchain_audit_objects"} <= found.keys()
    return found


def asked(manifests: list[dict[str, Any]]) -> Iterator[str]:
    """Yield every expression of the alerts and of the dashboard."""
    for group in chart.of_kind(manifests, "PrometheusRule")["spec"]["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in dashboard(manifests)["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def dashboard(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    (text,) = (one["data"]["gitchain.json"] for one in manifests if "gitchain.json" in one.get("data", {}))
    found: dict[str, Any] = json.loads(text)
    return found


def test_only_what_is_exported_is_asked_for(manifests: list[dict[str, Any]]) -> None:
    """Every name is a sample's, with the labels that it has."""
    known = exported()
    for expression in asked(manifests):
        names = {word for word in WORD.findall(expression) if word.startswith("gitchain_")}
        assert names, expression
        assert names <= known.keys(), expression
        labels = set().union(*(known[name] for name in names))
        chosen = {
            word
            for matchers, by in LABELS.findall(expression)
            for word in re.findall(r"(\w+)\s*(?:[=!]|,|$)", re.sub(r'"[^"]*"', "", matchers) or by)
        }
        assert chosen <= labels, expression


def test_what_an_alert_counts_is_there_before_it_happens() -> None:
    """`increase` sees nothing of a series whose first sample is 1."""
    text = Metrics(dict, lambda: datetime.now(UTC)).render().decode()
    for sample in (
        'gitchain_refused_requests_total{status="500"}',
        'gitchain_cluster_objects_total{object="event",outcome="failed"}',
        'gitchain_cluster_objects_total{object="report",outcome="failed"}',
        'gitchain_cluster_objects_total{object="notice",outcome="dropped"}',
    ):
        assert f"{sample} 0.0" in text


def test_every_alert_is_in_the_runbook_and_says_what_it_means(manifests: list[dict[str, Any]]) -> None:
    (group,) = chart.of_kind(manifests, "PrometheusRule")["spec"]["groups"]
    for rule in group["rules"]:
        assert f"`{rule['alert']}`" in PAGE
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert {rule["for"] for rule in group["rules"] if rule["alert"] == "GitchainFailing"} == {
        "90s"
    }  # times.fresh
    assert any("> 1800" in rule["expr"] for rule in group["rules"])  # three audits


def test_alerts_about_what_is_off_are_left_out(helm: Path) -> None:
    quiet = {**chart.values(), "monitoring": {"prometheusRule": {"enabled": True}}}
    (group,) = chart.of_kind(chart.rendered(helm, quiet), "PrometheusRule")["spec"]["groups"]
    names = {rule["alert"] for rule in group["rules"]}
    assert not names & {"GitchainRunsUnverified", "GitchainAuditOld", "GitchainReportsLost"}
    assert not [one for one in chart.rendered(helm, chart.values()) if one["apiVersion"].startswith(GROUP)]


def test_prometheus_finds_the_port_that_the_service_has(manifests: list[dict[str, Any]]) -> None:
    monitor, service = (chart.of_kind(manifests, kind) for kind in ("ServiceMonitor", "Service"))
    labels = monitor["spec"]["selector"]["matchLabels"]
    assert labels.items() <= service["metadata"]["labels"].items()
    ports = {one["name"] for one in service["spec"]["ports"]}
    assert {one["port"] for one in monitor["spec"]["endpoints"]} <= ports


def test_no_two_panels_overlap(manifests: list[dict[str, Any]]) -> None:
    cells: list[tuple[int, int]] = []
    for panel in dashboard(manifests)["panels"]:
        at = panel["gridPos"]
        cells += [(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_a_real_api_server_takes_everything(helm: Path, cluster: Cluster) -> None:
    client = cluster.client()
    for kind in ("ServiceMonitor", "PrometheusRule"):
        define(client, kind, "v1", GROUP)
    cluster.kubectl("create", "namespace", chart.NAMESPACE)
    text = chart.helm(helm, "template", values()).stdout
    done = cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len([one for one in yaml.safe_load_all(text) if one])
