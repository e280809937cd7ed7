"""`gitchain completion`: print the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from gitchain.cli.main import global_options


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@global_options
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    bash: eval "$(gitchain completion bash)"    zsh: eval "$(gitchain completion zsh)"
    fish: gitchain completion fish | source
    """
    from gitchain.cli.main import gitchain

    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(completion(gitchain, {}, "gitchain", "_GITCHAIN_COMPLETE").source())
