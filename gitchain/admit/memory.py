"""Highest accepted layout versions, stored in the user's directory to prevent rollback between processes.

{"schema": "https://gitchain.dev/accepted/v1", "layouts": {"credit/credit-model": {"version": 3, "digest": "…"}}}

The key is the name in the settings, a slash, and the layout's own name. The last seen states of attestation stores
are in `seen/` of the same directory (docs/formats/history.md). Put it on a volume to keep both across restarts.
"""

from __future__ import annotations

from pathlib import Path

from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.fields import as_object, get_object, get_string
from gitchain.workspace.user_directory import home_lock, read_state, user_directory, write_state

SCHEMA = "https://gitchain.dev/accepted/v1"
FILE = "accepted.json"

Accepted = tuple[int, str]
"""A version, and the digest of its layout."""


def recall(key: str) -> Accepted | None:
    """Return the highest accepted version for a key, or None. Raises TrustError for an unreadable file."""
    return _read(_path()).get(key)


def remember(key: str, accepted: Accepted) -> None:
    """Store a version unless a higher one is stored. Raises StoreError if the directory is not writable."""
    if recall(key) == accepted:
        return
    with home_lock():
        known = _read(_path())
        if known.get(key, (-1, ""))[0] < accepted[0]:
            _write(_path(), known | {key: accepted})


def _path() -> Path:
    return user_directory() / FILE


def _read(path: Path) -> dict[str, Accepted]:
    remedy = (
        "restore the file; if you know why it is damaged, remove it: the layouts of now are accepted then"
    )
    return read_state(path, SCHEMA, _parse, "the record of accepted layouts", help=remedy) or {}


def _parse(value: dict[str, Json]) -> dict[str, Accepted]:
    layouts = get_object(value, "layouts", FILE)
    return {key: _accepted(layouts[key], key) for key in layouts}


def _accepted(value: Json, key: str) -> Accepted:
    entry = as_object(value, key)
    version = entry.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise MalformedError("not an integer", where=f"{key}.version")
    return version, get_string(entry, "digest", key)


def _write(path: Path, accepted: dict[str, Accepted]) -> None:
    layouts: dict[str, Json] = {
        key: {"version": version, "digest": digest} for key, (version, digest) in accepted.items()
    }
    write_state(path, SCHEMA, {"layouts": layouts})
