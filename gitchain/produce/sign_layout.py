"""Draft and sign layouts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.consume.layout_files import own_layout, read_layout
from gitchain.errors import GitchainError, LayoutError, ProjectError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.canonical import canonical_json
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import LAYOUT as LAYOUT_TYPE
from gitchain.layout.load import MAX_SIGNED_BYTES, layout_from_json
from gitchain.layout.model import Identity as FunctionaryIdentity
from gitchain.layout.model import Layout
from gitchain.platform.files import read_regular, write_durably
from gitchain.verify.layout import pin_command
from gitchain.workspace.project import LAYOUT, SIGNED_LAYOUT, Project

if TYPE_CHECKING:
    from gitchain.produce.sign_and_store import SigningIdentity
    from gitchain.trust.profiles import Profile

DRAFT_LIFETIME = timedelta(days=365)  # a layout that was not reviewed for a year should expire


NOTHING_HELP = (
    "Attest a step first (`gitchain run STEP -m INPUT -p MODEL -- COMMAND`), or add a stage to dvc.yaml; "
    "then run `gitchain layout draft --write`."
)


class NothingToDraftError(ProjectError):
    """Raised if neither DVC stages nor attestations define steps for a layout."""


@dataclass(frozen=True, slots=True)
class SignedLayoutFile:
    """A newly signed layout and its path; `warnings` are messages with suggested commands."""

    layout: Layout
    path: Path
    signer: FunctionaryIdentity
    warnings: tuple[tuple[str, str], ...] = ()


def draft_layout(project: Project, name: str, functionary: FunctionaryIdentity, now: datetime) -> str:
    """Return a commented layout for the DVC pipeline, or else for the steps that `functionary` attested.

    Raises NothingToDraftError if there are neither.
    """
    from gitchain.layout.draft import draft
    from gitchain.produce.draft_stages import draft_stages, served_paths

    stages = draft_stages(project)
    if not stages:
        return _draft_attested(project, name, functionary, now)
    return draft(name, stages, functionary, now + DRAFT_LIFETIME, serve=served_paths(project, stages))


def _draft_attested(project: Project, name: str, functionary: FunctionaryIdentity, now: datetime) -> str:
    from gitchain.layout.draft import draft
    from gitchain.produce.attested_steps import attested_steps

    attested = attested_steps(project, functionary)
    if not attested.stages:
        raise NothingToDraftError(
            f"no stage of a dvc.yaml has an output, and {functionary} attested no step",
            where=str(project.root),
            got="; ".join(attested.others),
            help=NOTHING_HELP,
        )
    return draft(name, attested.stages, functionary, now + DRAFT_LIFETIME, notes=attested.others)


def layout_statement(layout: Layout) -> Statement:
    """Return the statement for a layout: its predicate is the layout itself."""
    document = layout.to_json()
    subject = ResourceDescriptor(
        name=layout.name, digest=DigestSet({"sha256": sha256_hex(canonical_json(document))})
    )
    return Statement.build((subject,), LAYOUT_TYPE, document)


def sign_layout(
    project: Project, profile: Profile, identity: SigningIdentity, now: datetime, *, linted: bool = True
) -> SignedLayoutFile:
    """Sign `.gitchain/layout.yaml`; write the bundle next to it and into the store.

    Raises LayoutError if it is expired, if it changed without a higher version, or, with `linted`, if lint finds an
    error.
    """
    from gitchain.verify.bundle import verify_bundle

    layout = read_layout(own_layout(project))
    if layout.expires <= now:
        raise LayoutError(
            "the layout has expired",
            where=str(LAYOUT),
            got=layout.expires.isoformat(),
            help="raise expires and version",
        )
    _check_version(project.root / SIGNED_LAYOUT, layout)
    if linted:
        _check_lint(layout, now)
    from gitchain.produce.signing_identities import signing_identity

    signing = signing_identity(project, profile, identity)
    with profile.signer(signing, "gitchain layout sign") as layout_signer:
        (raw,) = layout_signer.sign((layout_statement(layout),))
    signer = verify_bundle(raw, profile.trust, layout_signer.keys).identity
    write_durably(project.root / SIGNED_LAYOUT, raw, mode=0o644)
    project.store.add((raw,), {})
    return SignedLayoutFile(
        layout, project.root / SIGNED_LAYOUT, signer, tuple(_warnings(layout, signer, now))
    )


def _warnings(layout: Layout, signer: FunctionaryIdentity, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield problems that the signer should know: this machine does not accept the layout, or it has no revokers."""
    from gitchain.consume.load_layout import pinned_signers
    from gitchain.layout.lint import lint
    from gitchain.layout.lint_code import LintCode

    pinned = pinned_signers(layout.name)
    if pinned and signer not in pinned:
        yield (
            f"verify refuses it on this machine: only {' or '.join(map(str, pinned))} may sign layout {layout.name}",
            f"{pin_command(layout.name, signer)}   or sign it as the signer that is pinned",
        )
    for problem in lint(layout, now):
        if problem.code is LintCode.NO_REVOKERS:
            yield f"{problem.code} {problem.message}", problem.help


def _check_lint(layout: Layout, now: datetime) -> None:
    """Raise LayoutError for a layout with a lint error: verifiers would assume that it checks more than it does."""
    from gitchain.layout.lint import lint

    for problem in lint(layout, now):
        if problem.severity == "error":
            raise LayoutError(
                f"{problem.code}: {problem.message}",
                where=f"{LAYOUT}: {problem.where}",
                help="gitchain layout lint   shows everything; gitchain layout sign --no-lint   signs it all the same",
            )


def _check_version(path: Path, layout: Layout) -> None:
    """Raise LayoutError if different content was signed under this version before."""
    try:
        previous = layout_from_json(
            dict(Bundle.parse(read_regular(path, MAX_SIGNED_BYTES)).statement().predicate)
        )
    except (OSError, GitchainError):
        return  # without a readable earlier layout there is no version to compare
    if previous.name != layout.name or previous.to_json() == layout.to_json():
        return
    if layout.version <= previous.version:
        raise LayoutError(
            "the layout changed but its version did not rise",
            where=str(LAYOUT),
            expected=f"version ≥ {previous.version + 1}",
            got=f"version {layout.version}",
            help=f"set version: {previous.version + 1} in {LAYOUT}",
        )
