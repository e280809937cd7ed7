"""`gitchain init`: configuration, a first layout, hooks, and the layout signer's pin in the user's own directory."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gitchain.collect.committed import require_checked_out
from gitchain.collect.git import dvc_files_here, pipelines_here
from gitchain.collect.identity import user_email
from gitchain.errors import GitchainError, LayoutError, MalformedError, ProjectError, UsageError
from gitchain.evidence.names import check_step_name
from gitchain.layout.model import Identity
from gitchain.layout.rule import literal_name
from gitchain.pipeline.archive import archive
from gitchain.pipeline.home import (
    Pin,
    local_directory,
    make_directory,
    read_pins,
    write_atomically,
    write_pin,
)
from gitchain.pipeline.policy import NothingToDraftError, draft_layout, read_layout
from gitchain.pipeline.profiles import Profile, is_path, load_profile
from gitchain.pipeline.project import CONFIG, LAYOUT, Config, Project, open_project, render_config
from gitchain.pipeline.steps import dvc_projects


@dataclass(frozen=True, slots=True)
class Initialised:
    """What `init` made. `undrafted` says why no layout was drafted; it is empty if one was.

    `commands` are what to type next, in order, up to a first verdict. `replaced` are the signers that were pinned for
    this layout before, if another one is now.
    """

    project: Project
    profile: Profile
    layout: str
    undrafted: str
    pinned: Identity | None
    commands: tuple[str, ...] = ()
    replaced: tuple[Identity, ...] = ()

    @property
    def drafted(self) -> bool:
        """Tell whether a layout was drafted."""
        return not self.undrafted


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

    Raises ProjectError when it is set up already (unless `force`) or has no usable layout name, UsageError when the
    embedded instance is to sign and the identity of the signer is not known.
    """
    project = open_project(directory, configured=not force)
    require_checked_out(project.root, CONFIG)
    if project.config is not None and not force:
        raise _set_up_already(project, trust)
    layout = _layout_name(name or _kept_name(project) or project.root.name)
    _check_place(project.root / CONFIG.parent)
    old = read_pins().get(layout)  # a damaged file is found before the first file is written
    if trust == "local":
        from gitchain.instance import Instance

        Instance.create(local_directory())
    profile = load_profile(trust, base=project.root, offline=offline)
    profile.check(None)
    who = default_identity(project, trust, *signer)
    if who is None and profile.instance is not None:
        raise UsageError(
            "the identity of the layout's signer is not known",
            expected="user.email in Git's configuration, or --as IDENTITY",
            help="git config user.email you@example.com, then gitchain init --local; or gitchain init --local --as IDENTITY",
        )
    if who and profile.instance and who[0] == profile.instance.issuer:
        profile.check_identity(who[1])  # a pin on somebody who can never sign would lock the layout
    config = Config(layout=layout, trust=trust, identity=None)
    project = replace(project, config=config)
    undrafted = _draft_first(project, layout, who)
    make_directory(project.root / CONFIG.parent)
    write_atomically(project.root / CONFIG, render_config(config).encode("utf-8"))
    pinned = Identity(*who) if who else None
    replaced: tuple[Identity, ...] = ()
    if pinned:
        pin_layout(layout, (pinned,), profile, project)
        replaced = tuple(Identity(*one) for one in old.signers if one != who) if old else ()
    return Initialised(project, profile, layout, undrafted, pinned, _next_commands(project), replaced)


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
        trust=str(Path(profile.name).absolute()) if is_path(profile.name) else profile.name,
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
    require_checked_out(project.root, LAYOUT)
    if path.exists() and not force:
        raise ProjectError(
            "there is a layout already", where=str(path), help="gitchain layout draft --write --force"
        )
    _check_place(path.parent)
    make_directory(path.parent)
    write_atomically(path, text.encode("utf-8"))


def _set_up_already(project: Project, trust: str) -> ProjectError:
    option = f"--{trust}" if trust in {"local", "public"} else f"--trust {trust}"
    return ProjectError(
        "this repository is set up already",
        where=str(project.root / CONFIG),
        help=f"to set it up again: gitchain init {option} --force",
    )


def _draft_first(project: Project, name: str, who: tuple[str, str] | None) -> str:
    """Write a first layout; return why none was written, or an empty text."""
    if (project.root / LAYOUT).exists():
        return f"kept {LAYOUT}"
    if who is None:
        return (
            "No layout drafted: the functionary is not known. "
            "Run `gitchain layout draft --write --issuer URL --subject IDENTITY`."
        )
    try:
        text = draft_layout(project, name, Identity(*who), datetime.now(UTC))
    except NothingToDraftError as nothing:
        return f"No layout drafted: {nothing.what}. {nothing.help}"
    write_layout(project, text)
    return ""


def _kept_name(project: Project) -> str | None:
    """Return the name of the layout that is in the repository, None if there is none that can be read."""
    try:
        return read_layout(project.root / LAYOUT).name
    except GitchainError:
        return None


def _next_commands(project: Project) -> tuple[str, ...]:
    """Return the commands that lead from here to a first verdict about a model."""
    served = _served_name(project) or "MODEL"
    verify = f"gitchain verify {shlex.quote(served)}"
    pipelines = pipelines_here(project.root)
    if not pipelines:
        run = "gitchain run STEP -m INPUT -p MODEL -- COMMAND"
        return (run, "gitchain layout draft --write", "gitchain layout sign", verify)
    if not (project.root / LAYOUT).exists():
        return ("gitchain layout draft --write", "gitchain layout sign", "gitchain run -- dvc repro", verify)
    return ("gitchain layout sign", *_repro_commands(project, pipelines), verify)


def _served_name(project: Project) -> str | None:
    """Return the first name that the unsigned layout serves, None if there is no layout or it serves patterns."""
    try:
        served = read_layout(project.root / LAYOUT).serve
    except LayoutError:
        return None
    names = (literal_name(pattern) for one in served for pattern in one.products)
    return next(filter(None, names), None)


def _repro_commands(project: Project, pipelines: Sequence[str]) -> Iterator[str]:
    """Yield a command for each DVC project that runs its stages under gitchain.

    Stages that are up to date do not run again without --force, and what did not run cannot be observed.
    """
    options = (
        " --force" if any(path.name == "dvc.lock" for path in map(Path, dvc_files_here(project.root))) else ""
    )
    for dvc in dvc_projects(project):
        inside = [path for path in pipelines if (project.root / path).is_relative_to(dvc)]
        here = f" -C {shlex.quote(dvc.relative_to(project.root).as_posix())}" if dvc != project.root else ""
        every = (
            "" if inside == [(dvc / "dvc.yaml").relative_to(project.root).as_posix()] else " --all-pipelines"
        )
        if inside:
            yield f"gitchain{here} run -- dvc repro{every}{options}"


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
