"""Check that a store has all attestations that trusted checkpoints of it cover.

    newest = heads(known)                    checkpoints without a successor
    tops = trusted(known, is_trusted)        the newest with a trusted signer; they cover the older ones
    lacks = lacking(known, tops, present)    what they cover and the store lacks

A trusted checkpoint names its predecessors by the hash of the signed bytes, so these need no trusted signature.
Format: docs/formats/history.md. Pure. Does NOT verify signatures, nor decide which signers are trusted (`is_trusted`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass

from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.store_checkpoint import StoreCheckpoint, names_root

Known = Mapping[AttestationId, StoreCheckpoint]
"""Every readable checkpoint, by its attestation id."""


@dataclass(frozen=True, slots=True)
class MissingEvidence:
    """The evidence that one trusted checkpoint covers and the store lacks: bundles by name, checkpoints by id."""

    checkpoint: AttestationId
    size: int
    bundles: tuple[str, ...] = ()
    checkpoints: tuple[AttestationId, ...] = ()
    contradicts: bool = False
    """Whether its size or root contradicts the attestations that it covers."""


def heads(known: Known) -> tuple[AttestationId, ...]:
    """Return the checkpoints without a successor, sorted."""
    followed = {one for inventory in known.values() for one in inventory.previous}
    return tuple(sorted(set(known) - followed))


def trusted(known: Known, is_trusted: Callable[[AttestationId], bool]) -> tuple[AttestationId, ...]:
    """Return the newest trusted checkpoints: in place of an untrusted one, its predecessors."""
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


def behind(
    known: Known, tops: Iterable[AttestationId]
) -> tuple[frozenset[AttestationId], frozenset[AttestationId]]:
    """Return these checkpoints and all their predecessors, including those that are only named."""
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


def covered(known: Known, names: Iterable[AttestationId]) -> frozenset[str]:
    """Return the names of the bundles that these checkpoints add."""
    return frozenset(bundle for name in names for bundle in known[name].added)


def lacking(
    known: Known, tops: Iterable[AttestationId], present: Container[str], without: Collection[str] = ()
) -> tuple[MissingEvidence, ...]:
    """Return the missing evidence of each checkpoint, and the checkpoints that contradict it; empty if it is complete.

    `present` are the names of the bundles in the store; `without` are revoked checkpoints.
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
            found.append(MissingEvidence(top, inventory.size, missing, gone, contradicts))
    return tuple(found)
