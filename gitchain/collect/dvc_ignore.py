"""Find the dvc.yaml and .dvc files that DVC itself ignores, because a .dvcignore names them.

Every project has a .dvcignore that holds comments alone. DVC is imported only where one holds a pattern.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection
from pathlib import Path

from gitchain.collect.dvc_cache import dvc_root
from gitchain.platform.files import open_regular

MAX_DVCIGNORE_BYTES = 1024 * 1024
"""What is read of one .dvcignore to see whether it holds a pattern."""


def not_ignored(root: Path, files: Collection[str]) -> tuple[str, ...]:
    """Return those of the paths below `root` that no .dvcignore above them hides from DVC, in their order."""
    folders = {folder for file in files for folder in _above(file)}
    if not any(_holds_pattern(root / folder) for folder in folders):
        return tuple(files)
    from gitchain.collect.dvc_api import ignored

    top = os.path.realpath(root)
    projects: dict[str, list[str]] = {}
    for file in files:
        project = dvc_root(os.path.join(top, posixpath.dirname(file)), top)
        if project is not None:
            projects.setdefault(project, []).append(os.path.join(top, file))
    hidden = {path for project, paths in projects.items() for path in ignored(Path(project), paths)}
    return tuple(file for file in files if os.path.join(top, file) not in hidden)


def _above(file: str) -> list[str]:
    folder = posixpath.dirname(file)
    found = [folder]
    while folder:
        folder = posixpath.dirname(folder)
        found.append(folder)
    return found


def _holds_pattern(folder: Path) -> bool:
    try:
        with open_regular(folder / ".dvcignore") as file:
            lines = file.read(MAX_DVCIGNORE_BYTES).splitlines()
    except OSError:
        return False
    return any(line.strip() and not line.lstrip().startswith(b"#") for line in lines)
