"""One embedded instance and its trust for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitchain.instance import Instance
from gitchain.verify.trust import Trust
from tests.support.forged_bundles import Forge
from tests.support.sigstore_oracle import trust_of


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """An instance that signs for this room's tests."""
    return Instance.create(Path(tmp_path_factory.mktemp("verify")) / "local")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """Another instance, with other keys."""
    return Instance.create(Path(tmp_path_factory.mktemp("verify")) / "other")


@pytest.fixture(scope="session")
def trust(instance: Instance) -> Trust:
    """The first instance's trust."""
    return trust_of(instance.trust_config())


@pytest.fixture
def forge(instance: Instance) -> Forge:
    """A signer at the first instance."""
    return Forge(instance)
