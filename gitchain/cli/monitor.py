"""`gitchain monitor`: check the transparency logs, and report problems."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Literal

import click

from gitchain.cli.key_options import keys_option, public_keys
from gitchain.cli.main import global_options
from gitchain.cli.monitor_watch import WatchOptions, opened
from gitchain.cli.output import Options
from gitchain.cli.signing import not_empty
from gitchain.errors import ExitCode, UsageError, os_errors_as

WITNESS_SCHEMA = "https://gitchain.dev/witness/v1"
MAX_PORT = 65535


@click.command(name="monitor")
@click.option(
    "--identity",
    "subjects",
    multiple=True,
    metavar="IDENTITY",
    help="Identity to watch for [default: the store's].",
)
@click.option("--issuer", metavar="URL", callback=not_empty, help="Issuer of --identity.")
@keys_option
@click.option(
    "--log", "hosts", multiple=True, metavar="HOST", help="Follow only this log [default: all trusted]."
)
@click.option(
    "--url", "urls", multiple=True, metavar="HOST=URL", help="URL of a log [default: https and its name]."
)
@click.option(
    "--also", "also", multiple=True, metavar="HOST=URL", help="Compare the checkpoint that this server has."
)
@click.option(
    "--start",
    type=click.IntRange(0),
    metavar="INDEX",
    help="First entry to read in the first run [default: 0 for a log of at most 100,000 entries, else its end].",
)
@click.option(
    "--follow", type=click.IntRange(1), metavar="SECONDS", help="Repeat the checks at this interval."
)
@click.option("--webhook", metavar="URL", callback=not_empty, help="POST new alerts there.")
@click.option(
    "--webhook-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Read the webhook's URL from FILE [default: GITCHAIN_WEBHOOK].",
)
@click.option(
    "--webhook-format",
    "webhook_format",
    type=click.Choice(["json", "slack"]),
    default="json",
    show_default=True,
    help="The --json document, or a text for chat systems.",
)
@click.option(
    "--witness", metavar="NAME", callback=not_empty, help="Cosign checkpoints as this witness instead (C2SP)."
)
@click.option(
    "--listen",
    default="127.0.0.1:8100",
    metavar="HOST:PORT",
    help="Address on which the witness listens.",
    show_default=True,
)
@global_options
@click.pass_obj
def command(
    options: Options,
    subjects: tuple[str, ...],
    issuer: str | None,
    key_files: tuple[Path, ...],
    hosts: tuple[str, ...],
    urls: tuple[str, ...],
    also: tuple[str, ...],
    start: int | None,
    follow: int | None,
    webhook: str | None,
    webhook_file: Path | None,
    webhook_format: Literal["json", "slack"],
    witness: str | None,
    listen: str,
) -> ExitCode:
    """Check log consistency and unexpected use of your identity.

    Reports every event once; with -q it prints nothing else, for cron. Exit code 0: no problem; 1: a log or the
    store is inconsistent, or an entry is signed as you; 7: a log could not be read, or the webhook did not accept
    the alerts.

    \b
    Examples:
      gitchain monitor
      gitchain monitor -q
    """
    from gitchain.layout.model import Identity
    from gitchain.monitor.notify import Webhook, webhook_url

    if bool(subjects) != bool(issuer):
        raise UsageError("--identity and --issuer go together", help="--identity IDENTITY --issuer URL")
    if options.offline:
        raise UsageError("a monitor needs the network", help="leave --offline out")
    identities = frozenset(Identity(str(issuer), subject) for subject in subjects)
    if witness is not None:
        return _witness(options, witness, listen)
    keys = public_keys(key_files)
    url = webhook_url(webhook, webhook_file)
    watch = WatchOptions(
        options,
        identities,
        keys,
        hosts,
        _pairs(urls),
        _pairs(also),
        start,
        Webhook(url, webhook_format) if url else None,
    )
    while True:
        code = watch.once()
        if follow is None:
            return code
        time.sleep(follow)


def _witness(options: Options, name: str, listen: str) -> ExitCode:
    """Serve a witness until it is interrupted."""
    from gitchain.monitor.serving import witness_server
    from gitchain.monitor.witness import Witness, load_key
    from gitchain.workspace.user_directory import user_directory

    _, profile = opened(options)
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > MAX_PORT:
        raise UsageError("not HOST:PORT", got=ascii(listen[:200]), help="--listen 127.0.0.1:8100")
    key = load_key(user_directory() / "witness.pem")
    witness = Witness(name, key, profile.trust, lambda: int(time.time()))
    with os_errors_as(UsageError, "cannot listen", listen, help="--listen HOST:PORT"):
        server = witness_server(witness, host, int(port))
    with server:
        url = f"http://{host}:{server.server_port}"
        options.document({"schema": WITNESS_SCHEMA, "verifierKey": str(witness.verifier_key), "url": url})
        options.data(f"witness   {name} {witness.verifier_key} {url}")
        sys.stdout.flush()
        server.serve_forever()
    return ExitCode.OK


def _pairs(values: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(value.partition("=")[::2] for value in values)
    if any(not host or not url for host, url in pairs.items()):
        raise UsageError(
            "not HOST=URL", got=ascii(values), help="--url rekor.example.com=https://mirror.example.com"
        )
    return pairs
