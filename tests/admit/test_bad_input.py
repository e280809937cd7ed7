"""What a cluster or an attacker can send and do to the server: large reviews, unknown kinds, a clock that jumps, a full disk."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitchain.admit.admission import Admission
from gitchain.admit.kinds import KNOWN
from gitchain.admit.review import GroupVersionKind
from gitchain.admit.run import deployment_log
from gitchain.admit.settings import Deployments
from gitchain.evidence.digest import Sha256
from gitchain.produce.deployment_statements import DeploymentEvent
from gitchain.workspace.project import open_project
from tests.support.admission import (
    WHO,
    AdmissionFiles,
    Authority,
    Client,
    codes,
    judged,
    oci,
    pod,
    review,
    serving,
)
from tests.support.manual_admission import Stand, stand

LARGE = 3 << 20
LONG: dict[str, Callable[[], dict[str, Any]]] = {
    "one word": lambda: pod("x" * LARGE),
    "words": lambda: pod("word " * (LARGE // 5)),
    "slashes": lambda: pod("a/" * (LARGE // 2)),
    "digests": lambda: pod("a/b@sha256:0" * (LARGE // 12)),
    "schemes": lambda: pod("x://" * (LARGE // 4)),
    "variables": lambda: pod("$(" * (LARGE // 2)),
    "keys": lambda: pod("--a=" + "model:x," * (LARGE // 8)),
    "a modelcar's program": lambda: pod("sh", "-c", "mkdir -p " + "/a" * (LARGE // 2)),
    "options without an end": lambda: pod("--x=" + "$(" * (LARGE // 2)),
    "harmless words": lambda: pod("/a " * (LARGE // 3)),
    "harmless options": lambda: pod("--x=1 " * (LARGE // 6)),
    "a harmless value": lambda: pod("--x=" + "1 " * (LARGE // 2)),
    "a harmless annotation": lambda: pod(annotations={"example.com/model": "/a " * (LARGE // 3)}),
    "URLs in an annotation": lambda: pod(annotations={"example.com/x": "s3://logs/1 " * (LARGE // 12)}),
    "items": lambda: pod(*["--a=b"] * (LARGE // 8)),
}


@pytest.mark.parametrize("what", LONG)
def test_a_review_of_3_mb_is_answered(ready: Admission, what: str) -> None:
    """Whatever it holds: in time that grows with its length alone, and with a denial."""
    body = review(LONG[what](), namespace="prod")
    started = time.process_time()
    found = judged(ready, body)
    assert time.process_time() - started < 8  # it is the event loop's time: all others wait
    assert not found.answer.allowed
    assert codes(found) <= {"GC-A0201", "GC-A0206", "GC-A0208"}


def test_a_large_review_keeps_no_other_waiting_for_long(models: AdmissionFiles, tmp_path: Path) -> None:
    """3 MB that are admitted, old and new beside each other, over HTTP."""
    large = pod(oci("good"))
    large["metadata"]["annotations"] = {"example.com/notes": "x" * LARGE}
    with serving(models.settings, tmp_path) as (_, client):
        for body in (review(large), review(large, old=pod(oci("second")), operation="UPDATE")):
            assert client.post("/validate", body)[1]["response"]["allowed"] is True
            assert Client(client.port).post("/validate", review(pod(oci("good"))))[0] == 200


@given(
    st.builds(
        GroupVersionKind,
        st.sampled_from(["", "apps", "batch", "serving.kserve.io", "ml.example.com"]) | st.text(max_size=8),
        st.sampled_from(["v1", "v1beta1", "v1alpha1", "v2"]) | st.text(max_size=8),
        st.sampled_from(["Pod", "Deployment", "InferenceService", "pod", "List"]) | st.text(max_size=8),
    ).filter(lambda kind: kind not in KNOWN)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
def test_an_unknown_kind_is_never_admitted(ready: Admission, kind: GroupVersionKind) -> None:
    """Whatever it is called, also where no model is demanded."""
    version = f"{kind.group}/{kind.version}" if kind.group else kind.version
    source = {**pod(oci("good")), "apiVersion": version, "kind": kind.kind}
    body = review({**source, "apiVersion": "v1", "kind": "Pod"})
    told = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    for namespace in ("prod", "lenient"):
        body["request"] |= {"kind": told, "object": {**source, "metadata": {}}, "namespace": namespace}
        assert codes(judged(ready, body)) == {"GC-A0102"}


@pytest.fixture
def standing(models: AdmissionFiles) -> Iterator[Stand]:
    yield from stand(models.settings)


def test_a_clock_that_jumps_admits_nothing_on_old_evidence(standing: Stand) -> None:
    """Forward and back, by seconds and by years: what was read or decided far from now does not count."""
    chance, fresh = random.Random(20261130), standing.cache._times.fresh
    standing.read()
    begun = last = standing.clock.now
    admitted = 0
    for _ in range(200):
        standing.clock.now = begun
        standing.clock.move(
            seconds=chance.choice([0, 1, -1, 30, -30, 59, 61, -61, 3600, -3600, 10**8, -(10**8)])
        )
        if chance.random() < 0.3:
            standing.read()
            last = standing.clock.now
        found = standing.judge()
        away = abs((standing.clock.now - last).total_seconds())
        if found.answer.allowed:
            admitted += 1
            assert away <= fresh
        if away > fresh:
            assert codes(found) == {"GC-A0301"}
    assert admitted > 10


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB, where the machine lets us mount one."""
    place = tmp_path / "volume"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_volume_under_the_deployment_log_is_told_and_changes_no_answer(
    models: AdmissionFiles, tmp_path: Path, isolated: Path, volume: Path
) -> None:
    """What is admitted while it is full stays queued, and is in the outbox or signed once there is room again."""
    shutil.copytree(models.repository, volume / "repo", symlinks=True)
    shutil.copytree(models.top / "home", isolated)
    told = Deployments(volume / "repo", "production", "eu-1", "local", identity=WHO)
    log = deployment_log(told)
    clients = Authority(tmp_path / "clients")
    with serving(replace(models.settings, deployments=told), tmp_path, clients, deployments=log) as (
        _,
        client,
    ):
        filler = volume / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        for _ in range(3):
            assert client.post("/validate", review(pod(oci("good"))))[1]["response"]["allowed"] is True
        for _ in range(1000):
            if log.counts.problem:
                break
            assert client.call("GET", "/healthz")[0] == 200
            time.sleep(0.01)
        assert "cannot keep a deployment" in log.counts.problem
        assert log.counts.reported == 3
        filler.unlink()
        for _ in range(3000):
            if log.counts.kept == 3:
                break
            time.sleep(0.01)
        assert log.counts.kept == 3
        assert log.counts.lost == 0
    assert len(open_project(volume / "repo").outbox) + log.counts.signed >= 3


def test_a_volume_that_stays_full_is_no_silent_loss(
    models: AdmissionFiles, isolated: Path, volume: Path
) -> None:
    """At the end the log says that not everything is durable."""
    shutil.copytree(models.repository, volume / "repo", symlinks=True)
    shutil.copytree(models.top / "home", isolated)
    log = deployment_log(Deployments(volume / "repo", "production", "eu-1", "local", identity=WHO))
    with (volume / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    log.admitted(
        DeploymentEvent("deployed", Sha256("0" * 64), by="a", when=datetime.now(UTC), environment="e")
    )
    assert log.close(seconds=20) is False
    assert log.counts.lost == 1
