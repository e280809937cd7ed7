"""`gitchain report` claims no more than was verified: versions, strangers, facts that state nothing, retirements."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from gitchain.evidence.predicates import DEPLOYMENT, SVR
from gitchain.evidence.vocabulary import DATASET, RETIREMENT
from gitchain.layout.model import Identity
from gitchain.report.timeline import Event, bounded
from tests.cli.test_documents import validator
from tests.cli.test_inspections import BAD, GOOD, Setting
from tests.cli.test_report import DEPLOYED, NEW, RETIRED, TERMS, state
from tests.support.model_versions import Workshop, workshop_in

Gitchain = Callable[..., Any]


@pytest.fixture
def workshop(gitchain: Gitchain, tiny: Path) -> Workshop:
    """Return a repository in which to sign versions of a model."""
    return workshop_in(tiny, lambda: gitchain("layout", "sign", "--no-lint", cwd=tiny))


def facts(gitchain: Gitchain, repo: Path, target: str = "new.bin") -> Any:
    """Return the valid document of `report --json`."""
    done = gitchain("report", "--json", target, cwd=repo)
    validator("report").validate(done.json)
    return done.json


def test_report_shows_no_version_as_passed_without_its_inspections(gitchain: Gitchain, tiny: Path) -> None:
    """Another version, whose bytes an inspection would refuse, is NOT INSPECTED; `gitchain models` lists it as FAILED."""
    setting = Setting(gitchain, tiny).layout().made("m.pkl", m_pkl=BAD).made("m.pkl", m_pkl=GOOD)
    document = facts(gitchain, setting.repo, "m.pkl")
    results = [
        (one["current"], one["verificationResult"]) for one in document["values"]["versions"]["listed"]
    ]
    assert results == [(False, "NOT_INSPECTED"), (True, "PASSED")]
    assert document["changes"]["since"]["verificationResult"] == "NOT_INSPECTED"
    page = gitchain("report", "m.pkl", "-o", "-", cwd=setting.repo)
    assert page.code == ExitCode.OK
    assert "NOT INSPECTED</span></td>" in page.out


def test_report_shows_facts_that_state_nothing_as_missing(gitchain: Gitchain, workshop: Workshop) -> None:
    """An empty source and the licence NOASSERTION are no source and no licence."""
    workshop.add(NEW)
    state(
        workshop,
        DATASET,
        ("data/raw.csv", "raw"),
        {"source": " ", "licence": "NOASSERTION", "consent": "obtained"},
    )
    (data,) = facts(gitchain, workshop.repo)["dataSets"]
    assert data["missing"] == ["source", "licence", "personalData"]
    assert data["facts"][0].keys() == {"consent", "signer", "time", "id"}
    page = gitchain("report", "new.bin", "-o", "-", cwd=workshop.repo).out
    assert "NOASSERTION" not in page
    assert re.search(r"nothing states where they come from\. <bdi>train\.py</bdi>", page)


def test_report_of_a_retirement_elsewhere_says_that_the_model_may_serve(
    gitchain: Gitchain, workshop: Workshop
) -> None:
    """The retirement of another place, or by another signer, ends no deployment."""
    workshop.add(NEW)
    state(workshop, DEPLOYMENT, ("new.bin", "new"), DEPLOYED)
    state(workshop, RETIREMENT, ("new.bin", "new"), RETIRED | {"cluster": "other"})
    state(workshop, RETIREMENT, ("new.bin", "new"), RETIRED, who="bob@example.com")
    (gap,) = (one for one in facts(gitchain, workshop.repo)["gaps"] if one["code"] == "no-retirement")
    assert "1 deployment(s)" in gap["text"]


def test_report_states_what_an_approval_states(gitchain: Gitchain, workshop: Workshop) -> None:
    """A verification result with the property REJECTED satisfies the layout: the page shows the property."""
    workshop.add(NEW)
    approval = workshop.approve(replace(NEW, model="new 2"))
    rejected = {**approval.predicate, "properties": ["REJECTED"]}
    again = replace(NEW, model="new 2")
    nodes = workshop.data(again)[1]
    workshop.sign("ada@example.com", [workshop.prepare(again), workshop.train(again)], nodes)
    state(workshop, SVR, ("new.bin", "new 2"), rejected)
    (workshop.repo / "new.bin").write_text("new 2")
    (properties,) = (
        one
        for one in facts(gitchain, workshop.repo)["values"]["approvals"]["values"]
        if one["name"] == "properties"
    )
    assert properties["values"] == ["REJECTED"]
    assert (
        "<code><bdi>REJECTED</bdi></code>" in gitchain("report", "new.bin", "-o", "-", cwd=workshop.repo).out
    )


def test_report_hides_no_counted_event_behind_those_of_strangers(
    gitchain: Gitchain, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More newer statements of a stranger than are listed hide no deployment, no facts and no newest time."""
    monkeypatch.setattr("gitchain.report.evidence.MAX_ABOUT", 2)
    workshop.add(NEW)
    state(workshop, DEPLOYMENT, ("new.bin", "new"), DEPLOYED)
    state(workshop, DATASET, ("data/raw.csv", "raw"), TERMS)
    before = facts(gitchain, workshop.repo)
    for number in range(3):
        place = DEPLOYED | {"cluster": f"c{number}"}
        state(workshop, DEPLOYMENT, ("new.bin", "new"), place, who="mallory@example.com")
        fake = TERMS | {"licence": f"MIT-{number}"}
        state(workshop, DATASET, ("data/raw.csv", "raw"), fake, who="mallory@example.com")
    document = facts(gitchain, workshop.repo)
    assert document["dataSets"] == before["dataSets"]
    assert document["newestEvidence"] == before["newestEvidence"]
    assert [one["counted"] for one in document["timeline"] if one["kind"] == "deployment"] == [
        True,
        False,
        False,
    ]


def test_bounded_events_keep_revocations_and_what_counts() -> None:
    """A thousand events of strangers leave all counted events; a thousand counted ones leave the revocation."""
    person = Identity("https://issuer.example.com", "mallory@example.com")
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def events(kind: str, count: int, *, counted: bool, after: int) -> list[Event]:
        return [
            Event(
                start + timedelta(minutes=after + number),
                kind,
                "",
                person,
                f"{kind}{number}",
                "claimed",
                is_counted=counted,
            )
            for number in range(count)
        ]

    steps = events("step", 300, counted=True, after=0)
    revoked = events("revocation", 1, counted=True, after=300)
    others = events("deployment", 1000, counted=False, after=301)
    kept = bounded([*steps, *revoked, *others])
    assert kept[:301] == [*steps, *revoked]
    assert len(kept) == 401
    many = events("step", 1000, counted=True, after=301)
    assert len(found := bounded([*steps, *revoked, *many])) <= 500
    assert revoked[0] in found


def test_report_repeats_its_time_in_its_command(gitchain: Gitchain, workshop: Workshop) -> None:
    """The command that makes the report again has the --at of the report."""
    workshop.add(NEW)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    page = gitchain("report", "new.bin", "-o", "-", "--at", now, cwd=workshop.repo).out
    assert f"gitchain report new.bin --at {now}" in page


@pytest.mark.parametrize("option", ["-o", "--cyclonedx"])
def test_report_replaces_reports_alone(gitchain: Gitchain, workshop: Workshop, option: str) -> None:
    """The model, or any file that is no report, stays as it is; an earlier report is replaced."""
    workshop.add(NEW)
    done = gitchain("report", "new.bin", option, "new.bin", cwd=workshop.repo)
    assert done.code == ExitCode.USAGE
    assert "a file with other content" in done.err
    assert (workshop.repo / "new.bin").read_text() == "new"
    for _ in range(2):
        assert gitchain("report", "new.bin", option, "r", cwd=workshop.repo).code == ExitCode.OK
