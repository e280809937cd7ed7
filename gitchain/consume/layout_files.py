"""The layout file that a person writes in a repository, before it is signed."""

from __future__ import annotations

import shlex
from pathlib import Path

from gitchain.errors import LayoutError, ProjectError
from gitchain.layout.load import MAX_LAYOUT_BYTES, parse_layout
from gitchain.layout.model import Layout
from gitchain.platform.files import read_input
from gitchain.workspace.project import LAYOUT, Project


def read_layout(path: Path) -> Layout:
    """Return the unsigned layout. Raises LayoutError if it is missing or invalid."""
    remedy = "gitchain layout draft --write"
    data = read_input(path, MAX_LAYOUT_BYTES, LayoutError, "cannot read the layout", help=remedy)
    try:
        return parse_layout(data)
    except LayoutError as error:
        raise _in_file(path, data, error) from error


def _in_file(path: Path, data: bytes, error: LayoutError) -> LayoutError:
    """Return the error with its file and a suggested fix."""
    from gitchain.collect.strict_yaml import CONFLICT

    conflict, lint = CONFLICT.search(data), f"gitchain layout lint {shlex.quote(str(path))}"
    if conflict is not None:
        line = data.count(b"\n", 0, conflict.start()) + 1
        return LayoutError(
            "the layout holds merge conflict markers",
            where=f"{path} line {line}",
            help=f"resolve the conflict, raise version above both sides, then: {lint}",
        )
    return LayoutError(
        error.what,
        where=f"{path}: {error.where}" if error.where else str(path),
        expected=error.expected,
        got=error.got,
        help=error.help
        or f"correct it (docs/layout.md), then: gitchain layout lint {shlex.quote(str(path))}",
    )


def own_layout(project: Project) -> Path:
    """Return the path of the unsigned layout. Raises LayoutError if it is in Git but not in the work tree."""
    from gitchain.collect.committed import require_checked_out

    try:
        require_checked_out(project.root, LAYOUT)
    except ProjectError as error:
        raise LayoutError(error.what, where=error.where, help=error.help) from error
    return project.root / LAYOUT
