"""`gitchain guard`: verify a model's bytes, then become the command that loads them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from gitchain.cli.main import global_options, run_errors
from gitchain.cli.output import Options, escape
from gitchain.cli.signing import not_empty
from gitchain.cli.usage import AfterDashes
from gitchain.cli.verdict import decision_document, print_verdict
from gitchain.cli.verify_options import VerifyOptions, tell_reading, verify_options
from gitchain.errors import RunError, UsageError, VerificationError, reason

if TYPE_CHECKING:
    from gitchain.consume.guard import GuardedModel
    from gitchain.consume.mutability import State

HERE = "{}"
VARIABLE = "GITCHAIN_MODEL"


@click.command(name="guard", cls=AfterDashes, options_metavar="[OPTIONS]")
@click.argument("model", type=click.Path(path_type=Path))
@verify_options
@click.option(
    "--name",
    metavar="NAME",
    callback=not_empty,
    help="Name of MODEL in the layout [default: any model that it serves, outside of its repository].",
)
@click.option(
    "--copy",
    "copies",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Verify and use a private, read-only copy: DIR/sha256-<digest>.",
)
@click.option(
    "--require",
    "wanted",
    type=click.Choice(["closed", "narrowed", "open"]),
    default="open",
    show_default=True,
    help="Refuse if others could change the model before it is loaded.",
)
@global_options
@click.pass_context
def command(context: click.Context, /, model: Path, **arguments: Any) -> NoReturn:
    """Verify MODEL's bytes, then replace this process with the command after `--`.

    In the command, {} is the verified path; the variable GITCHAIN_MODEL has it too. Exit code 125 means that the
    command did not start, for example because the model does not pass. After the start the code is the command's.

    \b
    Examples:
      gitchain guard model.pkl -- python serve.py {}
      gitchain guard models/credit --copy /dev/shm/models --require closed -- vllm serve {}
    """
    words: tuple[str, ...] = context.meta["gitchain.command"]
    options: Options = context.obj
    with run_errors():
        found = _verified(options, model, words, **arguments)
        _become(words, found)


def _verified(
    options: Options,
    model: Path,
    words: Sequence[str],
    *,
    chosen: VerifyOptions,
    name: str | None,
    copies: Path | None,
    wanted: State,
) -> GuardedModel:
    """Return the verified model. Raises VerificationError if it did not pass, after printing the reason."""
    from gitchain.consume.guard import NamedModel, guard

    if not words:
        raise UsageError("no command to run", help="gitchain guard MODEL --layout FILE -- CMD {}")
    if copies is not None and not any(HERE in word or VARIABLE in word for word in words):
        raise UsageError(
            "the command does not name the copy",
            expected=f"{HERE} or {VARIABLE} in it",
            got=" ".join(words),
            help="write {} where the command takes the model's path: gitchain guard MODEL --copy DIR -- CMD {}",
        )
    verifier = chosen.open(options).verifier()
    found = guard(verifier, NamedModel(model, name), copies=copies, wanted=wanted)
    tell_reading(options, verifier.accepted, verifier.evidence.refused, verifier.forgotten)
    if not found.decision.passed:
        document = decision_document(found.decision, verifier.accepted.profile)
        print_verdict(options, document)
        raise VerificationError("the model did not pass: the command was not started", where=str(model))
    options.talk(f"verified  {escape(str(found.decision.target))} {found.decision.target.content}")
    options.talk(f"window    {found.window.state}: {escape(found.window.reason)}")
    return found


def _become(words: Sequence[str], found: GuardedModel) -> NoReturn:
    """Replace this process: descriptors 0 to 2, environment, directory and signals are the command's own."""
    path = str(found.path.absolute())
    command = [word.replace(HERE, path) for word in words]
    sys.stdout.flush()
    sys.stderr.flush()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and ignored they would stay
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, {**os.environ, VARIABLE: path})  # noqa: S606 - no shell is the point
    except (OSError, ValueError) as error:
        raise RunError(
            "cannot start the command",
            where=command[0],
            got=reason(error),
            help="check the name of the program and PATH",
        ) from error
