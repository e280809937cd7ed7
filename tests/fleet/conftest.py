"""Databases of both kinds, and sources that one embedded instance signed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gitchain.fleet.database import Database, open_database
from gitchain.instance import Instance
from tests.support.fleets import BundleDirectory
from tests.support.postgres_server import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    return Instance.create(tmp_path_factory.mktemp("fleet") / "local")


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the name of a new database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "fleet.sqlite")
    server: PostgresServer = request.getfixturevalue("server")
    return server.new_database()


@pytest.fixture
def database(where: str) -> Iterator[Database]:
    with open_database(where, write=True) as opened:
        yield opened


@pytest.fixture
def source(tmp_path: Path, instance: Instance) -> BundleDirectory:
    made = BundleDirectory(tmp_path / "evidence", instance)
    made.path.mkdir()
    return made
