"""`gitchain hooks`: the Git hooks that queue what to attest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape, table
from gitchain.errors import ExitCode

if TYPE_CHECKING:
    from gitchain.hooks import HookStatus

HOOKS_SCHEMA = "https://gitchain.dev/hooks/v1"


@click.group(name="hooks")
@global_options
def command() -> None:
    """Git hooks: they queue, one drainer signs; commits and tags never wait for them."""


@command.command(name="install")
@click.option("--force", is_flag=True, help="Also into a hooks directory that others share.")
@click.option(
    "--tags", is_flag=True, help="Also the hook that sees tags at once: it runs at every ref update."
)
@global_options
@click.pass_obj
def install_hooks(options: Options, force: bool, tags: bool) -> ExitCode:
    """Install the hooks beside those that are there."""
    from gitchain.hooks import install

    return _report(options, install(options.directory, force=force, tags=tags))


@command.command(name="status")
@global_options
@click.pass_obj
def show_status(options: Options) -> ExitCode:
    """Show which hooks are installed."""
    from gitchain.hooks import status, troubles

    code = _report(options, status(options.directory))
    for trouble in troubles(options.directory):  # `gitchain doctor` reports the same
        options.talk(f"problem   {escape(trouble)}")
        options.talk("  help    gitchain sync")
    return code


@command.command(name="remove")
@global_options
@click.pass_obj
def remove_hooks(options: Options) -> ExitCode:
    """Remove the hooks without a trace."""
    from gitchain.hooks import remove

    return _report(options, remove(options.directory))


def _report(options: Options, hooks: Sequence[HookStatus]) -> ExitCode:
    options.document({"schema": HOOKS_SCHEMA, "hooks": [hook.to_json() for hook in hooks]})
    options.data(table([(hook.name, hook.state, hook.detail) for hook in hooks], ("hook", "state", "")))
    return ExitCode.OK
