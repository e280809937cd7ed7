"""Whether a store holds at least what trusted checkpoints of its attestations cover.

    newest = heads(known)                    checkpoints that no other one follows
    tops = trusted(known, is_trusted)        the newest that somebody trusted signed; the older ones are covered by them
    lacks = lacking(known, tops, present)    what they cover, and the store does not hold

A trusted checkpoint names those before it by the hash of what was signed, so these need no signature of their own.
Format: docs/formats/history.md. Pure. Does NOT verify signatures and does not say who is trusted: `is_trusted` does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass

from gitchain.evidence.store_checkpoint import Inventory, names_root

Known = Mapping[str, Inventory]
"""Every checkpoint that could be read, by its attestation id."""


@dataclass(frozen=True, slots=True)
class Lack:
    """What one trusted checkpoint covers and the store lacks: bundles by name, and checkpoints by attestation id."""

    checkpoint: str
    size: int
    bundles: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    contradicts: bool = False
    """Its size or root is not that of what it covers."""


def heads(known: Known) -> tuple[str, ...]:
    """Return the checkpoints that no other one follows, sorted."""
    followed = {one for inventory in known.values() for one in inventory.previous}
    return tuple(sorted(set(known) - followed))


def trusted(known: Known, is_trusted: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the newest checkpoints that are trusted: behind each that is not, those that it follows."""
    found, seen, waiting = [], set(), list(heads(known))
    while waiting:
        name = waiting.pop()
        if name in seen or name not in known:
            continue
        seen.add(name)
        if is_trusted(name):
            found.append(name)
        else:
            waiting.extend(known[name].previous)
    return tuple(sorted(found))


def behind(known: Known, tops: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return these checkpoints and all before them: those that are known, and those that are only named."""
    found, unknown, waiting = set(), set(), list(tops)
    while waiting:
        name = waiting.pop()
        inventory = known.get(name)
        if inventory is None:
            unknown.add(name)
        elif name not in found:
            found.add(name)
            waiting.extend(inventory.previous)
    return frozenset(found), frozenset(unknown)


def covered(known: Known, names: Iterable[str]) -> frozenset[str]:
    """Return the names of the bundles that these checkpoints add."""
    return frozenset(bundle for name in names for bundle in known[name].added)


def lacking(
    known: Known, tops: Iterable[str], present: Container[str], without: Collection[str] = ()
) -> tuple[Lack, ...]:
    """Return what is missing of each top's coverage, or contradicts it; empty if all is there.

    `present` has the names of the bundles that the store holds; `without` are checkpoints that were revoked.
    """
    found = []
    for top in tops:
        inventory, (before, unknown) = known[top], behind(known, [top])
        bundles = covered(known, before.difference(without))
        whole = not unknown and before.isdisjoint(without)
        contradicts = whole and (inventory.size, inventory.root) != (len(bundles), names_root(bundles))
        missing = tuple(sorted(name for name in bundles if name not in present))
        gone = tuple(sorted(unknown.difference(without)))
        if missing or gone or contradicts:
            found.append(Lack(top, inventory.size, missing, gone, contradicts))
    return tuple(found)
