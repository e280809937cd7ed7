"""From what collect saw to provenance statements: observed runs and declared steps."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath

from gitchain.collect.artifacts import Artifact, collect_artifact
from gitchain.collect.environment import environment
from gitchain.collect.git import GitState
from gitchain.collect.interpreters import SeenInterpreter
from gitchain.errors import GitchainError, MalformedError, UsageError
from gitchain.evidence import predicates
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.names import check_step_name
from gitchain.evidence.predicates import PROVENANCE, StepFacts
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.pipeline.project import Project
from gitchain.pipeline.record import Draft

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
    project: Project, step: str, materials: Sequence[str], products: Sequence[str], *, kind: str
) -> Draft:
    """Return a declared provenance statement: the caller says that these products were made of these materials."""
    if not products:
        raise UsageError("say what the step made", help="--product PATH")
    check_step(step)
    return provenance(
        project,
        step,
        collect_all(project, materials),
        collect_all(project, products),
        evidence="declared",
        kind=_kind(kind),
    )


def observe_step(
    project: Project,
    step: str,
    command: Sequence[str],
    materials: Sequence[str],
    products: Sequence[str],
    *,
    kind: str,
    stdout: int = 1,
) -> Observed:
    """Run the command and return its statement (none when it failed) and its exit code."""
    from gitchain.collect.run import observe
    from gitchain.collect.scrub import scrub_command

    check_step(step)
    _check_command(command)
    _kind(kind)
    if not materials and not products:
        materials, products = _stage_files(project, step)
    names = [_inside(project, name) for name in materials], [_inside(project, name) for name in products]
    if not names[1]:
        raise UsageError("say what the command makes", help="-p PATH, or name a DVC stage")
    seen = observe(
        project.root,
        command,
        *names,
        cwd=Path.cwd(),
        state=project.state,
        progress=project.progress,
        stdout=stdout,
    )
    if seen.exit_code != 0:
        return Observed((), seen.exit_code)
    draft = provenance(
        project,
        step,
        seen.materials,
        seen.products,
        evidence="observed",
        kind=_kind(kind),
        command=scrub_command(seen.command),
        times=(seen.started, seen.finished),
        outputs=(seen.stdout_sha256, seen.stderr_sha256),
        interpreters=seen.interpreters,
    )
    return Observed((draft,), 0, seen.problems, seen.unwritten)


def _stage_files(project: Project, step: str) -> tuple[Sequence[str], Sequence[str]]:
    """Return the deps and outs of the DVC stage called `step`, as paths from the current directory."""
    from gitchain.collect.dvc_api import load_stages

    stages = {stage.name: stage for stage in load_stages(project.root)}
    if step not in stages:
        raise UsageError(
            "no files named and no DVC stage of this name",
            got=step,
            expected=", ".join(sorted(stages)) or "a stage in dvc.yaml",
            help=f"gitchain run {step} -m MATERIAL -p PRODUCT -- CMD",
        )
    stage = stages[step]
    here = Path.cwd()
    names = [
        [os.path.relpath(project.root / name, here) for name in side] for side in (stage.deps, stage.outs)
    ]
    return names[0], names[1]


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
    path = Path(os.path.normpath(Path.cwd() / name))
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
            ResourceDescriptor(name=name, digest=DigestSet({"sha256": digest}))
            for name, digest in zip(names, outputs or (), strict=False)
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
