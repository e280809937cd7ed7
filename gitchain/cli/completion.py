"""`gitchain completion`: print the completion script of a shell."""

from __future__ import annotations

import click

from gitchain.cli.main import gitchain, global_options
from gitchain.cli.shells import completion_of


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@global_options
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    It completes files, tags, commits, steps, attestation ids, identities, layout names and trust profiles.

    \b
    Examples:
      eval "$(gitchain completion bash)"
      eval "$(gitchain completion zsh)"
      gitchain completion fish | source
    """
    completion = completion_of(shell, gitchain)
    if completion is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(completion.source())
