"""Two embedded instances under one trusted root, and the bundles that are swapped and mangled."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitchain.instance import Instance
from gitchain.verify.trust import Trust
from tests.support.bundle_fields import Json, make_bundles, make_trust


@pytest.fixture(scope="session")
def instances(tmp_path_factory: pytest.TempPathFactory) -> tuple[Instance, Instance]:
    top = Path(tmp_path_factory.mktemp("matrix"))
    return Instance.create(top / "one"), Instance.create(top / "two")


@pytest.fixture(scope="session")
def trust(instances: tuple[Instance, Instance]) -> Trust:
    return make_trust(*instances)


@pytest.fixture(scope="session")
def valid(instances: tuple[Instance, Instance]) -> list[Json]:
    """Every bundle that can be swapped with: all of them verify under the one trust."""
    one, two = instances
    return [*make_bundles(one), *make_bundles(two)][:60]
