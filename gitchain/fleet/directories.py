"""Index what directories hold: the entries of the stored manifests that statements name.

A directory whose manifest is not stored yet is tried again by each reading of a source that changed. Those in verified
statements are read first, and their entries are marked, so that the manifests of others hide none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import cast

from gitchain.errors import GitchainError, TransportError
from gitchain.evidence.manifest import parse_node
from gitchain.evidence.vocabulary import ManifestVersion
from gitchain.fleet.database import Database

MAX_INSIDE = 1_000_000
"""Files and directories in one directory that are indexed, and after which one reading of a source stops."""

TOGETHER = 20_000  # entries of one statement

Manifest = Callable[[str], bytes | None]


class State(IntEnum):
    """Whether what a directory holds is indexed."""

    CLOSED = 0
    """Not, or not all: a manifest is not stored or cannot be parsed."""
    OPENED = 1
    TOO_LARGE = 2


_NAMED = f"""INSERT INTO fleet_directory VALUES(?, ?, ?, {int(State.CLOSED)}) ON CONFLICT(digest, version)
  DO UPDATE SET verified = 1, state = {int(State.CLOSED)}
  WHERE excluded.verified = 1 AND fleet_directory.verified = 0"""
_CLOSED = f"""SELECT DISTINCT fleet_directory.digest, version, fleet_directory.verified FROM fleet_directory
  JOIN fleet_artifact ON fleet_artifact.digest = fleet_directory.digest
  JOIN fleet_held ON fleet_held.bundle = fleet_artifact.bundle
  WHERE state = {int(State.CLOSED)} AND fleet_held.source = ?
  ORDER BY fleet_directory.verified DESC, fleet_directory.digest"""  # noqa: S608 - constants
_INSIDE = """INSERT INTO fleet_inside VALUES(?, ?, ?) ON CONFLICT(digest, directory)
  DO UPDATE SET verified = 1 WHERE excluded.verified = 1 AND fleet_inside.verified = 0"""


def add_directories(database: Database, named: Iterable[tuple[str, ManifestVersion, bool]]) -> None:
    """Add directories that statements name, and whether these are verified. `open_directories` reads them."""
    database.many(_NAMED, ((digest, version, int(verified)) for digest, version, verified in named))


def open_directories(database: Database, source: int, manifest: Manifest) -> bool:
    """Index what the directories of a source hold. Returns False if more directories wait for the next reading.

    Raises TransportError if the source cannot be read.
    """
    reader = _Reader(manifest)
    for digest, version, verified in database.rows("tii", _CLOSED, [source]):
        if reader.count > MAX_INSIDE:
            return False
        chunk: list[tuple[str, str, int]] = []
        for entry, directory in reader.entries(digest, cast("ManifestVersion", version), verified):
            chunk.append((entry, directory, verified))
            if len(chunk) >= TOGETHER:
                _write(database, chunk)
                chunk = []
        _write(database, chunk)
        sql = "UPDATE fleet_directory SET state = ? WHERE digest = ? AND version = ? AND verified = ?"
        with database.writing():
            database.run(sql, [int(reader.state), digest, version, verified])
    return True


def count_unopened(database: Database) -> int:
    """Return the number of directories whose content is not, or not all, in the index."""
    sql = f"SELECT COUNT(*) FROM fleet_directory WHERE state <> {int(State.OPENED)}"  # noqa: S608 - constant
    ((count,),) = database.rows("i", sql)
    return int(count)


def _write(database: Database, chunk: list[tuple[str, str, int]]) -> None:
    if chunk:
        with database.writing():
            database.many(_INSIDE, chunk)


@dataclass
class _Reader:
    """Reads each node of manifests once."""

    manifest: Manifest
    count: int = 0
    state: State = State.CLOSED
    """Of the directory that was read last."""
    _whole: set[tuple[str, int]] = field(default_factory=set)
    """The directories that were read completely, and whether for a verified statement."""

    def entries(self, top: str, version: ManifestVersion, verified: int) -> Iterator[tuple[str, str]]:
        """Yield the digests in a directory at any depth, each with the digest of the directory that holds it."""
        self.state, waiting, seen = State.OPENED, [top], set[tuple[str, int]]()
        before = self.count
        while waiting:
            directory = waiting.pop()
            key = (directory, verified)
            if key in self._whole or key in seen:
                continue
            seen.add(key)
            try:
                data = self.manifest(directory)
                entries = parse_node(data, directory, version) if data is not None else None
            except TransportError:
                raise
            except GitchainError:
                entries = None  # verification reports the manifest
            if entries is None:
                self.state = State.CLOSED
                continue
            self.count += len(entries)
            if self.count - before > MAX_INSIDE:
                self.state = State.TOO_LARGE
                return
            yield from ((entry.sha256, directory) for entry in entries)
            waiting += [entry.sha256 for entry in entries if entry.is_directory]
        if self.state is State.OPENED:
            self._whole |= seen
