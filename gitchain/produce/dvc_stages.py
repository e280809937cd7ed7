"""Statements for DVC stages: observed runs of `dvc repro`, runs restored from the run cache, and declared stages."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gitchain.collect.stage_names import as_dvc_reads, named_stages
from gitchain.errors import GitchainError, ProjectError, UsageError
from gitchain.evidence.bundle import Bundle, CertificateSigner
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import Sha256
from gitchain.evidence.predicates import claim_of
from gitchain.evidence.statement import Statement
from gitchain.platform.files import read_regular
from gitchain.produce.draft import StatementDraft
from gitchain.produce.draft_stages import MAX_DVC_YAML
from gitchain.produce.equal_statements import step_content
from gitchain.produce.metrics import read_metrics
from gitchain.produce.planned_stages import planned_stages
from gitchain.produce.provenance import provenance
from gitchain.produce.steps import ObservedRun, Problems
from gitchain.workspace.project import Project

if TYPE_CHECKING:
    from gitchain.collect.declared import RecordedStage
    from gitchain.collect.stages import StageRun
    from gitchain.verify.trust import Trust


def is_dvc(command: Sequence[str]) -> bool:
    """Return True if the command makes DVC run stages, in any form of invocation."""
    from gitchain.collect.repro_command import is_dvc_repro

    return is_dvc_repro(command)


_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class DeclaredStages:
    """Declared statements to sign, and the number of steps that are attested already.

    `absent`: steps without their bytes on this machine. `problems`: steps that contradict DVC's record, and invalid
    files. `notices`: values left out of a statement. `planned`: whether there is a dvc.yaml.
    """

    drafts: tuple[StatementDraft, ...]
    absent: Problems = ()
    problems: Problems = ()
    attested: int = 0
    notices: Problems = ()
    planned: bool = False

    @property
    def unattested(self) -> Problems:
        """Return everything that was not attested, with the reasons."""
        return (*self.absent, *self.problems, *self.notices)


def observe_repro(
    project: Project,
    command: Sequence[str],
    stdout: int = 1,
    report: Callable[[str, GitchainError], None] | None = None,
    trust: Trust | None = None,
) -> ObservedRun:
    """Run DVC and return a statement for each stage that ran or was restored from the run cache.

    Before the run, `report` receives the stages that could not be attested. Data that DVC tracks without a stage gets
    a declared statement, unless it has one: a chain needs a start. Stages that ran before a failure keep their
    evidence.
    """
    from gitchain.collect.repro import observe_dvc

    done = observe_dvc(
        project.root, command, cwd=Path.cwd(), state=project.state, stdout=stdout, report=report
    )
    drafts: list[StatementDraft] = []
    problems, notices = list(done.problems), list(done.notices)
    for run in done.stages:
        try:
            draft = stage_draft(project, run, done.metrics.get(run.name, ()), notices)
        except GitchainError as error:  # other stages keep their evidence
            problems.append(error)
        else:
            drafts += [draft] if draft is not None else []
    if done.exit_code == 0:
        data = declared_drafts(project, (), data_only=True, trust=trust)
        drafts += data.drafts
        notices += [*data.absent, *data.problems, *data.notices]
    seen = {claim_of(draft.statement).step: draft for draft in reversed(drafts)}
    idle = tuple(stage.name for stage in done.idle if not _observed_before(project, stage))
    return ObservedRun(
        tuple(reversed(seen.values())), done.exit_code, tuple(problems), tuple(dict(notices).items()), idle
    )


def _observed_before(project: Project, stage: RecordedStage) -> bool:
    """Return True if the store has an observed statement of this step about its first product."""
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
) -> DeclaredStages:
    """Return declared statements for the given recorded stages and .dvc files (default: all) without a statement.

    Steps that cannot be attested are in `absent` or `problems`; the others are returned. Raises UsageError for a
    given step without a record in DVC.
    """
    from gitchain.collect.declared import declare_stage, recorded_stages
    from gitchain.collect.dvc_digest_check import MissingError
    from gitchain.collect.git_index import pipelines_here
    from gitchain.produce.recovery import advise

    absent: dict[str, GitchainError] = {}
    problems: dict[str, GitchainError] = {}
    recorded = recorded_stages(project.root, problems.__setitem__)
    named = [stage for step in steps for stage in _recorded_as(project, step, recorded, problems)]
    if steps:
        problems.clear()  # only for files that were not requested by name
    drafts: list[StatementDraft] = []
    notices: list[tuple[str, GitchainError]] = []
    metrics = {} if data_only else _metrics(project)
    attested = 0
    for name in dict.fromkeys(named or recorded):
        if data_only and not name.endswith(".dvc"):
            continue
        try:
            run = declare_stage(project.root, recorded[name], state=project.state)
            draft = stage_draft(project, run, metrics.get(name, ()), notices)
            known = draft is not None and is_attested(project, draft.statement, trust)
        except GitchainError as error:
            advise(project, recorded[name], error)
            (absent if isinstance(error, MissingError) else problems)[name] = error
            continue
        attested += known
        if draft is not None and not known:
            drafts.append(draft)
    return DeclaredStages(
        tuple(drafts),
        tuple(absent.items()),
        tuple(problems.items()),
        attested,
        tuple(notices),
        bool(pipelines_here(project.root)),
    )


def _recorded_as(
    project: Project, step: str, recorded: Collection[str], problems: Mapping[str, GitchainError]
) -> Sequence[str]:
    """Return the recorded stages with this name. Raises UsageError if there are none, or the error of its record."""
    if stages := named_stages(step, recorded, project.root):
        return stages
    if broken := named_stages(step, problems, project.root):
        raise problems[broken[0]]
    frozen: Mapping[str, bool] = {}
    with suppress(GitchainError):  # DVC may be unable to read the pipeline: the stage is then unknown
        frozen = {stage.name: stage.frozen for stage in planned_stages(project)}
    planned = named_stages(step, frozen, project.root)
    name = shlex.quote(step)
    thaw = f"dvc unfreeze {name}; " if any(frozen[one] for one in planned) else ""
    raise UsageError(
        "this stage has not run: dvc.lock does not record it"
        if planned
        else "DVC has no record of this step",
        got=step,
        expected=", ".join(sorted(recorded)) or "a stage in dvc.lock or a .dvc file",
        help=f"{thaw}gitchain run -- dvc repro {name}   (runs it and attests it)"
        if planned
        else f"name its files: gitchain attest {name} --material PATH --product PATH",
    )


def _metrics(project: Project) -> Mapping[str, Sequence[str]]:
    """Return the metric files of each stage. DVC is run only if a dvc.yaml contains metrics."""
    from gitchain.collect.git_index import pipelines_here

    with suppress(GitchainError, OSError):  # values are optional in a statement
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
) -> StatementDraft | None:
    """Return the statement of one stage run; None for a stage without outputs.

    Values that cannot be read, or are outside the repository, are left out and added to `notices`.
    """
    if not run.products or (run.exit_code or 0) != 0:
        return None
    from gitchain.collect.dvc_api import dvc_version
    from gitchain.collect.scrub import scrub_text

    left_out = notices if notices is not None else []
    left_out += [
        (f"{run.name}: parameters of {file}", ProjectError("the file is outside the repository"))
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


def typed_name(project: Project, step: str) -> str:
    """Return the stage name as DVC accepts it in the current directory."""
    return as_dvc_reads(step, project.root)


def is_attested(project: Project, statement: Statement, trust: Trust | None = None) -> bool:
    """Return True if the store has an equivalent statement about the same step (see `step_content`).

    With `trust`, a statement signed with a certificate counts only if it verifies: after a change of the trust
    profile, earlier statements prove nothing. For producing only.
    """
    wanted = step_content(statement)
    return any(
        content == wanted
        for content in _stored(project, statement.subject[0].digest["sha256"], step_content, trust)
    )


def _stored(
    project: Project, sha256: Sha256, read: Callable[[Statement], _Read], trust: Trust | None = None
) -> Iterator[_Read]:
    """Yield the result of `read` for each readable stored statement about a digest. A Statement v0.1 attests no step."""
    from gitchain.verify.bundle import verify_bundle

    for raw in project.store.by_subject("sha256", sha256):
        with suppress(GitchainError):
            bundle = Bundle.parse(raw)
            if (statement := bundle.statement()).is_old:
                continue
            result = read(statement)
            if trust is not None and isinstance(bundle.signer, CertificateSigner):
                verify_bundle(raw, trust)
            yield result
