"""A fresh embedded instance per test."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitchain.instance import Instance


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    """Return a new instance."""
    return Instance.create(tmp_path / "local")
