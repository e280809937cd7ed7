"""What may be wrong here, and what to type: each check is one line and never raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gitchain.collect.committed import left_out, restoring
from gitchain.collect.git_cli import run_git
from gitchain.errors import GitchainError, TrustError
from gitchain.pipeline.home import pin_for_repository, user_directory
from gitchain.pipeline.profiles import load_profile
from gitchain.pipeline.project import CONFIG, LAYOUT, SIGNED_LAYOUT, Config, Project, open_project
from gitchain.platform.processes import find_program

if TYPE_CHECKING:
    from gitchain.layout.model import Layout
    from gitchain.store.trees import Problem

CLOCK_SLACK = timedelta(minutes=5)  # what certificates and tokens tolerate

EXPIRES_SOON = 30  # days before a layout's end in which its owner should hear of it

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report."""

    name: str
    state: State
    detail: str
    help: str = ""


def examine(directory: Path, trust: str | None, now: datetime) -> tuple[Check, ...]:
    """Return every check for the repository around `directory`."""
    checks = [
        _program("git", directory),
        _program("dvc", directory),
        _guard("user directory", lambda: str(user_directory())),
    ]
    try:
        project = open_project(directory, changes=False)
    except GitchainError as error:
        return (*checks, Check("repository", "problem", str(error), error.help or "git init"))
    return (*checks, Check("repository", "ok", str(project.root)), *_project(project, trust, now))


def _project(project: Project, trust: str | None, now: datetime) -> Iterator[Check]:
    yield _clock(project, now)
    if project.config is None:
        lost = restoring(project.root, CONFIG)
        yield Check(
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


def _trust(project: Project, config: Config, trust: str | None) -> Check:
    """Return the trust that this repository signs with, or the pinned one on a machine that only verifies."""
    from gitchain.pipeline.acceptance import pinned_profile

    try:
        found = load_profile(trust or config.trust, base=project.root, offline=True)
    except TrustError:
        pinned = None if trust else pinned_profile(project, offline=True)
        if pinned is None:
            raise
        return Check("trust", "ok", f"{pinned.trust.name}, pinned; this machine verifies and cannot sign")
    return Check("trust", "ok", found.trust.name)


def _history(project: Project) -> Check:
    """Compare the store with what was seen of it; a loss is a problem, and its help says what to type."""
    from gitchain.pipeline.seen import check_seen, recalled

    check_seen(project, project.store.tip())
    seen = recalled(project)
    told = [f"holds all of {one.size} attestations seen at {one.time}" for one in seen]
    return Check("history", "ok", ", ".join(told) or "nothing seen before")


def _store(project: Project) -> Check:
    broken: list[Problem] = []
    count = sum(1 for _ in project.store.names(broken.append))
    if broken:
        where = f"{count} attestations can be read, {len(broken)} entries cannot: {broken[0].path}"
        return Check("store", "problem", f"{where}: {broken[0].message}", "git fsck, then gitchain sync")
    return Check("store", "ok", f"{count} attestations")


def _outbox(project: Project) -> Check:
    broken: list[Problem] = []
    count = sum(1 for _ in project.outbox.items(broken.append))
    if broken:
        return Check(
            "outbox",
            "problem",
            f"{broken[0].path}: {broken[0].message}",
            f"mv {broken[0].path} somewhere else",
        )
    if count:
        return Check("outbox", "warning", f"{count} statements wait for a signature", "gitchain sync")
    return Check("outbox", "ok", "0")


def _layout(project: Project, trust: str | None, now: datetime) -> Check:
    signed = (project.root / SIGNED_LAYOUT).exists() or left_out(project.root, SIGNED_LAYOUT) is not None
    if not signed and (lost := restoring(project.root, SIGNED_LAYOUT)):
        return Check("layout", "warning", "signed, and not in the work tree", lost)
    if not signed and not (project.root / LAYOUT).exists():
        lost = restoring(project.root, LAYOUT)
        said = "not in the work tree" if lost else "none"
        return Check("layout", "warning", said, lost or "gitchain layout draft --write")
    if not signed:
        return Check("layout", "warning", "not signed", "gitchain layout sign")
    pin = pin_for_repository(project.git.common_dir)
    if pin is None:
        return Check(
            "layout", "warning", "nobody is pinned as its signer", "gitchain trust pin --signer IDENTITY"
        )
    from gitchain.pipeline.acceptance import Policy, load_policy

    found = load_policy(project, Policy(trust=trust, offline=True), now).signed.layout
    return _signed_layout(project, found, pin.version, now)


def _signed_layout(project: Project, found: Layout, seen: int, now: datetime) -> Check:
    """Return what there is to do about a signed layout that counts; `seen` is the highest version seen of it."""
    left = (found.expires - now).days
    if left < EXPIRES_SOON:
        return Check(
            "layout",
            "warning",
            f"{found.name} expires in {left} days",
            "raise expires and version, sign again",
        )
    if _is_changed(project, found):
        return Check(
            "layout",
            "warning",
            f"{LAYOUT} differs from the signed layout {found.name} v{found.version}, which decides",
            "raise its version, then: gitchain layout sign",
        )
    return Check("layout", "ok", f"{found.name} v{found.version}, highest version seen {seen}")


def _is_changed(project: Project, signed: Layout) -> bool:
    """Tell whether the layout that people edit is there and is not the signed one."""
    from gitchain.pipeline.policy import read_layout

    if not (project.root / LAYOUT).exists():
        return False
    try:
        return read_layout(project.root / LAYOUT).to_json() != signed.to_json()
    except GitchainError:
        return True  # what was signed could be read


def _clock(project: Project, now: datetime) -> Check:
    """Compare the clock with the newest commit and the embedded instance: certificates fail under a wrong one."""
    start = _instance_start(project)
    if start is not None and now < start:
        return Check(
            "clock",
            "problem",
            f"{now:%F %T} is before the local instance was made, {start:%F %T}",
            "set the clock",
        )
    try:
        newest = _newest_commit(project)
    except (OSError, ValueError, GitchainError):
        return Check("clock", "warning", f"{now.isoformat(timespec='seconds')}, nothing to compare it with")
    if newest > now + CLOCK_SLACK:
        return Check(
            "clock", "problem", f"{now:%F %T} is before the newest commit, {newest:%F %T}", "set the clock"
        )
    return Check("clock", "ok", now.isoformat(timespec="seconds"))


def _newest_commit(project: Project) -> datetime:
    if project.git.commit is None:
        return datetime.fromtimestamp(0, tz=UTC)
    told = run_git(project.root, "log", "-1", "--no-show-signature", "--format=%ct")  # no gpg.program is run
    return datetime.fromtimestamp(int(told), tz=UTC)


def _instance_start(project: Project) -> datetime | None:
    try:
        instance = (
            load_profile("local").instance if project.config and project.config.trust == "local" else None
        )
    except GitchainError:
        return None  # the check of the trust says what is wrong with it
    return instance.info.valid_from if instance else None


def _program(name: str, directory: Path) -> Check:
    path = find_program(name, directory)
    return Check(name, "ok", path) if path else Check(name, "problem", "not found on PATH", f"install {name}")


def _guard(name: str, check: Callable[[], str]) -> Check:
    return _guarded(name, lambda: Check(name, "ok", check()))


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except GitchainError as error:
        return Check(name, "problem", str(error), error.help)
