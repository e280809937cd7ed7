"""What a server that cannot decide says: one line, one count and one reason for each change, and for the way back."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gitchain.admit.conditions import LayoutCondition
from gitchain.admit.settings import LayoutSource
from gitchain.admit.watch import ConditionWatch
from gitchain.errors import (
    GitchainError,
    LayoutError,
    LayoutExpiredError,
    LimitError,
    MalformedError,
    RollbackError,
    SignatureError,
    StoreError,
    TransportError,
    TrustError,
    UsageError,
)
from gitchain.workspace.project import open_project
from tests.support.admission import AdmissionFiles, chain, serving
from tests.support.manual_admission import Heard, Stand, add, stand


class Watched:
    """A stand that is looked at: its log lines, and what was counted."""

    def __init__(self, one: Stand, heard: Heard) -> None:
        self.stand = one
        self.counts: list[tuple[str, str, str]] = []
        self.watch = ConditionWatch(one.clock, self._count)
        self._heard = heard

    def _count(self, layout: str, found: LayoutCondition) -> None:
        self.counts.append((layout, found.state, found.reason.value))

    def look(self, times: int = 1) -> list[dict[str, Any]]:
        """Look so many times, and return the lines that this gave."""
        self._heard.records.clear()
        for _ in range(times):
            self.watch.look(self.stand.admission.caches)
        return [{"level": one.levelname, **one.__dict__["facts"]} for one in self._heard.records]

    def after(self, seconds: float) -> list[dict[str, Any]]:
        """Let time go by, read, and look."""
        self.stand.clock.move(seconds=seconds)
        self.stand.read()
        return self.look(3)


@pytest.fixture
def watched(models: AdmissionFiles, heard: Heard) -> Iterator[Watched]:
    """A layout that decides, with patience for stale evidence."""
    for one in stand(models.settings, stale=30):
        found = Watched(one, heard)
        assert found.look() == []  # it has only just begun
        one.read()
        assert [line["state"] for line in found.look()] == ["deciding"]
        found.counts.clear()
        yield found


CLOSED: list[tuple[GitchainError, str]] = [
    (RollbackError("the attestation store has lost attestations that it had before"), "rewound"),
    (TrustError("cannot read the trust"), "trust"),
    (LayoutError("layout is signed by an identity that may not sign it"), "layout"),
    (MalformedError("not a bundle"), "evidence"),
    (SignatureError("the signature does not verify"), "evidence"),
    (LimitError("too many attestations"), "limit"),
    (UsageError("not a Git repository"), "source"),
]


@pytest.mark.parametrize(("error", "reason"), CLOSED, ids=[reason for _, reason in CLOSED])
def test_each_reason_is_one_line_and_one_count(watched: Watched, error: GitchainError, reason: str) -> None:
    """However often it is looked at and read again meanwhile; and so is the way back, with how long it took."""
    watched.stand.reader.error = error
    (line,) = watched.after(10)
    assert (line["level"], line["state"], line["reason"], line["layout"]) == (
        "ERROR",
        "closed",
        reason,
        "credit",
    )
    assert error.what in line["why"]
    for _ in range(5):
        assert watched.after(10) == []
    watched.stand.reader.error = None
    (back,) = watched.after(10)
    assert (back["level"], back["state"], back["before"], back["seconds"]) == (
        "INFO",
        "deciding",
        "closed",
        60,
    )
    assert back["version"] == 3
    assert watched.counts == [("credit", "closed", reason), ("credit", "deciding", "")]


@pytest.mark.parametrize("error", [TransportError("no network"), StoreError("no disk")])
def test_a_source_that_is_down_is_told_at_each_stage(watched: Watched, error: GitchainError) -> None:
    """It fails, grows stale, closes: three lines, of which the last two come without any new reading."""
    watched.stand.reader.error = error
    (line,) = watched.after(10)
    assert (line["level"], line["state"], line["reason"]) == ("WARNING", "failing", "source")
    for seconds in (20, 20):
        assert watched.after(seconds) == []
    (line,) = watched.after(15)
    assert (line["state"], line["reason"]) == ("stale", "source")
    assert watched.after(10) == []
    (line,) = watched.after(30)
    assert (line["level"], line["state"], line["reason"]) == ("ERROR", "closed", "source")
    assert error.what in line["why"]
    watched.stand.reader.error = None
    assert [one["state"] for one in watched.after(1)] == ["deciding"]


def test_another_error_of_the_same_reason_is_another_line(watched: Watched) -> None:
    """What has to be done differs; a count of seconds in the words does not."""
    for what in ("layout has expired", "layout is signed by an identity that may not sign it"):
        watched.stand.reader.error = LayoutError(what)
        assert [line["reason"] for line in watched.after(10)] == ["layout"]


def test_a_reading_without_an_end_is_told(models: AdmissionFiles, heard: Heard) -> None:
    """A source that hangs gives no error: its age does, at the start as well."""
    for one in stand(models.settings):
        found = Watched(one, heard)
        one.cache.evaluator._began = one.clock()  # the reader waits for a network that is silent
        one.clock.move(seconds=60)
        assert found.look(3) == []
        one.clock.move(seconds=1)
        assert [(line["state"], line["reason"]) for line in found.look(3)] == [("closed", "slow")]
        one.read()
        assert [line["state"] for line in found.look(3)] == ["deciding"]
        one.clock.move(seconds=61)
        assert [(line["state"], line["reason"]) for line in found.look(3)] == [("closed", "slow")]


def test_lines_are_bounded_by_the_readings(watched: Watched) -> None:
    """A source that comes and goes makes a line for each change, and no more than there were readings."""
    lines = 0
    for number in range(20):
        watched.stand.reader.error = TransportError("no network") if number % 2 else None
        lines += len(watched.after(10))
    assert lines == 19


def gone(path: Path) -> Callable[[LayoutSource], None]:
    return lambda _source: shutil.rmtree(path) if path.is_dir() else path.unlink()


def foreign(source: LayoutSource) -> None:
    from gitchain.cli.main import run

    assert source.repository is not None
    with chdir(source.repository):
        assert run(["-q", "layout", "sign", "--no-lint", "--as", "mallory@example.com"]) == 0


def rewound(source: LayoutSource) -> None:
    ref = "refs/gitchain/attestations"
    subprocess.run(["git", "-C", str(source.repository), "update-ref", ref, f"{ref}~1"], check=True)


FAULTS: dict[str, tuple[Callable[[LayoutSource], object], str]] = {
    "layout gone": (lambda source: source.layout.unlink(), "layout"),
    "layout is no bundle": (lambda source: source.layout.write_text("{}"), "layout"),
    "layout of another signer": (foreign, "layout"),
    "trust gone": (lambda source: Path(source.trust).unlink(), "trust"),
    "trust is no trusted root": (lambda source: Path(source.trust).write_text("{}"), "trust"),
    "store rewound": (rewound, "rewound"),
}


@pytest.mark.parametrize(("break_it", "reason"), FAULTS.values(), ids=FAULTS)
def test_what_happens_to_real_files(
    models: AdmissionFiles, tmp_path: Path, isolated: Path, heard: Heard, break_it: Any, reason: str
) -> None:
    """Each file that decides, gone or replaced under the running server: the reason, by name, and nothing is admitted."""
    shutil.copytree(models.top, tmp_path / "copy", symlinks=True)
    shutil.copytree(models.top / "home", isolated)
    for one in stand(AdmissionFiles(tmp_path / "copy").settings):
        one.read()
        add(one, *chain("late"))
        one.read()
        found = Watched(one, heard)
        found.look()
        break_it(one.admission.settings.sources["credit"])
        (line,) = found.after(10)
        assert (line["state"], line["reason"]) == ("closed", reason)
        assert line["why"]
        assert not one.judge().answer.allowed


SOURCES_GONE: dict[str, Callable[[Path], object]] = {
    "repository moved": lambda top: (top / "repo").rename(top / "elsewhere"),
    "no longer a repository": lambda top: shutil.rmtree(top / "repo" / ".git"),
    "moved out of another repository": lambda top: (
        (top / "repo").rename(top / "elsewhere"),
        subprocess.run(["git", "init", "-q", str(top)], check=True),
    ),
    "directory moved": lambda top: (top / "bundles").rename(top / "elsewhere"),
}


@pytest.mark.parametrize("break_it", SOURCES_GONE.values(), ids=SOURCES_GONE)
def test_a_source_that_is_gone_is_down(
    models: AdmissionFiles, tmp_path: Path, isolated: Path, heard: Heard, break_it: Callable[[Path], object]
) -> None:
    """A volume that is not mounted is like a host that is down: the last evidence counts for `fresh` seconds."""
    shutil.copytree(models.top, tmp_path / "copy", symlinks=True)
    shutil.copytree(models.top / "home", isolated)
    world = AdmissionFiles(tmp_path / "copy")
    (world.top / "bundles").mkdir()
    shutil.copy(world.repository / ".gitchain/layout.sigstore.json", world.top / "layout.json")
    text = (
        (world.top / "serve.yaml").read_text().replace("repo/.gitchain/layout.sigstore.json", "layout.json")
    )
    (world.top / "serve.yaml").write_text(
        text.replace("    repository:", "    evidence: [bundles]\n    repository:")
    )
    for one in stand(world.settings):
        one.read()
        assert one.judge().reason == "verified"
        break_it(world.top)
        found = Watched(one, heard)
        (line,) = found.after(10)
        assert (line["state"], line["reason"]) == ("failing", "source")
        assert str(world.top) in line["why"]
        assert one.judge().reason == "verified"
        assert [(line["state"], line["reason"]) for line in found.after(60)] == [("closed", "source")]
        assert not one.judge().answer.allowed


def test_the_expiry_is_a_reason_of_its_own(watched: Watched) -> None:
    """In the second that the layout names, though its evidence is fresh."""
    layout = watched.stand.cache.evaluator.layout
    assert layout is not None
    watched.stand.clock.now = layout.expires - timedelta(seconds=1)
    watched.stand.cache.evaluator._read = watched.stand.clock.now
    watched.look()
    watched.stand.clock.move(seconds=1)
    assert [(line["state"], line["reason"]) for line in watched.look(3)] == [("closed", "expired")]


def test_an_expired_layout_at_the_start_has_the_reason_expired(models: AdmissionFiles, heard: Heard) -> None:
    """It was never in use: the error of the reading gives the reason, and the answer its own code."""
    for one in stand(models.settings):
        found = Watched(one, heard)
        one.reader.error = LayoutExpiredError("layout has expired")
        one.read()
        assert [(line["state"], line["reason"]) for line in found.look(3)] == [("closed", "expired")]
        assert [str(problem.code) for problem in one.judge().problems] == ["GC-A0303"]


def test_an_expired_layout_stays_known(watched: Watched) -> None:
    """New evidence makes it read again: it is still the expired layout, and any other error ends it."""
    evaluator = watched.stand.cache.evaluator
    layout = evaluator.layout
    assert layout is not None
    watched.stand.clock.now = layout.expires
    watched.stand.reader.error = LayoutExpiredError("layout has expired")
    watched.stand.read()
    assert evaluator.layout is layout
    assert [str(problem.code) for problem in watched.stand.judge().problems] == ["GC-A0303"]
    watched.stand.clock.move(days=-1)
    watched.stand.read()  # a clock that went back: the layout is not kept by an error that does not fit it
    assert evaluator.layout is None


def test_a_memory_that_takes_nothing_is_told(models: AdmissionFiles, isolated: Path, heard: Heard) -> None:
    """Reviews are decided all the same; that the next process would not notice a rollback is said once."""
    shutil.copytree(models.top / "home", isolated)
    (isolated / "pins.lock").unlink(missing_ok=True)
    (isolated / "pins.lock").mkdir()  # nobody can take the lock
    for one in stand(models.settings):
        found = Watched(one, heard)
        one.read()
        lines = found.look(3)
        assert [line.get("state", line.get("what")) for line in lines] == [
            "deciding",
            "memory of layout credit",
        ]
        assert one.judge().reason == "verified"


def test_the_server_names_the_reason(models: AdmissionFiles, tmp_path: Path) -> None:
    """On /readyz and in the metrics, for each layout, and the way back; a closed layout does not end readiness."""
    layout = tmp_path / "layout.sigstore.json"
    signed = models.settings.sources["credit"].layout.read_bytes()
    layout.write_bytes(signed)
    source = replace(models.settings.sources["credit"], layout=layout)
    times = replace(models.settings.times, refresh=1)
    with serving(replace(models.settings, sources={"credit": source}, times=times), tmp_path) as (_, client):

        def becomes(state: str, reason: str | None = None) -> dict[str, Any]:
            for _ in range(200):
                status, answer = client.call("GET", "/readyz")
                found: dict[str, Any] = answer["layouts"]["credit"]
                if (found["state"], found.get("reason")) == (state, reason):
                    break
                time.sleep(0.05)
            assert (status, answer["ready"], answer["missing"], found["state"]) == (200, True, [], state)
            return found

        assert becomes("deciding") == {"state": "deciding"}
        layout.unlink()
        found = becomes("closed", "layout")
        assert (found["state"], found["reason"]) == ("closed", "layout")
        assert str(layout) in found["why"]
        text = client.call("GET", "/metrics")[1]
        assert 'gitchain_layout_state{layout="credit",state="closed"} 1.0' in text
        assert 'gitchain_layout_problem{layout="credit",reason="layout"} 1.0' in text
        assert 'gitchain_layout_problem{layout="credit",reason="trust"} 0.0' in text
        layout.write_bytes(signed)
        becomes("deciding")
        time.sleep(1.2)
        text = client.call("GET", "/metrics")[1]
        assert 'gitchain_layout_state_changes_total{layout="credit",reason="",state="deciding"}' in text


def test_the_store_of_the_world_is_left_as_it_was(models: AdmissionFiles) -> None:
    """These tests break copies."""
    assert open_project(models.repository).store.tip()
