"""Shared by the verifying verbs: the choice of the layout, the sources of evidence, and warnings about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.output import Options, escape
from gitchain.cli.signing import not_empty
from gitchain.errors import NoRepositoryError, UsageError

if TYPE_CHECKING:
    from gitchain.consume.load_layout import AcceptedLayout
    from gitchain.consume.verifier import Policy
    from gitchain.layout.model import Identity
    from gitchain.sources.interface import EvidenceSource
    from gitchain.workspace.project import Project

OCI = "oci://"


def policy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose the layout, and --evidence; `policy_of` and `look_up` read them."""
    decorators = [
        click.option(
            "--layout",
            type=click.Path(path_type=Path),
            help="Signed layout [default: .gitchain/layout.sigstore.json].",
        ),
        click.option(
            "--layout-name",
            "layout_name",
            metavar="NAME",
            callback=not_empty,
            help="Refuse a layout of another name [default: the one that is pinned].",
        ),
        click.option(
            "--signer",
            "subjects",
            multiple=True,
            metavar="IDENTITY",
            help="Identity that may sign the layout [default: the pin].",
        ),
        click.option("--issuer", metavar="URL", help="Issuer of --signer."),
        click.option("--minimum-version", type=click.IntRange(0), default=0, help="Refuse an older layout."),
        click.option(
            "--checkpoint",
            metavar="ID|FILE",
            help="Refuse a store that lacks what this checkpoint of it covers.",
        ),
        click.option(
            "--witnesses",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Refuse evidence whose log the quorum of this policy did not cosign.",
        ),
        click.option(
            "--evidence",
            "places",
            multiple=True,
            metavar="SOURCE",
            help="Read evidence from here too: a directory, git+https://… or oci://… (repeatable).",
        ),
    ]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


keys_option = click.option(
    "--key",
    "key_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Public key (PEM) whose attestations count, besides the layout's keys.",
)


def public_keys(files: Sequence[Path]) -> dict[Identity, bytes]:
    """Return the keys (DER) of --key by the identities that they sign as; UsageError for a file that holds none."""
    from gitchain.consume.single_bundle import wanted_signer

    wanted = [wanted_signer(None, None, file) for file in files]
    return {one.identity: one.keys[0] for one in wanted}


def policy_of(
    options: Options,
    layout: Path | None,
    layout_name: str | None,
    subjects: Sequence[str],
    issuer: str | None,
    minimum_version: int,
    checkpoint: str | None,
    witnesses: Path | None = None,
) -> Policy:
    """Return the options about the layout; UsageError if --signer or --issuer is missing."""
    from gitchain.consume.verifier import Policy
    from gitchain.layout.model import Identity

    if bool(subjects) != bool(issuer):
        raise UsageError("--signer and --issuer go together", help="--signer IDENTITY --issuer URL")
    return Policy(
        layout=layout,
        name=layout_name,
        signers=tuple(Identity(str(issuer), subject) for subject in subjects),
        trust=options.trust,
        offline=options.offline,
        minimum_version=minimum_version,
        checkpoint=checkpoint,
        witnesses=witnesses,
    )


def tell_open_choice(options: Options, accepted: AcceptedLayout) -> None:
    """Warn where the repository chose among the layouts of the signer that the options name."""
    if accepted.is_choice_open:
        name = accepted.signed.layout.name
        options.talk(
            f"warning   the repository chose layout {escape(name)} among those that this signer signed. "
            f"To choose it yourself: --layout-name {escape(name)}"
        )


def tell_unread(options: Options, project: Project | None) -> None:
    """Warn where the last `gitchain sync` of this repository could not read the remote's store."""
    if project is None:
        return
    from gitchain.sources.sync_failures import unread_warning

    warning = unread_warning(project)
    if warning is not None:
        options.talk(f"warning   {escape(warning)}. Try again: gitchain sync")


def unread(project: Project | None) -> dict[str, str]:
    """Return the same for a document of `verify --json`: `unread`, or nothing where the last sync read everything."""
    from gitchain.sources.sync_failures import unread_warning

    warning = None if project is None else unread_warning(project)
    return {} if warning is None else {"unread": warning}


def project_of(options: Options, layout: Path | None, *, configured: bool = False) -> Project | None:
    """Return the repository around the directory; None outside of one if the layout is named, else ProjectError.

    One that cannot be opened is an error: what it holds may count against the target. The settings of a repository are for
    producing: nothing of them is read unless something is to be signed by them.
    """
    from gitchain.workspace.project import open_project

    try:
        return open_project(options.directory, options.hashing, configured=configured, changes=False)
    except NoRepositoryError:
        if layout is None:
            raise
        return None


def look_up(
    options: Options, targets: Sequence[str], places: Sequence[str]
) -> tuple[tuple[str, ...], tuple[EvidenceSource, ...]]:
    """Return the targets, tags of registries resolved to digests, and the sources to look into.

    An artifact in a registry brings what refers to it there. Tells what a tag stood for, and which sources can hide what
    they held before. Raises UsageError for what is no source, and what the registries raise.
    """
    pinned = tuple(_pinned(options, target) for target in targets)
    images = [target for target in pinned if target.startswith(OCI)]
    named = dict.fromkeys((*places, *images))
    if not named:
        return pinned, ()
    from gitchain.sources.open_source import open_source

    sources = tuple(open_source(place, offline=options.offline) for place in named)
    for source in sources:
        if not source.remembers:
            options.talk(
                f"warning: {escape(source.name)} may be incomplete. Pass --checkpoint to detect removed attestations."
            )
    return pinned, sources


def _pinned(options: Options, target: str) -> str:
    if not target.startswith(OCI):
        return target
    from gitchain.sources.oci import pin

    found = pin(target, offline=options.offline)
    if found != target:
        options.talk(f"target    {escape(target)} is {escape(found)} now")
    return found
