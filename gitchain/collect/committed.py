"""Files of the repository that Git holds and the work tree lacks: left out by a sparse checkout, or deleted.

Cone mode leaves out `.gitchain` unless it is named. gitchain's own files are then read as Git's index holds them; whoever
would write or change one has to add the directory first.
"""

from __future__ import annotations

from pathlib import Path

from gitchain.collect.git import index_entry, raw_object
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
            help=f"git sparse-checkout add {name.parent.as_posix()}",
        ) from error
    return content


def require_checked_out(root: Path, name: Path) -> None:
    """Raise ProjectError for a file that is not in the work tree although Git holds it: it cannot be changed there."""
    if not (root / name).exists() and (help_ := restoring(root, name)):
        sparse = help_.startswith("git sparse-checkout")
        raise ProjectError(
            "this sparse checkout leaves the file out"
            if sparse
            else "the file is missing from the work tree",
            where=str(root / name),
            help=help_,
        )


def restoring(root: Path, name: Path) -> str:
    """Return the command that brings a file back which Git holds, an empty text if it holds none."""
    path = name.as_posix()
    try:
        entry = index_entry(root, path)
        if entry is not None:
            return (
                f"git sparse-checkout add {name.parent.as_posix()}"
                if entry.left_out
                else f"git restore {path}"
            )
        return f"git checkout HEAD -- {path}" if holds(root, "HEAD", path) else ""
    except GitchainError:
        return ""  # what Git cannot tell is no reason to hide the error itself


def not_a_dvc_project(folder: Path) -> ProjectError:
    """Return the error for a directory without `.dvc`, which a sparse checkout may leave out."""
    lost = restoring(folder, Path(".dvc/config"))
    if not lost:
        return ProjectError("not a DVC project", where=str(folder), help="dvc init")
    sparse = lost.startswith("git sparse-checkout")
    what = (
        "this sparse checkout leaves DVC's directory out"
        if sparse
        else "DVC's directory is missing from the work tree"
    )
    return ProjectError(what, where=str(folder / ".dvc"), help=lost)


def holds(root: Path, revision: str, path: str) -> bool:
    """Tell whether the revision's tree has an object at the path."""
    from gitchain.collect.git import resolve

    try:
        resolve(root, f"{revision}:{path}")
    except ProjectError:
        return False
    return True
