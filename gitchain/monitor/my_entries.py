"""The user's own entries in a log: attestations of the store, and the identities that signed them.

A stored bundle explains a log entry only if it verifies. Otherwise an attacker with write access to the store could
hide an entry behind a bundle that only contains it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gitchain.errors import GitchainError
from gitchain.evidence.bundle import Bundle, CertificateSigner
from gitchain.evidence.checkpoint import SignedCheckpoint
from gitchain.evidence.merkle import leaf_hash
from gitchain.layout.model import Identity
from gitchain.monitor.follow import OwnEntries, StoredLogEntry
from gitchain.monitor.state import FollowedLog
from gitchain.store.git_ref import AttestationStore
from gitchain.store.history import lost
from gitchain.store.tree_paths import Oid
from gitchain.store.trees import StoreProblem
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.certificate import leaf_of
from gitchain.verify.trust import LogKey, Trust
from gitchain.workspace.project import Project
from gitchain.workspace.user_directory import read_pins


@dataclass(frozen=True, slots=True, eq=False)
class Leaves(Collection[bytes]):
    """Leaf hashes of the store's entries. A hash is contained only if a bundle with that entry verifies.

    `elsewhere` holds the user's other repositories, which are read only if the store lacks the entry.
    """

    bundles: Mapping[bytes, Sequence[bytes]]
    trust: Trust
    keys: Sequence[bytes]
    elsewhere: Callable[[], Mapping[bytes, Sequence[bytes]]] = dict

    def __contains__(self, leaf: object) -> bool:
        """Return True if a verified attestation has this leaf hash."""
        if not isinstance(leaf, bytes):
            return False
        return self._verifies(self.bundles.get(leaf, ())) or self._verifies(self.elsewhere().get(leaf, ()))

    def _verifies(self, raws: Sequence[bytes]) -> bool:
        return any(_problem(raw, self.trust, self.keys) == "" for raw in raws)

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the leaf hashes of all bundles, verified or not."""
        return iter(self.bundles)

    def __len__(self) -> int:
        """Return the number of distinct entries in the store."""
        return len(self.bundles)


def mine_in(
    project: Project | None,
    log: LogKey,
    trust: Trust,
    identities: AbstractSet[Identity],
    before: FollowedLog | None,
    keys: Sequence[bytes] = (),
    own_keys: AbstractSet[Identity] = frozenset(),
) -> OwnEntries:
    """Return the repository's data about a log; `identities` default to the store's signers.

    `keys` (DER) may have signed entries; those with identities in `own_keys` are searched for as well. Raises
    NoEvidenceError if a partial clone lacks a bundle, because its entry would appear unknown.
    """
    here = str(project.git.common_dir) if project else ""
    elsewhere = cache(lambda: _elsewhere(here, log))
    if project is None:
        return OwnEntries(identities | own_keys, Leaves({}, trust, keys, elsewhere))
    tip = project.store.tip()
    added = _added(project, tip, before)
    bundles: dict[bytes, list[bytes]] = {}
    signed: dict[Identity, list[bytes]] = {}
    stored: list[StoredLogEntry] = []
    for name, raw in project.store.items(tip, StoreProblem.raise_lacking):
        try:
            bundle = Bundle.parse(raw)
        except GitchainError:
            continue  # verification reports the error
        if bundle.entry.key_id != log.log_id:
            continue
        bundles.setdefault(leaf_hash(bundle.entry.body), []).append(raw)
        if not identities and isinstance(bundle.signer, CertificateSigner):
            for identity in _named(bundle.signer, trust):
                signed.setdefault(identity, []).append(raw)
        if added is None or name in added:
            stored.append(_stored(raw, bundle, trust, keys))
    own = identities or frozenset(
        identity for identity, raws in signed.items() if any(_problem(raw, trust, keys) == "" for raw in raws)
    )
    return OwnEntries(own | own_keys, Leaves(bundles, trust, keys, elsewhere), stored, tip or "")


def _elsewhere(here: str, log: LogKey) -> Mapping[bytes, Sequence[bytes]]:
    """Return the bundles of the user's other repositories on this machine, by leaf hash.

    Unreadable repositories are skipped.
    """
    found: dict[bytes, list[bytes]] = {}
    places = {place for pin in read_pins().values() for place in pin.repositories if place != here}
    for place in sorted(places):
        with suppress(GitchainError):
            store = AttestationStore.open(Path(place), offline=True)
            for _, raw in store.items(store.tip()):
                with suppress(GitchainError):
                    entry = Bundle.parse(raw).entry
                    if entry.key_id == log.log_id:
                        found.setdefault(leaf_hash(entry.body), []).append(raw)
    return found


def _added(project: Project, tip: Oid | None, before: FollowedLog | None) -> frozenset[str] | None:
    """Return the names of the bundles added since the last run, or None for all bundles."""
    if before is None or not before.store:
        return None
    try:
        return frozenset(lost(project.store, tip, before.store))
    except GitchainError:
        return None  # another store, or a rewound one: read everything again


def _stored(raw: bytes, bundle: Bundle, trust: Trust, keys: Sequence[bytes]) -> StoredLogEntry:
    name = bundle.attestation_id[:12]
    if problem := _problem(raw, trust, keys):
        return StoredLogEntry(name, None, problem)
    proof = bundle.entry.proof
    if proof is None:
        return StoredLogEntry(name, None, "there is no inclusion proof")
    return StoredLogEntry(name, SignedCheckpoint.parse(proof.checkpoint).checkpoint)


def _named(signer: CertificateSigner, trust: Trust) -> tuple[Identity, ...]:
    try:
        return (leaf_of(signer, trust).identity,)
    except GitchainError:
        return ()


def _problem(raw: bytes, trust: Trust, keys: Sequence[bytes]) -> str:
    """Return the reason why a bundle does not verify, or an empty text."""
    try:
        verify_bundle(raw, trust, keys)
    except GitchainError as error:
        return str(error)
    return ""
