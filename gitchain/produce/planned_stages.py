"""The DVC stages of a repository, and the files and parameters of one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.collect.stage_names import named_stages
from gitchain.collect.values import read_params
from gitchain.errors import GitchainError, UsageError
from gitchain.evidence.canonical import Json
from gitchain.workspace.project import Project

if TYPE_CHECKING:
    from gitchain.collect.stages import PipelineStage


@dataclass(frozen=True, slots=True)
class StepFiles:
    """Materials, products and metrics of a step: paths from the current directory, parameters as `FILE[:KEY,…]`."""

    materials: Sequence[str] = ()
    products: Sequence[str] = ()
    params: Sequence[str] = ()
    metrics: Sequence[str] = ()


def planned_stages(project: Project) -> Sequence[PipelineStage]:
    """Return the stages of all DVC projects in the repository, templates resolved. Raises the errors of `load_stages`."""
    from gitchain.collect.dvc_api import load_stages
    from gitchain.collect.git_index import pipelines_here

    projects = dvc_projects(project)
    if not projects and pipelines_here(project.root):
        projects = (project.root,)  # a dvc.yaml outside of a DVC project: raise DVC's own error
    return [stage for dvc in projects for stage in load_stages(project.root, dvc)]


def dvc_projects(project: Project) -> tuple[Path, ...]:
    """Return the DVC projects in the repository: one at its root, or several in subdirectories."""
    from gitchain.collect.dvc_cache import dvc_root
    from gitchain.collect.git_index import dvc_files_here, pipelines_here

    top = project.root
    files = (*dvc_files_here(top), *pipelines_here(top))
    roots = {dvc_root(str((top / file).parent), str(top)) for file in files}
    return tuple(sorted(Path(root) for root in roots if root is not None))


def stage_called(project: Project, step: str) -> PipelineStage:
    """Return the DVC stage of this name. Raises UsageError if there is none, or several."""
    stages = {stage.name: stage for stage in planned_stages(project)}
    named = named_stages(step, stages, project.root)
    if len(named) > 1:
        raise UsageError(
            "the name of several DVC stages",
            got=step,
            expected=", ".join(named),
            help=f"gitchain run {named[0]} -- CMD, or all of them: gitchain run -- dvc repro {step}",
        )
    if not named:
        raise UsageError(
            "no files named and no DVC stage of this name",
            got=step,
            expected=", ".join(sorted(stages)) or "a stage in dvc.yaml",
            help=f"gitchain run {step} -m MATERIAL -p PRODUCT -- CMD",
        )
    return stages[named[0]]


def stage_files(project: Project, stage: PipelineStage, metrics: Sequence[str]) -> StepFiles:
    """Return the files of a DVC stage, as paths from the current directory."""
    here = Path.cwd()
    deps, outs, own = (
        [os.path.relpath(project.root / name, here) for name in side]
        for side in (stage.deps, stage.outs, stage.metrics)
    )
    return StepFiles(deps, outs, (), [*own, *(name for name in metrics if name not in own)])


def stage_params(
    project: Project, stage: PipelineStage, notices: list[tuple[str, GitchainError]]
) -> dict[str, dict[str, Json]]:
    """Return the parameters of a DVC stage. Unreadable ones are left out and added to `notices`."""
    values_by_file: dict[str, dict[str, Json]] = {}
    for item in stage.params:
        file, _, key = item.partition(":")
        try:
            values = read_params(project.root, [(file, [key] if key else [])])
        except GitchainError as error:
            notices.append((f"{stage.name}: parameter {item}", error))
            continue
        values_by_file.setdefault(file, {}).update(values[file])
    return values_by_file
