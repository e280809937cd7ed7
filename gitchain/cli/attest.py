"""`gitchain attest`: declared evidence, from DVC's records or from options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.cli.signing import not_attested, note_line_endings, report, signing_options
from gitchain.errors import ExitCode, GitchainError, UsageError

if TYPE_CHECKING:
    from gitchain.produce.draft import StatementDraft
    from gitchain.produce.dvc_stages import DeclaredStages
    from gitchain.produce.sign_and_store import SigningIdentity
    from gitchain.workspace.project import Project


NOTHING_NEW = "nothing to attest: every step has its attestation"
NOTHING_RECORDED = (
    "nothing to attest: no dvc.lock or .dvc file records a step\n"
    "  help  gitchain attest STEP -m MATERIAL -p PRODUCT   (names the files of a step)"
)


@click.command(name="attest")
@click.argument("steps", nargs=-1, metavar="[STEP]...")
@click.option(
    "--material", "-m", "materials", multiple=True, metavar="PATH", help="Artifact that the step used."
)
@click.option(
    "--product", "-p", "products", multiple=True, metavar="PATH", help="Artifact that the step made."
)
@click.option(
    "--params",
    multiple=True,
    metavar="FILE[:KEY,…]",
    help="Record the parameters in this YAML, JSON or TOML file.",
)
@click.option("--metrics", multiple=True, metavar="FILE", help="Record the values in this file.")
@click.option(
    "--predicate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with the predicate.",
)
@click.option("--type", "predicate_type", metavar="URI", help="Predicate type of --predicate.")
@click.option(
    "--kind",
    default="step",
    show_default=True,
    metavar="KIND",
    help="Lifecycle kind of a provenance statement.",
)
@click.option("--dry-run", is_flag=True, help="Print the statements; sign nothing.")
@signing_options
@global_options
@click.pass_obj
def command(
    options: Options,
    steps: tuple[str, ...],
    materials: tuple[str, ...],
    products: tuple[str, ...],
    params: tuple[str, ...],
    metrics: tuple[str, ...],
    predicate: Path | None,
    predicate_type: str | None,
    kind: str,
    dry_run: bool,
    who: SigningIdentity,
) -> ExitCode:
    """Attest steps that did not run under gitchain, as declared evidence.

    Without options: every DVC stage and .dvc file (or each STEP named) that has no attestation yet, from
    dvc.lock, with each recorded md5 checked against the bytes. Steps whose files are not here are named, and the
    others are attested. With --material/--product: one step on these files. With --type and --predicate: a
    statement of that type about the --material files.

    \b
    Examples:
      gitchain attest
      gitchain attest train -m data.csv -p model.pkl
      gitchain attest approve --type https://in-toto.io/attestation/svr/v0.2 --predicate verdict.json -m model.pkl
    """
    from gitchain.produce.dvc_stages import declared_drafts
    from gitchain.produce.sign_and_store import project_profile, record
    from gitchain.produce.steps import provenance_draft
    from gitchain.workspace.project import open_project

    one = bool(materials or products or predicate or params or metrics)
    _check_arguments(steps, predicate, predicate_type, names_files=one)
    project = open_project(options.directory, options.hashing)
    project.configured()
    profile = None if dry_run else project_profile(project, options.trust, offline=options.offline)
    left: DeclaredStages | None = None
    if one:
        drafts: tuple[StatementDraft, ...] = (
            _typed(project, steps[0], predicate, predicate_type, materials, (*products, *params, *metrics))
            if predicate is not None and predicate_type is not None
            else provenance_draft(
                project, steps[0], materials, products, kind=kind, params=params, metrics=metrics
            ),
        )
    else:
        left = declared_drafts(project, steps, trust=profile.trust if profile else None)
        drafts = left.drafts
    failure = _failure(left, named=bool(steps)) if left else None
    if failure and not drafts:
        _name_others(options, left, failure)
        raise failure
    if profile is None:
        code = _print_statements(drafts)
    else:
        recorded = record(project, profile, drafts, who, replaces=True)
        code = report(options, profile, recorded, left.unattested if left else ())
    _advise(options, project, drafts)
    note_line_endings(options, project, drafts)
    return _left_out(options, left, failure) or code


def _print_statements(drafts: Sequence[StatementDraft]) -> ExitCode:
    for draft in drafts:
        click.echo(draft.statement.payload)
    return ExitCode.OK


def _check_arguments(
    steps: Sequence[str], predicate: Path | None, predicate_type: str | None, *, names_files: bool
) -> None:
    """Raise UsageError for options that contradict each other."""
    if (predicate is None) != (predicate_type is None):
        raise UsageError(
            "--predicate and --type go together",
            help="gitchain attest STEP -m PATH --type URI --predicate FILE",
        )
    if names_files and len(steps) != 1:
        raise UsageError(
            "name one STEP for these files",
            got=" ".join(steps) or "none",
            help="gitchain attest STEP -m MATERIAL -p PRODUCT",
        )


def _typed(
    project: Project,
    step: str,
    predicate: Path,
    predicate_type: str,
    materials: Sequence[str],
    files: Sequence[str],
) -> StatementDraft:
    """Return the statement of --type and --predicate. Raises UsageError if options for products were given."""
    from gitchain.produce.predicate_input import read_predicate, typed_draft

    if files:
        raise UsageError(
            "a statement with --type is about --material files; it makes no products",
            help="leave --product, --params and --metrics out",
        )
    return typed_draft(project, step, predicate_type, read_predicate(predicate), materials)


def _advise(options: Options, project: Project, drafts: Sequence[StatementDraft]) -> None:
    """Print the steps for which the layout does not accept declared evidence, and the command to type."""
    from gitchain.evidence.predicates import claim_of
    from gitchain.produce.draft_stages import layout_wants_observed
    from gitchain.produce.dvc_stages import typed_name

    wanted = layout_wants_observed(project) if drafts else frozenset()
    for draft in drafts:
        step = claim_of(draft.statement).step
        if step not in wanted:
            continue
        is_dvc = b'"dvc":{"' in draft.statement.payload
        run = (
            f"-- dvc repro --force {typed_name(project, step)}"
            if is_dvc
            else f"{step} -m FILE -p FILE -- CMD"
        )
        options.talk(f"step {escape(step)}: the layout asks for observed evidence, and this is declared")
        options.talk(f"  help  gitchain run {escape(run)}   (runs it again and observes it)")
        options.talk(
            "  help  or remove `evidence: observed` of the step in .gitchain/layout.yaml, raise version, then:"
        )
        options.talk("  help  gitchain layout sign")


def _left_out(
    options: Options, declared: DeclaredStages | None, failure: GitchainError | None
) -> ExitCode | None:
    """Print the steps that were not attested; return the exit code for them, or None if they do not affect it."""
    if declared and not (declared.drafts or declared.absent or declared.problems):
        options.talk(NOTHING_NEW if declared.attested else NOTHING_RECORDED)
        if declared.planned and not declared.attested:
            options.talk("  help  gitchain run -- dvc repro   (runs the stages of dvc.yaml and attests them)")
    _name_others(options, declared, failure)
    if failure is None:
        return None
    options.error(failure, document=False)
    return failure.exit_code


def _failure(declared: DeclaredStages, *, named: bool) -> GitchainError | None:
    """Return the problem that decides the exit code, or None if no unattested step affects it.

    Bytes that are not on this machine are only named, unless the caller named the step or no step has an attestation.
    """
    problems = [error for _, error in declared.problems]
    if named or not (declared.drafts or declared.attested):
        problems += [error for _, error in declared.absent]
    return next(iter(problems), None)


def _name_others(options: Options, declared: DeclaredStages | None, failure: GitchainError | None) -> None:
    for name, problem in (*declared.absent, *declared.problems, *declared.notices) if declared else ():
        if problem is not failure:
            not_attested(options, name, problem)
