"""Every case of the matrix on the real API server, and gitchain's own certificates and replicas changed under load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ground
import install
import k8s
import outage
import pytest
import rolling
import tries
from cli_world import GIT_IDENTITY
from kube import Cluster
from tries import Case

REVIEWS = 300


@pytest.fixture(scope="module")
def on(cluster: Cluster, helm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[install.Installed]:
    top = tmp_path_factory.mktemp("k8s")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**GIT_IDENTITY, "HOME": str(top), "GITCHAIN_HOME": str(top / "home")}.items():
            patch.setenv(key, value)
        for name in ("ground", "serve"):
            (top / name).mkdir()
        base = ground.make(top / "ground")
        with install.installed(cluster, base, helm, top / "serve") as found:
            yield found


@pytest.mark.parametrize("one", k8s.CASES, ids=lambda one: f"{one.group}: {one.name}")
def test_it_comes_to_what_it_has_to(on: install.Installed, one: Case) -> None:
    reply = one.attempt(on)
    assert tries.come_to(reply) == one.expected, reply.message


def test_while_nothing_answers_no_model_gets_in_and_the_cluster_can_mend_itself(
    on: install.Installed,
) -> None:
    cases = outage.cases(on)
    with on.service.away():
        found = {one.name: tries.come_to(one.attempt(on)) for one in cases}
    assert found == {one.name: one.expected for one in cases}
    install.settle(on.admin)


def test_no_call_fails_while_certificates_and_replicas_change(on: install.Installed) -> None:
    load = rolling.Load(on, REVIEWS)
    load.start()
    rolling.operate(on, load, lambda _: None)
    load.end()
    assert (load.failed, load.wrong) == ([], [])
    assert load.done >= REVIEWS
