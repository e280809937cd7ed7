"""Instances, trust and signers for attacks on bundles; a set-up repository for attacks on the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.instance import Instance
from gitchain.verify.trust import Trust
from tests.support.command_line import Done, call
from tests.support.forged_bundles import Forge
from tests.support.prepared_repository import GIT_IDENTITY, PreparedRepository, prepare_repository, repoint


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    return Instance.create(Path(tmp_path_factory.mktemp("attacks")) / "local")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    return Instance.create(Path(tmp_path_factory.mktemp("attacks")) / "other")


@pytest.fixture
def trust(instance: Instance) -> Trust:
    """The first instance's trust, which remembers nothing of other tests."""
    return Trust.parse(instance.trust_config())


@pytest.fixture
def forge(instance: Instance) -> Forge:
    return Forge(instance)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> PreparedRepository:
    """Return a set-up repository, made once; tests work on copies of it."""
    top = tmp_path_factory.mktemp("project")

    def run(cwd: Path, command: tuple[str, ...]) -> int:
        return call("-q", *command, cwd=cwd).code

    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**GIT_IDENTITY, "HOME": str(top), "GITCHAIN_HOME": str(top / "home")}.items():
            patch.setenv(key, value)
        return prepare_repository(top / "repo", top / "home", run)


@pytest.fixture
def project(
    template: PreparedRepository, isolated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> PreparedRepository:
    """Return a copy of the set-up repository and its user directory, to attack."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    shutil.copytree(template.repo, tmp_path / "project", symlinks=True)
    shutil.copytree(template.home, isolated, symlinks=True)
    repoint(isolated, template.repo, tmp_path / "project")
    return PreparedRepository(tmp_path / "project", isolated)


Process = Callable[..., Done]


@pytest.fixture
def process() -> Process:
    """Return a function that runs `gitchain ARGS` as a process of its own, in directory `cwd`."""

    def run(*args: str, cwd: Path, **more: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "gitchain", *args],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **more},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run
