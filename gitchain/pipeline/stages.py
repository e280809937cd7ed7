"""DVC stages to statements: what `dvc repro` really ran, what it took from its run cache, and what was only declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.canonical import Json
from gitchain.evidence.predicates import claim_of
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.layout.draft import DraftStage
from gitchain.pipeline.project import Project, open_project
from gitchain.pipeline.record import Draft
from gitchain.pipeline.steps import provenance

if TYPE_CHECKING:
    from gitchain.collect.stages import PipelineStage, StageRun


def is_dvc(command: Sequence[str]) -> bool:
    """Tell whether the command makes DVC run stages, however DVC is started."""
    from gitchain.collect.repro import is_dvc_repro

    return is_dvc_repro(command)


@dataclass(frozen=True, slots=True)
class Reproduced:
    """The statements of one run of DVC, its exit code, and stages whose evidence could not be made, with the reason."""

    drafts: tuple[Draft, ...]
    exit_code: int
    problems: tuple[GitchainError, ...]


def observe_repro(project: Project, command: Sequence[str], stdout: int = 1) -> Reproduced:
    """Run DVC and return a statement for each stage that really ran or came from the run cache.

    Data that DVC tracks without a stage gets its declared statement too, where it has none yet: a chain that starts
    nowhere cannot be verified. Stages that ran before a failure keep their evidence.
    """
    from gitchain.collect.repro import observe_dvc

    done = observe_dvc(project.root, command, cwd=Path.cwd(), state=project.state, stdout=stdout)
    project = open_project(project.root)
    drafts = [draft for run in done.stages if (draft := stage_draft(project, run)) is not None]
    if done.exit_code == 0:
        drafts += declared_drafts(project, (), data_only=True)
    seen = {claim_of(draft.statement).step: draft for draft in reversed(drafts)}
    return Reproduced(tuple(reversed(seen.values())), done.exit_code, done.problems)


def declared_drafts(project: Project, steps: Sequence[str], *, data_only: bool = False) -> tuple[Draft, ...]:
    """Return a declared statement for each recorded stage or .dvc file named (all, when none is) that has none yet.

    Raises UsageError for a step that DVC has no record of, VerificationError where a recorded md5 and the bytes disagree.
    """
    from gitchain.collect.declared import declare, recorded_stages

    recorded = recorded_stages(project.root)
    unknown = [step for step in steps if step not in recorded]
    if unknown:
        raise UsageError(
            "DVC has no record of this step",
            got=unknown[0],
            expected=", ".join(sorted(recorded)) or "a stage in dvc.lock or a .dvc file",
            help=f"name its files: gitchain attest {unknown[0]} --material PATH --product PATH",
        )
    chosen = [name for name in steps or recorded if not data_only or name.endswith(".dvc")]
    if not chosen:
        return ()
    drafts = (stage_draft(project, run) for run in declare(project.root, chosen, state=project.state))
    return tuple(draft for draft in drafts if draft and not attested_already(project, draft.statement))


def stage_draft(project: Project, run: StageRun) -> Draft | None:
    """Return the statement of one stage run; None for a stage that makes nothing."""
    if not run.products or (run.exit_code or 0) != 0:
        return None
    from gitchain.collect.dvc_api import dvc_version
    from gitchain.collect.scrub import scrub_text

    facts: dict[str, Json] = {"stage": run.name, "version": dvc_version()}
    if run.run_cache or run.evidence == "observed":
        facts["runCache"] = "hit" if run.run_cache else "miss"
    last = run.ran[-1] if run.ran else None
    return provenance(
        project,
        run.name,
        run.materials,
        run.products,
        evidence=run.evidence,
        kind="data" if not run.commands else "step",
        command=[scrub_text(command) for command in run.commands],
        parameters={file: dict(values) for file, values in run.params.items()},
        dvc=facts,
        times=(run.started, run.finished) if run.started and run.finished else None,
        outputs=(last.stdout_sha256, last.stderr_sha256) if last else None,
        sources=run.sources,
    )


def draft_stages(project: Project) -> tuple[DraftStage, ...]:
    """Return the pipeline as the layout's draft wants it, each stage behind those that it takes from."""
    stages = {
        stage.name: DraftStage(
            name=stage.name,
            deps=stage.deps,
            outs=stage.outs,
            reports=stage.reports,
            mixed=stage.mixed,
            observed=not stage.is_data,
        )
        for stage in _stages(project)
        if stage.outs
    }
    order = TopologicalSorter(
        {
            name: [
                other.name
                for other in stages.values()
                if other is not stage and any(map(other.makes, stage.deps))
            ]
            for name, stage in stages.items()
        }
    )
    return tuple(stages[name] for name in order.static_order())


def served_paths(project: Project, stages: Sequence[DraftStage]) -> tuple[str, ...]:
    """Return the paths that dvc.yaml names under `artifacts` and a stage makes; failing that, those that are tracked.

    Raw data sets and files that Git holds may be named there as well: nobody serves these.
    """
    from gitchain.collect.dvc_api import artifacts

    named = sorted({path for dvc in dvc_projects(project) for path in artifacts(project.root, dvc).values()})
    made = [path for path in named if any(stage.observed and stage.makes(path) for stage in stages)]
    return tuple(made or [path for path in named if any(stage.makes(path) for stage in stages)])


def _stages(project: Project) -> Sequence[PipelineStage]:
    from gitchain.collect.dvc_api import load_stages
    from gitchain.collect.git import pipelines_here

    projects = dvc_projects(project)
    if not projects and pipelines_here(project.root):
        projects = (project.root,)  # a dvc.yaml outside of a DVC project: the error is DVC's own
    return [stage for dvc in projects for stage in load_stages(project.root, dvc)]


def dvc_projects(project: Project) -> tuple[Path, ...]:
    """Return the DVC projects in the repository: one at its root, or several in subdirectories."""
    from gitchain.collect.dvc_cache import dvc_root
    from gitchain.collect.git import dvc_files_here, pipelines_here

    top = project.root
    files = (*dvc_files_here(top), *pipelines_here(top))
    roots = {dvc_root(str((top / file).parent), str(top)) for file in files}
    return tuple(sorted(Path(root) for root in roots if root is not None))


def attested_already(project: Project, statement: Statement) -> bool:
    """Tell whether the store holds a statement for the same step with the same materials and products."""
    wanted = _signature(statement)
    first = statement.subject[0].digest["sha256"]
    for raw in project.store.by_subject("sha256", first):
        try:
            if _signature(Bundle.parse(raw).statement()) == wanted:
                return True
        except GitchainError:
            continue  # what cannot be read attests nothing
    return False


def _signature(statement: Statement) -> tuple[object, ...]:
    claim = claim_of(statement)

    def digests(items: Sequence[ResourceDescriptor]) -> frozenset[tuple[str | None, str | None]]:
        return frozenset((item.name, item.digest.get("sha256")) for item in items if item.name is not None)

    return claim.step, statement.predicate_type, digests(claim.materials), digests(claim.products)
