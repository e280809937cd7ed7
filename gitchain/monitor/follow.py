"""Monitoring run over one log: checks its checkpoint, its consistency, and its new entries.

1. The log's key signed the checkpoint, under the log's name.
2. The checkpoint is not older than the stored one, and the tree is consistent with it.
3. All other checkpoints of the log (other URLs, witnesses, stored attestations) are consistent with it, and the log
  includes the entries of stored attestations.
4. The entries since the last run hash to the tree; each entry with one of my identities belongs to a known
  attestation.

A run returns its alerts and the state to store. The caller reports the alerts first and stores the state afterwards,
so that no alert is lost. After an error about the log itself no new state is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime

from gitchain.errors import GitchainError, InclusionError, LimitError, MalformedError, TransportError
from gitchain.evidence.checkpoint import Checkpoint, SignedCheckpoint
from gitchain.evidence.merkle import leaf_hash
from gitchain.layout.model import Identity
from gitchain.monitor.alerts import Alert, AlertCode, about_entries, alert, warning
from gitchain.monitor.log_clients import MonitoredLog, NotItsTreeError
from gitchain.monitor.signers import EntrySigner, signers
from gitchain.monitor.state import FollowedLog
from gitchain.verify.log_inclusion import signed_checkpoint
from gitchain.verify.trust import LogKey, Trust

MAX_NEW = 100_000
"""Most entries read in one run; the next run continues from there."""


@dataclass(frozen=True, slots=True)
class StoredLogEntry:
    """A stored attestation in this log: its checkpoint, or the reason why it does not verify."""

    name: str
    checkpoint: Checkpoint | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class OwnEntries:
    """My identities, the leaf hashes of my entries, the stored attestations of the log, and the state of the store."""

    identities: AbstractSet[Identity] = frozenset()
    leaves: Collection[bytes] = frozenset()
    stored: Sequence[StoredLogEntry] = ()
    store: str = ""


@dataclass(frozen=True, slots=True)
class MonitorRun:
    """Result of one run: alerts, and the state to store after they are reported; None for no new state."""

    log: LogKey
    alerts: tuple[Alert, ...]
    followed: FollowedLog | None = None
    size: int = 0
    read: int = 0


@dataclass(slots=True)
class LogMonitor:
    """Monitors one log. `others` are further sources of its checkpoints."""

    log: LogKey
    view: MonitoredLog
    trust: Trust
    others: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    start: int | None = None
    limit: int = MAX_NEW
    advance: Callable[[int], None] = field(default=lambda _count: None)

    def look(self, before: FollowedLog | None, mine: OwnEntries, now: datetime) -> MonitorRun:
        """Run once. Failures of the log become alerts, not exceptions."""
        try:
            note = self._checkpoint(self.view.checkpoint())  # 1
        except (InclusionError, MalformedError, LimitError) as error:
            return self._only(alert(AlertCode.BAD_CHECKPOINT, self.log.host, got=str(error)), before)
        except TransportError as error:
            return self._only(self._silent(error, now), before)
        try:
            grown = tuple(self._grown(before, note))  # 2
            beside = tuple(self._beside(note, mine))  # 3
            if grown:
                return MonitorRun(self.log, (*grown, *beside), size=before.size if before else 0)
            return self._read(before, note, mine, beside)  # 4
        except NotItsTreeError as error:
            found = alert(AlertCode.NOT_ITS_TREE, self.log.host, expected=error.expected, got=str(error))
        except (InclusionError, MalformedError, LimitError) as error:
            found = alert(AlertCode.NOT_ITS_TREE, self.log.host, got=str(error))
        except TransportError as error:
            found = self._silent(error, now)
        return self._only(found, before)

    def _checkpoint(self, text: str) -> SignedCheckpoint:
        return signed_checkpoint(text, self.log, self.trust, v2=self.view.v2)

    def _only(self, found: Alert, before: FollowedLog | None) -> MonitorRun:
        return MonitorRun(self.log, (found,), size=before.size if before else 0)

    def _silent(self, error: GitchainError, now: datetime) -> Alert:
        """Return the alert for a log that cannot be read; a retired log is reported at lower severity."""
        ended = self.log.window.end is not None and self.log.window.end < now
        how = warning if ended else alert
        return how(AlertCode.UNREACHABLE, self.log.host, got=str(error))

    def _grown(self, before: FollowedLog | None, note: SignedCheckpoint) -> Iterator[Alert]:
        """2: yield alerts for contradictions to the stored checkpoint."""
        if before is None:
            return
        old, new = before.note.checkpoint, note.checkpoint
        expected = f"{old.size} entries, root {old.root.hex()}, as at the last look"
        got = f"{new.size} entries, root {new.root.hex()}"
        if old.origin != new.origin and self.view.v2:
            yield alert(AlertCode.BAD_CHECKPOINT, self.log.host, expected=old.origin, got=new.origin)
        elif new.size < old.size:
            yield alert(AlertCode.REWOUND, self.log.host, expected=expected, got=got)
        elif new.size == old.size and new.root != old.root:
            yield alert(AlertCode.SPLIT, self.log.host, expected=expected, got=got)
        else:
            try:
                self.view.prove(old, new)
            except NotItsTreeError:
                raise
            except InclusionError as error:
                yield alert(AlertCode.INCONSISTENT, self.log.host, expected=expected, got=f"{got}: {error}")

    def _beside(self, note: SignedCheckpoint, mine: OwnEntries) -> Iterator[Alert]:
        """3: yield alerts for contradictions to other checkpoints and to stored attestations."""
        for place, fetch in self.others.items():
            try:
                other = self._checkpoint(fetch()).checkpoint
            except GitchainError as error:
                yield warning(
                    AlertCode.UNREACHABLE,
                    self.log.host,
                    expected=f"a checkpoint at {place}",
                    got=str(error),
                    about=place,
                )
            else:
                yield from self._same_history(note.checkpoint, other, place)
        for one in mine.stored:
            if one.checkpoint is None:
                yield alert(
                    AlertCode.NOT_LOGGED, self.log.host, expected=one.name, got=one.problem, about=one.name
                )
            else:
                yield from self._same_history(note.checkpoint, one.checkpoint, f"attestation {one.name}")

    def _same_history(self, new: Checkpoint, other: Checkpoint, place: str) -> Iterator[Alert]:
        expected = f"{other.size} entries, root {other.root.hex()}, as {place} shows it"
        got = f"{new.size} entries, root {new.root.hex()}"
        if other.size > new.size:
            if place.startswith("attestation "):
                yield alert(AlertCode.REWOUND, self.log.host, expected=expected, got=got, about=place)
            else:
                yield from (
                    replace(problem, about=place) for problem in self._ahead(new, other, expected, got)
                )
        elif other.size == new.size:
            if other.root != new.root:
                yield alert(AlertCode.SPLIT, self.log.host, expected=expected, got=got, about=place)
        else:
            try:
                self.view.prove(other, new)
            except NotItsTreeError:
                raise
            except InclusionError as error:
                yield alert(
                    AlertCode.SPLIT, self.log.host, expected=expected, got=f"{got}: {error}", about=place
                )

    def _ahead(self, new: Checkpoint, other: Checkpoint, expected: str, got: str) -> Iterator[Alert]:
        """Check that the log reached the size of a newer checkpoint elsewhere, and that the trees are consistent."""
        try:
            self.view.prove(new, other)
        except InclusionError as error:
            yield alert(AlertCode.SPLIT, self.log.host, expected=expected, got=f"{got}: {error}")
        except TransportError:
            if self._checkpoint(self.view.checkpoint()).checkpoint.size >= other.size:
                raise
            yield alert(AlertCode.REWOUND, self.log.host, expected=expected, got=got)

    def _read(
        self, before: FollowedLog | None, note: SignedCheckpoint, mine: OwnEntries, beside: tuple[Alert, ...]
    ) -> MonitorRun:
        """4: read the new entries, and return alerts and the state to store."""
        new = note.checkpoint
        start = self._start(before, new)
        stop = min(new.size, start + self.limit)
        unknown: dict[EntrySigner, list[int]] = {}
        for index, body in self.view.entries(start, stop, new) if start < stop else ():
            for signer in self._unknown(body, mine):
                unknown.setdefault(signer, []).append(index)
            self.advance(1)
        found = [self._about(signer, entries) for signer, entries in unknown.items()]
        store = mine.store if not any(alert.severity == "error" for alert in beside) else ""
        followed = FollowedLog(
            self.log.log_id.hex(), self.log.host, note.text, stop, self.trust.digest, store or _store(before)
        )
        if any(alert.code in {AlertCode.SPLIT, AlertCode.REWOUND} for alert in beside):
            return MonitorRun(self.log, (*beside, *found), size=new.size)
        return MonitorRun(self.log, (*beside, *found), followed, new.size, stop - start)

    def _start(self, before: FollowedLog | None, new: Checkpoint) -> int:
        """Return the index of the first entry to read: the end of the last run, or the configured start."""
        if before is not None:
            return before.next
        if self.start is not None:
            return min(self.start, new.size)
        return 0 if new.size <= self.limit else new.size

    def _unknown(self, body: bytes, mine: OwnEntries) -> Iterator[EntrySigner]:
        """Yield my identities in an entry that belongs to no known attestation."""
        for signer in signers(body, self.trust):
            if signer.identity in mine.identities and leaf_hash(body) not in mine.leaves:
                yield signer

    def _about(self, signer: EntrySigner, entries: Sequence[int]) -> Alert:
        identity, host = str(signer.identity), self.log.host
        if signer.issued:
            return about_entries(AlertCode.UNKNOWN_ENTRY, "error", host, identity, entries)
        return about_entries(AlertCode.PRETENDER, "warning", host, identity, entries)


def _store(before: FollowedLog | None) -> str:
    return before.store if before is not None else ""
