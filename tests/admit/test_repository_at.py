"""The repository behind a symbolic link is the one that the link led to at first, also if it is replaced meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gitchain.admit.evidence import repository_at
from gitchain.errors import StoreError
from gitchain.platform.git import Git
from gitchain.workspace import project


@pytest.fixture
def repositories(tmp_path: Path) -> tuple[Path, Path]:
    """Two bare repositories, as git-sync makes a directory for each commit."""
    places = (tmp_path / "one", tmp_path / "two")
    for place in places:
        place.mkdir()
        Git(place).run("init", "--quiet", "--bare", ".")
    return places


@pytest.mark.parametrize("is_late", [False, True], ids=["before it is opened", "after it is opened"])
def test_link_that_is_replaced_leads_to_one_repository(
    repositories: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    """Opened and compared are the same directory: neither the other one, nor an error."""
    link, new, open_project = tmp_path / "link", tmp_path / "new", project.open_project
    link.symlink_to(repositories[0])

    def replaced() -> None:
        new.symlink_to(repositories[1])
        new.replace(link)

    def opened(path: Path, **options: Any) -> project.Project:
        if not is_late:
            replaced()
        found = open_project(path, **options)
        if is_late:
            replaced()
        return found

    monkeypatch.setattr(project, "open_project", opened)
    assert repository_at(link).root == repositories[0]
    monkeypatch.undo()
    assert repository_at(link).root == repositories[1]


def test_link_to_a_directory_inside_of_a_repository_is_refused(
    repositories: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(repositories[0] / "refs")
    with pytest.raises(StoreError):
        repository_at(tmp_path / "link")
