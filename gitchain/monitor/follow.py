"""One look at one log, as a procedure: what it says, whether it only grew, and what is new in it.

 1. The checkpoint is the log's: its key signed it, under its name.
 2. It is not older than the one that is remembered, and the tree only grew from that one.
 3. Every other view of the log (other URLs, witnesses, the checkpoints inside of stored attestations) shows the same
    history, and the log holds what stored attestations say it does.
 4. The entries since the last look hash into the tree; those under my identities are attestations that I have.

What is found is returned with what to remember: whoever calls reports first and remembers then, so nothing that
happens in between is lost. After an error about the log itself nothing new is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime

from gitchain.errors import GitchainError, InclusionError, LimitError, MalformedError, TransportError
from gitchain.evidence.checkpoint import Checkpoint, SignedCheckpoint
from gitchain.evidence.merkle import leaf_hash
from gitchain.layout.model import Identity
from gitchain.monitor.alerts import Alert, Code, alert, warning
from gitchain.monitor.signers import signers
from gitchain.monitor.state import Followed
from gitchain.monitor.views import NotItsTreeError, View
from gitchain.verify.logged import signed_checkpoint
from gitchain.verify.trust import LogKey, Trust

MAX_NEW = 100_000
"""Most entries that one look reads; the next one goes on from there."""

MAX_ALERTS = 1000
"""Most alerts of one look; the log is not read further until these were told."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An attestation of the store that is logged here: the checkpoint inside of it, or why it does not verify."""

    name: str
    checkpoint: Checkpoint | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Mine:
    """Who I am, which entries are mine (by leaf hash), what the store says that the log holds, and its state."""

    identities: AbstractSet[Identity] = frozenset()
    leaves: Collection[bytes] = frozenset()
    stored: Sequence[Stored] = ()
    store: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found, and what is to be remembered once that is told; None for nothing new."""

    log: LogKey
    alerts: tuple[Alert, ...]
    followed: Followed | None = None
    size: int = 0
    read: int = 0


@dataclass(slots=True)
class Follower:
    """Looks at one log. `others` are further places that show a checkpoint of it."""

    log: LogKey
    view: View
    trust: Trust
    others: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    start: int | None = None
    limit: int = MAX_NEW
    advance: Callable[[int], None] = field(default=lambda _count: None)

    def look(self, before: Followed | None, mine: Mine, now: datetime) -> Look:
        """Look once. Nothing that the log does raises: it is an alert."""
        try:
            note = self._checkpoint(self.view.checkpoint())  # 1
        except (InclusionError, MalformedError, LimitError) as error:
            return self._only(alert(Code.BAD_CHECKPOINT, self.log.host, got=str(error)), before)
        except TransportError as error:
            return self._only(self._silent(error, now), before)
        try:
            grown = tuple(self._grown(before, note))  # 2
            beside = tuple(self._beside(note, mine))  # 3
            if grown:
                return Look(self.log, (*grown, *beside), size=before.size if before else 0)
            return self._read(before, note, mine, beside)  # 4
        except NotItsTreeError as error:
            found = alert(Code.NOT_ITS_TREE, self.log.host, expected=error.expected, got=str(error))
        except (InclusionError, MalformedError, LimitError) as error:
            found = alert(Code.NOT_ITS_TREE, self.log.host, got=str(error))
        except TransportError as error:
            found = self._silent(error, now)
        return self._only(found, before)

    def _checkpoint(self, text: str) -> SignedCheckpoint:
        return signed_checkpoint(text, self.log, self.trust, v2=self.view.v2)

    def _only(self, found: Alert, before: Followed | None) -> Look:
        return Look(self.log, (found,), size=before.size if before else 0)

    def _silent(self, error: GitchainError, now: datetime) -> Alert:
        """Return why the log could not be read; of one that is no longer in use that is no surprise."""
        ended = self.log.window.end is not None and self.log.window.end < now
        how = warning if ended else alert
        return how(Code.UNREACHABLE, self.log.host, got=str(error))

    def _grown(self, before: Followed | None, note: SignedCheckpoint) -> Iterator[Alert]:
        """2: yield how the log contradicts what is remembered of it."""
        if before is None:
            return
        old, new = before.note.checkpoint, note.checkpoint
        expected = f"{old.size} entries, root {old.root.hex()}, as at the last look"
        got = f"{new.size} entries, root {new.root.hex()}"
        if old.origin != new.origin and self.view.v2:
            yield alert(Code.BAD_CHECKPOINT, self.log.host, expected=old.origin, got=new.origin)
        elif new.size < old.size:
            yield alert(Code.REWOUND, self.log.host, expected=expected, got=got)
        elif new.size == old.size and new.root != old.root:
            yield alert(Code.SPLIT, self.log.host, expected=expected, got=got)
        else:
            try:
                self.view.prove(old, new)
            except NotItsTreeError:
                raise
            except InclusionError as error:
                yield alert(Code.INCONSISTENT, self.log.host, expected=expected, got=f"{got}: {error}")

    def _beside(self, note: SignedCheckpoint, mine: Mine) -> Iterator[Alert]:
        """3: yield what other views of the log, and what is stored, say against this one."""
        for place, fetch in self.others.items():
            try:
                other = self._checkpoint(fetch()).checkpoint
            except GitchainError as error:
                yield warning(
                    Code.UNREACHABLE, self.log.host, expected=f"a checkpoint at {place}", got=str(error)
                )
            else:
                yield from self._same_history(note.checkpoint, other, place)
        for one in mine.stored:
            if one.checkpoint is None:
                yield alert(Code.NOT_LOGGED, self.log.host, expected=one.name, got=one.problem)
            else:
                yield from self._same_history(note.checkpoint, one.checkpoint, f"attestation {one.name}")

    def _same_history(self, new: Checkpoint, other: Checkpoint, place: str) -> Iterator[Alert]:
        expected = f"{other.size} entries, root {other.root.hex()}, as {place} shows it"
        got = f"{new.size} entries, root {new.root.hex()}"
        if other.size > new.size:
            if place.startswith("attestation "):
                yield alert(Code.REWOUND, self.log.host, expected=expected, got=got)
            else:
                yield from self._ahead(new, other, expected, got)
        elif other.size == new.size:
            if other.root != new.root:
                yield alert(Code.SPLIT, self.log.host, expected=expected, got=got)
        else:
            try:
                self.view.prove(other, new)
            except NotItsTreeError:
                raise
            except InclusionError as error:
                yield alert(Code.SPLIT, self.log.host, expected=expected, got=f"{got}: {error}")

    def _ahead(self, new: Checkpoint, other: Checkpoint, expected: str, got: str) -> Iterator[Alert]:
        """Another place is further: by now the log has to be as far, and what it shows has to begin with this tree."""
        try:
            self.view.prove(new, other)
        except InclusionError as error:
            yield alert(Code.SPLIT, self.log.host, expected=expected, got=f"{got}: {error}")
        except TransportError:
            if self._checkpoint(self.view.checkpoint()).checkpoint.size >= other.size:
                raise
            yield alert(Code.REWOUND, self.log.host, expected=expected, got=got)

    def _read(
        self, before: Followed | None, note: SignedCheckpoint, mine: Mine, beside: tuple[Alert, ...]
    ) -> Look:
        """4: read what is new, and return what to remember: as far as was read, if everything is as it should be."""
        new = note.checkpoint
        start = self._start(before, new)
        stop = min(new.size, start + self.limit)
        found: list[Alert] = []
        for index, body in self.view.entries(start, stop, new) if start < stop else ():
            found += self._about(index, body, mine)
            self.advance(1)
            if len(found) > MAX_ALERTS:
                raise LimitError("more entries under your name than can be told", got=f"by entry {index}")
        store = mine.store if not any(one.severity == "error" for one in beside) else ""
        followed = Followed(
            self.log.log_id.hex(), self.log.host, note.text, stop, self.trust.digest, store or _store(before)
        )
        if any(one.code in {Code.SPLIT, Code.REWOUND} for one in beside):
            return Look(self.log, (*beside, *found), size=new.size)
        return Look(self.log, (*beside, *found), followed, new.size, stop - start)

    def _start(self, before: Followed | None, new: Checkpoint) -> int:
        """Return the first entry to read: where the last look ended; at first `start`, or all of a log of one look."""
        if before is not None:
            return before.next
        if self.start is not None:
            return min(self.start, new.size)
        return 0 if new.size <= self.limit else new.size

    def _about(self, index: int, body: bytes, mine: Mine) -> Iterator[Alert]:
        for one in signers(body, self.trust):
            if one.identity not in mine.identities or leaf_hash(body) in mine.leaves:
                continue
            how, code = (alert, Code.UNKNOWN_ENTRY) if one.issued else (warning, Code.PRETENDER)
            yield how(code, self.log.host, got=str(one.identity), index=index)


def _store(before: Followed | None) -> str:
    return before.store if before is not None else ""
