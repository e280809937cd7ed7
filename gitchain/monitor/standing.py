"""Active alerts that were reported before: `monitor/standing-<scope>.json`. Each event is reported once.

A scope combines what a monitor watches and where it reports, so that two monitors of one user do not suppress each
other's alerts. An event that ended is deleted, and reported again if it recurs. If the file is lost or damaged, all
active events are reported again.

Format page: docs/formats/monitor.md
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gitchain.errors import TrustError
from gitchain.evidence.canonical import Json, canonical_json
from gitchain.evidence.digest import sha256_hex
from gitchain.monitor.alerts import Alert
from gitchain.workspace.user_directory import home_lock, read_state, user_directory, write_state

SCHEMA = "https://gitchain.dev/monitor-standing/v1"
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
        found = read_state(_place(name), SCHEMA, lambda value: list(value["events"]), "the record of alerts")  # type: ignore[arg-type]
    except TrustError:
        return frozenset()
    return frozenset(map(str, found or ()))


def remember(name: str, alerts: Sequence[Alert]) -> None:
    """Replace the active events by those of these alerts. Raises StoreError."""
    events: list[Json] = sorted({event_of(alert) for alert in alerts})[:MAX_EVENTS]  # type: ignore[assignment]
    if not events and not _place(name).exists():
        return
    with home_lock():
        write_state(_place(name), SCHEMA, {"events": events})


def _place(name: str) -> Path:
    return user_directory() / "monitor" / f"standing-{name}.json"
