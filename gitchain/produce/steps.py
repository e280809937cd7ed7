"""Provenance statements of steps: observed runs and declared steps."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gitchain.collect.artifacts import CollectedArtifact, collect_artifact
from gitchain.collect.paths import climbed
from gitchain.collect.values import read_params
from gitchain.consume.missing_files import require_files
from gitchain.errors import GitchainError, MalformedError, UsageError
from gitchain.evidence import predicates
from gitchain.evidence.canonical import Json
from gitchain.evidence.names import check_step_name
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.produce.draft import StatementDraft
from gitchain.produce.metrics import read_metric, read_metrics
from gitchain.produce.planned_stages import StepFiles, stage_called, stage_files, stage_params
from gitchain.produce.provenance import provenance
from gitchain.workspace.project import Project

if TYPE_CHECKING:
    from gitchain.collect.run import Observation

Problems = tuple[tuple[str, GitchainError], ...]
"""Steps, files or products that could not be attested, with reasons."""


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """The statements of a command that gitchain ran, and its exit code.

    `problems`: what ran or should have been made, without a statement. `notices`: what could not be attested and is
    not part of the run. `idle`: recorded DVC stages that did not run and have no observed attestation.
    """

    drafts: tuple[StatementDraft, ...]
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
) -> StatementDraft:
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


def observe_step(
    project: Project, step: str, command: Sequence[str], files: StepFiles, *, kind: str, stdout: int = 1
) -> ObservedRun:
    """Run the command; return its statement (none if it failed) and its exit code.

    Without materials and products, those of the DVC stage with this name are used, with its parameters and metrics.
    """
    from gitchain.collect.run import observe

    check_step(step)
    _check_command(command)
    _kind(kind)
    notices: list[tuple[str, GitchainError]] = []
    params = read_params(project.root, [_params_file(project, item) for item in files.params])
    if not files.materials and not files.products:
        stage = stage_called(project, step)
        step, files = stage.name, stage_files(project, stage, files.metrics)
        params = stage_params(project, stage, notices) | params
    names = [
        [_inside(project, name) for name in side] for side in (files.materials, files.products, files.metrics)
    ]
    _require_products(step, names[1], command)
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
        return ObservedRun((), seen.exit_code)
    products = [product for product in seen.products if _is_in(product.name, names[1])]
    if not products:
        raise [*seen.problems, *(error for _, error in seen.unwritten)][0]
    metrics = read_metrics(project.root, seen.products, names[2], notices)
    draft = _observed_draft(project, step, seen, products, _kind(kind), params, metrics)
    return ObservedRun((draft,), 0, seen.problems, (*seen.unwritten, *notices))


def _observed_draft(
    project: Project,
    step: str,
    seen: Observation,
    products: Sequence[CollectedArtifact],
    kind: predicates.Kind,
    parameters: Mapping[str, Json],
    metrics: Sequence[ResourceDescriptor],
) -> StatementDraft:
    """Return the provenance statement of a command that gitchain ran."""
    from gitchain.collect.scrub import scrub_command

    return provenance(
        project,
        step,
        seen.materials,
        products,
        evidence="observed",
        kind=kind,
        command=scrub_command(seen.command),
        parameters=parameters,
        times=(seen.started, seen.finished),
        outputs=(seen.stdout_sha256, seen.stderr_sha256),
        metrics=metrics,
        interpreters=seen.interpreters,
    )


def _require_products(step: str, products: Sequence[str], command: Sequence[str]) -> None:
    if not products:
        raise UsageError(
            "the command has no products",
            help=f"gitchain run {shlex.quote(step)} -m MATERIAL -p PRODUCT -- {shlex.join(command)}",
        )


def _is_in(name: str, wanted: Sequence[str]) -> bool:
    return any(name == path or name.startswith(f"{path}/") for path in wanted)


def _params_file(project: Project, text: str) -> tuple[str, Sequence[str]]:
    """Return file and keys of `FILE[:KEY,…]`."""
    file, _, keys = (text, "", "") if Path(text).exists() else text.partition(":")
    name = _inside(project, file)
    require_files(project, [name])
    return name, [key for key in keys.split(",") if key]


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
