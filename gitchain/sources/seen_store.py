"""What was seen of a store, and what could not be read of a remote's.

`seen/` in the user's directory holds the last seen state of a store: one file for a clone, one for each root commit.
`gitchain sync` writes the reason to `gitchain/sync-error` in the common Git directory if it cannot read the remote's
store: a revocation may be among the evidence that was not fetched. `verify` and `guard` show it until a sync succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitchain.errors import GitchainError, MalformedError, StoreError, os_errors_as
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import sha256_hex
from gitchain.platform.files import make_directory, open_regular, write_durably
from gitchain.workspace.project import Project
from gitchain.workspace.user_directory import read_state, user_directory, write_state

SEEN_SCHEMA = "https://gitchain.dev/seen/v1"
UNKNOWN = ""
TRACE = "sync-error"
MAX_REASON = 300
"""Maximum length of a reason in characters: a server may have written it."""


@dataclass(frozen=True, slots=True)
class SeenState:
    """Last seen state of a store. `key` is the repository's directory, or a first commit."""

    key: str
    commit: str
    tree: str | None
    size: int
    time: str
    unreadable: tuple[str, ...] = ()
    """Paths of bundles that were unreadable at that time; they do not count as lost."""
    manifests: str | None = None
    """The tree of manifest nodes; None without nodes, UNKNOWN in files of older versions."""

    def to_json(self) -> dict[str, Json]:
        """Return the file's fields."""
        found: dict[str, Json] = {
            "of": self.key,
            "commit": self.commit,
            "tree": self.tree,
            "size": self.size,
            "time": self.time,
            "unreadable": self.unreadable,
        }
        return found if self.manifests == UNKNOWN else {**found, "manifests": self.manifests}


def seen_file(key: str) -> Path:
    """Return the file for a key: a clone, or a root commit."""
    return user_directory() / "seen" / f"{sha256_hex(key.encode('utf-8', 'surrogateescape'))}.json"


def read_seen(key: str) -> SeenState | None:
    """Return the recorded state under a key, or None. Raises TrustError for a damaged file."""
    remedy = "if you know why, move the file away: what is there now is trusted then"
    return read_state(
        seen_file(key),
        SEEN_SCHEMA,
        lambda value: _parse(value, key),
        "the last seen state of the store",
        help=remedy,
    )


def _parse(value: dict[str, Any], key: str) -> SeenState:
    if value["of"] != key:
        raise MalformedError("not what gitchain remembers of this store", expected=key)
    size, tree, unreadable = value["size"], value["tree"], value["unreadable"]
    manifests = value.get("manifests", UNKNOWN)
    trees = [tree_id for tree_id in (tree, manifests) if tree_id is not None]
    texts = [value["commit"], value["time"], *unreadable, *trees]
    if not isinstance(size, int) or not all(isinstance(text, str) for text in texts):
        raise MalformedError("a field has the wrong type", where="seen")
    return SeenState(key, value["commit"], tree, size, value["time"], tuple(unreadable), manifests)


def write_seen(seen: SeenState) -> None:
    """Write the seen state atomically. Raises StoreError if it cannot be written."""
    place = seen_file(seen.key)
    try:
        write_state(place, SEEN_SCHEMA, seen.to_json())
    except MalformedError as error:
        raise StoreError("cannot remember the store", where=str(place), got=str(error)) from error


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
