"""From what collect saw to statements: observed runs, DVC stages, declared steps, and statements of a given type."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from gitchain.collect.artifacts import Artifact, collect_artifact
from gitchain.collect.environment import environment
from gitchain.collect.git import GitState
from gitchain.errors import MalformedError, UsageError
from gitchain.evidence import predicates
from gitchain.evidence.canonical import Json, strict_json
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.names import check_step_name
from gitchain.evidence.predicates import PROVENANCE, StepFacts
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.pipeline.project import Project
from gitchain.pipeline.record import Draft

MAX_PREDICATE_BYTES = 4 << 20  # a model card with plots inlined; Rekor v1 and the webhook want less


def read_predicate(path: Path) -> dict[str, Any]:
    """Return the predicate that the caller wrote into a JSON file; UsageError for what is none, LimitError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PREDICATE_BYTES + 1)
    except OSError as error:
        raise UsageError("cannot read the predicate", where=str(path), got=str(error.strerror)) from error
    with _callers_fault(str(path)):
        value = strict_json(data, "predicate", max_bytes=MAX_PREDICATE_BYTES)
    if not isinstance(value, dict):
        raise UsageError("the predicate is no JSON object", where=str(path), got=type(value).__name__)
    return value


def typed_draft(
    project: Project, step: str, predicate_type: str, value: Mapping[str, Any], materials: Sequence[str]
) -> Draft:
    """Return a statement of `predicate_type` about the materials, with the caller's predicate and our step facts.

    Raises UsageError without materials, for a transforming type, and for a predicate that its type refuses.
    """
    if not materials:
        raise UsageError("say what the statement is about", help="--material PATH")
    if predicate_type == PROVENANCE:
        raise UsageError(
            "gitchain writes provenance itself", help="gitchain attest STEP --material PATH --product PATH"
        )
    check_step(step)
    artifacts = collect_all(project, materials)
    facts = predicates.step_facts(name=step, run=_run_id(), evidence="declared", layout=_layout(project))
    with _callers_fault(f"predicate of type {predicate_type[:200]}"):
        predicate = _CHECKED.get(predicate_type, dict)(dict(value)) | facts
        statement = Statement.build([one.descriptor for one in artifacts], predicate_type, predicate)
    return _draft(statement, artifacts)


@contextmanager
def _callers_fault(where: str) -> Iterator[None]:
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
) -> tuple[tuple[Draft, ...], int]:
    """Run the command and return its statement (none when it failed) and its exit code."""
    from gitchain.collect.run import observe
    from gitchain.collect.scrub import scrub_command

    check_step(step)
    _check_command(command)
    _kind(kind)
    parameters: Mapping[str, Json] = {}
    if not materials and not products:
        materials, products, parameters = _stage_files(project, step)
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
        return (), seen.exit_code
    draft = provenance(
        project,
        step,
        seen.materials,
        seen.products,
        evidence="observed",
        kind=_kind(kind),
        command=scrub_command(seen.command),
        parameters=parameters,
        times=(seen.started, seen.finished),
        outputs=(seen.stdout_sha256, seen.stderr_sha256),
    )
    return (draft,), 0


def _stage_files(project: Project, step: str) -> tuple[Sequence[str], Sequence[str], Mapping[str, Json]]:
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
    return names[0], names[1], {}


def collect_all(project: Project, names: Iterable[str]) -> tuple[Artifact, ...]:
    """Hash the named files and directories."""
    unique = dict.fromkeys(_inside(project, name) for name in names)
    return tuple(
        collect_artifact(project.root, name, project.state, progress=project.progress) for name in unique
    )


def check_step(name: str) -> str:
    """Return the name of a step that the caller gave; UsageError where a report could not show it."""
    with _callers_fault("the name of the step"):
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
) -> Draft:
    """Return the SLSA provenance statement of one step, with the Git commit that it ran from as a material."""
    source = _source(project.git)
    names = ("stdout", "stderr")
    predicate = predicates.provenance(
        step=StepFacts(step, _run_id(), evidence, _layout(project)),
        materials=[*(one.descriptor for one in materials), *sources, *source],
        kind=kind,
        command=command,
        parameters=parameters,
        environment=environment() if evidence == "observed" else None,
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
    return _draft(statement, (*materials, *products))


def _draft(statement: Statement, artifacts: Iterable[Artifact]) -> Draft:
    nodes = {digest: node for one in artifacts if one.manifest for digest, node in one.manifest.nodes.items()}
    return Draft(statement, nodes)


def _source(git: GitState) -> tuple[ResourceDescriptor, ...]:
    if git.commit is None or git.tree is None or git.commit_sha256 is None:
        return ()
    uri = f"git+{git.remote}" if git.remote else "git:local"
    return (
        predicates.git_source(commit=git.commit, tree=git.tree, commit_sha256=git.commit_sha256, uri=uri),
    )


def _git(git: GitState) -> dict[str, Json] | None:
    if git.commit is None:
        return None
    facts: dict[str, Json] = {
        "commit": git.commit,
        "tree": git.tree,
        "commitSha256": git.commit_sha256,
        "dirty": git.dirty,
    }
    optional = {"diffSha256": git.diff_sha256, "remote": git.remote, "branch": git.branch}
    return facts | {key: value for key, value in optional.items() if value is not None}


def _layout(project: Project) -> str | None:
    return project.config.layout if project.config else None


def _run_id() -> str:
    return uuid.uuid4().hex


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _kind(kind: str) -> predicates.Kind:
    from gitchain.evidence.vocabulary import KINDS

    if kind not in KINDS:
        raise UsageError("unknown lifecycle kind", expected=", ".join(KINDS), got=kind)
    return kind


def _checked_dataset(value: dict[str, Any]) -> dict[str, Json]:
    return predicates.dataset(
        source=_field(value, "source"),
        licence=_field(value, "licence"),
        consent=_field(value, "consent"),  # type: ignore[arg-type]
        personal_data=_field(value, "personalData"),  # type: ignore[arg-type]
        description=value.get("description"),
        croissant=ResourceDescriptor.parse(value["croissant"], "croissant") if "croissant" in value else None,
    )


def _checked_deployment(value: dict[str, Any]) -> dict[str, Json]:
    return predicates.deployment(
        model=_field(value, "model"),
        environment=_field(value, "environment"),
        by=_field(value, "deployedBy"),
        when=_field(value, "deployedOn"),
        **{key: value.get(key) for key in ("cluster", "namespace", "workload", "image")},
    )


def _checked_svr(value: dict[str, Any]) -> dict[str, Json]:
    verifier, properties = value.get("verifier"), value.get("properties")
    if not isinstance(verifier, dict) or not isinstance(properties, list):
        raise MalformedError("the predicate lacks verifier or properties", where=predicates.SVR)
    return value | predicates.svr(
        verifier=_field(verifier, "id"),
        created=_field(value, "timeCreated"),
        properties=[str(item) for item in properties],
        policies=[
            ResourceDescriptor.parse(item, "verifier.policies") for item in verifier.get("policies", [])
        ],
    )


def _field(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str):
        raise MalformedError("the predicate lacks a text field", where=name, got=type(found).__name__)
    return found


_CHECKED: Mapping[str, Callable[[dict[str, Any]], dict[str, Json]]] = {
    predicates.DATASET: _checked_dataset,
    predicates.DEPLOYMENT: _checked_deployment,
    predicates.SVR: _checked_svr,
}
