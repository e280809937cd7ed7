"""Names of DVC's stages as people type them: relative to the current directory, where statements name them from the root.

in sub/:  train            is  sub/dvc.yaml:train
../dvc.yaml:train    train
raw.csv.dvc          sub/raw.csv.dvc
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from pathlib import Path


def named_stages(given: str, known: Iterable[str], root: Path) -> tuple[str, ...]:
    """Return the known stages that a name means: read as DVC reads it in the current directory, else from the root.

    The name of a `foreach` or `matrix` is that of all of its stages, the name of a tracked file that of its .dvc file.
    """
    stages = tuple(known)
    for name in dict.fromkeys((_from_root(given, root), given)):
        for wanted in (name, posixpath.normpath(posixpath.join(_here(root), f"{given}.dvc"))):
            if wanted in stages:
                return (wanted,)
        if group := tuple(one for one in stages if one.startswith(f"{name}@")):
            return group
    return ()


def as_dvc_reads(stage: str, root: Path) -> str:
    """Return the name by which DVC finds the stage from the current directory."""
    here = _here(root)
    if here == ".":
        return stage
    if stage.endswith(".dvc"):
        return _from_here(stage, root)
    file, _, name = stage.rpartition(":")
    file = _from_here(file or "dvc.yaml", root)
    return name if file == "dvc.yaml" else f"{file}:{name}"


def _here(root: Path) -> str:
    return Path(os.path.relpath(Path.cwd(), root)).as_posix()


def _from_here(file: str, root: Path) -> str:
    return Path(os.path.relpath(root / file, Path.cwd())).as_posix()


def _from_root(given: str, root: Path) -> str:
    here = _here(root)
    if given.endswith(".dvc"):
        return posixpath.normpath(posixpath.join(here, given))
    file, _, name = given.rpartition(":")
    file = posixpath.normpath(posixpath.join(here, file or "dvc.yaml"))
    return name if file == "dvc.yaml" else f"{file}:{name}"
