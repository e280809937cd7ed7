"""Read files in Git's index that the work tree lacks: left out by a sparse checkout, or deleted.

Cone mode leaves out `.gitchain` unless it is listed. gitchain's own files are then read from Git's index. To write or
change one, add the directory to the sparse checkout first.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from gitchain.collect.git import run_git
from gitchain.collect.git_index import index_entry, is_submodule
from gitchain.collect.git_objects import raw_object
from gitchain.errors import GitchainError, ProjectError


def left_out(root: Path, name: Path) -> bytes | None:
    """Return the content of a tracked file that a sparse checkout leaves out of the work tree, None for any other.

    Raises ProjectError if its object is not here, as in a partial clone.
    """
    entry = index_entry(root, name.as_posix())
    if entry is None or not entry.left_out:
        return None
    try:
        _, content = raw_object(root, entry.oid)
    except ProjectError as error:
        raise ProjectError(
            "this sparse checkout leaves the file out, and its object is not in this clone",
            where=str(root / name),
            got=error.what,
            help=f"git sparse-checkout add {shlex.quote(name.parent.as_posix())}",
        ) from error
    return content


def require_checked_out(root: Path, name: Path) -> None:
    """Raise ProjectError for a file that is not in the work tree although Git holds it: it cannot be changed there."""
    if not (root / name).exists() and (help_ := restoring(root, name)):
        sparse = "sparse-checkout" in help_
        raise ProjectError(
            "this sparse checkout leaves the file out"
            if sparse
            else "the file is missing from the work tree",
            where=str(root / name),
            help=help_,
        )


def restoring(root: Path, name: Path) -> str:
    """Return the command that brings a file back which Git holds, typed here, an empty text if it holds none."""
    path = name.as_posix()
    git = "git" if Path.cwd() == root else f"git -C {shlex.quote(os.path.relpath(root))}"
    try:
        entry = index_entry(root, path)
        if entry is not None:
            return (
                f"{git} sparse-checkout add {shlex.quote(name.parent.as_posix())}"
                if entry.left_out
                else f"{git} restore {shlex.quote(path)}"
            )
        if module := _absent_submodule(root, name):
            return f"{git} submodule update --init {shlex.quote(module)}"
        return f"{git} checkout HEAD -- {shlex.quote(path)}" if _head_has(root, path) else ""
    except GitchainError:
        return ""  # what Git cannot tell is no reason to hide the error itself


def not_a_dvc_project(folder: Path) -> ProjectError:
    """Return the error for a directory without `.dvc`, which a sparse checkout may leave out."""
    lost = restoring(folder, Path(".dvc/config"))
    if not lost:
        return ProjectError("not a DVC project", where=str(folder), help="dvc init")
    sparse = "sparse-checkout" in lost
    what = (
        "this sparse checkout leaves DVC's directory out"
        if sparse
        else "DVC's directory is missing from the work tree"
    )
    return ProjectError(what, where=str(folder / ".dvc"), help=lost)


def _absent_submodule(root: Path, name: Path) -> str:
    """Return the submodule above the name if its files are not checked out, else an empty text."""
    for folder in (one.as_posix() for one in name.parents if one.parts):
        if is_submodule(root, folder) and not (root / folder / ".git").exists():
            return folder
    return ""


def _head_has(root: Path, path: str) -> bool:
    """Return whether the tree of HEAD names the path; its object may be absent, as in a partial clone."""
    return bool(run_git(root, "ls-tree", "-z", "--full-tree", "HEAD", "--", path))
