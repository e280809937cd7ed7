"""One world of signed models for all tests of admission: nothing in it is changed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitchain.admit.admission import Admission
from tests.support.admission import AdmissionFiles, admission, settled, write_admission_files
from tests.support.kubernetes_api import Api, answering
from tests.support.manual_admission import Heard
from tests.support.prepared_repository import GIT_IDENTITY as GIT_ENV


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> AdmissionFiles:
    """Return the world."""
    top = tmp_path_factory.mktemp("admit")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**GIT_ENV, "HOME": str(top), "GITCHAIN_HOME": str(top / "home")}.items():
            patch.setenv(key, value)
        return write_admission_files(top)


@pytest.fixture
def ready(models: AdmissionFiles) -> Iterator[Admission]:
    """Return the admission over the world, with its evidence read."""
    with admission(models.settings) as made:
        yield settled(made)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """Return an API server that holds nothing yet."""
    with answering(tmp_path / "api") as made:
        yield made


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Everything from INFO on that the server logs, whatever other tests have set up."""
    logger, found = logging.getLogger("gitchain.serve"), Heard()
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(found)
    yield found
    logger.removeHandler(found)
    logger.setLevel(before)
