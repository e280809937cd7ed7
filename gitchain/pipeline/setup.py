"""`gitchain init`: configuration, a first layout, hooks, and the layout signer's pin in the user's own directory."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gitchain.collect.git import pipelines_here
from gitchain.collect.identity import user_email
from gitchain.errors import MalformedError, ProjectError, UsageError
from gitchain.evidence.names import check_step_name
from gitchain.layout.model import Identity
from gitchain.pipeline.archive import archive
from gitchain.pipeline.home import (
    Pin,
    local_directory,
    make_directory,
    read_pins,
    write_atomically,
    write_pin,
)
from gitchain.pipeline.policy import draft_layout
from gitchain.pipeline.profiles import Profile, load_profile
from gitchain.pipeline.project import CONFIG, LAYOUT, Config, Project, open_project, render_config


@dataclass(frozen=True, slots=True)
class Initialised:
    """What `init` made."""

    project: Project
    profile: Profile
    layout: str
    drafted: bool
    pinned: Identity | None


def default_identity(
    project: Project, trust: str, issuer: str | None = None, subject: str | None = None
) -> tuple[str, str] | None:
    """Return (issuer, subject) of who signs here by default; None when only an OIDC token could say."""
    if issuer and subject:
        return issuer, subject
    if trust != "local":
        return None
    profile = load_profile("local")
    name = subject or (project.config.identity if project.config else None) or user_email(project.root)
    if profile.instance is None or name is None:
        return None
    return issuer or profile.instance.issuer, name


def initialise(
    directory: Path,
    trust: str,
    *,
    name: str | None = None,
    signer: tuple[str | None, str | None] = (None, None),
    force: bool = False,
    offline: bool = False,
) -> Initialised:
    """Set the repository up. Everything that can fail is checked before the first file is written.

    Raises ProjectError when it is set up already (unless `force`) or has no usable layout name.
    """
    project = open_project(directory, configured=not force)
    if project.config is not None and not force:
        raise ProjectError(
            "this repository is set up already",
            where=str(project.root / CONFIG),
            help="gitchain init … --force",
        )
    layout = _layout_name(name or project.root.name)
    _check_place(project.root / CONFIG.parent)
    read_pins()  # a damaged file is found before the first file is written
    if trust == "local":
        from gitchain.instance import Instance

        Instance.create(local_directory())
    profile = load_profile(trust, base=project.root, offline=offline)
    profile.check(None)
    who = default_identity(project, trust, *signer)
    if who and profile.instance and who[0] == profile.instance.issuer:
        profile.check_identity(who[1])  # a pin on somebody who can never sign would lock the layout
    config = Config(layout=layout, trust=trust, identity=None)
    project = replace(project, config=config)
    drafted = _draft_first(project, layout, who)
    make_directory(project.root / CONFIG.parent)
    write_atomically(project.root / CONFIG, render_config(config).encode("utf-8"))
    pinned = Identity(*who) if who else None
    if pinned:
        pin_layout(layout, (pinned,), profile, project)
    return Initialised(project, profile, layout, drafted, pinned)


def pin_layout(
    name: str, signers: tuple[Identity, ...], profile: Profile, project: Project | None = None
) -> Pin:
    """Record in the user's own directory who may sign the layout `name`, and under which trust."""
    if not signers:
        raise UsageError("a pin needs a signer")
    old = read_pins().get(name)
    repositories = set(old.repositories if old else ())
    if project is not None:
        repositories.add(str(project.git.common_dir))
    pin = Pin(
        layout=name,
        signers=tuple((signer.issuer, signer.subject) for signer in signers),
        trust=profile.name,
        trust_digest="" if profile.rotates else profile.trust.digest,
        version=old.version if old else 0,
        digest=old.digest if old else "",
        repositories=tuple(sorted(repositories)),
    )
    archive(profile.text)
    write_pin(pin)
    return pin


def write_layout(project: Project, text: str, *, force: bool = False) -> None:
    """Write `.gitchain/layout.yaml`; never over one that is there unless `force`."""
    path = project.root / LAYOUT
    if path.exists() and not force:
        raise ProjectError(
            "there is a layout already", where=str(path), help="gitchain layout draft --write --force"
        )
    _check_place(path.parent)
    make_directory(path.parent)
    write_atomically(path, text.encode("utf-8"))


def _draft_first(project: Project, name: str, who: tuple[str, str] | None) -> bool:
    if who is None or (project.root / LAYOUT).exists() or not pipelines_here(project.root):
        return False
    write_layout(project, draft_layout(project, name, Identity(*who), datetime.now(UTC)))
    return True


def _check_place(directory: Path) -> None:
    """Refuse a `.gitchain` that is a file or a link: a clone must not lead our writes elsewhere."""
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise ProjectError(
            "this name is taken by something that is no directory",
            where=str(directory),
            expected="a directory, or nothing",
            help=f"mv {directory} {directory}.other",
        )


def _layout_name(name: str) -> str:
    try:
        return check_step_name(re.sub(r"\s+", "-", name.strip()) or "model")
    except MalformedError as error:
        raise UsageError(
            "this cannot be a layout's name",
            got=error.where,
            expected=error.expected or error.what,
            help="gitchain init … --name NAME",
        ) from error
