"""`gitchain trust`: what is trusted, how old it is, and who may sign which layout."""

from __future__ import annotations

from typing import Any

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape, table
from gitchain.errors import ExitCode

TRUST_SCHEMA = "https://gitchain.dev/trust/v1"
FORGOTTEN_SCHEMA = "https://gitchain.dev/forgotten/v1"


@click.group(name="trust")
@global_options
def command() -> None:
    """Trust material: never taken from the repository that is judged."""


@command.command(name="status")
@global_options
@click.pass_obj
def status(options: Options) -> ExitCode:
    """Show the pinned layouts and the state of the trust behind them."""
    from gitchain.errors import GitchainError
    from gitchain.pipeline.home import read_pins
    from gitchain.pipeline.profiles import load_profile

    pins: list[dict[str, Any]] = []
    worst = ExitCode.OK
    for pin in read_pins().values():
        try:
            profile = load_profile(options.trust or pin.trust, offline=options.offline)
            digest = profile.trust_digest
            if digest != pin.trust_digest:  # what was pinned is known to be usable
                digest = profile.trust.digest
            state = "ok" if pin.trust_digest in {"", digest} else "changed since it was pinned"
        except GitchainError as error:
            digest, state = "", str(error)
        worst = worst if state == "ok" else ExitCode.TRUST
        pins.append(
            {
                "layout": pin.layout,
                "signers": [f"{subject} ({issuer})" for issuer, subject in pin.signers],
                "trust": pin.trust,
                "digest": digest,
                "highestVersion": pin.version,
                "state": state,
            }
        )
    options.document({"schema": TRUST_SCHEMA, "pins": pins})
    rows = [
        (pin["layout"], f"v{pin['highestVersion']}", pin["trust"], ", ".join(pin["signers"]), pin["state"])
        for pin in pins
    ]
    options.data(
        table(rows, ("layout", "seen", "trust", "signers", "state"))
        if rows
        else "no layout is pinned: gitchain trust pin"
    )
    return worst


@command.command(name="export")
@global_options
@click.pass_obj
def export(options: Options) -> None:
    """Print the trust configuration of this repository (or of --trust) for other Sigstore clients."""
    from gitchain.pipeline.profiles import load_profile
    from gitchain.pipeline.project import open_project

    if options.trust:
        click.echo(load_profile(options.trust, offline=options.offline).text)
        return
    project = open_project(options.directory, changes=False)
    click.echo(load_profile(project.configured().trust, base=project.root, offline=options.offline).text)


@command.command(name="pin")
@click.option("--layout", "name", metavar="NAME", help="Layout to pin [default: this repository's].")
@click.option(
    "--signer", "subjects", multiple=True, required=True, metavar="IDENTITY", help="Who may sign it."
)
@click.option("--issuer", metavar="URL", help="Issuer of the signers [default: the embedded instance's].")
@global_options
@click.pass_obj
def pin(options: Options, name: str | None, subjects: tuple[str, ...], issuer: str | None) -> ExitCode:
    """Say in your own directory who may sign a layout, under which trust."""
    from gitchain.errors import UsageError
    from gitchain.layout.model import Identity
    from gitchain.pipeline.profiles import load_profile
    from gitchain.pipeline.project import open_project
    from gitchain.pipeline.setup import pin_layout

    project = None if name and options.trust else open_project(options.directory, changes=False)
    config = project.config if project else None
    name = name or (config.layout if config else None)
    trust = options.trust or (config.trust if config else None)
    if not name or not trust:
        raise UsageError(
            "say which layout and which trust",
            help="gitchain --trust local trust pin --layout NAME --signer IDENTITY",
        )
    profile = load_profile(trust, base=project.root if project else None, offline=options.offline)
    if issuer is None:
        if profile.instance is None:
            raise UsageError("say who issued the signer's identity", help="--issuer URL")
        issuer = profile.instance.issuer
    pin_layout(name, tuple(Identity(issuer, subject) for subject in subjects), profile, project)
    who = [f"{subject} ({issuer})" for subject in subjects]
    options.document({"schema": TRUST_SCHEMA, "pins": [{"layout": name, "signers": who, "trust": trust}]})
    options.data(f"pinned  {escape(name)}: only {escape(', '.join(who))} may sign it, under {escape(trust)}")
    return ExitCode.OK


@command.command(name="update")
@global_options
@click.pass_obj
def update(options: Options) -> ExitCode:
    """Refresh the public trusted root from its TUF repository."""
    from gitchain.pipeline.profiles import load_profile

    profile = load_profile("public", offline=options.offline)
    options.document({"schema": TRUST_SCHEMA, "pins": [], "digest": profile.trust.digest})
    options.data(f"public trusted root  sha256:{profile.trust.digest}")
    return ExitCode.OK


@command.command(name="forget-history")
@click.option("--yes", is_flag=True, help="Do it: what is missing then is missing for good.")
@global_options
@click.pass_obj
def forget_history(options: Options, yes: bool) -> ExitCode:
    """Forget what you have seen of this repository's attestations.

    After it, `gitchain verify` accepts a store that holds less than it did: a revocation may be among what is gone.
    Checkpoints in the store still demand what they cover.
    """
    from gitchain.errors import UsageError
    from gitchain.pipeline.project import open_project
    from gitchain.pipeline.seen import forget, recalled

    project = open_project(options.directory, configured=False, changes=False)
    seen = recalled(project)
    if seen and not yes:
        raise UsageError(
            "this lets a loss of attestations pass unnoticed",
            got=", ".join(f"{one.size} attestations seen at {one.time}" for one in seen),
            help="gitchain sync brings back what a remote has; if the loss is meant: gitchain trust forget-history --yes",
        )
    gone = forget(project)
    options.document({"schema": FORGOTTEN_SCHEMA, "forgotten": [one.to_json() for one in gone]})
    for one in gone:
        options.data(
            f"forgotten  {escape(one.key)}: {one.size} attestations, seen at {one.time}, commit {one.commit}"
        )
    if gone:
        options.talk(
            "warning   attestations that are missing now will not be missed: revocations among them, too"
        )
    else:
        options.data("nothing was remembered of this repository's attestations")
    return ExitCode.OK
