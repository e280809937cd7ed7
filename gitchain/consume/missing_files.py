"""Suggested commands for missing files that Git or DVC tracks."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from gitchain.collect.committed import restoring
from gitchain.collect.paths import real_path
from gitchain.consume.dvc_tracked_artifacts import tracked_names
from gitchain.errors import GitchainError, ProjectError
from gitchain.workspace.project import Project


def require_files(project: Project, names: Iterable[str]) -> None:
    """Raise ProjectError for the first missing file, with the command that restores it. Names are relative to the root."""
    for name in names:
        if not os.path.lexists(project.root / name):
            raise ProjectError("no such file or directory", where=name, help=how_to_get(project, name))


def how_to_get(project: Project, name: str) -> str:
    """Return the command that restores a missing file, or advice if neither Git nor DVC tracks it."""
    if lost := restoring(project.root, Path(name)):
        return lost
    if is_dvc_tracked(project, str(project.root / name)):
        return f"dvc pull {from_here(project.root, name)}"
    return f"make the file first, or correct the path: it is relative to {Path.cwd()}"


def from_here(root: Path, name: str) -> str:
    """Return the name as a command reads it that is typed in the current directory, quoted for a shell."""
    return shlex.quote(os.path.relpath(root / name))


def is_dvc_tracked(project: Project, given: str) -> bool:
    """Return True if a .dvc or dvc.lock file of the work tree tracks this path or a directory above it."""
    absolute = real_path(given)
    if not absolute.is_relative_to(project.root):
        return False
    name = absolute.relative_to(project.root).as_posix()
    try:
        tracked = tracked_names(project)
    except (GitchainError, OSError):
        return False  # keep the original error if a file cannot be read
    return any(name == tracked_name or name.startswith(f"{tracked_name}/") for tracked_name in tracked)
