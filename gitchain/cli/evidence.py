"""What the verifying verbs share: which layout may decide, where evidence is looked for, and what that is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.output import Options, escape
from gitchain.cli.signing import not_empty
from gitchain.errors import ProjectError, UsageError

if TYPE_CHECKING:
    from gitchain.pipeline.consume import Policy
    from gitchain.pipeline.project import Project
    from gitchain.pipeline.snapshots import Source

OCI = "oci://"


def policy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says which layout may decide, and --evidence; `policy_of` and `look_up` read them."""
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
            help="Who may sign the layout [default: the pin].",
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
            help="Look here too: a directory, git+https://… or oci://… (may be repeated).",
        ),
    ]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


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
    """Return what the options say about the layout; UsageError for half an identity."""
    from gitchain.layout.model import Identity
    from gitchain.pipeline.consume import Policy

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


def project_of(options: Options, layout: Path | None, *, configured: bool = False) -> Project | None:
    """Return the repository around the directory; None outside of one if the layout is named, else ProjectError.

    The repository's settings are for producing: nothing of them is read unless something is to be signed by them.
    """
    from gitchain.pipeline.project import open_project

    try:
        return open_project(options.directory, options.hashing, configured=configured, changes=False)
    except ProjectError:
        if layout is None:
            raise
        return None


def look_up(
    options: Options, targets: Sequence[str], places: Sequence[str]
) -> tuple[tuple[str, ...], tuple[Source, ...]]:
    """Return the targets, tags of registries resolved to digests, and the sources to look into.

    An artifact in a registry brings what refers to it there. Tells what a tag stood for, and which sources can hide what
    they held before. Raises UsageError for what is no source, and what the registries raise.
    """
    pinned = tuple(_pinned(options, target) for target in targets)
    images = [target for target in pinned if target.startswith(OCI)]
    named = dict.fromkeys((*places, *images))
    if not named:
        return pinned, ()
    from gitchain.pipeline.places import open_source

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
    from gitchain.pipeline.referrers import pin

    found = pin(target, offline=options.offline)
    if found != target:
        options.talk(f"target    {escape(target)} is {escape(found)} now")
    return found
