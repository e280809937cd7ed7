"""Active alerts that were reported before: `monitor/standing-<scope>.json`. Each event is reported once.

A scope combines what a monitor watches and where it reports, so that two monitors of one user do not suppress each
other's alerts. An event that ended is deleted, and reported again if it recurs. If the file is lost or damaged, all
active events are reported again.

Format page: docs/formats/monitor.md
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gitchain.errors import GitchainError
from gitchain.evidence.canonical import Json, canonical_json, strict_json
from gitchain.evidence.digest import sha256_hex
from gitchain.monitor.alerts import Alert
from gitchain.platform.files import make_directory, read_regular, write_durably
from gitchain.workspace.user_directory import home_lock, user_directory

SCHEMA = "https://gitchain.dev/monitor-standing/v1"
MAX_BYTES = 1 << 20
MAX_EVENTS = 10_000


def scope(*parts: str) -> str:
    """Return the name of a scope: the watched logs and the report destination."""
    values: list[Json] = list(parts)
    return sha256_hex(canonical_json(values))


def event_of(alert: Alert) -> str:
    """Return a stable identifier of an alert's event, without details that change between runs."""
    index: list[Json] = [alert.code.value, alert.log, alert.index, alert.about]
    return sha256_hex(canonical_json(index))


def reported_before(name: str) -> frozenset[str]:
    """Return the events that were active and reported at the last run."""
    try:
        value = strict_json(read_regular(_place(name), MAX_BYTES), "standing", max_bytes=MAX_BYTES)
    except (OSError, GitchainError):
        return frozenset()
    if (
        not isinstance(value, dict)
        or value.get("schema") != SCHEMA
        or not isinstance(value.get("events"), list)
    ):
        return frozenset()
    return frozenset(str(event) for event in value["events"])


def remember(name: str, alerts: Sequence[Alert]) -> None:
    """Replace the active events by those of these alerts. Raises StoreError."""
    events: list[Json] = sorted({event_of(alert) for alert in alerts})[:MAX_EVENTS]  # type: ignore[assignment]
    if not events and not _place(name).exists():
        return
    with home_lock():
        make_directory(_place(name).parent)
        write_durably(_place(name), canonical_json({"schema": SCHEMA, "events": events}))


def _place(name: str) -> Path:
    return user_directory() / "monitor" / f"standing-{name}.json"
