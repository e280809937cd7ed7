"""The stages of a project as `gitchain layout draft` needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from gitchain.errors import GitchainError, ProjectError
from gitchain.evidence.bundle import Bundle
from gitchain.layout.stage_paths import DraftStage, StagePaths
from gitchain.platform.files import read_regular
from gitchain.produce.planned_stages import dvc_projects, planned_stages
from gitchain.workspace.project import SIGNED_LAYOUT, Project

MAX_LAYOUT_BYTES = 16 << 20


MAX_DVC_YAML = 32 << 20  # limit of collect.dvc_files


def draft_stages(project: Project) -> tuple[DraftStage, ...]:
    """Return the pipeline for the layout's draft in topological order."""
    stages = {
        stage.name: DraftStage(
            name=stage.name,
            deps=stage.deps,
            outs=stage.outs,
            reports=stage.reports,
            mixed=stage.mixed,
            observed=not stage.is_data and not stage.frozen,
            sources=stage.sources,
        )
        for stage in planned_stages(project)
        if stage.outs
    }
    paths = StagePaths(tuple(stages.values()))
    makers = {
        name: dict.fromkeys(maker.name for dep in stage.deps for maker in paths.makers(dep))
        for name, stage in stages.items()
    }
    order = TopologicalSorter(
        {name: [maker for maker in found if maker != name] for name, found in makers.items()}
    )
    try:
        return tuple(stages[name] for name in order.static_order())
    except CycleError as error:
        raise ProjectError(
            "stages depend on each other in a circle", where="dvc.yaml", got=" → ".join(error.args[1])
        ) from error


def served_paths(project: Project, stages: Sequence[DraftStage]) -> tuple[str, ...]:
    """Return the paths in dvc.yaml under `artifacts` that a stage makes; without any, the tracked ones.

    Raw data sets and files in Git are excluded: they are not served.
    """
    from gitchain.collect.dvc_api import artifacts

    named = sorted({path for dvc in dvc_projects(project) for path in artifacts(project.root, dvc).values()})
    paths = StagePaths(stages)
    made = [path for path in named if any(stage.observed for stage in paths.makers(path))]
    return tuple(made or [path for path in named if paths.makers(path)])


def layout_wants_observed(project: Project) -> frozenset[str]:
    """Return the steps that need observed evidence under the repository's unverified signed layout: for advice only."""
    try:
        raw = read_regular(project.root / SIGNED_LAYOUT, MAX_LAYOUT_BYTES)
        steps = Bundle.parse(raw).statement().predicate.get("steps")
    except (GitchainError, OSError):
        return frozenset()
    listed = steps if isinstance(steps, list) else []
    wanted = (step for step in listed if isinstance(step, Mapping) and step.get("evidence") == "observed")
    return frozenset(str(step.get("name")) for step in wanted)
