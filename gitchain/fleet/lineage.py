"""Find what descends from artifacts: over the materials and products of statements, and what directories hold.

Descendants over verified statements are found first; those that need a statement that is not verified come after them
and are marked. Cycles end, because each artifact is followed once, and MAX_REACHED bounds the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gitchain.fleet.database import Database
from gitchain.fleet.tables import Role

MAX_REACHED = 10_000
"""Most artifacts that one question follows."""


@dataclass(frozen=True, slots=True)
class Descendant:
    """An artifact, the statement that made it from `parent`, and whether all statements on the way are verified.

    `is_whole` is False for a directory that only holds the parent: the other files in it do not descend from it.
    """

    digest: str
    verified: bool
    parent: str | None = None
    attestation: str = ""
    bundle: int = 0
    name: str = ""
    stage: str = ""
    step: str = ""
    is_whole: bool = True


@dataclass
class Lineage:
    """The artifacts that were reached, by digest, in the order in which they were."""

    found: dict[str, Descendant] = field(default_factory=dict)
    is_cut: bool = False
    """Whether there are more than MAX_REACHED."""

    def root(self, digest: str) -> str:
        """Return the artifact of the start from which an artifact was reached."""
        return self._way(digest)[-1].digest

    def path(self, digest: str) -> tuple[str, ...]:
        """Return the attestations from the start to an artifact."""
        return tuple(one.attestation for one in reversed(self._way(digest)) if one.attestation)

    def _way(self, digest: str) -> list[Descendant]:
        """Return an artifact, its parent, and so on."""
        way: list[Descendant] = []
        at: str | None = digest
        seen = set[str]()
        while at is not None and at not in seen:
            seen.add(at)
            way.append(self.found[at])
            at = way[-1].parent
        return way

    def made(self) -> Iterator[Descendant]:
        """Yield the artifacts that a statement made."""
        return (one for one in self.found.values() if one.bundle)


def descendants(database: Database, start: Iterable[Descendant]) -> Lineage:
    """Return the artifacts that descend from those in `start`, with these."""
    return _Walk(database).walk(start)


_Use = tuple[str, ...]
"""Material, attestation id, stage and step."""

_USES = f"""SELECT fleet_artifact.digest, bundle, verified, attestation, stage, step FROM fleet_artifact
  JOIN fleet_bundle ON fleet_bundle.id = bundle
  WHERE role = {int(Role.MATERIAL)} AND fleet_artifact.digest IN ({{}})"""  # noqa: S608 - constants
_VERIFIED_USES = f"{_USES} AND verified = 1"
"""Apart from the others, so that any number of statements that are not verified hides none that is."""


class _Walk:
    """Follows artifacts, first over verified statements alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lineage = Lineage()
        self._used: set[int] = set()

    def walk(self, start: Iterable[Descendant]) -> Lineage:
        given = list(start)
        self._follow(self._take(one for one in given if one.verified), only_verified=True)
        self._take(given)
        self._follow(list(self._lineage.found.values()), only_verified=False)
        return self._lineage

    def _follow(self, waiting: list[Descendant], *, only_verified: bool) -> None:
        while waiting:
            waiting = self._take(self._next(waiting, only_verified=only_verified))

    def _take(self, several: Iterable[Descendant]) -> list[Descendant]:
        """Add artifacts, and return those that are new, or whole now."""
        fresh: list[Descendant] = []
        found = self._lineage.found
        for one in several:
            old = found.get(one.digest)
            if old is not None and (old.is_whole or not one.is_whole):
                continue
            if len(found) >= MAX_REACHED:
                self._lineage.is_cut = True
                break
            found[one.digest] = one
            fresh.append(one)
        return fresh

    def _next(self, waiting: Sequence[Descendant], *, only_verified: bool) -> Iterator[Descendant]:
        by_digest = {one.digest: one for one in waiting}
        uses: dict[bool, dict[int, _Use]] = {True: {}, False: {}}
        for digest, bundle, verified, *rest in self._uses(list(by_digest), only_verified=only_verified):
            if bundle not in self._used:
                uses[verified == 1 and by_digest[digest].verified][bundle] = (digest, *rest)
        for is_verified in (True, False):
            some = {bundle: use for bundle, use in uses[is_verified].items() if bundle not in self._used}
            yield from self._products(some, verified=is_verified)
        yield from self._around(waiting, only_verified=only_verified)

    def _uses(self, digests: Sequence[str], *, only_verified: bool) -> list[tuple[Any, ...]]:
        """Return digest, bundle and facts of the statements with one of these materials."""
        return self._limited("tiittt", _VERIFIED_USES if only_verified else _USES, digests)

    def _products(self, uses: Mapping[int, _Use], *, verified: bool) -> Iterator[Descendant]:
        self._used |= uses.keys()
        sql = f"""SELECT bundle, digest, name FROM fleet_artifact
          WHERE role = {int(Role.PRODUCT)} AND bundle IN ({{}})"""  # noqa: S608 - constants
        for bundle, digest, name in self._limited("itt", sql, list(uses)):
            parent, attestation, stage, step = uses[bundle]
            yield Descendant(digest, verified, parent, attestation, bundle, name, stage, step)

    def _around(self, waiting: Sequence[Descendant], *, only_verified: bool) -> Iterator[Descendant]:
        """Yield the directories that hold these artifacts, and what these directories hold."""
        by_digest = {one.digest: one for one in waiting}
        sql = "SELECT digest, directory FROM fleet_inside WHERE digest IN ({})"
        if only_verified:  # others may name any number of directories that hold an artifact
            sql += " AND verified = 1"
        for digest, directory in self._limited("tt", sql, list(by_digest)):
            yield Descendant(directory, by_digest[digest].verified, digest, is_whole=False)
        whole = [one.digest for one in waiting if one.is_whole]
        sql = "SELECT directory, digest FROM fleet_inside WHERE directory IN ({})"
        for directory, digest in self._limited("tt", sql, whole):
            yield Descendant(digest, by_digest[directory].verified, directory)

    def _limited(self, types: str, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        rows = self._database.among(types, sql, values, MAX_REACHED)
        if len(rows) > MAX_REACHED:
            self._lineage.is_cut = True
        return rows[:MAX_REACHED]
