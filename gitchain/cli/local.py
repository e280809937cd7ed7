"""`gitchain local`: the embedded Sigstore instance of this user."""

from __future__ import annotations

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.errors import ExitCode

LOCAL_SCHEMA = "https://gitchain.dev/local/v1"
NOTICE = "embedded instance: proves only that the holder of this machine's keys signed"


@click.group(name="local")
@global_options
def command() -> None:
    """The embedded Sigstore instance: works with the cable out, proves what its key holder says."""


@command.command(name="status")
@global_options
@click.pass_obj
def status(options: Options) -> None:
    """Say where the instance is, who it is and how long its log has grown."""
    from gitchain.instance import Instance
    from gitchain.pipeline.home import local_directory

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
    """Print the trust configuration: hand it to those who verify (also to the plain sigstore client)."""
    from gitchain.pipeline.profiles import load_profile

    del options
    click.echo(load_profile("local").text)


@command.command(name="token")
@click.argument("identity")
@global_options
@click.pass_obj
def token(options: Options, identity: str) -> None:
    """Print a short-lived OIDC token for IDENTITY."""
    from gitchain.instance import Instance
    from gitchain.pipeline.home import local_directory

    value = Instance.open(local_directory()).token(identity)
    options.document({"schema": LOCAL_SCHEMA, "token": value})
    options.data(value)


@command.command(name="start")
@global_options
@click.pass_obj
def start(options: Options) -> ExitCode:
    """Serve the instance on loopback for other Sigstore clients, until interrupted.

    The port was fixed when the instance was made: the exported trust configuration names it.
    """
    from gitchain.instance import Instance
    from gitchain.instance.server import serve
    from gitchain.pipeline.home import local_directory

    instance = Instance.open(local_directory())
    options.talk(f"serving {instance.url} ({NOTICE}); stop with Ctrl-C")
    serve(instance)
    return ExitCode.OK
