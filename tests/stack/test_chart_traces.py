"""Traces in the chart: off by default; switched on, the pods send them and can reach the collector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.stack import chart

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def parts(helm: Path, **given: Any) -> tuple[dict[str, Any], list[Any]]:
    """Return the container and the policy's egress."""
    found = chart.rendered(helm, chart.values() | given)
    (container,) = chart.of_kind(found, "Deployment")["spec"]["template"]["spec"]["containers"]
    return container, chart.of_kind(found, "NetworkPolicy")["spec"]["egress"]


def test_traces_are_off_unless_they_are_switched_on(helm: Path) -> None:
    """An endpoint alone switches nothing on."""
    for traces in ({}, {"traces": {"endpoint": "http://collector:4318"}}):
        container, egress = parts(helm, **traces)
        assert "--traces" not in container["args"]
        assert ENDPOINT not in {one["name"] for one in container["env"]}
        assert egress == []


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("http://collector.monitoring:4318", 4318),
        ("https://otlp.example.com/base", 443),
        ("http://collector", 80),
        ("http://[2001:db8::1]:4318", 4318),
    ],
)
def test_traces_reach_the_collector(helm: Path, endpoint: str, port: int) -> None:
    """The option, the variable, and a rule for the port beside the operator's own rules."""
    own: list[dict[str, Any]] = [{"ports": [{"port": 53}]}]
    to: list[dict[str, Any]] = [{"namespaceSelector": {}}]
    traces = {"enabled": True, "endpoint": endpoint, "to": to}
    container, egress = parts(helm, traces=traces, networkPolicy={"egress": own})
    assert "--traces" in container["args"]
    assert {"name": ENDPOINT, "value": endpoint} in container["env"]
    assert egress == [*own, {"ports": [{"port": port}], "to": to}]
    assert parts(helm, traces=traces | {"to": []})[1] == [{"ports": [{"port": port}]}]


@pytest.mark.parametrize("endpoint", ["", "collector:4318", "http://me:pass@collector:4318"])
def test_traces_need_an_endpoint(helm: Path, endpoint: str) -> None:
    """A URL without a login: it is in the pod's environment."""
    given = chart.values() | {"traces": {"enabled": True, "endpoint": endpoint}}
    done = chart.helm(helm, "template", given)
    assert done.returncode != 0
    assert "endpoint" in done.stderr
