"""A cluster for all tests that want one, if its programs were built before: tests build nothing for minutes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import kube
from tests.stack.build import cache_directory

ENVIRON = os.environ | {
    "GITCHAIN_STACK_CACHE": str(cache_directory())
}  # before any test has a home of its own
WHY = "SKIPPED: {} is not built here: make k8s builds it (needs Go)"


def _built(*names: str) -> dict[str, Path]:
    try:
        return kube.binaries(0.0, names, ENVIRON)
    except kube.Missing as error:
        pytest.skip(WHY.format(str(error).partition(":")[0]))


@pytest.fixture(scope="session")
def engine() -> Path:
    """Return Gatekeeper's engine."""
    return _built("gatekeeper")["gatekeeper"]


@pytest.fixture(scope="session")
def helm() -> Path:
    """Return the real helm."""
    return _built("helm")["helm"]


@pytest.fixture(scope="session")
def kube_score() -> Path:
    """Return the real kube-score."""
    return _built("kube-score")["kube-score"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[kube.Cluster]:
    """Return a running API server."""
    with kube.Cluster.start(_built(*kube.TOOLS)) as found:
        yield found


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[kube.Cluster]:
    """Return an API server of a module's own, for what leaves an installation behind."""
    with kube.Cluster.start(_built(*kube.TOOLS)) as found:
        yield found
