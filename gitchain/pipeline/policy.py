"""The layout's own life: drafted from the pipeline, signed by its owner, pinned by those who verify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from gitchain.collect.committed import left_out, require_checked_out, restoring
from gitchain.errors import GitchainError, LayoutError, ProjectError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.canonical import canonical_json
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.predicates import LAYOUT as LAYOUT_TYPE
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.layout import parse_layout
from gitchain.layout.draft import draft
from gitchain.layout.lint import lint
from gitchain.layout.load import layout_from_json
from gitchain.layout.model import Identity as FunctionaryIdentity
from gitchain.layout.model import Layout
from gitchain.pipeline.home import write_atomically
from gitchain.pipeline.profiles import Profile
from gitchain.pipeline.project import LAYOUT, SIGNED_LAYOUT, Project
from gitchain.pipeline.record import Identity, signing_identity
from gitchain.platform.files import open_regular, read_regular

MAX_LAYOUT_BYTES = 1 << 20
DRAFT_LIFETIME = timedelta(days=365)  # a policy nobody looked at for a year should stop passing


NOTHING_HELP = (
    "Attest a step first (`gitchain run STEP -m INPUT -p MODEL -- COMMAND`), or add a stage to dvc.yaml; "
    "then run `gitchain layout draft --write`."
)


class NothingToDraftError(ProjectError):
    """Neither a DVC stage nor an attestation says which steps a layout could have."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A layout that was just signed, and where it is."""

    layout: Layout
    path: Path
    signer: FunctionaryIdentity


def read_layout(path: Path) -> Layout:
    """Return the unsigned layout that a person wrote; LayoutError when it is missing or invalid."""
    try:
        with open_regular(path) as file:
            data = file.read(MAX_LAYOUT_BYTES + 1)
    except OSError as error:
        raise LayoutError(
            "cannot read the layout",
            where=str(path),
            got=str(error.strerror),
            help="gitchain layout draft --write",
        ) from error
    return parse_layout(data)


def draft_layout(project: Project, name: str, functionary: FunctionaryIdentity, now: datetime) -> str:
    """Return a commented layout for the repository's DVC pipeline, without one for the steps attested by `functionary`.

    NothingToDraftError when there is neither.
    """
    from gitchain.pipeline.stages import draft_stages, served_paths

    stages = draft_stages(project)
    if not stages:
        return _draft_attested(project, name, functionary, now)
    return draft(name, stages, functionary, now + DRAFT_LIFETIME, serve=served_paths(project, stages))


def _draft_attested(project: Project, name: str, functionary: FunctionaryIdentity, now: datetime) -> str:
    from gitchain.pipeline.attested_steps import attested_steps

    found = attested_steps(project, functionary)
    if not found.stages:
        raise NothingToDraftError(
            f"no stage of a dvc.yaml has an output, and {functionary} attested no step",
            where=str(project.root),
            got="; ".join(found.others),
            help=NOTHING_HELP,
        )
    return draft(name, found.stages, functionary, now + DRAFT_LIFETIME, notes=found.others)


def layout_statement(layout: Layout) -> Statement:
    """Return the statement that signs a layout: its predicate is the layout itself."""
    document = layout.to_json()
    subject = ResourceDescriptor(
        name=layout.name, digest=DigestSet({"sha256": sha256_hex(canonical_json(document))})
    )
    return Statement.build((subject,), LAYOUT_TYPE, document)


def own_layout(project: Project) -> Path:
    """Return where the repository's unsigned layout is; LayoutError where Git holds it and the work tree lacks it."""
    try:
        require_checked_out(project.root, LAYOUT)
    except ProjectError as error:
        raise LayoutError(error.what, where=error.where, help=error.help) from error
    return project.root / LAYOUT


def sign_layout(
    project: Project, profile: Profile, identity: Identity, now: datetime, *, linted: bool = True
) -> Signed:
    """Sign `.gitchain/layout.yaml`, write the signed bundle beside it and into the store.

    Raises LayoutError when it is expired, or changed without a higher version than the one signed before, or, with
    `linted`, when lint finds an error: a layout that does not mean what it says is best not signed.
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
    who = signing_identity(project, profile, identity)
    with profile.signer(who) as signing:
        (raw,) = signing.sign((layout_statement(layout),))
    signer = verify_bundle(raw, profile.trust, signing.keys).identity
    write_atomically(project.root / SIGNED_LAYOUT, raw)
    project.store.add((raw,), {})
    return Signed(layout, project.root / SIGNED_LAYOUT, signer)


def _check_lint(layout: Layout, now: datetime) -> None:
    """Refuse to sign a layout with an error of lint: whoever verifies with it would think that it says more."""
    for one in lint(layout, now):
        if one.severity == "error":
            raise LayoutError(
                f"{one.code}: {one.message}",
                where=f"{LAYOUT}: {one.where}",
                help="gitchain layout lint   shows everything; gitchain layout sign --no-lint   signs it all the same",
            )


def _check_version(path: Path, layout: Layout) -> None:
    """Refuse to sign other content under a version that was signed before."""
    try:
        previous = layout_from_json(
            dict(Bundle.parse(read_regular(path, MAX_LAYOUT_BYTES * 4)).statement().predicate)
        )
    except (OSError, GitchainError):
        return  # nothing readable was signed before: there is nothing to be older than
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


def read_signed_layout(paths: Sequence[Path], root: Path | None = None) -> tuple[Path, bytes]:
    """Return the first signed layout that is there, with its path; LayoutError when there is none.

    That of the repository at `root` is also read from Git's index, where a sparse checkout leaves it out.
    """
    for path in paths:
        try:
            with open_regular(path) as file:
                data = file.read(MAX_LAYOUT_BYTES * 4 + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LayoutError(
                "cannot read the signed layout", where=str(path), got=str(error.strerror)
            ) from error
        if len(data) > MAX_LAYOUT_BYTES * 4:
            raise LayoutError(
                "the signed layout is too large", where=str(path), expected=f"≤ {MAX_LAYOUT_BYTES * 4} bytes"
            )
        return path, data
    own = None if root is None else root / SIGNED_LAYOUT
    kept = left_out(root, SIGNED_LAYOUT) if root is not None and own in paths else None
    if own is not None and kept is not None:
        return own, kept
    lost = restoring(root, SIGNED_LAYOUT) if root is not None and own in paths else ""
    raise LayoutError(
        "the signed layout is not in the work tree" if lost else "there is no signed layout",
        where=", ".join(str(path) for path in paths),
        help=lost or "gitchain layout sign   or give one with --layout FILE",
    )
