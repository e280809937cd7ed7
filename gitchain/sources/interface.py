"""Interface of evidence sources, and the snapshot of a source at one moment (docs/evidence-sources.md).

A source is only a place to read from: only verified bundles count. A source that cannot be read is an error, never an
empty source. A source can hide evidence undetected, unless gitchain saw that evidence before (Git) or the verifier
requires a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from gitchain.errors import LimitError
from gitchain.evidence.digest import sha256_hex
from gitchain.sources.bundle_index import BundleIndex
from gitchain.sources.bundles import Load
from gitchain.store.tree_paths import Oid

if TYPE_CHECKING:
    from gitchain.sources.seen_store import SeenState

MAX_BUNDLES = 100_000
MAX_BYTES = 64 << 20  # bundles and manifest nodes in memory


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Content of a source when it was read: unverified bundles by the SHA-256 of their bytes.

    `version` identifies the state: equal versions mean equal content. `problems` are the unreadable bundles, with
    place and reason. `seen`, `tip` and `unreadable` belong to a Git store, as in `gitchain.sources.rollback_protection`.
    """

    bundles: Mapping[str, bytes]
    manifest: Callable[[str], bytes | None]
    version: str
    problems: tuple[str, ...] = ()
    seen: SeenState | None = None
    tip: Oid | None = None
    unreadable: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    """The names of the manifest nodes."""
    stored: tuple[BundleIndex, Load] | None = None
    """The index of a Git store, and the way to its bundles, instead of `bundles` and `nodes`."""


class EvidenceSource(Protocol):
    """A place to read evidence from.

    Every method may block, within limits. Raises TransportError or StoreError if the source cannot be read now,
    RollbackError if it lost evidence.
    """

    @property
    def name(self) -> str:
        """Return the name that the user gave, with a tag resolved to a digest after reading."""

    @property
    def remembers(self) -> bool:
        """Return True if the source detects removed evidence. Without it, only a required checkpoint does."""

    def version(self) -> str:
        """Return the version of the current content, without reading all of it if possible."""

    def read(self) -> Snapshot:
        """Return the current content."""

    def check(self, snapshot: Snapshot) -> None:
        """Raise RollbackError if the snapshot lacks evidence that was seen there before."""

    def remember(self, snapshot: Snapshot, now: datetime) -> None:
        """Store the seen state. Raises StoreError."""


class SourceBudget:
    """Counts the content of a source. Raises LimitError beyond the limits."""

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
    """Return a lookup of manifest nodes over several lookups. Bytes with a different digest are ignored."""
    every = tuple(lookups)

    def manifest(digest: str) -> bytes | None:
        nodes = (lookup(digest) for lookup in every)
        return next((data for data in nodes if data is not None and sha256_hex(data) == digest), None)

    return manifest
