"""`gitchain run`: run a command, and attest its inputs and outputs as observed evidence."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.main import global_options, run_errors
from gitchain.cli.output import Options, escape
from gitchain.cli.signing import not_attested, note_line_endings, report, signing_options
from gitchain.cli.usage import AfterDashes
from gitchain.errors import ExitCode, GitchainError, UsageError

if TYPE_CHECKING:
    from gitchain.produce.sign_and_store import SigningIdentity
    from gitchain.produce.steps import ObservedRun


@click.command(name="run", cls=AfterDashes, options_metavar="[OPTIONS]")
@click.argument("step", required=False, metavar="[STEP]")
@click.option(
    "--material", "-m", "materials", multiple=True, metavar="PATH", help="Artifact that the command uses."
)
@click.option(
    "--product", "-p", "products", multiple=True, metavar="PATH", help="Artifact that the command makes."
)
@click.option(
    "--params",
    multiple=True,
    metavar="FILE[:KEY,…]",
    help="Record the parameters in this YAML, JSON or TOML file, as they are before the command.",
)
@click.option(
    "--metrics",
    multiple=True,
    metavar="FILE",
    help="Record the values in this file, which the command writes.",
)
@click.option(
    "--kind", default="step", show_default=True, metavar="KIND", help="Lifecycle kind of the statement."
)
@signing_options
@global_options
@click.pass_context
def command(context: click.Context, /, step: str | None, **arguments: Any) -> int:
    """Run a command and attest its inputs and outputs. The command's exit code passes through.

    Inputs are hashed before the command runs, outputs after it. If the command ended with 0 and its statements
    wait in the outbox, the exit code is 9: `gitchain sync` signs them.

    `run -- dvc repro`: every stage that really ran gets its own attestation. `run STEP -- CMD` without -m/-p
    takes the deps and outs of that DVC stage.

    \b
    Examples:
      gitchain run -- dvc repro
      gitchain run train -m data.csv -p model.pkl -- python train.py
    """
    words: tuple[str, ...] = context.meta["gitchain.command"]
    if not words:
        raise UsageError("no command to run", help="gitchain run [STEP] [-m PATH]... [-p PATH]... -- CMD...")
    options: Options = context.obj
    with run_errors():
        return _run(options, step, words, **arguments)


def _run(
    options: Options,
    step: str | None,
    words: Sequence[str],
    *,
    materials: tuple[str, ...],
    products: tuple[str, ...],
    params: tuple[str, ...],
    metrics: tuple[str, ...],
    kind: str,
    who: SigningIdentity,
) -> int:
    from gitchain.produce.dvc_stages import is_dvc, observe_repro
    from gitchain.produce.planned_stages import StepFiles
    from gitchain.produce.sign_and_store import check_signing, project_profile, record
    from gitchain.produce.steps import observe_step
    from gitchain.workspace.project import open_project

    stdout = 2 if options.json else 1  # under --json our own stdout holds the document alone
    project = open_project(options.directory, options.hashing)
    profile = project_profile(project, options.trust, offline=options.offline)
    check_signing(project, profile, who)  # before the command has run for an hour
    if is_dvc(words):
        if step or materials or products or params or metrics:
            raise UsageError(
                "dvc repro names its own stages and files", help="gitchain run -- " + shlex.join(words)
            )
        seen = observe_repro(
            project, words, stdout, lambda name, error: _warn(options, name, error), profile.trust
        )
    elif step is None:
        raise UsageError("name the step", help="gitchain run STEP -- " + shlex.join(words))
    else:
        seen = observe_step(
            project, step, words, StepFiles(materials, products, params, metrics), kind=kind, stdout=stdout
        )
    result = report(
        options, profile, record(project, profile, seen.drafts, who, replaces=True), _problems(seen)
    )
    if not seen.drafts and not seen.problems:
        _tell_nothing(options, seen)
    note_line_endings(options, project, seen.drafts)
    for name, notice in seen.notices:
        not_attested(options, name, notice)
    if seen.idle and seen.exit_code == 0:
        _tell_idle(options, words, seen.idle)
    for problem in seen.problems:
        options.error(problem, document=False)
    if seen.problems and seen.exit_code == 0:
        return ExitCode.RUN
    return seen.exit_code or int(result)


def _warn(options: Options, name: str, error: GitchainError) -> None:
    options.talk(f"warning   if it runs, stage {escape(name)} cannot be attested: {escape(str(error))}")
    if error.help:
        options.talk(f"  help  {escape(error.help)}")


def _problems(seen: ObservedRun) -> list[tuple[str, GitchainError]]:
    return [*((problem.where or "-", problem) for problem in seen.problems), *seen.notices]


def _tell_nothing(options: Options, seen: ObservedRun) -> None:
    """Print why nothing was attested."""
    idle = "no stage ran" if seen.idle else "nothing ran that was not attested already"
    failed = f"the command failed with {seen.exit_code}: nothing was attested"
    options.talk(idle if seen.exit_code == 0 else failed)


def _tell_idle(options: Options, words: Sequence[str], idle: Sequence[str]) -> None:
    """Print the stages that did not run and were never observed, and the command to type."""
    names = ", ".join(escape(name) for name in idle[:20]) + (
        f" and {len(idle) - 20} more" if idle[20:] else ""
    )
    options.talk(f"did not run: {names}")
    options.talk("  why   DVC found them up to date; what did not run cannot be observed")
    again = shlex.join([*words, "--force"])
    options.talk(f"  help  gitchain run -- {escape(again)}   (runs them again and observes them)")
    options.talk(
        "  help  gitchain attest   (declares them: verify accepts that where the layout's step has no `evidence: observed`)"
    )
