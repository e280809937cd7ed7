"""The journeys start where a user starts: the installed command line, and a project that knows nothing of gitchain.

Each project is led through the first commands once; every test works on a copy of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.shell import Shell
from tests.support.training_projects import fanned, listed, scored, started


def _first_commands(shell: Shell, *repro: str) -> Shell:
    """Type what `init` says comes next."""
    shell.must("gitchain", "init", "--local")
    shell.must("gitchain", "layout", "sign")
    shell.repro(*repro)
    shell.commit("first model", hooks=False)
    return shell


@pytest.fixture(scope="session")
def _started(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return _first_commands(started(tmp_path_factory.mktemp("started")))


@pytest.fixture(scope="session")
def _fanned(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return _first_commands(fanned(tmp_path_factory.mktemp("fanned")), "-P")


@pytest.fixture
def file_model(_started: Shell, tmp_path: Path) -> Shell:
    """Return a project with a verified model.json, in the started shape."""
    return _started.copy(tmp_path)


@pytest.fixture
def scored_model(tmp_path: Path) -> Shell:
    """Return the same in the older style."""
    return _first_commands(scored(tmp_path))


@pytest.fixture
def listed_model(tmp_path: Path) -> Shell:
    """Return the same with nothing that says which out is the model."""
    return _first_commands(listed(tmp_path))


@pytest.fixture
def directory_model(_fanned: Shell, tmp_path: Path) -> Shell:
    """Return a project with a verified directory release/bundle."""
    return _fanned.copy(tmp_path)
