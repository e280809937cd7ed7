"""Find the repository of a directory, and check its files before git reads them."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from gitchain.errors import ProjectError
from gitchain.platform.files import is_special, read_regular, special_files

_MAX_POINTER = 64 << 10  # size of `.git` as a file, and of `commondir`


_DEEP = ("gitchain", "logs", "objects", "refs", "reftable")
"""Directories that are searched recursively for special files."""


_WORK_TREE = (".gitattributes", ".gitignore", ".gitmodules")
"""Files that git opens at the top of a work tree. A special file in a subdirectory leads to the deadline."""


@cache
def check_repository_files(directory: Path) -> None:
    """Raise ProjectError for a named pipe or device among the files that git and libgit2 open unchecked.

    Checked once per directory and process. Missing and unreadable files are left to git.
    """
    folder, git = _find_repository(directory)
    if git is None:
        return
    for name in _WORK_TREE:
        if is_special(folder / name):
            raise _special_file(folder / name)
    common = _pointer(git / "commondir").strip() if os.path.lexists(git / "commondir") else ""
    tops = ((".", False), ("info", False), *((name, True) for name in _DEEP))
    for place in dict.fromkeys((git, git / common)):
        for top, is_deep in tops:
            for path in special_files(place / top, is_deep=is_deep):
                raise _special_file(path)


def _special_file(path: Path) -> ProjectError:
    return ProjectError(
        "special file where Git expects its own",
        where=str(path),
        expected="a regular file",
        help=f"if you did not make it: rm {path}",
    )


def _find_repository(directory: Path) -> tuple[Path, Path | None]:
    """Return the work tree and the Git directory around a directory, without git; None without a repository."""
    start = Path.cwd() / directory
    for folder in (start, *start.parents):
        git = folder / ".git"
        if git.is_dir():
            return folder, git
        if os.path.lexists(git):
            return folder, folder / _pointer(git).removeprefix("gitdir:").strip()
        if (folder / "HEAD").exists() and (folder / "objects").is_dir():
            return folder, folder
    return start, None


def _pointer(path: Path) -> str:
    """Return the text of a small file that points to another Git directory."""
    try:
        return os.fsdecode(read_regular(path, _MAX_POINTER))
    except OSError as error:
        raise ProjectError(
            "cannot read a file of Git", where=str(path), expected="a regular file", got=str(error.strerror)
        ) from error
