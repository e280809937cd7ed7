"""Suggested commands for a recorded DVC stage whose files are missing or are not what DVC recorded."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from gitchain.collect.artifacts import CHANGED
from gitchain.collect.declared import RecordedStage
from gitchain.collect.dvc_cache import cache_dir, object_paths
from gitchain.collect.dvc_digest_check import MissingError
from gitchain.collect.dvc_records import LockEntry
from gitchain.collect.git import WORK_TREE_SECONDS, run_git
from gitchain.collect.line_endings import committed_digest
from gitchain.collect.stage_names import as_dvc_reads
from gitchain.consume.missing_files import from_here, how_to_get, is_dvc_tracked
from gitchain.errors import GitchainError
from gitchain.workspace.project import Project


def advise(project: Project, stage: RecordedStage, error: GitchainError) -> None:
    """Put into the error the command that gets or restores the file, or runs the stage again."""
    prefix = f"stage {stage.name}: "
    if not error.where.startswith(prefix):
        return
    name = error.where.removeprefix(prefix)
    if isinstance(error, MissingError):
        options = [how_to_get(project, name)]
    elif error.what == CHANGED:
        options = [_how_to_restore(project, stage, name, error.expected.removeprefix("md5 "))]
    else:
        return
    error.help = "   or ".join(option for option in (*options, _how_to_update(project, stage)) if option)


def _how_to_update(project: Project, stage: RecordedStage) -> str:
    """Return the command after which DVC's record is of the files that are here, an empty text for an import."""
    name = shlex.quote(as_dvc_reads(stage.name, project.root))
    if not stage.name.endswith(".dvc"):
        return f"gitchain run -- dvc repro {name}"
    is_import = stage.source is not None or stage.external
    return "" if is_import or not _is_here(project, stage) else f"dvc commit --force {name}"


def _is_here(project: Project, stage: RecordedStage) -> bool:
    return all(os.path.lexists(project.root / name) for name, _ in stage.outs)


def _how_to_restore(project: Project, stage: RecordedStage, name: str, md5: str) -> str:
    """Return the command that restores the recorded bytes, or an empty text if neither Git nor DVC has them."""
    top, entry = next(
        ((known, entry) for known, entry in (*stage.deps, *stage.outs) if Path(name).is_relative_to(known)),
        (name, None),
    )
    if _git(project, "ls-files", top):
        return _restoring_with_git(project, top, md5)
    path = from_here(project.root, top)
    if entry is not None and _is_cached(stage, entry):
        return f"dvc checkout --force {path}"
    return f"dvc pull --force {path}" if is_dvc_tracked(project, str(project.root / top)) else ""


def _restoring_with_git(project: Project, name: str, md5: str) -> str:
    """Return the command for a file or directory in Git's index, an empty text if Git holds other bytes too."""
    path = from_here(project.root, name)
    if not (project.root / name).is_dir():
        return f"git restore {path}" if committed_digest(project.root, name, "md5") == md5 else ""
    if _git(project, "ls-files --others", name):
        return f"git status --ignored {path}   to see the files that are not in Git, and remove them"
    return f"git restore {path}" if _git(project, "ls-files --modified", name) else ""


def _git(project: Project, command: str, name: str) -> bytes:
    literal = f":(literal){name}"
    try:
        return run_git(project.root, *command.split(), "-z", "--", literal, seconds=WORK_TREE_SECONDS)
    except GitchainError:
        return b""  # advice must not hide the error itself


def _is_cached(stage: RecordedStage, entry: LockEntry) -> bool:
    return entry.md5 is not None and any(
        map(os.path.exists, object_paths(cache_dir(stage.project), entry.md5))
    )
