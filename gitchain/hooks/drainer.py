"""Sign the events that the hooks queued: one background process per repository, and a flush before a push.

Protocol with the hooks (hooks/common.sh), all in `<common>/gitchain/`:

- A hook appends to `queue`, then starts a drainer if no living process is named in `wake`.
- The drainer takes `drainer.lock`, writes its own id into `wake`, and works until the queue is empty. Then it waits for
  a while: a tag often follows its commit, and no hook reports it.
- It deletes `wake` before it reads the queue a last time. That read sees every line appended before; a hook that
  appends later finds no `wake` and starts a new drainer. So every line gets processed.

Problems are written to `hook-error` for `gitchain doctor`; the next run without problems deletes the file.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError, StoreError, os_errors_as
from gitchain.hooks.history import find_work_tree
from gitchain.platform.files import try_lock
from gitchain.store.queue import HookQueue

if TYPE_CHECKING:
    from gitchain.workspace.project import Project

LINGER_SECONDS = 10.0
"""How long the drainer waits for further events, in seconds."""

TICK = 0.5

WAKE = "wake"
LOCK = "drainer.lock"
TRACE = "hook-error"


def drain(
    common_dir: Path, *, linger: float = LINGER_SECONDS, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Attest queued events until the queue is empty, and return the number of signed attestations.

    Returns at once if another drainer runs. Errors are recorded with `leave_trace` and raised again.
    """
    home = common_dir.resolve() / "gitchain"
    with try_lock(home / LOCK) as alone:
        return _drain(home, linger, sleep) if alone else 0


def _drain(home: Path, linger: float, sleep: Callable[[float], None]) -> int:
    signed = 0
    queue = HookQueue(home)
    wake = home / WAKE
    try:
        while True:
            wake.write_text(f"{os.getpid()}\n", encoding="ascii")
            signed += _attest(home)
            before = _tags_moved(home.parent)
            for _ in range(int(linger / TICK)):
                sleep(TICK)
                if len(queue) or _tags_moved(home.parent) != before:
                    break
            else:
                wake.unlink(missing_ok=True)
                if not len(queue):
                    return signed
    finally:
        wake.unlink(missing_ok=True)


def _attest(home: Path) -> int:
    from gitchain.hooks.events import catch_up

    try:
        caught = catch_up(_project(home.parent))
    except GitchainError as error:
        leave_trace(home, str(error))
        raise
    problems = [f"{what}: {error}" for what, error in caught.problems]
    if caught.recorded.reason is not None:
        problems.append(
            f"{len(caught.recorded.queued)} statements wait for `gitchain sync`: {caught.recorded.reason}"
        )
    leave_trace(home, *problems)
    return len(caught.recorded.stored)


def flush(common_dir: Path, remote: str) -> int:
    """Attest queued events, push attestations if `remote` is the configured one; return how many statements wait.

    Nothing is imported from the remote: `gitchain sync` does that. Raises TransportError and others; the caller
    decides whether to stop the push.
    """
    from gitchain.hooks.events import catch_up
    from gitchain.produce.sign_and_store import SigningIdentity, drain_outbox, project_profile
    from gitchain.produce.sync import push_only
    from gitchain.store.remote_names import configured_remote

    project = _project(common_dir.resolve())
    if project.config is None:
        return 0
    catch_up(project)
    profile = project_profile(project)
    drained = drain_outbox(project, profile)
    if project.store.tip() is not None and remote == configured_remote(project.store):
        push_only(project, remote, profile, SigningIdentity(), datetime.now(UTC), _announce)
    return len(drained.queued)


def _announce(text: str) -> None:
    sys.stderr.write(f"gitchain: {text}\n")


def _project(common_dir: Path) -> Project:
    from gitchain.workspace.project import open_project

    try:
        here = Path.cwd()
    except FileNotFoundError:  # a linked work tree that was deleted meanwhile
        here = None
    return open_project(find_work_tree(common_dir, here))


def _tags_moved(common_dir: Path) -> tuple[int, ...]:
    """Return values that change when a tag is created. Takes microseconds."""
    found = []
    for path in (common_dir / "refs" / "tags", common_dir / "packed-refs"):
        try:
            found.append(path.stat().st_mtime_ns)
        except OSError:
            found.append(0)
    return tuple(found)


def leave_trace(home: Path, *problems: str) -> None:
    """Record problems for `gitchain doctor`, or delete the record if there are none."""
    with os_errors_as(StoreError, "cannot leave a trace", home / TRACE):
        if problems:
            (home / TRACE).write_text("\n".join(problems) + "\n", encoding="utf-8", errors="backslashreplace")
        else:
            (home / TRACE).unlink(missing_ok=True)
