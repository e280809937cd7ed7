"""DVC stages to statements: what `dvc repro` really ran, what it took from its run cache, and what was only declared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gitchain.errors import GitchainError, ProjectError, UsageError
from gitchain.evidence.bundle import Bundle, CertificateSigner
from gitchain.evidence.canonical import Json
from gitchain.evidence.predicates import claim_of
from gitchain.evidence.statement import Statement
from gitchain.layout.draft import DraftStage
from gitchain.pipeline.project import SIGNED_LAYOUT, Project
from gitchain.pipeline.record import Draft
from gitchain.pipeline.restated import said_of_step
from gitchain.pipeline.steps import (
    Observed,
    Problems,
    dvc_projects,
    planned_stages,
    provenance,
    read_metrics,
)
from gitchain.platform.files import read_regular

if TYPE_CHECKING:
    from gitchain.collect.declared import RecordedStage
    from gitchain.collect.stages import StageRun
    from gitchain.verify.trust import Trust


def is_dvc(command: Sequence[str]) -> bool:
    """Tell whether the command makes DVC run stages, however DVC is started."""
    from gitchain.collect.repro import is_dvc_repro

    return is_dvc_repro(command)


_Read = TypeVar("_Read")

MAX_LAYOUT_BYTES = 16 << 20
MAX_DVC_YAML = 32 << 20  # what collect.dvc_files reads at most


@dataclass(frozen=True, slots=True)
class Declared:
    """The declared statements to make, and how many steps had their attestation.

    `absent`: steps whose bytes are not on this machine. `problems`: steps that contradict DVC's record, and broken files.
    `notices`: what was left out of a statement.
    """

    drafts: tuple[Draft, ...]
    absent: Problems = ()
    problems: Problems = ()
    attested: int = 0
    notices: Problems = ()


def observe_repro(
    project: Project,
    command: Sequence[str],
    stdout: int = 1,
    report: Callable[[str, GitchainError], None] | None = None,
    trust: Trust | None = None,
) -> Observed:
    """Run DVC and return a statement for each stage that really ran or came from the run cache.

    `report` gets, before DVC runs, the stages that could not be attested if they ran.
    Data that DVC tracks without a stage gets its declared statement too, where it has none yet: a chain that starts
    nowhere cannot be verified. Stages that ran before a failure keep their evidence.
    """
    from gitchain.collect.repro import observe_dvc

    done = observe_dvc(
        project.root, command, cwd=Path.cwd(), state=project.state, stdout=stdout, report=report
    )
    drafts: list[Draft] = []
    problems, notices = list(done.problems), list(done.notices)
    for run in done.stages:
        try:
            draft = stage_draft(project, run, done.metrics.get(run.name, ()), notices)
        except GitchainError as error:  # the other stages keep their evidence
            problems.append(error)
        else:
            drafts += [draft] if draft is not None else []
    if done.exit_code == 0:
        data = declared_drafts(project, (), data_only=True, trust=trust)
        drafts += data.drafts
        notices += [*data.absent, *data.problems, *data.notices]
    seen = {claim_of(draft.statement).step: draft for draft in reversed(drafts)}
    idle = tuple(stage.name for stage in done.idle if not _observed_before(project, stage))
    return Observed(
        tuple(reversed(seen.values())), done.exit_code, tuple(problems), tuple(dict(notices).items()), idle
    )


def _observed_before(project: Project, stage: RecordedStage) -> bool:
    """Tell whether the store holds an observed statement of this step about its first product."""
    from gitchain.collect.artifacts import collect_artifact

    if not stage.outs:
        return True  # a step without products has no statement
    try:
        product = collect_artifact(project.root, stage.outs[0][0], project.state).descriptor
    except GitchainError:
        return False
    claims = _stored(project, product.digest["sha256"], claim_of)
    return any(claim.step == stage.name and claim.evidence == "observed" for claim in claims)


def declared_drafts(
    project: Project, steps: Sequence[str], *, data_only: bool = False, trust: Trust | None = None
) -> Declared:
    """Return declared statements for the recorded stages and .dvc files named (all, when none is) that have none yet.

    What cannot be attested is in `absent` or `problems`, and costs no other step its statement. Raises UsageError for a
    named step that DVC has no record of.
    """
    from gitchain.collect.declared import declare_stage, recorded_stages
    from gitchain.collect.recorded import MissingError

    absent: dict[str, GitchainError] = {}
    problems: dict[str, GitchainError] = {}
    recorded = recorded_stages(project.root, problems.__setitem__)
    unknown = [step for step in steps if step not in recorded]
    if unknown:
        raise problems.get(unknown[0]) or UsageError(
            "DVC has no record of this step",
            got=unknown[0],
            expected=", ".join(sorted(recorded)) or "a stage in dvc.lock or a .dvc file",
            help=f"name its files: gitchain attest {unknown[0]} --material PATH --product PATH",
        )
    if steps:
        problems.clear()  # files that nobody named
    drafts: list[Draft] = []
    notices: list[tuple[str, GitchainError]] = []
    metrics = {} if data_only else _metrics(project)
    attested = 0
    for name in dict.fromkeys(steps or recorded):
        if data_only and not name.endswith(".dvc"):
            continue
        try:
            run = declare_stage(project.root, recorded[name], state=project.state)
            draft = stage_draft(project, run, metrics.get(name, ()), notices)
            known = draft is not None and attested_already(project, draft.statement, trust)
        except GitchainError as error:
            (absent if isinstance(error, MissingError) else problems)[name] = error
            continue
        attested += known
        if draft is not None and not known:
            drafts.append(draft)
    return Declared(tuple(drafts), tuple(absent.items()), tuple(problems.items()), attested, tuple(notices))


def _metrics(project: Project) -> Mapping[str, Sequence[str]]:
    """Return the metric files of each stage; DVC is asked only if a dvc.yaml mentions any."""
    from gitchain.collect.git import pipelines_here

    with suppress(GitchainError, OSError):  # values add to a statement: one without them is still true
        if any(
            b"metrics" in read_regular(project.root / file, MAX_DVC_YAML)
            for file in pipelines_here(project.root)
        ):
            return {stage.name: stage.metrics for stage in planned_stages(project)}
    return {}


def stage_draft(
    project: Project,
    run: StageRun,
    metrics: Sequence[str] = (),
    notices: list[tuple[str, GitchainError]] | None = None,
) -> Draft | None:
    """Return the statement of one stage run; None for a stage that makes nothing.

    What is left out of the statement is added to `notices`: values that cannot be read, or that lie outside the repository.
    """
    if not run.products or (run.exit_code or 0) != 0:
        return None
    from gitchain.collect.dvc_api import dvc_version
    from gitchain.collect.scrub import scrub_text

    left_out = notices if notices is not None else []
    left_out += [
        (f"{run.name}: parameters of {file}", ProjectError("file lies outside the repository"))
        for file in run.foreign_params
    ]
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
        metrics=read_metrics(project.root, run.products, metrics, left_out),
        interpreters=run.interpreters,
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
            observed=not stage.is_data and not stage.frozen,
            sources=stage.sources,
        )
        for stage in planned_stages(project)
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
    try:
        return tuple(stages[name] for name in order.static_order())
    except CycleError as error:
        raise ProjectError(
            "stages depend on each other in a circle", where="dvc.yaml", got=" → ".join(error.args[1])
        ) from error


def served_paths(project: Project, stages: Sequence[DraftStage]) -> tuple[str, ...]:
    """Return the paths that dvc.yaml names under `artifacts` and a stage makes; failing that, those that are tracked.

    Raw data sets and files that Git holds may be named there as well: nobody serves these.
    """
    from gitchain.collect.dvc_api import artifacts

    named = sorted({path for dvc in dvc_projects(project) for path in artifacts(project.root, dvc).values()})
    made = [path for path in named if any(stage.observed and stage.makes(path) for stage in stages)]
    return tuple(made or [path for path in named if any(stage.makes(path) for stage in stages)])


def layout_wants_observed(project: Project) -> frozenset[str]:
    """Return the steps for which the repository's signed layout asks for observed evidence: for advice, not verified."""
    try:
        raw = read_regular(project.root / SIGNED_LAYOUT, MAX_LAYOUT_BYTES)
        steps = Bundle.parse(raw).statement().predicate.get("steps")
    except (GitchainError, OSError):
        return frozenset()
    listed = steps if isinstance(steps, list) else []
    wanted = (step for step in listed if isinstance(step, Mapping) and step.get("evidence") == "observed")
    return frozenset(str(step.get("name")) for step in wanted)


def attested_already(project: Project, statement: Statement, trust: Trust | None = None) -> bool:
    """Tell whether the store holds a statement that says the same about the same step (see `said_of_step`).

    With `trust`, one that a certificate signed counts only if it verifies under it: after a repository has changed its trust
    profile, what was signed before proves nothing. For producing only.
    """
    wanted = said_of_step(statement)
    return any(
        said == wanted
        for said in _stored(project, statement.subject[0].digest["sha256"], said_of_step, trust)
    )


def _stored(
    project: Project, sha256: str, read: Callable[[Statement], _Read], trust: Trust | None = None
) -> Iterator[_Read]:
    """Yield what `read` makes of each stored statement about a digest; what cannot be read attests nothing."""
    from gitchain.verify.bundle import verify_bundle

    for raw in project.store.by_subject("sha256", sha256):
        with suppress(GitchainError):
            bundle = Bundle.parse(raw)
            found = read(bundle.statement())
            if trust is not None and isinstance(bundle.signer, CertificateSigner):
                verify_bundle(raw, trust)
            yield found
