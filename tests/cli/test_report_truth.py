"""`gitchain report` claims no more than was verified: versions, strangers, facts that state nothing, retirements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.cli.test_documents import validator
from tests.cli.test_inspections import BAD, GOOD, Setting
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
