"""Evidence that does not count, with the reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.dsse import AttestationId
from gitchain.sources.bundle_index import MAX_REFUSED, BundleIndex
from gitchain.sources.bundles import Load

if TYPE_CHECKING:
    from gitchain.evidence.subjects import Subject


NO_ID = AttestationId("")
"""The id of bytes that are no attestation, and of several bundles together."""


@dataclass(frozen=True, slots=True)
class RefusedBundle:
    """A bundle that was refused, and the reason."""

    step: str | None
    attestation_id: AttestationId
    reason: str
    load: Callable[[], bytes] | None = field(default=None, compare=False)
    """Reads the bundle again if its statement or its claim cannot be parsed."""

    @property
    def unread_subjects(self) -> tuple[Subject, ...]:
        """Return the subjects of a statement that cannot be parsed as evidence; empty if the subjects cannot be parsed."""
        if self.load is None:
            return ()
        from gitchain.evidence.subjects import read_subjects

        try:
            return read_subjects(Bundle.parse(self.load()).envelope.payload)
        except GitchainError:
            return ()


@dataclass
class RefusedBundles:
    """Why bundles do not count: the first reasons, and the number of the others."""

    found: list[RefusedBundle] = field(default_factory=list)
    more: int = 0

    def add_all(self, reasons: Iterable[str]) -> None:
        """Add reasons that are about no bundle."""
        for reason in reasons:
            self._add(RefusedBundle(None, NO_ID, reason))

    def add_bundles(self, index: BundleIndex, load: Load) -> None:
        """Add the bundles that an index refused."""
        refused, more = index.refused()
        for facts in refused:
            self._add(RefusedBundle(None, facts.attestation_id, facts.reason, partial(load, facts)))
        self.more += more

    def _add(self, refused: RefusedBundle) -> None:
        if len(self.found) < MAX_REFUSED:
            self.found.append(refused)
        else:
            self.more += 1

    def reasons(self) -> list[RefusedBundle]:
        """Return the reasons. The last one is a count if there are too many."""
        more = f"{self.more} more stored objects that do not count"
        return [*self.found, *([RefusedBundle(None, NO_ID, more)] if self.more else [])]
