"""What a monitor has to say, with a code for each kind. docs/monitor.md says what to do about them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from gitchain.evidence.canonical import Json

Severity: TypeAlias = Literal["error", "warning"]


class Code(StrEnum):
    """The kinds of alert."""

    INCONSISTENT = "GC-M01"
    SPLIT = "GC-M02"
    REWOUND = "GC-M03"
    UNKNOWN_ENTRY = "GC-M04"
    NOT_LOGGED = "GC-M05"
    EXPIRING = "GC-M06"
    ROTATED = "GC-M07"
    UNREACHABLE = "GC-M08"
    NOT_ITS_TREE = "GC-M09"
    BAD_CHECKPOINT = "GC-M10"
    PRETENDER = "GC-M11"


MEANINGS = {
    Code.INCONSISTENT: "the log has changed what it held before",
    Code.SPLIT: "the log shows two histories",
    Code.REWOUND: "the log is shorter than it was",
    Code.UNKNOWN_ENTRY: "somebody signed as you, and no attestation here is that entry",
    Code.NOT_LOGGED: "the log does not hold what a stored attestation says it does",
    Code.EXPIRING: "a certificate or key of the trusted root ends soon",
    Code.ROTATED: "the trusted root is another than at the last look",
    Code.UNREACHABLE: "the log could not be read",
    Code.NOT_ITS_TREE: "the log hands out entries or hashes that are not those of its signed tree",
    Code.BAD_CHECKPOINT: "the log's checkpoint is not signed by the log",
    Code.PRETENDER: "somebody logged a certificate with your name that the authority did not issue",
}

HELP = {
    Code.INCONSISTENT: "trust nothing that this log says from here on; keep both checkpoints, tell its operator",
    Code.SPLIT: "trust nothing that this log says from here on; keep both checkpoints, tell its operator",
    Code.REWOUND: "it may have been restored from a backup: ask its operator, and do not forget the old checkpoint",
    Code.UNKNOWN_ENTRY: "look for it in the other repositories in which you sign; if it is in none: gitchain revoke signer, "
    "and check that account",
    Code.NOT_LOGGED: "gitchain show ID; the attestation proves no time any more: sign it again",
    Code.EXPIRING: "gitchain trust update, or get a new trust configuration from whoever runs the instance",
    Code.ROTATED: "gitchain trust status says what is trusted now",
    Code.UNREACHABLE: "look again later; nothing is forgotten",
    Code.NOT_ITS_TREE: "trust nothing that this log says from here on; tell its operator",
    Code.BAD_CHECKPOINT: "the URL may be another log's: look at the trust configuration",
    Code.PRETENDER: "nothing verifies with it; somebody may be trying what gets noticed",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that a person should know. `index` is the log entry that it is about."""

    code: Code
    severity: Severity
    log: str
    message: str
    expected: str = ""
    got: str = ""
    index: int | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the alert as `gitchain monitor --json` and the webhook hold it."""
        return {
            "code": self.code.value,
            "severity": self.severity,
            "log": self.log,
            "message": self.message,
            "expected": self.expected or None,
            "got": self.got or None,
            "index": self.index,
            "help": HELP[self.code],
        }


def alert(code: Code, log: str, *, expected: str = "", got: str = "", index: int | None = None) -> Alert:
    """Return an error with the code's own meaning as its message."""
    return Alert(code, "error", log, MEANINGS[code], expected, got, index)


def warning(code: Code, log: str, *, expected: str = "", got: str = "", index: int | None = None) -> Alert:
    """Return a warning with the code's own meaning as its message."""
    return Alert(code, "warning", log, MEANINGS[code], expected, got, index)
