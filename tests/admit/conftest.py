"""One world of signed models for all tests of admission: nothing in it is changed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from admit_api import Api, answering
from admit_stand import Heard
from admit_world import World, admission, make_world, settled
from cli_world import GIT_IDENTITY as GIT_ENV

from gitchain.admit.admission import Admission


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return the world."""
    top = tmp_path_factory.mktemp("admit")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**GIT_ENV, "HOME": str(top), "GITCHAIN_HOME": str(top / "home")}.items():
            patch.setenv(key, value)
        return make_world(top)


@pytest.fixture
def ready(models: World) -> Iterator[Admission]:
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
