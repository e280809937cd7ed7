"""Record of failed exchanges with a remote: a revocation may be among the evidence that was not fetched.

`gitchain sync` writes the reason to `gitchain/sync-error` in the common Git directory if it cannot read the remote's
store. `verify` and `guard` show it until a sync succeeds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from gitchain.errors import GitchainError, StoreError, os_errors_as
from gitchain.platform.files import make_directory, open_regular, write_durably
from gitchain.workspace.project import Project

TRACE = "sync-error"
MAX_REASON = 300
"""Maximum length of a reason in characters: a server may have written it."""


def remember_unread(project: Project, remote: str, reason: GitchainError) -> None:
    """Record why the store of a remote was not read completely. A write failure is ignored."""
    text = f"{remote}: {reason}"[:MAX_REASON]
    try:
        make_directory(project.state_dir)
        write_durably(_trace(project), text.encode("utf-8", "replace"), mode=0o644)
    except StoreError:
        return  # the sync failure itself is reported


def forget_unread(project: Project) -> None:
    """Delete the record of `remember_unread`. Raises StoreError."""
    with os_errors_as(StoreError, "cannot remove", _trace(project)):
        _trace(project).unlink(missing_ok=True)


def unread_warning(project: Project) -> str | None:
    """Return a warning if the last sync could not read all attestations, with the reason and time; else None."""
    try:
        with open_regular(_trace(project)) as file:
            reason = file.read(4 * MAX_REASON).decode("utf-8", "replace")
        time = datetime.fromtimestamp(_trace(project).stat().st_mtime, UTC)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason, time = str(error), datetime.fromtimestamp(0, UTC)
    return (
        f"the last sync did not read all of the remote's attestations, so a revocation may be missing: {reason} "
        f"({time:%Y-%m-%d %H:%M} UTC)"
    )


def _trace(project: Project) -> Path:
    return project.state_dir / TRACE
