"""The built distributions, and an environment for each of them: made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.installed_distributions import Installed, build, install


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the built files by kind: core, full, source."""
    made = build(tmp_path_factory.mktemp("dist"))
    return dict(zip(("core", "full", "source"), made, strict=True))


@pytest.fixture(scope="session")
def small(distributions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """gitchain-core with what `serve` needs: the packages of the container image, so no DVC."""
    return install(tmp_path_factory.mktemp("small") / "venv", distributions["core"], "serve")


@pytest.fixture(scope="session")
def full(distributions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """gitchain with everything that `pip install gitchain` brings."""
    return install(tmp_path_factory.mktemp("full") / "venv", distributions["full"], "base")
