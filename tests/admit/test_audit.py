"""The audit of what runs, against an API server of the tests' own on loopback: its lists, pages, and failures."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gitchain.admit import audit as audit_module
from gitchain.admit import cluster as cluster_module
from gitchain.admit import server as server_module
from gitchain.admit.admission import Admission
from gitchain.admit.audit import Audit, audit
from gitchain.admit.cluster import Cluster
from gitchain.admit.run import serve
from gitchain.admit.tls import TlsFiles
from gitchain.errors import (
    GitchainError,
    LimitError,
    MalformedError,
    StoreError,
    TransportError,
    UsageError,
)
from tests.support.admission import AdmissionFiles, certificate, kserve, oci, pod, serving
from tests.support.kubernetes_api import Api

PODS = "/api/v1/pods"
SERVICES = "/apis/serving.kserve.io/v1beta1/inferenceservices"


def running(model: str, namespace: str = "prod", phase: str = "Running") -> dict[str, Any]:
    source = {key: value for key, value in pod(oci(model)).items() if key not in {"apiVersion", "kind"}}
    return source | {"metadata": {"name": model, "namespace": namespace}, "status": {"phase": phase}}


def audited(admission: Admission, api: Api) -> Audit:
    with ThreadPoolExecutor(1) as executor:
        return asyncio.run(audit(admission, api.cluster, executor))


def test_audit_judges_what_runs(ready: Admission, api: Api) -> None:
    """Every page and kind; what a mode let in and what no rule is for counts as denied; what has ended counts nowhere."""
    api.lists[PODS] = [
        running("good"), running("revoked"), running("nosuch", "audit"), running("good", "unruled"), running("nosuch", phase="Failed"),
    ]  # fmt: skip
    service = kserve("InferenceService", {"predictor": {"model": {"storageUri": "s3://bucket/m"}}})
    service["metadata"]["namespace"] = "warn"
    api.lists[SERVICES] = [service]
    found = audited(ready, api)
    assert (dict(found.outcomes), found.whole) == ({"verified": 1, "denied": 4}, True)
    failing = {key[:2]: check.codes for key, check in found.checks.items() if check.codes}
    assert failing == {
        ("prod", "Pod/revoked"): ("GC-E0342",), ("audit", "Pod/nosuch"): ("GC-E0201",),
        ("unruled", "Pod/good"): ("GC-A0104",), ("warn", "InferenceService/m"): ("GC-A0201",),
    }  # fmt: skip
    assert [one.subject["name"] for _, one in found.notices] == ["revoked", "nosuch", "m"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, b"{}"), (302, b"{}"), (500, b"{}"), (200, b"{"), (200, b"[]"), (200, b'{"items": 1}'), (200, b'{"items": [1]}'),
        (200, b'{"items": [{"metadata": {"name": 1}}]}'), (200, b'{"metadata": {"continue": 1}, "items": []}'),
        (200, json.dumps({"items": [{}] * 251}).encode()),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_read_is_told(ready: Admission, api: Api, status: int, body: bytes) -> None:
    """The audit goes on with the other lists and is not whole; no redirect is followed, so no token leaves."""
    api.answers[PODS] = (status, body)
    api.lists[SERVICES] = [running("good")]
    found = audited(ready, api)
    assert not found.whole
    assert sum(found.outcomes.values()) == 1
    assert not any("stolen" in path for path in api.asked)


def test_a_list_without_an_end_is_none(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that always name another page, and a page that is too large."""
    api.answers[PODS] = (200, b'{"metadata": {"continue": "x"}, "items": []}')
    monkeypatch.setattr(cluster_module, "MAX_PAGES", 3)
    with pytest.raises(TransportError, match="no end"):
        list(api.cluster.list(PODS))
    monkeypatch.setattr(cluster_module, "MAX_PAGE_BYTES", 10)
    with pytest.raises(LimitError, match="too large"):
        list(api.cluster.list(PODS))


def test_who_is_asked_and_with_what(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another CA is no cluster, another token no right; a token that is none is not sent; and no proxy is asked."""
    api.lists[PODS] = []
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert list(api.cluster.list(PODS)) == []
    (tmp_path / "other").mkdir()
    other, _ = certificate(tmp_path / "other")
    place = api.cluster
    wrong: list[tuple[Cluster, type[GitchainError]]] = [
        (Cluster(place.server, place.token, other), TransportError),
        (Cluster(place.server, tmp_path / "none", place.ca), StoreError),
        (Cluster("https://localhost:1", place.token, place.ca), TransportError),
    ]
    for one, error in wrong:
        with pytest.raises(error):
            list(one.list(PODS))
    place.token.write_text("two\nlines")
    with pytest.raises(MalformedError):
        list(place.list(PODS))
    place.token.write_text("another")
    with pytest.raises(TransportError) as caught:
        list(place.list(PODS))
    assert "another" not in str(caught.value)


def test_the_cluster_around_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment that Kubernetes gives, and only with a token; without one no audit can be asked for."""
    monkeypatch.setattr(cluster_module, "ACCOUNT", tmp_path)
    for host, shown in (("10.0.0.1", "10.0.0.1"), ("fd00::1", "[fd00::1]")):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
        (tmp_path / "token").unlink(missing_ok=True)
        assert Cluster.around() is None
        (tmp_path / "token").write_text("x")
        found = Cluster.around()
        assert found is not None
        assert found.server == f"https://{shown}:443"
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    assert Cluster.around() is None


def test_an_audit_without_a_cluster_does_not_start(models: AdmissionFiles, tmp_path: Path) -> None:
    """The settings ask for something that cannot be: said at the start."""
    from dataclasses import replace

    settings = replace(models.settings, times=replace(models.settings.times, audit=60))
    with pytest.raises(UsageError, match="needs a cluster"):
        serve(settings, TlsFiles(*certificate(tmp_path)), ("127.0.0.1", 0), None, told=print)


def test_the_server_audits(
    models: AdmissionFiles, tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counts of the last audit are metrics."""
    from dataclasses import replace

    done = threading.Event()
    real = audit_module.audit

    async def watched(*args: Any) -> Audit:
        found = await real(*args)
        asyncio.get_running_loop().call_soon(done.set)
        return found

    monkeypatch.setattr(server_module, "audit", watched)
    api.lists[PODS] = [running("good"), running("revoked")]
    settings = replace(models.settings, times=replace(models.settings.times, audit=60))
    with serving(settings, tmp_path, cluster=api.cluster) as (_, client):
        assert done.wait(30)
        text = client.call("GET", "/metrics")[1]
    assert 'gitchain_audit_objects{outcome="denied"} 1.0' in text
    assert 'gitchain_audit_objects{outcome="verified"} 1.0' in text
