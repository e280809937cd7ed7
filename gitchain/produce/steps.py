"""Provenance statements of steps: observed runs and declared steps."""

from __future__ import annotations

import os
import shlex
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gitchain.collect.artifacts import CollectedArtifact, collect_artifact
from gitchain.collect.environment import environment
from gitchain.collect.git import GitState
from gitchain.collect.interpreters import SeenInterpreter
from gitchain.collect.paths import climbed
from gitchain.collect.stage_names import named_stages
from gitchain.collect.values import parse_values, read_params, read_value_file
from gitchain.consume.missing_files import require_files
from gitchain.errors import GitchainError, MalformedError, ProjectError, UsageError
from gitchain.evidence import predicates
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.names import check_step_name
from gitchain.evidence.predicates import PROVENANCE, StepFacts
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.produce.sign_and_store import Draft
from gitchain.workspace.project import Project

if TYPE_CHECKING:
    from gitchain.collect.stages import PipelineStage

Problems = tuple[tuple[str, GitchainError], ...]
"""Steps, files or products that could not be attested, with reasons."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The statements of a command that gitchain ran, and its exit code.

    `problems`: what ran or should have been made, without a statement. `notices`: what could not be attested and is
    not part of the run. `idle`: recorded DVC stages that did not run and have no observed attestation.
    """

    drafts: tuple[Draft, ...]
    exit_code: int
    problems: tuple[GitchainError, ...] = ()
    notices: Problems = ()
    idle: tuple[str, ...] = ()


@contextmanager
def callers_fault(where: str, help: str = "") -> Iterator[None]:  # noqa: A002 - the word users see
    """Convert malformed input of the caller to UsageError, since exit code 1 is for failed evidence.

    `help` is used for an error without help.
    """
    try:
        yield
    except MalformedError as error:
        raise UsageError(
            error.what,
            where=error.where or where,
            expected=error.expected,
            got=error.got,
            help=error.help or help,
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
    """Return a declared provenance statement: the caller declares products and materials."""
    if not products:
        raise UsageError(
            "the step has no products", help=f"gitchain attest {shlex.quote(step)} -m MATERIAL -p PRODUCT"
        )
    check_step(step)
    made = collect_all(project, (*products, *metrics))
    names = [_inside(project, name) for name in metrics]
    subjects = {_inside(project, name) for name in products}
    return provenance(
        project,
        step,
        collect_all(project, materials),
        [product for product in made if product.name in subjects],
        evidence="declared",
        kind=_kind(kind),
        parameters=read_params(project.root, [_params_file(project, item) for item in params]),
        metrics=tuple(read_metric(project.root, made, name) for name in names),
    )


@dataclass(frozen=True, slots=True)
class StepFiles:
    """Materials, products and metrics of a step: paths from the current directory, parameters as `FILE[:KEY,…]`."""

    materials: Sequence[str] = ()
    products: Sequence[str] = ()
    params: Sequence[str] = ()
    metrics: Sequence[str] = ()


def observe_step(
    project: Project, step: str, command: Sequence[str], files: StepFiles, *, kind: str, stdout: int = 1
) -> Observed:
    """Run the command; return its statement (none if it failed) and its exit code.

    Without materials and products, those of the DVC stage with this name are used, with its parameters and metrics.
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
        step, files = stage.name, _stage_files(project, stage, files.metrics)
        params = _stage_params(project, stage, notices) | params
    names = [
        [_inside(project, name) for name in side] for side in (files.materials, files.products, files.metrics)
    ]
    if not names[1]:
        raise UsageError(
            "the command has no products",
            help=f"gitchain run {shlex.quote(step)} -m MATERIAL -p PRODUCT -- {shlex.join(command)}",
        )
    require_files(project, names[0])
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
    products = [product for product in seen.products if _is_in(product.name, names[1])]
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
    return any(name == path or name.startswith(f"{path}/") for path in wanted)


def planned_stages(project: Project) -> Sequence[PipelineStage]:
    """Return the stages of all DVC projects in the repository, templates resolved. Raises the errors of `load_stages`."""
    from gitchain.collect.dvc_api import load_stages
    from gitchain.collect.git import pipelines_here

    projects = dvc_projects(project)
    if not projects and pipelines_here(project.root):
        projects = (project.root,)  # a dvc.yaml outside of a DVC project: raise DVC's own error
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


def _params_file(project: Project, text: str) -> tuple[str, Sequence[str]]:
    """Return file and keys of `FILE[:KEY,…]`."""
    file, _, keys = (text, "", "") if Path(text).exists() else text.partition(":")
    name = _inside(project, file)
    require_files(project, [name])
    return name, [key for key in keys.split(",") if key]


def read_metrics(
    root: Path,
    products: Sequence[CollectedArtifact],
    names: Iterable[str],
    notices: list[tuple[str, GitchainError]],
) -> tuple[ResourceDescriptor, ...]:
    """Return the metric files among the products with their values. Unreadable ones are added to `notices`."""
    metrics: list[ResourceDescriptor] = []
    for name in dict.fromkeys(names):
        try:
            metrics.append(read_metric(root, products, name))
        except GitchainError as error:
            notices.append((f"metrics {name}", error))
    return tuple(metrics)


def read_metric(root: Path, products: Sequence[CollectedArtifact], name: str) -> ResourceDescriptor:
    """Return a metric file with its values as an annotation. Raises ProjectError if its bytes differ from the product."""
    data = read_value_file(root, name)
    digest = sha256_hex(data)
    hashed = {
        f"{one.name}/{part.path}" if part.path else one.name: part.sha256
        for one in products
        for part in one.parts
    }
    if hashed.get(name) != digest:
        raise ProjectError(
            "metric file is not what the step made",
            where=name,
            help="name a file that the step writes: --metrics FILE",
        )
    return ResourceDescriptor(
        name, DigestSet({"sha256": digest}), annotations={"metrics": parse_values(data, name)}
    )


def collect_all(project: Project, names: Iterable[str]) -> tuple[CollectedArtifact, ...]:
    """Hash the given files and directories."""
    unique = dict.fromkeys(_inside(project, name) for name in names)
    require_files(project, unique)
    return tuple(
        collect_artifact(project.root, name, project.state, progress=project.progress) for name in unique
    )


def check_step(name: str) -> str:
    """Return a valid step name. Raises UsageError for a name that reports cannot show."""
    with callers_fault("the name of the step", "give the step another name, such as train"):
        return check_step_name(name)


def _check_command(command: Sequence[str]) -> None:
    """Raise UsageError, before it runs, for a command that does not fit into a statement."""
    for word in command:
        if any("\ud800" <= char <= "\udfff" for char in word):
            raise UsageError("an argument of the command is not UTF-8", got=ascii(word[:100]))


def _inside(project: Project, name: str) -> str:
    """Return a path relative to the repository's root, given relative to the current directory."""
    path = climbed(name)
    try:
        return PurePosixPath(path.relative_to(project.root)).as_posix()
    except ValueError as error:
        raise UsageError(
            "a path outside the repository",
            where=str(project.root),
            got=name,
            help="copy the file into the repository, and name the copy",
        ) from error


def provenance(  # noqa: PLR0913 - one keyword for each thing that a step has
    project: Project,
    step: str,
    materials: Sequence[CollectedArtifact],
    products: Sequence[CollectedArtifact],
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
    """Return the SLSA provenance statement of one step, with the repository's Git commit as a material."""
    source = _source(project.git)
    names = ("stdout", "stderr")
    predicate = predicates.provenance(
        step=StepFacts(step, new_run(), evidence, layout_name(project)),
        materials=[*(artifact.descriptor for artifact in materials), *_apart(sources, source), *source],
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
    statement = Statement.build([artifact.descriptor for artifact in products], PROVENANCE, predicate)
    return with_manifests(statement, (*materials, *products))


def with_manifests(statement: Statement, artifacts: Iterable[CollectedArtifact]) -> Draft:
    """Return the statement with the manifests of its directories."""
    nodes = {
        digest: node
        for artifact in artifacts
        if artifact.manifest
        for digest, node in artifact.manifest.nodes.items()
    }
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
    """Yield the sources. One with the repository's own uri gets its commit appended: `git:local@<commit>`.

    An import from an earlier release of the repository has that uri, and so has one from a local path if the
    repository has no remote.
    """
    taken = {descriptor.uri for descriptor in own}
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
    """Return the name of the layout in this repository's statements."""
    return project.config.layout if project.config else None


def new_run() -> str:
    """Return a new random id for a run of a step."""
    return uuid.uuid4().hex


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _kind(kind: str) -> predicates.Kind:
    from gitchain.evidence.vocabulary import KINDS

    if kind not in KINDS:
        raise UsageError(
            "unknown lifecycle kind",
            expected=", ".join(KINDS),
            got=kind,
            help="leave --kind out, or give one of these",
        )
    return kind
