"""What may be wrong here, and what to type: each check is one line and never raises."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from gitchain.errors import GitchainError
from gitchain.pipeline.home import pin_for_repository, user_directory
from gitchain.pipeline.profiles import load_profile
from gitchain.pipeline.project import LAYOUT, SIGNED_LAYOUT, Project, open_project

CLOCK_SLACK = timedelta(minutes=5)  # what certificates and tokens tolerate

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
    checks = [_program("git"), _program("dvc"), _guard("user directory", lambda: str(user_directory()))]
    try:
        project = open_project(directory)
    except GitchainError as error:
        return (*checks, Check("repository", "problem", str(error), error.help or "git init"))
    return (*checks, Check("repository", "ok", str(project.root)), *_project(project, trust, now))


def _project(project: Project, trust: str | None, now: datetime) -> Iterator[Check]:
    yield _clock(project, now)
    if project.config is None:
        yield Check("configuration", "problem", "none", "gitchain init --local")
        return
    config = project.config
    yield _guard(
        "trust", lambda: load_profile(trust or config.trust, base=project.root, offline=True).trust.name
    )
    yield _layout(project)
    yield _guard("store", lambda: f"{project.store.count()} attestations")
    waiting = _guard("outbox", lambda: str(len(list(project.outbox.items()))))
    if waiting.state == "ok" and waiting.detail != "0":
        waiting = Check(
            "outbox", "warning", f"{waiting.detail} statements wait for a signature", "gitchain sync"
        )
    yield waiting


def _layout(project: Project) -> Check:
    if not (project.root / LAYOUT).exists():
        return Check("layout", "warning", "none", "gitchain layout draft --write")
    if not (project.root / SIGNED_LAYOUT).exists():
        return Check("layout", "warning", "not signed", "gitchain layout sign")
    pin = pin_for_repository(project.git.common_dir)
    if pin is None:
        return Check(
            "layout", "warning", "nobody is pinned as its signer", "gitchain trust pin --signer IDENTITY"
        )
    return Check("layout", "ok", f"{pin.layout}, highest version seen {pin.version}")


def _clock(project: Project, now: datetime) -> Check:
    """Compare the clock with the newest commit: time that ran backwards makes certificates and tokens fail."""
    try:
        done = subprocess.run(
            ["git", "-C", str(project.root), "log", "-1", "--format=%ct"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        newest = datetime.fromtimestamp(int(done.stdout.strip() or "0"), tz=UTC)
    except (OSError, ValueError, subprocess.SubprocessError):
        return Check("clock", "warning", f"{now.isoformat(timespec='seconds')}, nothing to compare it with")
    if newest > now + CLOCK_SLACK:
        return Check(
            "clock", "problem", f"{now:%F %T} is before the newest commit, {newest:%F %T}", "set the clock"
        )
    return Check("clock", "ok", now.isoformat(timespec="seconds"))


def _program(name: str) -> Check:
    path = shutil.which(name)
    return Check(name, "ok", path) if path else Check(name, "problem", "not found on PATH", f"install {name}")


def _guard(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", check())
    except GitchainError as error:
        return Check(name, "problem", str(error), error.help)
