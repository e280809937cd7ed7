"""From what collect saw to provenance statements: observed runs and declared steps."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gitchain.collect.artifacts import Artifact, collect_artifact
from gitchain.collect.environment import environment
from gitchain.collect.git import GitState
from gitchain.collect.interpreters import SeenInterpreter
from gitchain.collect.paths import climbed
from gitchain.collect.values import parse_values, read_params, read_value_file
from gitchain.errors import GitchainError, MalformedError, ProjectError, UsageError
from gitchain.evidence import predicates
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.names import check_step_name
from gitchain.evidence.predicates import PROVENANCE, StepFacts
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.pipeline.project import Project
from gitchain.pipeline.record import Draft

if TYPE_CHECKING:
    from gitchain.collect.stages import PipelineStage

Problems = tuple[tuple[str, GitchainError], ...]
"""Steps, files or products that could not be attested, and why."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The statements of a command that gitchain ran, and its exit code.

    `problems`: what ran or was to be made and has no statement. `notices`: what could not be attested and does not belong
    to the run, or was not written by it. `idle`: recorded DVC stages that did not run and that no attestation says were
    observed.
    """

    drafts: tuple[Draft, ...]
    exit_code: int
    problems: tuple[GitchainError, ...] = ()
    notices: Problems = ()
    idle: tuple[str, ...] = ()


@contextmanager
def callers_fault(where: str) -> Iterator[None]:
    """Make malformed input of the caller a mistake in the command line: exit 1 is for evidence that fails."""
    try:
        yield
    except MalformedError as error:
        raise UsageError(
            error.what, where=error.where or where, expected=error.expected, got=error.got, help=error.help
        ) from error


def provenance_draft(
    project: Project,
    step: str,
    materials: Sequence[str],
    products: Sequence[str],
    *,
    kind: str,
    params: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> Draft:
    """Return a declared provenance statement: the caller says that these products were made of these materials."""
    if not products:
        raise UsageError("say what the step made", help="--product PATH")
    check_step(step)
    made = collect_all(project, (*products, *metrics))
    names = [_inside(project, name) for name in metrics]
    subjects = {_inside(project, name) for name in products}
    return provenance(
        project,
        step,
        collect_all(project, materials),
        [one for one in made if one.name in subjects],
        evidence="declared",
        kind=_kind(kind),
        parameters=read_params(project.root, [_params_file(project, item) for item in params]),
        metrics=tuple(read_metric(project.root, made, name) for name in names),
    )


@dataclass(frozen=True, slots=True)
class StepFiles:
    """What a step is said to use, to make and to measure: paths from the current directory, parameters as `FILE[:KEY,…]`."""

    materials: Sequence[str] = ()
    products: Sequence[str] = ()
    params: Sequence[str] = ()
    metrics: Sequence[str] = ()


def observe_step(
    project: Project, step: str, command: Sequence[str], files: StepFiles, *, kind: str, stdout: int = 1
) -> Observed:
    """Run the command and return its statement (none when it failed) and its exit code.

    Without materials and products, those of the DVC stage of that name count, with its parameters and metrics.
    """
    from gitchain.collect.run import observe
    from gitchain.collect.scrub import scrub_command

    check_step(step)
    _check_command(command)
    _kind(kind)
    notices: list[tuple[str, GitchainError]] = []
    params = read_params(project.root, [_params_file(project, item) for item in files.params])
    if not files.materials and not files.products:
        stage = _stage_called(project, step)
        files = _stage_files(project, stage, files.metrics)
        params = _stage_params(project, stage, notices) | params
    names = [
        [_inside(project, name) for name in side] for side in (files.materials, files.products, files.metrics)
    ]
    if not names[1]:
        raise UsageError("say what the command makes", help="-p PATH, or name a DVC stage")
    seen = observe(
        project.root,
        command,
        names[0],
        [*names[1], *names[2]],
        cwd=Path.cwd(),
        state=project.state,
        progress=project.progress,
        stdout=stdout,
    )
    if seen.exit_code != 0:
        return Observed((), seen.exit_code)
    products = [one for one in seen.products if _is_in(one.name, names[1])]
    if not products:
        raise [*seen.problems, *(error for _, error in seen.unwritten)][0]
    draft = provenance(
        project,
        step,
        seen.materials,
        products,
        evidence="observed",
        kind=_kind(kind),
        command=scrub_command(seen.command),
        parameters=params,
        times=(seen.started, seen.finished),
        outputs=(seen.stdout_sha256, seen.stderr_sha256),
        metrics=read_metrics(project.root, seen.products, names[2], notices),
        interpreters=seen.interpreters,
    )
    return Observed((draft,), 0, seen.problems, (*seen.unwritten, *notices))


def _is_in(name: str, wanted: Sequence[str]) -> bool:
    return any(name == one or name.startswith(f"{one}/") for one in wanted)


def planned_stages(project: Project) -> Sequence[PipelineStage]:
    """Return the stages of every DVC project in the repository, templates resolved; raises as `load_stages`."""
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


def _stage_called(project: Project, step: str) -> PipelineStage:
    stages = {stage.name: stage for stage in planned_stages(project)}
    if step not in stages:
        raise UsageError(
            "no files named and no DVC stage of this name",
            got=step,
            expected=", ".join(sorted(stages)) or "a stage in dvc.yaml",
            help=f"gitchain run {step} -m MATERIAL -p PRODUCT -- CMD",
        )
    return stages[step]


def _stage_files(project: Project, stage: PipelineStage, metrics: Sequence[str]) -> StepFiles:
    """Return the files of a DVC stage, as paths from the current directory."""
    here = Path.cwd()
    deps, outs, own = (
        [os.path.relpath(project.root / name, here) for name in side]
        for side in (stage.deps, stage.outs, stage.metrics)
    )
    return StepFiles(deps, outs, (), [*own, *(name for name in metrics if name not in own)])


def _stage_params(
    project: Project, stage: PipelineStage, notices: list[tuple[str, GitchainError]]
) -> dict[str, dict[str, Json]]:
    """Return the parameters that a DVC stage names; what cannot be read is named and left out."""
    found: dict[str, dict[str, Json]] = {}
    for item in stage.params:
        file, _, key = item.partition(":")
        try:
            values = read_params(project.root, [(file, [key] if key else [])])
        except GitchainError as error:
            notices.append((f"{stage.name}: parameter {item}", error))
            continue
        found.setdefault(file, {}).update(values[file])
    return found


def _params_file(project: Project, text: str) -> tuple[str, Sequence[str]]:
    """Return the file and the keys that `FILE[:KEY,…]` names."""
    file, _, keys = (text, "", "") if Path(text).exists() else text.partition(":")
    return _inside(project, file), [key for key in keys.split(",") if key]


def read_metrics(
    root: Path,
    products: Sequence[Artifact],
    names: Iterable[str],
    notices: list[tuple[str, GitchainError]],
) -> tuple[ResourceDescriptor, ...]:
    """Return the metric files among the products with their values; what holds none is named and left out."""
    found: list[ResourceDescriptor] = []
    for name in dict.fromkeys(names):
        try:
            found.append(read_metric(root, products, name))
        except GitchainError as error:
            notices.append((f"metrics {name}", error))
    return tuple(found)


def read_metric(root: Path, products: Sequence[Artifact], name: str) -> ResourceDescriptor:
    """Return a metric file with its values as an annotation; ProjectError unless its bytes are those of a product."""
    data = read_value_file(root, name)
    digest = sha256_hex(data)
    hashed = {
        f"{one.name}/{part.path}" if part.path else one.name: part.sha256
        for one in products
        for part in one.parts
    }
    if hashed.get(name) != digest:
        raise ProjectError("metric file is not what the step made", where=name)
    return ResourceDescriptor(
        name, DigestSet({"sha256": digest}), annotations={"metrics": parse_values(data, name)}
    )


def collect_all(project: Project, names: Iterable[str]) -> tuple[Artifact, ...]:
    """Hash the named files and directories."""
    unique = dict.fromkeys(_inside(project, name) for name in names)
    return tuple(
        collect_artifact(project.root, name, project.state, progress=project.progress) for name in unique
    )


def check_step(name: str) -> str:
    """Return the name of a step that the caller gave; UsageError where a report could not show it."""
    with callers_fault("the name of the step"):
        return check_step_name(name)


def _check_command(command: Sequence[str]) -> None:
    """Refuse, before it runs, a command that no statement could hold."""
    for word in command:
        if any("\ud800" <= char <= "\udfff" for char in word):
            raise UsageError("an argument of the command is not UTF-8", got=ascii(word[:100]))


def _inside(project: Project, name: str) -> str:
    """Return the path relative to the repository's root; paths are given relative to the current directory."""
    path = climbed(name)
    try:
        return PurePosixPath(path.relative_to(project.root)).as_posix()
    except ValueError as error:
        raise UsageError("a path outside the repository", where=str(project.root), got=name) from error


def provenance(  # noqa: PLR0913 - one keyword for each thing that a step has
    project: Project,
    step: str,
    materials: Sequence[Artifact],
    products: Sequence[Artifact],
    *,
    evidence: predicates.Evidence,
    kind: predicates.Kind = "step",
    command: Sequence[str] = (),
    parameters: Mapping[str, Json] | None = None,
    dvc: Mapping[str, Json] | None = None,
    times: tuple[datetime, datetime] | None = None,
    outputs: tuple[str, str] | None = None,
    sources: Sequence[ResourceDescriptor] = (),
    metrics: Sequence[ResourceDescriptor] = (),
    interpreters: Sequence[SeenInterpreter] | None = None,
) -> Draft:
    """Return the SLSA provenance statement of one step, with the Git commit that it ran from as a material."""
    source = _source(project.git)
    names = ("stdout", "stderr")
    predicate = predicates.provenance(
        step=StepFacts(step, new_run(), evidence, layout_name(project)),
        materials=[*(one.descriptor for one in materials), *_apart(sources, source), *source],
        kind=kind,
        command=command,
        parameters=parameters,
        environment=environment(interpreters) if evidence == "observed" else None,
        git=_git(project.git),
        dvc=dvc,
        started=_utc(times[0]) if times else None,
        finished=_utc(times[1]) if times else None,
        byproducts=[
            *(
                ResourceDescriptor(name=name, digest=DigestSet({"sha256": digest}))
                for name, digest in zip(names, outputs or (), strict=False)
            ),
            *metrics,
        ],
        exit_code=0 if outputs else None,
    )
    statement = Statement.build([one.descriptor for one in products], PROVENANCE, predicate)
    return with_manifests(statement, (*materials, *products))


def with_manifests(statement: Statement, artifacts: Iterable[Artifact]) -> Draft:
    """Return the statement with the manifests of the directories among its artifacts."""
    nodes = {digest: node for one in artifacts if one.manifest for digest, node in one.manifest.nodes.items()}
    return Draft(statement, nodes)


def _source(git: GitState) -> tuple[ResourceDescriptor, ...]:
    if git.commit is None or git.tree is None or git.commit_sha256 is None:
        return ()
    return (
        predicates.git_source(
            commit=git.commit,
            tree=git.tree,
            commit_sha256=git.commit_sha256,
            uri=predicates.git_uri(git.remote),
        ),
    )


def _apart(
    sources: Iterable[ResourceDescriptor], own: Iterable[ResourceDescriptor]
) -> Iterator[ResourceDescriptor]:
    """Yield the sources; one that has the repository's own uri gets its commit behind it: `git:local@<commit>`.

    An import from an earlier release of the repository itself has that uri, and so has one from a path of this machine
    where the repository has no remote.
    """
    taken = {one.uri for one in own}
    for source in sources:
        commit = source.digest.get("gitCommit")
        yield replace(source, uri=f"{source.uri}@{commit}") if source.uri in taken and commit else source


def _git(git: GitState) -> dict[str, Json] | None:
    if git.commit is None:
        return None
    facts: dict[str, Json] = {
        "commit": git.commit,
        "tree": git.tree,
        "commitSha256": git.commit_sha256,
        "dirty": git.dirty,
    }
    optional = {"diffSha256": git.diff_sha256, "branch": git.branch}
    return facts | {key: value for key, value in optional.items() if value is not None}


def layout_name(project: Project) -> str | None:
    """Return the name of the layout that statements of this repository are made for."""
    return project.config.layout if project.config else None


def new_run() -> str:
    """Return a fresh id for one run of a step."""
    return uuid.uuid4().hex


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _kind(kind: str) -> predicates.Kind:
    from gitchain.evidence.vocabulary import KINDS

    if kind not in KINDS:
        raise UsageError("unknown lifecycle kind", expected=", ".join(KINDS), got=kind)
    return kind
