"""Stored state of one monitored log: the newest consistent checkpoint, and the number of entries read.

One file for each log in the user's directory, `monitor/<log id>.json` (schemas/monitor.schema.json), replaced
atomically under a lock. The state never moves backwards: of two concurrent monitors the more advanced state is kept.

Format page: docs/formats/monitor.md
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.checkpoint import SignedCheckpoint
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.fields import decode_base64, encode_base64
from gitchain.workspace.user_directory import home_lock, read_state, user_directory, write_state

SCHEMA = "https://gitchain.dev/monitor-state/v1"
HELP = "if you know why, move the file away: the log as it is now is trusted then"


@dataclass(frozen=True, slots=True)
class FollowedLog:
    """A log's newest proved checkpoint, the next entry to read, and the trusted root that verified it.

    `split` holds the digests of contradicting checkpoints. They are reported once and kept permanently.
    """

    log_id: str
    host: str
    checkpoint: str
    next: int
    trust: str
    store: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.next <= self.size:
            raise MalformedError(
                "more entries were read than there are", expected=f"≤ {self.size}", got=str(self.next)
            )

    @property
    def size(self) -> int:
        """Return the number of entries of the log."""
        return self.note.checkpoint.size

    @property
    def root(self) -> bytes:
        """Return the root hash of the log's tree."""
        return self.note.checkpoint.root

    @property
    def note(self) -> SignedCheckpoint:
        """Return the parsed checkpoint, whose signature was verified before it was stored."""
        return SignedCheckpoint.parse(self.checkpoint)

    def to_json(self) -> dict[str, Json]:
        """Return the state as JSON for its file."""
        return {
            "logId": self.log_id,
            "host": self.host,
            "checkpoint": encode_base64(self.checkpoint.encode()),
            "next": self.next,
            "trust": self.trust,
            "store": self.store,
        }


def recall(log_id: bytes) -> FollowedLog | None:
    """Return the stored state of a log, or None. Raises TrustError if the file is damaged."""
    return read_state(
        place(log_id),
        SCHEMA,
        lambda value: _parse(value, log_id.hex()),
        "the stored state of the log",
        help=HELP,
    )


def advance(followed: FollowedLog) -> FollowedLog:
    """Store the state unless a more advanced one is stored; return the stored state."""
    log_id = bytes.fromhex(followed.log_id)
    with home_lock():
        before = recall(log_id)
        if before is not None and (before.size, before.next) > (followed.size, followed.next):
            return before
        write_state(place(log_id), SCHEMA, followed.to_json())
    return followed


def place(log_id: bytes) -> Path:
    """Return the path of a log's state file."""
    return user_directory() / "monitor" / f"{sha256_hex(log_id)}.json"


def _parse(value: dict[str, Any], log_id: str) -> FollowedLog:
    if value["logId"] != log_id:
        raise MalformedError("not what gitchain remembers of this log", expected=log_id)
    texts = [value[key] for key in ("host", "checkpoint", "trust", "store")]
    index = value["next"]
    if (
        not all(isinstance(text, str) for text in texts)
        or not isinstance(index, int)
        or isinstance(index, bool)
    ):
        raise MalformedError("a field has the wrong type", where="monitor")
    host, checkpoint, trust, store = map(str, texts)
    return FollowedLog(log_id, host, decode_base64(checkpoint, "checkpoint").decode(), index, trust, store)
