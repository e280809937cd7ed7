"""Answers to questions about a fleet: rows, what limits them, and the commands that prove them.

No row is a result of verification: the database may be old, incomplete, or changed by others. `verified` is what the
indexer found when it read the bundle.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from gitchain.evidence.vocabulary import time_text
from gitchain.fleet.database import Database
from gitchain.fleet.tables import key_of_text

MAX_ROWS = 10_000
MAX_PATH = 20  # attestations of a path that an answer lists
BUNDLE = "fleet_bundle.id, attestation, signer, issuer, verified, logged, negative, trust"
BUNDLE_TYPES = "itttiitt"
"""The columns of a bundle that a row shows, and their types."""

_SHA256 = re.compile("[0-9a-f]{64}")

HINT = "rows of an index are hints, not results of verification: each row has the commands that prove it"


@dataclass(frozen=True)
class AnswerRow:
    """One row. `fields` are its own; `attestation` is the bundle's that it was read from."""

    fields: Mapping[str, Any]
    verified: bool
    bundle: int
    attestation: str
    signer: str
    issuer: str
    logged: int
    digest: str = ""
    path: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()
    """Ids of verified revocations; `unverified_revocations` has the others."""
    unverified_revocations: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    negative: str = ""
    trust: str = ""
    """What the bundle was verified with; empty if it was not verified."""

    @classmethod
    def of(cls, bundle: Sequence[Any], fields: Mapping[str, Any], digest: str = "") -> AnswerRow:
        """Return the row of a bundle's columns BUNDLE."""
        number, attestation, signer, issuer, verified, logged, negative, trust = bundle
        is_verified = verified == 1
        row = cls(fields, is_verified, number, attestation, signer, issuer, logged, digest)
        return replace(row, negative=negative, trust=trust if is_verified else "")

    def joined(self, more: Mapping[str, Any]) -> AnswerRow:
        """Return the row with more fields."""
        return replace(self, fields={**self.fields, **more})

    def reached(self, path: tuple[str, ...], *, verified: bool) -> AnswerRow:
        """Return the row with the way to it; it is verified only if the way is."""
        return replace(self, path=path, verified=self.verified and verified)

    def to_json(self) -> dict[str, Any]:
        """Return the row as in `gitchain query --json`."""
        return {
            **self.fields,
            "attestation": self.attestation,
            "verifiedWhenIndexed": self.verified,
            "trust": self.trust or None,
            "signer": self.signer or None,
            "issuer": self.issuer or None,
            "logged": logged_text(self.logged) or None,
            "negative": self.negative or None,
            "path": list(self.path[:MAX_PATH]),
            "pathLength": len(self.path),
            "revocations": list(self.revoked),
            "unverifiedRevocations": list(self.unverified_revocations),
            "sources": list(self.sources),
            "prove": list(self.prove()),
        }

    def prove(self) -> tuple[str, ...]:
        """Return the commands that verify the row's attestation, and its artifact under a layout.

        A column that another program wrote gets into no command: only digests and quoted sources do.
        """
        evidence = " ".join(f"--evidence {shlex.quote(name)}" for name in self.sources[:1])
        commands = []
        if _SHA256.fullmatch(self.attestation):
            commands.append(f"gitchain show {self.attestation} {evidence}".strip())
        if _SHA256.fullmatch(self.digest):
            commands.append(f"gitchain verify sha256:{self.digest} {evidence}".strip())
        return tuple(commands)


@dataclass
class Answer:
    """An answer. `total` is the number of rows, of which `rows` are some; None if it was not counted."""

    question: Mapping[str, Any]
    rows: list[AnswerRow] = field(default_factory=list)
    total: int | None = None
    skipped: int = 0
    notes: list[str] = field(default_factory=list)
    stale: list[tuple[str, str, str]] = field(default_factory=list)
    """Sources that could not be read completely: name, since when, and why."""

    @property
    def is_cut(self) -> bool:
        """Return True if there are more rows after these."""
        return self.total is None or self.total > self.skipped + len(self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return the document of `gitchain query --json`, without its schema."""
        return {
            "question": dict(self.question),
            "hint": HINT,
            "rows": [row.to_json() for row in self.rows],
            "skipped": self.skipped,
            "total": self.total,
            "more": self.is_cut,
            "notes": self.notes,
            "staleSources": [
                {"source": name, "since": since or None, "reason": why or None}
                for name, since, why in self.stale
            ],
        }


@dataclass(frozen=True)
class Page:
    """Which rows of an answer to return."""

    limit: int = 100
    skip: int = 0

    def fill(self, answer: Answer, rows: Sequence[AnswerRow], database: Database) -> Answer:
        """Put this page of the rows into an answer, with sources and revocations."""
        answer.total, answer.skipped = len(rows), self.skip
        answer.rows = complete(database, rows[self.skip : self.skip + self.limit], answer.notes)
        answer.stale = stale_sources(database)
        return answer


def stale_sources(database: Database) -> list[tuple[str, str, str]]:
    """Return the sources that the answer may lack something of."""
    sql = (
        "SELECT name, stale, problem FROM fleet_source WHERE stale <> '' OR indexed = '' "
        "OR problem <> '' ORDER BY id"
    )
    return [(name, since, why or "not indexed completely") for name, since, why in database.rows("ttt", sql)]


def complete(database: Database, rows: Sequence[AnswerRow], notes: list[str]) -> list[AnswerRow]:
    """Return the rows with the sources that hold their bundles, and the revocations that name them.

    Adds a note if these are too many.
    """
    bundles = dict.fromkeys(row.bundle for row in rows)
    held: dict[int, list[str]] = {}
    sql = """SELECT bundle, gone, name FROM fleet_held JOIN fleet_source ON fleet_source.id = source
      WHERE bundle IN ({})"""
    present: dict[int, list[str]] = {}
    found = database.among("itt", sql, bundles, MAX_ROWS)
    for bundle, gone, name in found[:MAX_ROWS]:
        (held if gone else present).setdefault(bundle, []).append(name)
    if len(found) > MAX_ROWS:
        notes.append(f"more than {MAX_ROWS} sources hold these rows: the rest is not named")
    named = {kind: _revocations(database, rows, kind, notes) for kind in (True, False)}

    def revoked(row: AnswerRow, kind: bool) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one for key in _keys(row) for one in named[kind].get(key, ())))

    return [
        replace(
            row,
            sources=(*present.get(row.bundle, ()), *held.get(row.bundle, ())),
            revoked=revoked(row, True),
            unverified_revocations=revoked(row, False),
        )
        for row in rows
    ]


def _keys(row: AnswerRow) -> Iterable[str]:
    yield from (row.attestation, row.digest, *row.path[:MAX_PATH])
    if row.signer:
        yield key_of_text(row.signer)


def _revocations(
    database: Database,
    rows: Sequence[AnswerRow],
    is_verified: bool,
    notes: list[str],
) -> dict[str, list[str]]:
    """Return the ids of revocations by what they revoke. Whether they count, a layout decides."""
    values = dict.fromkeys(key for row in rows for key in _keys(row) if key)
    sql = f"""SELECT value, attestation FROM fleet_revocation JOIN fleet_bundle ON fleet_bundle.id = bundle
      WHERE verified {"=" if is_verified else "<>"} 1 AND value IN ({{}})"""  # noqa: S608 - constants
    every = database.among("tt", sql, values, MAX_ROWS)
    if len(every) > MAX_ROWS:
        kind = "verified" if is_verified else "not verified"
        notes.append(f"more than {MAX_ROWS} {kind} revocations name these rows: the rest is not listed")
    found: dict[str, list[str]] = {}
    for value, attestation in every[:MAX_ROWS]:
        found.setdefault(value, []).append(attestation)
    return found


def logged_text(seconds: int) -> str:
    """Return a log time as text; empty if it is not proven. A time that no calendar has is empty too."""
    try:
        return time_text(datetime.fromtimestamp(seconds, UTC)) if seconds >= 0 else ""
    except (OverflowError, OSError, ValueError):
        return ""
