"""Diagnostic checks with suggested commands. Each check is one line and never raises."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gitchain.collect.committed import left_out, restoring
from gitchain.collect.git import run_git
from gitchain.errors import GitchainError, TrustError
from gitchain.platform.processes import find_program
from gitchain.trust.load_profile import load_profile
from gitchain.workspace.project import CONFIG, LAYOUT, SIGNED_LAYOUT, Config, Project, open_project
from gitchain.workspace.user_directory import pin_for_repository, unwritable, user_directory

if TYPE_CHECKING:
    from gitchain.layout.model import Layout
    from gitchain.store.trees import StoreProblem

CLOCK_SLACK = timedelta(minutes=5)  # tolerance of certificates and tokens

EXPIRES_SOON = 30  # days before a layout's expiry to warn its owner

ONLY_VERIFIES = "this machine verifies and cannot sign"

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One line of the doctor's report."""

    name: str
    state: State
    detail: str
    help: str = ""


def only_verifies(check: DoctorCheck) -> bool:
    """Return True if a check found that this machine cannot sign for the repository."""
    return check.detail.endswith(ONLY_VERIFIES)


def examine(directory: Path, trust: str | None, now: datetime) -> tuple[DoctorCheck, ...]:
    """Return all checks for the repository that contains `directory`."""
    checks = [
        _program("git", directory),
        _distributions(),
        _guarded("user directory", _user_directory),
    ]
    try:
        project = open_project(directory, changes=False)
    except GitchainError as error:
        return (*checks, DoctorCheck("repository", "problem", str(error), error.help or "git init"))
    return (*checks, DoctorCheck("repository", "ok", str(project.root)), *_project(project, trust, now))


def _user_directory() -> DoctorCheck:
    folder = user_directory()
    if (locked := unwritable(folder)) is None:
        return DoctorCheck("user directory", "ok", str(folder))
    detail = f"{locked} cannot be written: signing, pins and rollback protection need it"
    return DoctorCheck("user directory", "warning", detail, f"chmod -R u+rwX {shlex.quote(str(folder))}")


def _project(project: Project, trust: str | None, now: datetime) -> Iterator[DoctorCheck]:
    yield _guarded("dvc", lambda: _dvc(project))
    yield _clock(project, now)
    if not project.git.has_work_tree:
        yield DoctorCheck("configuration", "ok", "none: a bare repository is only read")
        return
    if project.config is None:
        lost = restoring(project.root, CONFIG)
        yield DoctorCheck(
            "configuration",
            "problem",
            "not in the work tree" if lost else "none",
            lost or "gitchain init --local",
        )
        return
    config = project.config
    yield _guarded("trust", lambda: _trust(project, config, trust))
    yield _guarded("layout", lambda: _layout(project, trust, now))
    yield _guarded("store", lambda: _store(project))
    yield _guarded("history", lambda: _history(project))
    yield _guarded("outbox", lambda: _outbox(project))


def _trust(project: Project, config: Config, trust: str | None) -> DoctorCheck:
    """Check the trust profile for signing, or the pinned one on a machine that only verifies."""
    from gitchain.consume.load_layout import pinned_profile
    from gitchain.trust.committed_trust import NotChosenError, check_chosen

    try:
        profile = load_profile(trust or config.trust, base=project.root, offline=True)
    except TrustError:
        pinned = None if trust else pinned_profile(project, offline=True)
        if pinned is None:
            raise
        return DoctorCheck("trust", "ok", f"{pinned.trust.name}, pinned; {ONLY_VERIFIES}")
    try:
        if not trust:
            check_chosen(project, profile)
    except NotChosenError as error:
        return DoctorCheck(
            "trust", "ok", f"{profile.trust.name}; nothing is signed here. To sign, {error.help}"
        )
    _ = profile.instance  # to sign, its keys must be whole
    return DoctorCheck("trust", "ok", profile.trust.name)


def _history(project: Project) -> DoctorCheck:
    """Compare the store with its last seen state; lost evidence is a problem."""
    from gitchain.sources.rollback_protection import check_seen, last_seen, recalled

    own = last_seen(project)
    check_seen(project, own, project.store.tip())
    seen = recalled(project)
    lines = [f"holds all of {record.size} attestations seen at {record.time}" for record in seen]
    return DoctorCheck("history", "ok", ", ".join(lines) or "nothing seen before")


def _store(project: Project) -> DoctorCheck:
    broken: list[StoreProblem] = []
    count = sum(1 for _ in project.store.names(broken.append))
    if broken:
        where = f"{count} attestations can be read, {len(broken)} entries cannot: {broken[0].path}"
        return DoctorCheck(
            "store", "problem", f"{where}: {broken[0].message}", "git fsck, then gitchain sync"
        )
    return DoctorCheck("store", "ok", f"{count} attestations")


def _outbox(project: Project) -> DoctorCheck:
    broken: list[StoreProblem] = []
    count = sum(1 for _ in project.outbox.items(broken.append))
    if broken:
        return DoctorCheck(
            "outbox",
            "problem",
            f"{broken[0].path}: {broken[0].message}",
            f"mv {broken[0].path} somewhere else",
        )
    if count:
        return DoctorCheck("outbox", "warning", f"{count} statements wait for a signature", "gitchain sync")
    return DoctorCheck("outbox", "ok", "0")


def _layout(project: Project, trust: str | None, now: datetime) -> DoctorCheck:
    signed = (project.root / SIGNED_LAYOUT).exists() or left_out(project.root, SIGNED_LAYOUT) is not None
    if not signed and (lost := restoring(project.root, SIGNED_LAYOUT)):
        return DoctorCheck("layout", "warning", "signed, and not in the work tree", lost)
    if not signed and not (project.root / LAYOUT).exists():
        lost = restoring(project.root, LAYOUT)
        state = "not in the work tree" if lost else "none"
        return DoctorCheck("layout", "warning", state, lost or "gitchain layout draft --write")
    if not signed:
        return DoctorCheck("layout", "warning", "not signed", "gitchain layout sign")
    pin = pin_for_repository(project.git.common_dir)
    if pin is None:
        return DoctorCheck(
            "layout",
            "warning",
            "no trusted signer is configured for this layout",
            "gitchain trust pin --signer IDENTITY",
        )
    from gitchain.consume.load_layout import LayoutOptions, load_policy

    layout = load_policy(project, LayoutOptions(trust=trust, offline=True), now).signed.layout
    return _signed_layout(project, layout, pin.version, now)


def _signed_layout(project: Project, layout: Layout, seen: int, now: datetime) -> DoctorCheck:
    """Check an accepted signed layout; `seen` is the highest version accepted so far."""
    left = (layout.expires - now).days
    if left < EXPIRES_SOON:
        return DoctorCheck(
            "layout",
            "warning",
            f"{layout.name} expires in {left} days",
            "raise expires and version, sign again",
        )
    if _is_changed(project, layout):
        return DoctorCheck(
            "layout",
            "warning",
            f"{LAYOUT} differs from the signed layout {layout.name} v{layout.version}, which decides",
            "raise its version, then: gitchain layout sign",
        )
    return DoctorCheck("layout", "ok", f"{layout.name} v{layout.version}, highest version seen {seen}")


def _is_changed(project: Project, signed: Layout) -> bool:
    """Return True if the unsigned layout exists and differs from the signed one."""
    from gitchain.consume.layout_files import read_layout

    if not (project.root / LAYOUT).exists():
        return False
    try:
        return read_layout(project.root / LAYOUT).to_json() != signed.to_json()
    except GitchainError:
        return True  # the signed layout was readable


def _clock(project: Project, now: datetime) -> DoctorCheck:
    """Compare the clock with the newest commit and the embedded instance: a wrong clock breaks certificates."""
    start = _instance_start(project)
    if start is not None and now < start:
        return DoctorCheck(
            "clock",
            "problem",
            f"{now:%F %T} is before the local instance was made, {start:%F %T}",
            "set the clock",
        )
    try:
        newest = _newest_commit(project)
    except (OSError, ValueError, GitchainError):
        return DoctorCheck(
            "clock", "warning", f"{now.isoformat(timespec='seconds')}, nothing to compare it with"
        )
    if newest > now + CLOCK_SLACK:
        return DoctorCheck(
            "clock", "problem", f"{now:%F %T} is before the newest commit, {newest:%F %T}", "set the clock"
        )
    return DoctorCheck("clock", "ok", now.isoformat(timespec="seconds"))


def _newest_commit(project: Project) -> datetime:
    if project.git.commit is None:
        return datetime.fromtimestamp(0, tz=UTC)
    timestamp = run_git(
        project.root, "log", "-1", "--no-show-signature", "--format=%ct"
    )  # gpg.program is not run
    return datetime.fromtimestamp(int(timestamp), tz=UTC)


def _instance_start(project: Project) -> datetime | None:
    try:
        instance = (
            load_profile("local").instance if project.config and project.config.trust == "local" else None
        )
    except GitchainError:
        return None  # the trust check reports the problem
    return instance.info.valid_from if instance else None


def _program(name: str, directory: Path) -> DoctorCheck:
    path = find_program(name, directory)
    return (
        DoctorCheck(name, "ok", path)
        if path
        else DoctorCheck(name, "problem", "not found on PATH", f"install {name}")
    )


def _distributions() -> DoctorCheck:
    """Warn if both distributions are installed: they share files, and removing one breaks the other."""
    from importlib.metadata import PackageNotFoundError, version

    installed = []
    for name in ("gitchain", "gitchain-core"):
        with suppress(PackageNotFoundError):
            installed.append(f"{name} {version(name)}")
    if len(installed) > 1:
        advice = "pip uninstall gitchain gitchain-core, then install one of them"
        return DoctorCheck("installation", "problem", " and ".join(installed), advice)
    return DoctorCheck("installation", "ok", "".join(installed) or "not installed as a distribution")


def _dvc(project: Project) -> DoctorCheck:
    """Check that dvc is on PATH, and next to gitchain, if the repository has a DVC project."""
    from importlib.util import find_spec

    from gitchain.produce.planned_stages import dvc_projects

    check = _program("dvc", project.root)
    if check.state == "ok" and find_spec("dvc") is not None:
        return check
    if not dvc_projects(project):
        return DoctorCheck("dvc", "ok", "not installed, and no DVC project here")
    if check.state == "ok":
        help_ = "install gitchain rather than gitchain-core to attest, or: pip install 'dvc>=3.67,<4'"
        return DoctorCheck(
            "dvc", "warning", "not in gitchain's environment: stages cannot be attested", help_
        )
    return check


def _guarded(name: str, check: Callable[[], DoctorCheck]) -> DoctorCheck:
    try:
        return check()
    except GitchainError as error:
        return DoctorCheck(name, "problem", str(error), error.help)
