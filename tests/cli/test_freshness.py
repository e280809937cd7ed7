"""A layout that asks for fresh checkpoints: sync signs one before the newest is too old; without one nothing passes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gitchain.consume.load_layout import LayoutOptions
from gitchain.consume.verifier import verify
from gitchain.produce.checkpoint import sign_checkpoint
from gitchain.produce.sign_and_store import SigningIdentity, project_profile
from gitchain.workspace.project import open_project

Gitchain = Callable[..., Any]


@pytest.fixture
def asking(gitchain: Gitchain, tiny: Path) -> Path:
    """Return the tiny repository, attested, whose layout asks for a checkpoint of the last seven days."""
    layout = tiny / ".gitchain/layout.yaml"
    layout.write_text(layout.read_text().replace("version: 1\n", "version: 2\nfreshness: P7D\n", 1))
    assert gitchain("layout", "sign", cwd=tiny).code == 0
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    return tiny


def codes(repo: Path, later: timedelta = timedelta()) -> list[str]:
    found = verify(open_project(repo), str(repo / "model.txt"), LayoutOptions(), datetime.now(UTC) + later)
    return [one.code.name for one in found.decisions[0].findings]


def test_sync_renews_the_checkpoint(asking: Path) -> None:
    """The first covers what there is, the next only that one: signed once half of the time is over."""
    assert codes(asking) == ["NOT_FRESH"]
    project, now = open_project(asking), datetime.now(UTC)
    profile, who = project_profile(project), SigningIdentity("ada@example.com")
    assert sign_checkpoint(project, profile, who, now).ids
    assert codes(asking) == []
    assert codes(asking, timedelta(days=6)) == []
    assert codes(asking, timedelta(days=8)) == ["NOT_FRESH"]
    assert not sign_checkpoint(project, profile, who, now + timedelta(days=3)).ids
    assert sign_checkpoint(project, profile, who, now + timedelta(days=4)).ids
