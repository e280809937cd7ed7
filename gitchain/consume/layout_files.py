"""Layout files of a repository: the unsigned layout and the signed one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from gitchain.errors import LayoutError, ProjectError
from gitchain.layout import parse_layout
from gitchain.layout.model import Layout
from gitchain.platform.files import open_regular, read_input
from gitchain.workspace.project import LAYOUT, SIGNED_LAYOUT, Project

MAX_LAYOUT_BYTES = 1 << 20
MAX_SIGNED_BYTES = 4 * MAX_LAYOUT_BYTES


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


def read_signed_layout(
    paths: Sequence[Path], root: Path | None = None, *, has_work_tree: bool = True
) -> tuple[Path, bytes]:
    """Return path and bytes of the first existing signed layout. Raises LayoutError if there is none.

    The layout of the repository at `root` is also read from Git's index if a sparse checkout left it out.
    """
    for path in paths:
        try:
            with open_regular(path) as file:
                data = file.read(MAX_SIGNED_BYTES + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LayoutError(
                "cannot read the signed layout", where=str(path), got=str(error.strerror)
            ) from error
        if len(data) > MAX_SIGNED_BYTES:
            raise LayoutError(
                "the signed layout is too large", where=str(path), expected=f"≤ {MAX_SIGNED_BYTES} bytes"
            )
        return path, data
    if root is not None and not has_work_tree:
        raise LayoutError(
            "a repository without a work tree has no signed layout of its own",
            where=str(root),
            help=f"git show HEAD:{SIGNED_LAYOUT.as_posix()} > layout.json, then again with --layout layout.json",
        )
    from gitchain.collect.committed import left_out, restoring

    own = None if root is None else root / SIGNED_LAYOUT
    kept = left_out(root, SIGNED_LAYOUT) if root is not None and own in paths else None
    if own is not None and kept is not None:
        return own, kept
    lost = restoring(root, SIGNED_LAYOUT) if root is not None and own in paths else ""
    raise LayoutError(
        "the signed layout is not in the work tree" if lost else "there is no signed layout",
        where=", ".join(str(path) for path in paths),
        help=lost or "gitchain layout sign   or give one with --layout FILE",
    )
