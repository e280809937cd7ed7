"""What a place that evidence lies in held at one moment (docs/evidence-sources.md).

A source is only a place to look: what counts of it is what verifies. One that cannot be read is an error and never an
empty one. What a source hides nobody can see, unless it was seen there before (Git), or a checkpoint is demanded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gitchain.errors import LimitError
from gitchain.evidence.digest import sha256_hex

MAX_BUNDLES = 100_000
MAX_BYTES = 64 << 20  # of bundles and manifest nodes that are held in memory


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a source held when it was read: bundles by the SHA-256 of their bytes, nothing of it believed.

    `version` names the state: as long as it is the same nothing has changed. `problems` are the leaves that could not
    be read, with where and why. `tip` and `unreadable` are a Git store's, as `gitchain.pipeline.seen` knows it.
    """

    bundles: Mapping[str, bytes]
    manifest: Callable[[str], bytes | None]
    version: str
    problems: tuple[str, ...] = ()
    tip: str | None = None
    unreadable: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    """The names of the manifest nodes."""


class Source(Protocol):
    """A place to look for evidence.

    Every method may block, within limits, and raises GitchainError: TransportError or StoreError where the place cannot
    be read now, RollbackError where it holds less than it did.
    """

    @property
    def name(self) -> str:
        """What the user called it, with a tag resolved once it was read."""

    @property
    def remembers(self) -> bool:
        """Say whether losing what was there before is noticed; if not, only a demanded checkpoint shows it."""

    def version(self) -> str:
        """Return the version of what is there now, for less than it costs to read it if possible."""

    def read(self) -> Snapshot:
        """Return what is there now."""

    def check(self, found: Snapshot) -> None:
        """Raise RollbackError if this is less than what was seen there before."""

    def remember(self, found: Snapshot, now: datetime) -> None:
        """Remember what was seen; StoreError where that cannot be written."""


class Budget:
    """Counts what a source holds; LimitError beyond the limits."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = self._bytes = 0

    def take(self, size: int) -> None:
        """Count one more bundle or node of this size."""
        self._count += 1
        self._bytes += size
        if self._count > MAX_BUNDLES or self._bytes > MAX_BYTES:
            raise LimitError(
                "the source holds too much",
                where=self._name,
                expected=f"at most {MAX_BUNDLES} bundles and {MAX_BYTES} bytes",
            )


def together(lookups: Iterable[Callable[[str], bytes | None]]) -> Callable[[str], bytes | None]:
    """Return one lookup of manifest nodes over many: bytes of another digest are passed over."""
    every = tuple(lookups)

    def manifest(digest: str) -> bytes | None:
        found = (lookup(digest) for lookup in every)
        return next((data for data in found if data is not None and sha256_hex(data) == digest), None)

    return manifest
