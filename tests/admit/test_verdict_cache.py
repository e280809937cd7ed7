"""Verdicts and time: what is remembered, for how long, and what a source that fails or lies does to it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gitchain.admit import memory
from gitchain.admit.denial_reasons import DenialReason
from gitchain.admit.evidence import EvidenceState, SourceReader
from gitchain.admit.layout_evaluator import LayoutEvaluator, LayoutVerdict
from gitchain.admit.settings import AdmissionSettings, Durations
from gitchain.admit.verdict_cache import MAX_FLYING, VerdictCache
from gitchain.errors import GitchainError, LayoutError, RollbackError, StoreError, TransportError
from gitchain.evidence.digest import Sha256
from gitchain.sources.evidence import Evidence
from gitchain.sources.gather import gather
from gitchain.sources.rollback_protection import remember
from gitchain.workspace.project import Project, open_project
from tests.support.admission import (
    WHO,
    AdmissionFiles,
    Clock,
    admission,
    chain,
    codes,
    digest,
    settled,
    taken_back,
)  # fmt: skip
from tests.support.fuzzing import sized
from tests.support.manual_admission import Failing, Stand, add, stand


@pytest.fixture
def standing(models: AdmissionFiles) -> Iterator[Stand]:
    yield from stand(models.settings)


@pytest.fixture
def patient(models: AdmissionFiles) -> Iterator[Stand]:
    yield from stand(models.settings, stale=3600)


@pytest.fixture
def copied(models: AdmissionFiles, tmp_path: Path, isolated: Path) -> Iterator[Stand]:
    """A stand over a copy of the world, to change."""
    shutil.copytree(models.top, tmp_path / "copy", symlinks=True)
    shutil.copytree(models.top / "home", isolated)
    yield from stand(AdmissionFiles(tmp_path / "copy").settings)


def test_before_the_first_look_nothing_is_admitted(standing: Stand) -> None:
    """A process that has just started denies; a mode that does not enforce says so and lets in."""
    assert codes(standing.judge()) == {"GC-A0301"}
    assert standing.judge(namespace="warn").reason == "warned"
    assert standing.judge(namespace="audit").reason == "audited"
    standing.read()
    assert standing.judge().reason == "verified"


def test_a_verdict_is_remembered_and_ends(standing: Stand) -> None:
    """Asked again within its time a verdict is there; after that it is made anew."""
    standing.read()
    for _ in range(3):
        standing.judge()
    assert (standing.cache.misses, standing.cache.hits) == (1, 2)
    standing.clock.move(seconds=30)
    standing.judge()
    assert standing.cache.misses == 2


def test_a_denial_is_remembered_for_a_shorter_time(standing: Stand) -> None:
    """What did not pass may pass soon: its evidence is on the way."""
    standing.read()
    for _ in range(3):
        assert codes(standing.judge("nosuch")) == {"GC-E0201"}
    assert standing.cache.misses == 1
    standing.clock.move(seconds=5)
    standing.judge("nosuch")
    assert standing.cache.misses == 2


def test_what_grows_too_old_ends_its_verdict(standing: Stand) -> None:
    """A remembered PASSED does not outlive the maxAge of the approval that it rests on, by no second."""
    standing.read()
    made = standing.judge().verdicts[0].decision
    approval = next(one for one in made.steps if one.name == "approve").attestations[0].time
    standing.clock.now = approval + timedelta(hours=12, seconds=-1)
    standing.read()
    assert standing.judge().reason == "verified"
    standing.clock.move(seconds=1)
    assert standing.judge().reason == "verified"  # the very moment still counts
    standing.clock.now = approval + timedelta(hours=12, seconds=2)
    assert "GC-E0305" in codes(standing.judge())


def test_an_expired_layout_decides_nothing(standing: Stand) -> None:
    """From the very second on that the layout names."""
    standing.read()
    layout = standing.cache.evaluator.layout
    assert layout is not None
    standing.clock.now = layout.expires - timedelta(seconds=1)
    standing.cache.evaluator._read = standing.clock.now
    assert "GC-A0301" not in codes(standing.judge())
    standing.clock.now = layout.expires
    assert codes(standing.judge()) == {"GC-A0303"}


def test_a_clock_that_goes_back_trusts_nothing_remembered(standing: Stand) -> None:
    """Neither a verdict from the future nor evidence that was read then counts."""
    standing.read()
    standing.judge()
    standing.clock.move(seconds=-1)
    standing.judge()
    assert standing.cache.misses == 2
    standing.clock.move(hours=-2)
    assert codes(standing.judge()) == {"GC-A0301"}


@pytest.mark.parametrize("error", [TransportError("no network"), StoreError("no disk")])
def test_a_source_that_is_down_is_never_an_allow(standing: Stand, error: GitchainError) -> None:
    """The last evidence counts while it is fresh, and not for a second more; it is back when the source is."""
    standing.read()
    standing.reader.error = error
    standing.clock.move(seconds=60)
    standing.read()
    assert standing.judge().reason == "verified"
    standing.clock.move(seconds=1)
    for model in ("good", "nosuch"):
        assert codes(standing.judge(model)) == {"GC-A0301"}
    assert error.what in str(standing.judge().answer.problems[0])
    assert standing.judge(namespace="warn").reason == "warned"
    standing.reader.error = None
    standing.read()
    assert standing.judge().reason == "verified"
    assert standing.reader.opened == 1  # nothing had changed


def test_stale_evidence_counts_only_where_the_operator_says_so(patient: Stand) -> None:
    """Within the bound, with a warning, and for what it says: no unknown model gets in by it."""
    patient.read()
    patient.reader.error = TransportError("no network")
    patient.clock.move(seconds=61)
    found = patient.judge()
    assert found.reason == "verified"
    assert "61 s ago" in found.answer.warnings[0]
    assert codes(patient.judge("nosuch")) == {"GC-E0201"}
    patient.clock.move(seconds=3600)
    assert codes(patient.judge()) == {"GC-A0301"}


def test_evidence_that_contradicts_its_trust_ends_everything_at_once(patient: Stand) -> None:
    """A store that was rewound, a layout by a foreign signer: no patience with that."""
    patient.read()
    assert patient.judge().reason == "verified"
    patient.reader.error = RollbackError("the attestation store has lost attestations that it had before")
    patient.read()
    assert codes(patient.judge()) == {"GC-A0301"}
    assert "lost attestations that it had" in str(patient.judge().answer.problems[0])


def test_a_layout_by_somebody_else_ends_everything(copied: Stand, git: Any) -> None:
    """The file of the layout is replaced under the running server by one that another person signed."""
    copied.read()
    assert copied.judge().reason == "verified"
    source = copied.admission.settings.sources["credit"]
    assert source.repository is not None
    with chdir(source.repository):
        from gitchain.cli.main import run

        assert run(["-q", "layout", "sign", "--no-lint", "--as", "mallory@example.com"]) == 0
    copied.read()
    assert codes(copied.judge()) == {"GC-A0301"}
    assert "may not sign it" in str(copied.judge().answer.problems[0])


def test_a_revocation_finds_nothing_remembered(copied: Stand) -> None:
    """As soon as the evidence is read again the revoked model is out, however long its verdict would have counted."""
    copied.read()
    assert copied.judge().reason == "verified"
    add(copied, taken_back("good"))
    assert copied.judge().reason == "verified"  # nobody has looked yet
    copied.read()
    assert "GC-E0342" in codes(copied.judge())
    assert copied.judge("second").reason == "verified"


def test_new_evidence_lets_a_model_in(copied: Stand) -> None:
    """A model that was unknown is admitted as soon as its chain is there, whatever was remembered against it."""
    copied.read()
    assert codes(copied.judge("late")) == {"GC-E0201"}
    add(copied, *chain("late"))
    copied.read()
    assert copied.judge("late").reason == "verified"


def test_reading_survives_an_attestation_that_is_added_meanwhile(
    copied: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process adds to the store and remembers that, after it was read here: nothing was lost."""
    repository = copied.admission.settings.sources["credit"].repository
    assert repository is not None

    def while_another_adds(project: Project | None, *args: Any, **options: Any) -> Evidence:
        found = gather(project, *args, **options)
        other = open_project(repository)
        add(copied, taken_back("good"))
        remember(other, other.store.tip(), datetime.now(UTC), [])
        return found

    with monkeypatch.context() as patch:
        patch.setattr("gitchain.consume.verifier.gather", while_another_adds)
        copied.read()
    assert copied.judge("second").reason == "verified"
    copied.read()
    assert "GC-E0342" in codes(copied.judge())


def test_reading_refuses_a_layout_if_a_newer_one_is_accepted_meanwhile(
    copied: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another replica accepted while this one read counts: nothing is decided under the older layout."""

    def while_another_accepts(project: Project | None, *args: Any, **options: Any) -> Evidence:
        found = gather(project, *args, **options)
        memory.remember("credit/credit", (99, "f" * 64))
        return found

    with monkeypatch.context() as patch:
        patch.setattr("gitchain.consume.verifier.gather", while_another_accepts)
        copied.read()
    for _ in range(2):
        assert codes(copied.judge()) == {"GC-A0301"}
        copied.read()


def test_reading_takes_the_layout_that_another_replica_accepted_meanwhile(
    copied: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was replaced while it was read here, and the other replica was faster: no review is denied for that."""
    source = copied.admission.settings.sources["credit"]
    assert source.repository is not None
    older = source.layout.read_bytes()
    text = (source.repository / ".gitchain/layout.yaml").read_text()
    (source.repository / ".gitchain/layout.yaml").write_text(text.replace("version: 3", "version: 4"))
    with chdir(source.repository):
        from gitchain.cli.main import run

        assert run(["-q", "layout", "sign", "--no-lint", "--as", WHO]) == 0
    newer = source.layout.read_bytes()
    assert newer != older
    source.layout.write_bytes(older)

    def while_another_accepts(project: Project | None, *args: Any, **options: Any) -> Evidence:
        found = gather(project, *args, **options)
        if source.layout.read_bytes() == older:
            source.layout.write_bytes(newer)
            SourceReader(source).open(copied.clock())
        return found

    with monkeypatch.context() as patch:
        patch.setattr("gitchain.consume.verifier.gather", while_another_accepts)
        copied.read()
    assert copied.judge().reason == "verified"


def test_what_was_asked_for_is_ready_on_new_evidence(copied: Stand) -> None:
    """New evidence takes the old one's place with verdicts about what is in use: nobody waits."""
    copied.read()
    copied.judge()
    add(copied, *chain("late"))
    copied.read()
    before = copied.cache.misses
    assert copied.judge().reason == "verified"
    assert copied.cache.misses == before


def test_a_restart_needs_nothing(models: AdmissionFiles) -> None:
    """A new process over the same sources says the same."""
    for _ in range(2):
        for one in stand(models.settings):
            one.read()
            assert one.judge().reason == "verified"
            assert codes(one.judge("revoked")) == {"GC-E0342"}


def test_the_memory_is_bounded(models: AdmissionFiles) -> None:
    """However many digests are asked about, no more are remembered than the settings say."""
    settings = replace(models.settings, decisions=100)
    with admission(settings) as made:
        cache = settled(made).caches["credit"]

        async def ask() -> None:
            for number in range(sized(250, 5000)):
                await cache.verdict(Sha256(f"{number:064x}"))

        asyncio.run(ask())
        assert len(cache) == 100


class Slow:
    """A gate whose decisions wait until they are let go."""

    def __init__(self, evaluator: LayoutEvaluator) -> None:
        self.evaluator, self.go, self.asked = evaluator, threading.Event(), 0
        decide = evaluator.decide

        def waiting(opened: EvidenceState, sha256: Sha256, now: datetime) -> LayoutVerdict:
            self.asked += 1
            self.go.wait(30)
            return decide(opened, sha256, now)

        evaluator.decide = waiting  # type: ignore[method-assign]


def test_one_question_is_decided_once_at_a_time(standing: Stand) -> None:
    """A hundred reviews of one model at once are one decision."""
    standing.read()
    slow = Slow(standing.cache.evaluator)

    async def ask() -> list[LayoutVerdict]:
        tasks = [asyncio.ensure_future(standing.cache.verdict(digest("good"))) for _ in range(100)]
        await asyncio.sleep(0)
        slow.go.set()
        return await asyncio.gather(*tasks)

    assert all(one.passed for one in asyncio.run(ask()))
    assert slow.asked == 1


def test_no_decision_in_time_is_a_denial(models: AdmissionFiles) -> None:
    """The answer comes before the API server gives up; the decision goes on, and is there for the next question."""
    for one in stand(models.settings, answer=1):
        one.read()
        slow = Slow(one.cache.evaluator)

        async def ask(one: Stand = one, slow: Slow = slow) -> tuple[LayoutVerdict, LayoutVerdict]:
            late = await one.cache.verdict(digest("good"))
            slow.go.set()
            return late, await one.cache.verdict(digest("good"))

        late, found = asyncio.run(ask())
        assert [problem.code for problem in late.problems] == ["GC-A0302"]
        assert found.passed
        assert slow.asked == 1


def test_too_many_decisions_at_a_time_are_refused(standing: Stand) -> None:
    """A flood of unknown digests cannot pile up without end."""
    standing.read()
    slow = Slow(standing.cache.evaluator)

    async def ask() -> list[LayoutVerdict]:
        tasks = [
            asyncio.ensure_future(standing.cache.verdict(Sha256(f"{number:064x}")))
            for number in range(MAX_FLYING + 5)
        ]
        await asyncio.sleep(0)
        slow.go.set()
        return await asyncio.gather(*tasks)

    found = asyncio.run(ask())
    told = [(one.problems[0].code, one.problems[0].message) for one in found]
    assert (
        told.count(("GC-A0302", "too many decisions wait")) == 5
    )  # a slow machine gives others up, in other words
    assert not any(one.passed for one in found)


def test_a_verdict_is_renewed_behind_the_answer(standing: Stand) -> None:
    """Towards its end the remembered verdict still answers, and a new one is made meanwhile."""
    standing.read()

    async def ask() -> None:
        first = await standing.cache.verdict(digest("good"))
        standing.clock.move(seconds=25)
        assert await standing.cache.verdict(digest("good")) is first
        await asyncio.gather(*standing.cache._flying.values())
        second = await standing.cache.verdict(digest("good"))
        assert second.made > first.made

    asyncio.run(ask())
    assert standing.cache.misses == 1


def test_no_verdict_admits_without_a_decision(standing: Stand) -> None:
    """The type itself refuses: without a decision, on a failed one, and on one about something else."""
    standing.read()
    passed = standing.judge().verdicts[0]
    failed = DenialReason("GC-E0201", "no")
    for change in ({"decision": None}, {"sha256": digest("second")}):
        with pytest.raises(ValueError, match="without a decision"):
            replace(passed, **change)
    assert not replace(passed, problems=(failed,)).passed


def test_a_layout_that_asks_for_inspections_admits_nothing_by_digest(copied: Stand) -> None:
    """What a layout demands of the bytes cannot be seen here: that is a denial, as in `gitchain verify sha256:…`."""
    source = copied.admission.settings.sources["credit"]
    assert source.repository is not None
    path = source.repository / ".gitchain/layout.yaml"
    path.write_text(
        path.read_text().replace("version: 3", "version: 4")
        + 'inspections: [{name: small, kind: size, artifacts: ["*"], maxBytes: 100}]\n'
    )
    with chdir(source.repository):
        from gitchain.cli.main import run

        assert run(["-q", "layout", "sign", "--no-lint", "--as", WHO]) == 0
    copied.read()
    assert codes(copied.judge()) == {"GC-E0352"}


def sourced(models: AdmissionFiles, text: str) -> AdmissionSettings:
    source = models.settings.sources["credit"]
    changed = replace(source, repository=None, evidence=(text,))
    return replace(models.settings, sources={"credit": changed})


def test_bundles_in_a_directory_are_evidence(models: AdmissionFiles, tmp_path: Path) -> None:
    """The same verdicts from files; a directory that is gone is a source that is down."""
    folder = tmp_path / "bundles"
    folder.mkdir()
    store = open_project(models.repository).store
    for name, raw in store.items(store.tip(), lambda _problem: None):
        (folder / f"{name}.sigstore.json").write_bytes(raw)
    for one in stand(sourced(models, str(folder))):
        one.read()
        assert one.judge().reason == "verified"
        assert codes(one.judge("revoked")) == {"GC-E0342"}
        shutil.rmtree(folder)
        one.read()
        assert one.judge().reason == "verified"
        one.clock.now += timedelta(seconds=Durations().fresh + Durations().stale + 1)
        one.read()
        assert codes(one.judge()) == {"GC-A0301"}


def test_a_mirrored_repository_is_evidence(copied: Stand, tmp_path: Path) -> None:
    """Fetched when it changes; one that is away leaves what was fetched while that is fresh; one rewound denies at once."""
    origin = tmp_path / "copy" / "repo"
    for one in stand(sourced(AdmissionFiles(tmp_path / "copy"), f"git+file://{origin}")):
        one.read()
        assert one.judge().reason == "verified"
        assert codes(one.judge("late")) == {"GC-E0201"}
        add(copied, *chain("late"))
        one.read()
        assert one.judge("late").reason == "verified"
        (origin / ".git").rename(origin / ".away")
        one.read()
        assert one.judge().reason == "verified"
        one.clock.move(seconds=61)
        assert codes(one.judge()) == {"GC-A0301"}
        (origin / ".away").rename(origin / ".git")
        one.read()
        assert one.judge().reason == "verified"
        ref = "refs/gitchain/attestations"
        subprocess.run(["git", "-C", str(origin), "update-ref", ref, f"{ref}~1"], check=True)
        one.read()
        assert codes(one.judge()) == {"GC-A0301"}


def test_executors_are_not_shared_between_reading_and_deciding(models: AdmissionFiles) -> None:
    """A source that hangs holds up nobody who asks about evidence that is there."""
    hang = threading.Event()
    clock, settings = Clock(), models.settings
    inner = SourceReader(settings.sources["credit"])

    class Hanging(Failing):
        def version(self, now: datetime) -> str:
            if self.opened:
                hang.wait(30)
            return super().version(now)

    with ThreadPoolExecutor(1) as decider, ThreadPoolExecutor(1) as reader:
        evaluator = LayoutEvaluator("credit", Hanging(inner), settings.times)
        cache = VerdictCache(
            evaluator, settings.times, limit=100, clock=clock, decider=decider, reader=reader
        )

        async def ask() -> LayoutVerdict:
            await cache.refresh()
            reading = asyncio.ensure_future(cache.refresh())
            await asyncio.sleep(0)
            found = await cache.verdict(digest("good"))
            hang.set()
            await reading
            return found

        assert asyncio.run(ask()).passed


def test_source_reader_accepts_no_older_layout_after_a_newer_one(copied: Stand) -> None:
    """Without a pin too: the process remembers, and nothing is decided until the newer layout is back."""
    reader = copied.reader.reader
    now = copied.clock()
    signed = reader.open(now).accepted.signed
    newer = replace(signed, layout=replace(signed.layout, version=signed.layout.version + 1), digest="f" * 64)
    reader.check_version(newer)
    with pytest.raises(LayoutError, match="older than the one accepted before") as error:
        reader.open(now)
    assert error.value.got.startswith(f"version {signed.layout.version},")
    reader.check_version(newer)
    with pytest.raises(LayoutError, match="another one of the same version"):
        reader.check_version(replace(newer, digest="e" * 64))
    evaluator = LayoutEvaluator("credit", reader, Durations())
    evaluator.refresh(now)
    assert evaluator.opened is None
    assert "older than the one accepted before" in evaluator.problem
