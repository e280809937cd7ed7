"""Bring a fleet's index up to what its sources hold now: only bundles that it does not have are read.

A source that cannot be read, or that lost evidence, keeps its rows: they are marked as stale, with the time. A bundle
that a source does not hold any more keeps its row too, with the time since when it is gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from gitchain.errors import GitchainError, StoreError, TransportError, UsageError
from gitchain.evidence.vocabulary import time_text
from gitchain.fleet.bundle_rows import BundleRows, Verifier, rows_of
from gitchain.fleet.database import Database
from gitchain.fleet.directories import add_directories, open_directories
from gitchain.fleet.tables import plain
from gitchain.sources.interface import EvidenceSource, Snapshot
from gitchain.sources.open_source import open_source

TOGETHER = 500  # bundles of one transaction: what was verified is not lost if the rest fails
MAX_REASONS = 20
_CREDENTIALS = re.compile("(?<=:)//[^/]*@")

Load = Callable[[], bytes]

_BUNDLE = f"INSERT INTO fleet_bundle VALUES({', '.join('?' * 18)})"
_ARTIFACT = "INSERT INTO fleet_artifact VALUES(?, ?, ?, ?, ?)"
_PLACEMENT = "INSERT INTO fleet_placement VALUES(?, ?, ?, ?, ?, ?)"
_REVOCATION = "INSERT INTO fleet_revocation VALUES(?, ?, ?, ?, ?)"
_LICENCE = "INSERT INTO fleet_licence VALUES(?, ?) ON CONFLICT DO NOTHING"
_HELD = "INSERT INTO fleet_held VALUES(?, ?, '') ON CONFLICT DO NOTHING"
_PARTS = ("fleet_artifact", "fleet_placement", "fleet_revocation")


@dataclass
class SourceReport:
    """What one reading of a source added, or the error that stopped it."""

    source: str
    unchanged: bool = False
    added: int = 0
    verified: int = 0
    held: int = 0
    gone: int = 0
    refused: int = 0
    reasons: list[tuple[str, str]] = field(default_factory=list)
    """The first bundles that do not verify: name of the bundle, and the reason."""
    problems: list[str] = field(default_factory=list)
    """The first entries of the source that cannot be read."""
    unread: int = 0
    """The number of all of these."""
    is_cut: bool = False
    """Whether directories of the source wait for the next run."""
    error: GitchainError | None = None
    stale: str = ""

    @property
    def lacks(self) -> str:
        """Return what the index does not have of a source that was read, or an empty text."""
        parts = [f"{self.unread} entries cannot be read: {self.problems[0]}"] if self.unread else []
        if self.is_cut:
            parts.append("what some directories hold is not read yet: gitchain index continues")
        return plain("; ".join(parts))


@dataclass
class FleetIndexer:
    """Indexes sources into one database. Without a verifier, rows are marked as not verified."""

    database: Database
    verifier: Verifier | None
    now: datetime
    offline: bool = False

    def sources(self) -> list[str]:
        """Return the names of the sources that the database knows."""
        return [name for (name,) in self.database.rows("t", "SELECT name FROM fleet_source ORDER BY id")]

    def index(self, name: str) -> SourceReport:
        """Index a source. Its errors are in the report; those of the database are raised."""
        name = source_name(name)
        report = SourceReport(plain(_CREDENTIALS.sub("//…@", name)))
        if report.source != plain(name):  # the database and every answer would show it
            report.error = UsageError(
                "the name of a source has a user name or a password",
                got=report.source,
                help="configure Git's or the registry's credentials instead",
            )
            return report
        number = self._number(report.source)
        try:
            source = open_source(name, offline=self.offline)
            snapshot = source.read()
            source.check(snapshot)
        except (GitchainError, OSError) as error:
            report.error = error if isinstance(error, GitchainError) else StoreError(str(error)[:300])
            report.stale = self._mark_stale(number, report.error)
            return report
        report.problems = [plain(one) for one in snapshot.problems[:MAX_REASONS]]
        report.unread = len(snapshot.problems)
        try:
            self._follow(number, source, snapshot, report)
        except SourceReadError as error:
            report.error = error.cause
            report.stale = self._mark_stale(number, error.cause)
        return report

    def _number(self, name: str) -> int:
        with self.database.writing():
            found = self.database.rows("i", "SELECT id FROM fleet_source WHERE name = ?", [name])
            if found:
                return int(found[0][0])
            ((last,),) = self.database.rows("i", "SELECT COALESCE(MAX(id), 0) FROM fleet_source")
            self.database.run("INSERT INTO fleet_source VALUES(?, ?, '', '', '', '', '')", [last + 1, name])
            return int(last) + 1

    def _mark_stale(self, number: int, error: GitchainError) -> str:
        """Record the error, and return since when the source cannot be read."""
        with self.database.writing():
            self.database.run(
                "UPDATE fleet_source SET problem = ?, stale = CASE stale WHEN '' THEN ? ELSE stale END WHERE id = ?",
                [plain(str(error)), time_text(self.now), number],
            )
            ((stale,),) = self.database.rows("t", "SELECT stale FROM fleet_source WHERE id = ?", [number])
        return str(stale)

    def _follow(self, number: int, source: EvidenceSource, snapshot: Snapshot, report: SourceReport) -> None:
        trust = self.verifier.name if self.verifier else ""
        loads = dict(_loads(snapshot))
        report.held = len(loads)
        state = self.database.rows("tt", "SELECT version, trust FROM fleet_source WHERE id = ?", [number])
        report.unchanged = state == [(snapshot.version, trust)]
        if not report.unchanged:
            fresh = self._fresh(number, loads, trust)
            for start in range(0, len(fresh), TOGETHER):
                self._add(number, fresh[start : start + TOGETHER], loads, report)
            report.gone = self._mark_gone(number, loads)
            report.is_cut = not self._open_directories(number, snapshot)
        version = "" if report.is_cut else snapshot.version  # so that the next run continues
        with self.database.writing():
            self.database.run(
                "UPDATE fleet_source SET version = ?, trust = ?, indexed = ?, stale = '', problem = ? WHERE id = ?",
                [version, trust, time_text(self.now), report.lacks, number],
            )
        source.remember(snapshot, self.now)

    def _open_directories(self, number: int, snapshot: Snapshot) -> bool:
        try:
            return open_directories(self.database, number, snapshot.manifest)
        except TransportError as error:
            raise SourceReadError(error) from error

    def _fresh(self, number: int, loads: Mapping[str, Load], trust: str) -> list[str]:
        """Return the names of bundles that are new in this source, or not verified under another trusted root."""
        done = {
            name
            for (name,) in self.database.rows(
                "t",
                "SELECT fleet_bundle.name FROM fleet_held JOIN fleet_bundle ON fleet_bundle.id = fleet_held.bundle "
                "WHERE fleet_held.source = ? AND (verified = 1 OR trust = ? OR ? = '')",
                [number, trust, trust],
            )
        }
        return sorted(loads.keys() - done)

    def _add(
        self,
        number: int,
        names: list[str],
        loads: Mapping[str, Load],
        report: SourceReport,
    ) -> None:
        found: list[BundleRows] = []
        for name in names:
            try:
                raw = loads[name]()
            except GitchainError as error:
                raise SourceReadError(error) from error
            found.append(rows_of(name, raw, self.verifier))
        with self.database.writing():
            written = self._write(number, found)
            named = ((*top, rows.verified) for rows in found for top in rows.directories)
            add_directories(self.database, named)
        report.added += written
        for rows in found:
            report.verified += rows.verified
            if not rows.verified:
                report.refused += 1
                if len(report.reasons) < MAX_REASONS:
                    report.reasons.append((str(rows.bundle[1]) or str(rows.bundle[0]), rows.problem))

    def _write(self, number: int, found: list[BundleRows]) -> int:
        """Write the rows of these bundles, and return how many are new in the index."""
        names = [rows.bundle[0] for rows in found]
        known = {
            name: (bundle, verified)
            for name, bundle, verified in self.database.among(
                "tii", "SELECT name, id, verified FROM fleet_bundle WHERE name IN ({})", names, len(names)
            )
        }
        ((last,),) = self.database.rows("i", "SELECT COALESCE(MAX(id), 0) FROM fleet_bundle")
        pairs: list[tuple[int, BundleRows]] = []
        held: list[tuple[int, int]] = []
        added = 0
        for rows in found:
            old = known.get(str(rows.bundle[0]))
            if old is None:
                last, added = last + 1, added + 1
                pairs.append((last, rows))
            elif self.verifier is not None and old[1] != 1:
                self._forget(old[0])
                pairs.append((old[0], rows))
            held.append((number, old[0] if old else last))
        when = time_text(self.now)
        self.database.many(_BUNDLE, ((bundle, *rows.bundle, when) for bundle, rows in pairs))
        self.database.many(_ARTIFACT, ((bundle, *one) for bundle, rows in pairs for one in rows.artifacts))
        self.database.many(_PLACEMENT, ((bundle, *one) for bundle, rows in pairs for one in rows.placements))
        self.database.many(
            _REVOCATION, ((bundle, *one) for bundle, rows in pairs for one in rows.revocations)
        )
        self.database.many(_LICENCE, (rows.licence for _, rows in pairs if rows.licence))
        self.database.many(_HELD, held)
        return added

    def _forget(self, bundle: int) -> None:
        self.database.run("DELETE FROM fleet_bundle WHERE id = ?", [bundle])
        for table in _PARTS:
            self.database.run(f"DELETE FROM {table} WHERE bundle = ?", [bundle])  # noqa: S608 - constant names

    def _mark_gone(self, number: int, loads: Mapping[str, Load]) -> int:
        """Mark the bundles that the source does not hold any more, and return their number."""
        held = self.database.rows(
            "tit",
            "SELECT fleet_bundle.name, fleet_bundle.id, fleet_held.gone FROM fleet_held "
            "JOIN fleet_bundle ON fleet_bundle.id = fleet_held.bundle WHERE fleet_held.source = ?",
            [number],
        )
        when = time_text(self.now)
        changed = [
            (when if name not in loads else "", number, bundle)
            for name, bundle, gone in held
            if (name not in loads) != bool(gone)
        ]
        with self.database.writing():
            self.database.many("UPDATE fleet_held SET gone = ? WHERE source = ? AND bundle = ?", changed)
        return sum(1 for name, _, _ in held if name not in loads)


class SourceReadError(Exception):
    """Raised if a bundle of a source cannot be read while it is indexed."""

    def __init__(self, cause: GitchainError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def source_name(text: str) -> str:
    """Return the name of a source: absolute for a directory, and of the attestations for a repository's directory."""
    if "://" in text:
        return text
    path = Path(text).resolve()  # one name for each place
    is_repository = (path / ".git").exists() or ((path / "HEAD").is_file() and (path / "objects").is_dir())
    return f"git+file://{path}" if is_repository else str(path)


def _loads(snapshot: Snapshot) -> Iterator[tuple[str, Load]]:
    """Yield the bundles of a snapshot by name, with a function that reads each."""
    if snapshot.stored is not None:
        index, load = snapshot.stored
        for facts in index.every_bundle():
            yield facts.name, lambda facts=facts: load(facts)  # type: ignore[misc]
    for name, raw in snapshot.bundles.items():
        yield name, lambda raw=raw: raw  # type: ignore[misc]
