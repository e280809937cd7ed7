"""`gitchain hooks`: install, list and remove the Git hooks, which queue events to attest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import HelpGroup, Options, escape, table
from gitchain.errors import ExitCode

if TYPE_CHECKING:
    from gitchain.hooks import HookStatus

HOOKS_SCHEMA = "https://gitchain.dev/hooks/v1"


@click.group(name="hooks", cls=HelpGroup)
@global_options
def command() -> None:
    """Install Git hooks, which queue events and never block Git."""


@command.command(name="install")
@click.option("--force", is_flag=True, help="Install even into a shared hooks directory.")
@click.option(
    "--tags",
    is_flag=True,
    help="Also install the hook that queues tags at once: it runs at every ref update.",
)
@global_options
@click.pass_obj
def install_hooks(options: Options, force: bool, tags: bool) -> ExitCode:
    """Install the hooks; hooks that exist keep running.

    \b
    Examples:
      gitchain hooks install
      gitchain hooks install --tags
    """
    from gitchain.hooks import install

    return _report(options, install(options.directory, force=force, tags=tags))


@command.command(name="status")
@global_options
@click.pass_obj
def show_status(options: Options) -> ExitCode:
    """Show which hooks are installed, and their failures. Exits 1 if there is a problem.

    \b
    Examples:
      gitchain hooks status
    """
    from gitchain.hooks import status, troubles

    found = troubles(options.directory)  # `gitchain doctor` reports the same
    _report(options, status(options.directory), found)
    for trouble in found:
        options.talk(f"problem   {escape(trouble)}")
        options.talk("  help    gitchain sync")
    return ExitCode.FAILED if found else ExitCode.OK


@command.command(name="remove")
@global_options
@click.pass_obj
def remove_hooks(options: Options) -> ExitCode:
    """Remove the hooks and restore those that were there before.

    \b
    Examples:
      gitchain hooks remove
    """
    from gitchain.hooks import remove

    return _report(options, remove(options.directory))


def _report(options: Options, hooks: Sequence[HookStatus], troubles: Sequence[str] = ()) -> ExitCode:
    rows = [hook.to_json() for hook in hooks]
    options.document({"schema": HOOKS_SCHEMA, "hooks": rows, "troubles": list(troubles)})
    options.data(table([(hook.name, hook.state, hook.detail) for hook in hooks], ("hook", "state", "")))
    return ExitCode.OK
