"""Alerts of the log monitor, with a code for each kind. docs/monitor.md explains how to respond to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from gitchain.evidence.canonical import Json

Severity: TypeAlias = Literal["error", "warning"]
MAX_LISTED = 100
"""Most entries listed in one alert; all entries are counted."""


class AlertCode(StrEnum):
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
    AlertCode.INCONSISTENT: "the log has changed earlier entries",
    AlertCode.SPLIT: "the log shows two histories",
    AlertCode.REWOUND: "the log is shorter than it was",
    AlertCode.UNKNOWN_ENTRY: "an entry is signed as you, but no local repository has an attestation for it",
    AlertCode.NOT_LOGGED: "the log lacks the entry of a stored attestation",
    AlertCode.EXPIRING: "a certificate or key of the trusted root ends soon",
    AlertCode.ROTATED: "the trusted root is another than at the last look",
    AlertCode.UNREACHABLE: "the log could not be read",
    AlertCode.NOT_ITS_TREE: "the log hands out entries or hashes that are not those of its signed tree",
    AlertCode.BAD_CHECKPOINT: "the log's checkpoint is not signed by the log",
    AlertCode.PRETENDER: "an entry contains a certificate with your identity that the authority did not issue",
}

HELP = {
    AlertCode.INCONSISTENT: "stop trusting this log; keep both checkpoints and contact its operator",
    AlertCode.SPLIT: "stop trusting this log; keep both checkpoints and contact its operator",
    AlertCode.REWOUND: "it may have been restored from a backup: ask its operator, and do not forget the old checkpoint",
    AlertCode.UNKNOWN_ENTRY: "look for it in other clones and on other machines on which you sign; "
    "if it is in none: gitchain revoke signer, and check that account",
    AlertCode.NOT_LOGGED: "gitchain show ID; the attestation proves no time any more: sign it again",
    AlertCode.EXPIRING: "gitchain trust update, or get a new trust configuration from the instance's operator",
    AlertCode.ROTATED: "check it: gitchain trust status",
    AlertCode.UNREACHABLE: "look again later; nothing is forgotten",
    AlertCode.NOT_ITS_TREE: "stop trusting this log; contact its operator",
    AlertCode.BAD_CHECKPOINT: "the URL may be another log's: look at the trust configuration",
    AlertCode.PRETENDER: "no signature with it verifies; an attacker may be testing your monitoring",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One event that a person should know about.

    `entries` are the affected log entries, `index` is the first of them. `about` identifies other subjects and is
    stable between runs, so that each event is reported once.
    """

    code: AlertCode
    severity: Severity
    log: str
    message: str
    expected: str = ""
    got: str = ""
    index: int | None = None
    entries: tuple[int, ...] = ()
    about: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the alert in the form of `gitchain monitor --json` and of the webhook."""
        return {
            "code": self.code.value,
            "severity": self.severity,
            "log": self.log,
            "message": self.message,
            "expected": self.expected or None,
            "got": self.got or None,
            "index": self.index,
            "entries": list(self.entries[:MAX_LISTED]),
            "count": len(self.entries),
            "help": HELP[self.code],
        }


def alert(code: AlertCode, log: str, *, expected: str = "", got: str = "", about: str = "") -> Alert:
    """Return an error with the default message of the code."""
    return Alert(code, "error", log, MEANINGS[code], expected, got, about=about)


def warning(code: AlertCode, log: str, *, expected: str = "", got: str = "", about: str = "") -> Alert:
    """Return a warning with the default message of the code."""
    return Alert(code, "warning", log, MEANINGS[code], expected, got, about=about)


def about_entries(
    code: AlertCode, severity: Severity, log: str, signer: str, entries: Sequence[int]
) -> Alert:
    """Return one alert for all entries of a run with the same signer."""
    number = "" if len(entries) == 1 else f", in {len(entries)} entries"
    return Alert(
        code, severity, log, MEANINGS[code], got=f"{signer}{number}", index=entries[0], entries=tuple(entries)
    )
