"""`gitchain local`: the embedded Sigstore instance of this user."""

from __future__ import annotations

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import NOTICE, HelpGroup, Options, escape
from gitchain.errors import ExitCode

LOCAL_SCHEMA = "https://gitchain.dev/local/v1"


@click.group(name="local", cls=HelpGroup)
@global_options
def command() -> None:
    """Use the built-in Sigstore instance (works offline)."""


@command.command(name="status")
@global_options
@click.pass_obj
def status(options: Options) -> None:
    """Show the instance's directory, its identity and the size of its log.

    \b
    Examples:
      gitchain local status
    """
    from gitchain.instance import Instance
    from gitchain.workspace.user_directory import local_directory

    instance = Instance.open(local_directory())
    facts = {
        "directory": str(local_directory()),
        "issuer": instance.issuer,
        "origin": instance.origin,
        "logSize": instance.log.size(),
        "notice": NOTICE,
    }
    options.document({"schema": LOCAL_SCHEMA, "id": instance.id, **facts})
    options.data("\n".join(f"{key:<10} {escape(str(value))}" for key, value in facts.items()))


@command.command(name="trust")
@global_options
@click.pass_obj
def trust(options: Options) -> None:
    """Print the trust configuration that a verifier needs, also for other Sigstore clients.

    \b
    Examples:
      gitchain local trust > trust.json
    """
    from gitchain.trust.load_profile import load_profile

    del options
    click.echo(load_profile("local").text)


@command.command(name="token")
@click.argument("identity")
@global_options
@click.pass_obj
def token(options: Options, identity: str) -> None:
    """Print a short-lived OIDC token for IDENTITY.

    \b
    Examples:
      gitchain local token ada@example.com
    """
    from gitchain.instance import Instance
    from gitchain.workspace.user_directory import local_directory

    value = Instance.open(local_directory()).token(identity)
    options.document({"schema": LOCAL_SCHEMA, "token": value})
    options.data(value)


@command.command(name="start")
@global_options
@click.pass_obj
def start(options: Options) -> ExitCode:
    """Serve the instance on loopback for other Sigstore clients, until interrupted.

    The port is fixed when the instance is made: the exported trust configuration contains it.

    \b
    Examples:
      gitchain local start
    """
    from gitchain.instance import Instance
    from gitchain.instance.server import serve
    from gitchain.workspace.user_directory import local_directory

    instance = Instance.open(local_directory())
    options.talk(f"serving {instance.url} ({NOTICE}); stop with Ctrl-C")
    serve(instance)
    return ExitCode.OK
