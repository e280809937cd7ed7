"""`gitchain init`: configuration, a first layout, hooks, and a pin of the layout signer in the user's directory."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gitchain.collect.committed import require_checked_out
from gitchain.collect.git_index import dvc_files_here, pipelines_here
from gitchain.collect.identity import user_email
from gitchain.consume.layout_files import read_layout
from gitchain.errors import GitchainError, LayoutError, MalformedError, ProjectError, UsageError
from gitchain.evidence.names import check_name, check_step_name
from gitchain.layout.fields import check_label
from gitchain.layout.model import Identity
from gitchain.layout.rule import literal_name
from gitchain.platform.files import make_directory, write_durably
from gitchain.produce.planned_stages import dvc_projects
from gitchain.produce.sign_layout import NothingToDraftError, draft_layout
from gitchain.trust.archive import archive
from gitchain.trust.committed_trust import choose, committed, write_committed
from gitchain.trust.load_profile import is_path, load_profile
from gitchain.trust.profiles import Profile
from gitchain.workspace.project import CONFIG, LAYOUT, Config, Project, open_project, render_config
from gitchain.workspace.user_directory import LayoutPin, local_directory, read_pins, write_pin


@dataclass(frozen=True, slots=True)
class InitResult:
    """Result of `init`. `undrafted` is the reason why no layout was drafted, or empty.

    `commands` are the next commands, in order, up to a first verdict. `replaced` is the earlier pin of this layout,
    if it had another signer or trusted root.
    """

    project: Project
    profile: Profile
    layout: str
    undrafted: str
    pinned: Identity | None
    commands: tuple[str, ...] = ()
    replaced: LayoutPin | None = None

    @property
    def drafted(self) -> bool:
        """Return True if a layout was drafted."""
        return not self.undrafted


def default_identity(
    project: Project, trust: str, issuer: str | None = None, subject: str | None = None
) -> tuple[str, str] | None:
    """Return (issuer, subject) of the default signer, or None if only an OIDC token contains it."""
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
) -> InitResult:
    """Set the repository up. Everything that can fail is checked before the first file is written.

    Raises ProjectError if it is set up already (unless `force`) or has no usable layout name, UsageError if the
    embedded instance is to sign and the signer's identity is unknown.
    """
    project = open_project(directory, configured=not force)
    require_checked_out(project.root, CONFIG)
    if project.config is not None and not force:
        raise _set_up_already(project, trust)
    layout = _layout_name(name or _kept_name(project) or _name_of(project.root))
    _check_place(project.root / CONFIG.parent)
    old = read_pins().get(layout)  # detects a damaged file before the first file is written
    if trust == "local":
        from gitchain.instance import Instance

        Instance.create(local_directory())
    copy = ""
    if is_path(trust):
        trust, copy = committed(project.root, directory, trust, force=force)
    profile = Profile(trust, copy) if copy else load_profile(trust, base=project.root, offline=offline)
    profile.check(None)
    identity = default_identity(project, trust, *signer)
    if identity is None and profile.is_local:
        raise UsageError(
            "the identity of the layout's signer is not known",
            expected="user.email in Git's configuration, or --as IDENTITY",
            help="git config user.email you@example.com, then gitchain init --local; or gitchain init --local --as IDENTITY",
        )
    if identity and profile.instance and identity[0] == profile.instance.issuer:
        profile.check_identity(identity[1])  # a pin on an identity that can never sign would lock the layout
    config = Config(layout=layout, trust=trust, identity=None)
    project = replace(project, config=config)
    if copy:
        write_committed(project.root, copy)
    undrafted = _draft_first(project, layout, identity)
    make_directory(project.root / CONFIG.parent)
    write_durably(project.root / CONFIG, render_config(config).encode("utf-8"), mode=0o644)
    if is_path(trust):
        choose(project, profile)
    pinned = Identity(*identity) if identity else None
    replaced = None
    if pinned:
        new = pin_layout(layout, (pinned,), profile, project)
        replaced = old if old and (old.signers, old.trust) != (new.signers, new.trust) else None
    return InitResult(project, profile, layout, undrafted, pinned, _next_commands(project, pinned), replaced)


def pin_layout(
    name: str, signers: tuple[Identity, ...], profile: Profile, project: Project | None = None
) -> LayoutPin:
    """Pin the layout signers and the trusted root of the layout `name` in the user's directory.

    Raises LayoutError for a name that no layout can have: such a pin would never be used.
    """
    if not signers:
        raise UsageError("a pin needs a signer")
    check_label(name)
    old = read_pins().get(name)
    repositories = set(old.repositories if old else ())
    if project is not None:
        repositories.add(str(project.git.common_dir))
    pin = LayoutPin(
        layout=name,
        signers=tuple((signer.issuer, signer.subject) for signer in signers),
        trust=_pinned_name(profile, project),
        trust_digest="" if profile.rotates else profile.trust.digest,
        version=old.version if old else 0,
        digest=old.digest if old else "",
        repositories=tuple(sorted(repositories)),
    )
    archive(profile.text)
    write_pin(pin)
    return pin


def _pinned_name(profile: Profile, project: Project | None) -> str:
    """Return the trust name for a pin: the archived root for a file in the repository, which others can change."""
    if not is_path(profile.name):
        return profile.name
    path = Path(profile.name).absolute()
    if project is not None and (project.root / profile.name).resolve().is_relative_to(project.root.resolve()):
        return f"sha256:{profile.trust.digest}"
    return str(path)


def write_layout(project: Project, text: str, *, force: bool = False) -> None:
    """Write `.gitchain/layout.yaml`. An existing file is kept unless `force`."""
    path = project.root / LAYOUT
    require_checked_out(project.root, LAYOUT)
    if path.exists() and not force:
        raise ProjectError(
            "there is a layout already", where=str(path), help="gitchain layout draft --write --force"
        )
    _check_place(path.parent)
    make_directory(path.parent)
    write_durably(path, text.encode("utf-8"), mode=0o644)


def _set_up_already(project: Project, trust: str) -> ProjectError:
    option = f"--{trust}" if trust in {"local", "public"} else f"--trust {trust}"
    return ProjectError(
        "this repository is set up already",
        where=str(project.root / CONFIG),
        help=f"to set it up again: gitchain init {option} --force",
    )


def _draft_first(project: Project, name: str, identity: tuple[str, str] | None) -> str:
    """Write a first layout; return the reason if none was written, or an empty text."""
    if (project.root / LAYOUT).exists():
        return f"kept {LAYOUT}"
    if identity is None:
        return (
            "No layout drafted: the functionary is not known. "
            "Run `gitchain layout draft --write --issuer URL --subject IDENTITY`."
        )
    try:
        text = draft_layout(project, name, Identity(*identity), datetime.now(UTC))
    except NothingToDraftError as nothing:
        return f"No layout drafted: {nothing.what}. {nothing.help}"
    write_layout(project, text)
    return ""


def _kept_name(project: Project) -> str | None:
    """Return the name of the layout in the repository, or None without a readable one."""
    try:
        return read_layout(project.root / LAYOUT).name
    except GitchainError:
        return None


def _next_commands(project: Project, signer: Identity | None) -> tuple[str, ...]:
    """Return the commands up to a first verdict about a model, signed by the layout's signer."""
    given = project.config is not None and signer is not None and project.config.trust == "local"
    signer_option = (
        f" --as {shlex.quote(signer.subject)}"
        if given and signer and not _signs_here(project, signer)
        else ""
    )
    sign = "gitchain layout sign" + signer_option
    draft = "gitchain layout draft --write" + signer_option.replace("--as", "--subject")
    served = _served_name(project) or "MODEL"
    verify = f"gitchain verify {shlex.quote(served)}"
    pipelines = pipelines_here(project.root)
    if not pipelines:
        run = f"gitchain run{signer_option} STEP -m INPUT -p MODEL -- COMMAND"
        return (run, draft, sign, verify)
    if not (project.root / LAYOUT).exists():
        return (draft, sign, f"gitchain run{signer_option} -- dvc repro", verify)
    return (sign, *_repro_commands(project, pipelines, signer_option), verify)


def _signs_here(project: Project, signer: Identity) -> bool:
    """Return True if this identity signs statements by default."""
    config = project.config
    return signer.subject == ((config.identity if config else None) or user_email(project.root))


def _served_name(project: Project) -> str | None:
    """Return the first name that the unsigned layout serves, or None without a layout or name."""
    try:
        served = read_layout(project.root / LAYOUT).serve
    except LayoutError:
        return None
    names = (literal_name(pattern) for product_group in served for pattern in product_group.products)
    return next(filter(None, names), None)


def _repro_commands(project: Project, pipelines: Sequence[str], signer_option: str) -> Iterator[str]:
    """Yield a command for each DVC project that runs its stages under gitchain.

    Stages that are up to date run again only with --force, and only stages that run can be observed.
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
            yield f"gitchain{here} run{signer_option} -- dvc repro{every}{options}"


def _check_place(directory: Path) -> None:
    """Raise an error if `.gitchain` is a file or a link: a clone must not redirect writes."""
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise ProjectError(
            "this name is taken by something that is no directory",
            where=str(directory),
            expected="a directory, or nothing",
            help=f"mv {directory} {directory}.other",
        )


def _name_of(directory: Path) -> str:
    """Return a layout name made from a directory's name, without characters that layouts do not allow."""
    name = unicodedata.normalize("NFC", directory.name.encode("utf-8", "replace").decode())
    allowed = "".join(char if char.isprintable() and char not in " \\:" else " " for char in name)
    return "" if set(name) <= {"."} else allowed


def _layout_name(name: str) -> str:
    try:
        return check_name(check_step_name(re.sub(r"\s+", "-", name.strip()) or "model"))
    except MalformedError as error:
        raise UsageError(
            "this cannot be a layout's name",
            got=error.where,
            expected=error.expected or error.what,
            help="gitchain init … --name NAME",
        ) from error
