"""The deployment log: off the path, bounded, and nothing that was durable is lost, however the process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import MalformedError, StoreError, TransportError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.deployment import DeploymentVerdict
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import DEPLOYMENT, DEPLOYMENT_CHECK, RETIREMENT
from gitchain.instance import Instance
from gitchain.produce import deployments
from gitchain.produce.deployment_statements import DeploymentEvent
from gitchain.produce.deployments import DeploymentLog
from gitchain.produce.sign_and_store import SigningIdentity, drain_outbox
from gitchain.trust.load_profile import load_profile
from gitchain.trust.profiles import Profile
from gitchain.workspace.project import Project, open_project

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
WHO = SigningIdentity("admission@example.com")
DIGEST = "ab" * 32


def event(number: int = 0, **changes: Any) -> DeploymentEvent:
    fields: dict[str, Any] = {
        "kind": "deployed",
        "sha256": DIGEST,
        "by": "system:serviceaccount:ci:deployer",
        "when": NOW,
        "environment": "production",
        "cluster": "eu-1",
        "namespace": "scoring",
        "workload": f"Deployment/credit-{number}",
        "uid": "7e0f5c2a",
        "image": "registry.example.com/serve@sha256:00",
        "verdict": DeploymentVerdict("PASSED", "credit", 3, "cd" * 32),
    }
    return DeploymentEvent(**(fields | changes))


@pytest.fixture
def profile(isolated: Path) -> Profile:
    isolated.mkdir(exist_ok=True)
    Instance.create(isolated / "local")
    return load_profile("local")


@pytest.fixture
def project(git_repo: Path) -> Project:
    return open_project(git_repo, configured=False)


def stored(project: Project) -> list[Statement]:
    return [Bundle.parse(raw).statement() for raw in open_project(project.root).store.all()]


def test_an_event_becomes_a_signed_statement(project: Project, profile: Profile) -> None:
    """Who, what, where, when and on whose verdict; a retirement is of its own type."""
    log = DeploymentLog(project, profile, WHO)
    log.admitted(event())
    log.admitted(event(kind="retired"))
    assert log.close(60)
    went, left = sorted(stored(project), key=lambda one: one.predicate_type)
    assert (went.predicate_type, left.predicate_type) == (DEPLOYMENT, RETIREMENT)
    assert [dict(one.digest) for one in went.subject] == [{"sha256": DIGEST}]
    assert went.predicate == {
        "model": f"sha256:{DIGEST}",
        "environment": "production",
        "deployedBy": "system:serviceaccount:ci:deployer",
        "deployedOn": "2026-11-26T12:00:00.000000Z",
        "cluster": "eu-1",
        "namespace": "scoring",
        "workload": "Deployment/credit-0",
        "uid": "7e0f5c2a",
        "image": "registry.example.com/serve@sha256:00",
        "verdict": {
            "result": "PASSED",
            "layout": {"name": "credit", "version": 3, "digest": {"sha256": "cd" * 32}},
        },
    }
    assert (left.predicate["retiredBy"], "image" in left.predicate) == (
        "system:serviceaccount:ci:deployer",
        False,
    )
    assert (log.counts.reported, log.counts.kept, log.counts.signed, log.waiting) == (2, 2, 2, 0)


@pytest.mark.parametrize("text", ["a\x00b", "\u202eevil", "x" * 5000, "\ud800"])
def test_what_the_cluster_says_cannot_break_the_log(text: str) -> None:
    """Names are texts of others: they are escaped and cut, and never lose a deployment."""
    statement = event(by=text, workload=text, image=text, model=text, environment=text).statement()
    assert len(str(statement.predicate["deployedBy"])) <= 1024
    assert all(str(value).isprintable() for value in statement.predicate.values() if isinstance(value, str))


def test_keep_returns_when_the_event_is_durable(project: Project, profile: Profile) -> None:
    """The statement is in the outbox, or signed; a check has its codes and no person."""
    log = DeploymentLog(project, profile, WHO)
    failed = DeploymentVerdict("FAILED", "credit", 3, "cd" * 32)
    log.keep(event(kind="checked", verdict=failed, codes=("GC-E0342",)))
    assert (log.counts.kept, log.queued) == (1, 0)
    assert log.close(60)
    (found,) = stored(project)
    assert found.predicate_type == DEPLOYMENT_CHECK
    assert found.predicate["codes"] == ["GC-E0342"]
    assert "deployedBy" not in found.predicate
    for wrong in (event(kind="checked", verdict=None), event(kind="checked", verdict=failed)):
        with pytest.raises(MalformedError):
            wrong.statement()
    with pytest.raises(StoreError):
        log.keep(event())


def test_a_digest_that_is_none_is_refused_at_once(project: Project, profile: Profile) -> None:
    log = DeploymentLog(project, profile, WHO)
    with pytest.raises(MalformedError):
        log.admitted(event(sha256="nonsense"))
    log.close()
    with pytest.raises(StoreError, match="closed"):
        log.admitted(event())


def test_an_identity_that_nobody_has_is_refused_before_anything_starts(
    project: Project, profile: Profile
) -> None:
    with pytest.raises(UsageError):
        DeploymentLog(project, profile, SigningIdentity("not an identity"))


def test_a_service_that_is_down_loses_nothing(
    project: Project, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be signed waits in the outbox and is tried again; the next process signs what is left."""
    failing = threading.Event()

    def down(*_args: Any, **_more: Any) -> Any:
        failing.set()
        raise TransportError("the log is down")

    told: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Profile, "signer", down)
        patch.setattr(deployments, "FIRST_PAUSE", 0.01)
        log = DeploymentLog(project, profile, WHO, on_error=told.append)
        for number in range(5):
            log.admitted(event(number))
        assert failing.wait(30)
        assert log.close(60)
    assert (log.waiting, log.counts.signed, stored(project)) == (5, 0, [])
    assert (log.counts.failures > 0, "the log is down" in log.counts.problem) == (True, True)
    assert "the log is down" in told[0]
    again = DeploymentLog(open_project(project.root, configured=False), profile, WHO)
    assert again.close(60)
    assert (again.waiting, len(stored(project))) == (0, 5)


def test_what_comes_while_another_process_signs_is_signed_after_it(
    project: Project, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replicas share an outbox: the other one holds it, has looked at it already, and will not look again."""
    monkeypatch.setattr(deployments, "FIRST_PAUSE", 0.02)
    tried, real = threading.Semaphore(0), drain_outbox

    def drain(*args: Any) -> Any:
        found = real(*args)
        tried.release()
        return found

    monkeypatch.setattr(deployments, "drain_outbox", drain)
    log = DeploymentLog(project, profile, WHO)
    with open_project(project.root).outbox.draining() as held:
        assert held
        log.admitted(event())
        assert tried.acquire(timeout=30)
    while log.waiting:
        assert tried.acquire(timeout=30)
    assert log.close(60)
    assert len(stored(project)) == 1
    assert (log.counts.signed, log.counts.failures) == (1, 0)


def test_what_another_process_left_is_signed_without_a_report(
    project: Project, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that ended leaves its outbox to those that run: they look now and then."""
    monkeypatch.setattr(deployments, "LONGEST_PAUSE", 0.05)
    log = DeploymentLog(project, profile, WHO)
    other = open_project(project.root).outbox
    other.put(event().statement().payload, {}, {"trust": profile.name, "identity": str(WHO.name)})
    until = threading.Event()
    for _ in range(600):
        if not len(other):
            break
        until.wait(0.05)
    assert len(stored(project)) == 1
    assert log.close(60)


def test_a_full_queue_makes_the_reporter_wait_for_the_disk_and_loses_nothing(
    project: Project, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper stands still: what does not fit into the queue is durable when `admitted` returns."""
    go = threading.Event()
    monkeypatch.setattr(DeploymentLog, "_kept", lambda log, one: go.wait(60) and log._keep(one) is None)
    monkeypatch.setattr(DeploymentLog, "_signed", lambda _log: True)
    log = DeploymentLog(project, profile, WHO, limit=2)
    for number in range(10):
        log.admitted(event(number))
    assert log.counts.pressed >= 7
    assert log.waiting == log.counts.pressed
    go.set()
    assert log.close(60)
    assert log.waiting == log.counts.kept == 10


def test_a_disk_that_takes_nothing_is_told_to_the_reporter(
    project: Project, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the queue is full and the outbox cannot be written, the report fails: nobody believes it was recorded."""

    def refuse(*_args: Any) -> Any:
        raise StoreError("no space left")

    monkeypatch.setattr("gitchain.store.outbox.Outbox.put", refuse)
    monkeypatch.setattr(deployments, "KEEP_PAUSE", 0.01)
    log = DeploymentLog(project, profile, WHO, limit=1)
    reported = 0
    with pytest.raises(StoreError, match="no space"):  # noqa: PT012 - one in the keeper's hands, one in the queue
        while reported < 5:
            log.admitted(event(reported))
            reported += 1
    assert (log.counts.kept, log.counts.reported) == (0, reported)
    assert not log.close(5)
    assert log.counts.lost >= 1


CRASH = """
import sys, os
from datetime import UTC, datetime
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.produce.test_deployments import event, WHO
from gitchain.produce.deployments import DeploymentLog
from gitchain.trust.load_profile import load_profile
from gitchain.workspace.project import open_project
log = DeploymentLog(open_project(Path({repo!r}), configured=False), load_profile("local"), WHO)
number = 0
while True:
    log.admitted(event(number))
    number += 1
    print(log.counts.kept, flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_durable(project: Project, profile: Profile) -> None:
    """kill -9 in the middle: every event that was counted as kept is in the outbox or in the store afterwards."""
    code = CRASH.format(tests=str(Path(__file__).parents[2]), repo=str(project.root))
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ.copy()
    )
    assert child.stdout is not None
    kept = 0
    for line in child.stdout:
        kept = int(line)
        if kept >= 60:
            break
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().split()
    child.wait()
    kept = max([kept, *(int(text) for text in rest if text.isdigit())])
    log = DeploymentLog(open_project(project.root, configured=False), profile, WHO)
    assert log.close(120)
    assert log.waiting == 0
    places = {str(one.predicate["workload"]) for one in stored(project)}
    assert len(places) >= kept >= 60
    assert places == {f"Deployment/credit-{number}" for number in range(len(places))}


def test_log_shows_where_a_model_went_and_when_it_left(
    project: Project,
    profile: Profile,
    git: Callable[..., str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from gitchain.cli.main import run

    monkeypatch.chdir(project.root)
    assert run(["init", "--local", "-q"]) == 0
    log = DeploymentLog(open_project(project.root, configured=False), profile, WHO)
    log.admitted(event(7))
    log.admitted(event(7, kind="retired", by="ada@example.com"))
    assert log.close(60)
    capfd.readouterr()
    assert run(["log", f"sha256:{DIGEST}"]) == 0
    out = capfd.readouterr().out
    assert "to production / eu-1 / scoring / Deployment/credit-7, by system:serviceaccount:ci:deployer" in out
    assert "left production / eu-1 / scoring / Deployment/credit-7, by ada@example.com" in out
