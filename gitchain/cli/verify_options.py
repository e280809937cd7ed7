"""Options, inputs and warnings that `verify`, `guard` and `fetch` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.output import NOTICE, Options, escape
from gitchain.cli.signing import not_empty
from gitchain.errors import NoRepositoryError, StoreError, UsageError

if TYPE_CHECKING:
    from gitchain.consume.load_layout import AcceptedLayout, LayoutOptions
    from gitchain.consume.verifier import Verification, Verifier
    from gitchain.sources.bundles import RefusedBundle
    from gitchain.sources.interface import EvidenceSource
    from gitchain.workspace.project import Project

OCI = "oci://"


@dataclass(frozen=True)
class VerifyOptions:
    """The layout, its signers and minimum version, required checkpoints of the store, and further evidence sources."""

    layout: Path | None
    layout_name: str | None
    subjects: tuple[str, ...]
    issuer: str | None
    minimum_version: int
    checkpoint: str | None
    witnesses: Path | None
    places: tuple[str, ...]

    def open(
        self, options: Options, targets: Sequence[str] = (), *, configured: bool = False
    ) -> VerifyInputs:
        """Open the repository and the sources, and pin the targets; warn about evidence that may be missing.

        Raises UsageError for options that do not fit, NoRepositoryError outside of a repository unless a layout is
        given, and what registries raise.
        """
        policy = self.policy(options)
        project = project_of(options, self.layout, configured=configured)
        tell_unread(options, project)
        return VerifyInputs(project, policy, *look_up(options, targets, self.places))

    def policy(self, options: Options) -> LayoutOptions:
        """Return the options about the layout. Raises UsageError for --signer without --issuer, or the reverse."""
        from gitchain.consume.load_layout import LayoutOptions
        from gitchain.layout.model import Identity

        if bool(self.subjects) != bool(self.issuer):
            raise UsageError("--signer and --issuer go together", help="--signer IDENTITY --issuer URL")
        return LayoutOptions(
            layout=self.layout,
            name=self.layout_name,
            signers=tuple(Identity(str(self.issuer), subject) for subject in self.subjects),
            trust=options.trust,
            offline=options.offline,
            minimum_version=self.minimum_version,
            checkpoint=self.checkpoint,
            witnesses=self.witnesses,
        )


@dataclass(frozen=True)
class VerifyInputs:
    """The inputs of a verification."""

    project: Project | None
    policy: LayoutOptions
    targets: tuple[str, ...]
    """The targets; tags of registries are resolved to digests."""
    sources: tuple[EvidenceSource, ...]

    def verifier(self) -> Verifier:
        """Return the verifier of these inputs as of now. Raises the errors of `Verifier.open`."""
        from datetime import UTC, datetime

        from gitchain.consume.verifier import Verifier

        return Verifier.open(self.project, self.policy, datetime.now(UTC), (), self.sources)


OUTSIDE = (
    "work in a clone (cd, or -C DIR); without one, add --layout FILE --evidence SOURCE --trust FILE "
    "--signer IDENTITY --issuer URL; git init makes a new repository"
)
_OPTIONS = (
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
    click.option(
        "--minimum-version",
        type=click.IntRange(0),
        default=0,
        metavar="N",
        help="Refuse an older layout.",
    ),
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
        help="Read evidence from here too: a directory, an archive, git+https://… or oci://… (repeatable).",
    ),
)


def verify_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of verification; the command gets them as one argument, `chosen`."""
    return _with_options(command, _OPTIONS)


def layout_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of verification without further sources of evidence, as `verify_options` does."""
    return _with_options(command, _OPTIONS[:-1])


def _with_options(command: Callable[..., Any], options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    @wraps(command)
    def collected(*given: Any, **arguments: Any) -> Any:
        chosen = VerifyOptions(**{one.name: arguments.pop(one.name, ()) for one in fields(VerifyOptions)})
        return command(*given, chosen=chosen, **arguments)

    for option in reversed(options):
        collected = option(collected)
    return collected


def tell_reading(
    options: Options,
    accepted: AcceptedLayout,
    refused: Sequence[RefusedBundle],
    forgotten: StoreError | None,
) -> None:
    """Print the trust and the choice of layout behind the verdict, and the evidence that was not stored or not counted."""
    if accepted.profile.trust.is_local:
        options.talk(f"trust     {NOTICE}")
    if accepted.is_choice_open:
        name = accepted.signed.layout.name
        options.talk(
            f"warning   the repository chose layout {escape(name)} among those that this signer signed. "
            f"To choose it yourself: --layout-name {escape(name)}"
        )
    if forgotten:
        options.talk(
            f"warning   an older layout would be accepted later: {escape(str(forgotten))}; "
            "pin it where it can be written, or give --minimum-version"
        )
    for one in refused:
        what = f"attestation {one.attestation_id[:12]}" if one.attestation_id else "evidence"
        step = f" of step {one.step}" if one.step else ""
        options.talk(f"not counted: {escape(what + step)}: {escape(one.reason)}")


def tell_bundle(options: Options, target: str, result: Verification) -> None:
    """Describe the coverage of a verdict on a bundle file."""
    if result.bundle is None:
        return
    count = len(result.bundle.targets)
    what = "its subject" if count == 1 else f"its {count} subjects"
    options.talk(
        f"bundle    {escape(target)} verifies, signed by {escape(str(result.bundle.signer))}; "
        f"the verdict is about {what}, not about a file beside it"
    )


def refused_documents(refused: Sequence[RefusedBundle]) -> list[dict[str, str | None]]:
    """Return the evidence that was not counted, for `--json`."""
    return [{"step": one.step, "id": one.attestation_id or None, "reason": one.reason} for one in refused]


def tell_unread(options: Options, project: Project | None) -> None:
    """Warn where the last `gitchain sync` of this repository could not read the remote's store."""
    if project is None:
        return
    from gitchain.sources.seen_store import unread_warning

    warning = unread_warning(project)
    if warning is not None:
        options.talk(f"warning   {escape(warning)}. Try again: gitchain sync")


def unread(project: Project | None) -> dict[str, str]:
    """Return the same for a document of `verify --json`: `unread`, or nothing where the last sync read everything."""
    from gitchain.sources.seen_store import unread_warning

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
    except NoRepositoryError as error:
        if layout is None:
            error.help = OUTSIDE
            raise
        return None


def look_up(
    options: Options, targets: Sequence[str], places: Sequence[str]
) -> tuple[tuple[str, ...], tuple[EvidenceSource, ...]]:
    """Return the targets, with tags of registries resolved to digests, and the evidence sources.

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
