"""`gitchain trust`: trusted roots, their age, and the signers of each layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import HelpGroup, Options, escape, table
from gitchain.cli.trust_sources import pin_row, show_source, source_row
from gitchain.errors import ExitCode

if TYPE_CHECKING:
    from gitchain.layout.model import Identity
    from gitchain.trust.profiles import Profile

MAX_ROOT_BYTES = 512_000
"""Largest TUF root: python-tuf's own limit."""
TRUST_SCHEMA = "https://gitchain.dev/trust/v1"
FORGOTTEN_SCHEMA = "https://gitchain.dev/forgotten/v1"


tuf_root_option = click.option(
    "--tuf-root",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Root of the TUF repository at the --trust URL, to trust from now on.",
)


def read_root(path: Path | None) -> bytes | None:
    """Return the root that --tuf-root names, cut after the largest valid size; None without the option."""
    from gitchain.consume.single_bundle import read_file

    return None if path is None else read_file(path, "TUF root", MAX_ROOT_BYTES)


@click.group(name="trust", cls=HelpGroup)
@global_options
def command() -> None:
    """Show, pin, update and export trusted roots and layout signers."""


@command.command(name="status")
@global_options
@click.pass_obj
def status(options: Options) -> ExitCode:
    """Show the pinned layouts and the age and keys of their trusted roots.

    \b
    Examples:
      gitchain trust status
    """
    from gitchain.trust.archive import digests
    from gitchain.trust.load_profile import load_profile
    from gitchain.workspace.user_directory import read_pins

    pins: list[dict[str, Any]] = []
    sources: dict[str, dict[str, Any]] = {}
    worst = ExitCode.OK
    for pin in read_pins().values():
        row, source = pin_row(options, pin)
        if source is not None:
            sources.setdefault(source["name"], source)
        worst = worst if row["state"] == "ok" else ExitCode.TRUST
        pins.append(row)
    if options.trust and options.trust not in sources:
        profile = load_profile(options.trust, offline=options.offline)
        sources[profile.name] = source_row(profile)
    kept = list(digests())
    options.document({"schema": TRUST_SCHEMA, "pins": pins, "sources": list(sources.values()), "kept": kept})
    rows = [
        (pin["layout"], f"v{pin['highestVersion']}", pin["trust"], ", ".join(pin["signers"]), pin["state"])
        for pin in pins
    ]
    options.data(
        table(rows, ("layout", "seen", "trust", "signers", "state"))
        if rows
        else "no layout is pinned: gitchain trust pin"
    )
    for source in sources.values():
        show_source(options, source)
    shown = {source["digest"].removeprefix("sha256:") for source in sources.values()}
    if earlier := [digest for digest in kept if digest not in shown]:
        options.data(f"\nkept      {len(earlier)} earlier trusted root(s), for --trust: sha256:{earlier[0]}")
    return worst


@command.command(name="export")
@global_options
@click.pass_obj
def export(options: Options) -> None:
    """Print the trust configuration of this repository (or of --trust) for other Sigstore clients.

    \b
    Examples:
      gitchain trust export > trust.json
    """
    from gitchain.trust.load_profile import load_profile
    from gitchain.workspace.project import open_project

    if options.trust:
        click.echo(load_profile(options.trust, offline=options.offline).text)
        return
    project = open_project(options.directory, changes=False)
    click.echo(load_profile(project.configured().trust, base=project.root, offline=options.offline).text)


@command.command(name="pin")
@click.option("--layout", "name", metavar="NAME", help="Layout to pin [default: this repository's].")
@click.option("--signer", "subjects", multiple=True, metavar="IDENTITY", help="Identity that may sign it.")
@click.option(
    "--signer-key",
    "keys",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Public key (PEM) that may sign it.",
)
@click.option(
    "--issuer",
    metavar="URL",
    help="Issuer of the signers [default: the instance's, if the trust is an embedded one].",
)
@tuf_root_option
@global_options
@click.pass_obj
def pin(
    options: Options,
    name: str | None,
    subjects: tuple[str, ...],
    keys: tuple[Path, ...],
    issuer: str | None,
    tuf_root: Path | None,
) -> ExitCode:
    """Store in your own directory which signers may sign a layout, and under which trust.

    \b
    Examples:
      gitchain --trust trust.json trust pin --signer ada@example.com
    """
    from gitchain.errors import UsageError
    from gitchain.produce.init import pin_layout
    from gitchain.trust.load_profile import is_path, load_profile, pin_root
    from gitchain.workspace.project import open_project

    project = None if name and options.trust else open_project(options.directory, changes=False)
    config = project.config if project else None
    name = name or (config.layout if config else None)
    trust = options.trust or (config.trust if config else None)
    if not name or not trust:
        raise UsageError(
            "a layout and a trust are required",
            help="gitchain --trust local trust pin --layout NAME --signer IDENTITY",
        )
    pin_root(trust, read_root(tuf_root))
    profile = load_profile(trust, base=project.root if project else None, offline=options.offline)
    signers = _signers(name, trust, profile, subjects, keys, issuer)
    pin_layout(name, signers, profile, project)
    who = [str(signer) for signer in signers]
    options.document({"schema": TRUST_SCHEMA, "pins": [{"layout": name, "signers": who, "trust": trust}]})
    options.data(f"pinned  {escape(name)}: only {escape(', '.join(who))} may sign it, under {escape(trust)}")
    if not options.trust and is_path(trust):
        options.talk(
            f"trust   sha256:{profile.trust.digest}: compare it with what its owner tells you (gitchain trust status)"
        )
    return ExitCode.OK


@command.command(name="agree")
@global_options
@click.pass_obj
def agree(options: Options) -> ExitCode:
    """Accept the trust file in this repository for signing, until that file changes.

    \b
    Examples:
      gitchain trust agree
    """
    from gitchain.errors import UsageError
    from gitchain.trust.committed_trust import choose, services_of
    from gitchain.trust.load_profile import is_path, load_profile
    from gitchain.workspace.project import open_project

    project = open_project(options.directory, changes=False)
    trust = project.configured().trust
    if options.trust or not is_path(trust):
        raise UsageError(
            "only a repository's own trust file needs this choice",
            got=options.trust or trust,
            help="gitchain sync",
        )
    profile = load_profile(trust, base=project.root, offline=True)
    row = source_row(profile)
    digest = choose(project, profile)
    options.document({"schema": TRUST_SCHEMA, "pins": [], "digest": row["digest"], "sources": [row]})
    options.data(f"agreed    to sign here under {escape(trust)}, {digest}")
    for url in services_of(profile):
        options.data(f"  service {escape(url)}")
    return ExitCode.OK


def _signers(
    name: str, trust: str, profile: Profile, subjects: Sequence[str], keys: Sequence[Path], issuer: str | None
) -> tuple[Identity, ...]:
    """Return the signers that the options name. Raises UsageError without any, or if an issuer is missing."""
    from gitchain.consume.single_bundle import wanted_signer
    from gitchain.errors import UsageError
    from gitchain.layout.model import Identity
    from gitchain.trust.archive import keep_key

    if issuer is None and subjects:
        if not profile.trust.is_local:
            raise UsageError(
                "the issuer of the signer's identity is not given",
                expected="--issuer URL",
                help=f"gitchain --trust {trust} trust pin --layout {name} --signer {subjects[0]} --issuer URL",
            )
        issuer = f"https://{profile.trust.name}"  # an embedded instance is named after its issuer
    signers = tuple(Identity(str(issuer), subject) for subject in subjects)
    signers += tuple(keep_key(wanted_signer(None, None, key).keys[0]) for key in keys)
    if not signers:
        raise UsageError(
            "no signer of the layout is given",
            expected="--signer IDENTITY or --signer-key FILE",
            help=f"gitchain trust pin --layout {name} --signer IDENTITY",
        )
    return signers


@command.command(name="update")
@tuf_root_option
@global_options
@click.pass_obj
def update(options: Options, tuf_root: Path | None) -> ExitCode:
    """Refresh the trusted root of --trust from its TUF repository [default: public].

    \b
    Examples:
      gitchain trust update
    """
    from gitchain.errors import UsageError
    from gitchain.trust.load_profile import pin_root, update_profile

    if options.offline:
        raise UsageError("an update asks the network", got="--offline", help="gitchain trust update")
    name = options.trust or "public"
    pin_root(name, read_root(tuf_root))
    profile = update_profile(name)
    row = source_row(profile)
    options.document({"schema": TRUST_SCHEMA, "pins": [], "digest": profile.trust.digest, "sources": [row]})
    options.data(f"{escape(profile.name)} trusted root  sha256:{profile.trust.digest}")
    options.data(f"  good until {row['expires']}")
    return ExitCode.OK


@command.command(name="forget-history")
@click.option("--yes", is_flag=True, help="Confirm: the missing attestations cannot be detected later.")
@global_options
@click.pass_obj
def forget_history(options: Options, yes: bool) -> ExitCode:
    """Delete your record of this repository's attestations, so that a smaller store is accepted.

    Afterwards `gitchain verify` cannot detect what is missing: a revocation may be among it. Checkpoints in the
    store still require what they cover.

    \b
    Examples:
      gitchain trust forget-history --yes
    """
    from gitchain.errors import UsageError
    from gitchain.sources.rollback_protection import forget, recalled
    from gitchain.workspace.project import open_project

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
