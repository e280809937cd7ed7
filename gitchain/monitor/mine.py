"""What is mine in a log: the attestations of the store that it holds, and the identities that signed them.

A bundle of the store counts as an explanation of an entry only if it verifies: whoever can write to the store could
otherwise hide an entry behind a bundle that merely carries it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gitchain.errors import GitchainError
from gitchain.evidence.bundle import Bundle, CertificateSigner
from gitchain.evidence.checkpoint import SignedCheckpoint
from gitchain.evidence.merkle import leaf_hash
from gitchain.layout.model import Identity
from gitchain.monitor.follow import Mine, Stored
from gitchain.monitor.state import Followed
from gitchain.pipeline.project import Project
from gitchain.store.history import lost
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.certificate import leaf_of
from gitchain.verify.trust import LogKey, Trust


@dataclass(frozen=True, slots=True, eq=False)
class Leaves(Collection[bytes]):
    """The leaf hashes of the store's entries; one is in it only if a bundle with that entry verifies."""

    bundles: Mapping[bytes, Sequence[bytes]]
    trust: Trust
    keys: Sequence[bytes]

    def __contains__(self, leaf: object) -> bool:
        """Tell whether an attestation that verifies is that entry."""
        raws = self.bundles.get(leaf, ()) if isinstance(leaf, bytes) else ()
        return any(_problem(raw, self.trust, self.keys) == "" for raw in raws)

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the leaf hashes of all bundles, whether they verify or not."""
        return iter(self.bundles)

    def __len__(self) -> int:
        """Return how many different entries the store has bundles of."""
        return len(self.bundles)


def mine_in(
    project: Project | None,
    log: LogKey,
    trust: Trust,
    identities: AbstractSet[Identity],
    before: Followed | None,
    keys: Sequence[bytes] = (),
) -> Mine:
    """Return what the repository has of a log; `identities` are those to look for [default: the store's signers]."""
    if project is None:
        return Mine(identities)
    tip = project.store.tip()
    added = _added(project, tip, before)
    bundles: dict[bytes, list[bytes]] = {}
    signed: dict[Identity, list[bytes]] = {}
    stored: list[Stored] = []
    for name, raw in project.store.items(tip):
        try:
            bundle = Bundle.parse(raw)
        except GitchainError:
            continue  # verification says so
        if bundle.entry.key_id != log.log_id:
            continue
        bundles.setdefault(leaf_hash(bundle.entry.body), []).append(raw)
        if not identities and isinstance(bundle.signer, CertificateSigner):
            for who in _named(bundle.signer, trust):
                signed.setdefault(who, []).append(raw)
        if added is None or name in added:
            stored.append(_stored(raw, bundle, trust, keys))
    own = identities or frozenset(
        who for who, raws in signed.items() if any(_problem(raw, trust, keys) == "" for raw in raws)
    )
    return Mine(own, Leaves(bundles, trust, keys), stored, tip or "")


def _added(project: Project, tip: str | None, before: Followed | None) -> frozenset[str] | None:
    """Return the names of the bundles since the last look; None for all of them."""
    if before is None or not before.store:
        return None
    try:
        return frozenset(lost(project.store, tip, before.store))
    except GitchainError:
        return None  # another store, or one that was rewound: everything is looked at again


def _stored(raw: bytes, bundle: Bundle, trust: Trust, keys: Sequence[bytes]) -> Stored:
    name = bundle.attestation_id[:12]
    if problem := _problem(raw, trust, keys):
        return Stored(name, None, problem)
    proof = bundle.entry.proof
    if proof is None:
        return Stored(name, None, "there is no inclusion proof")
    return Stored(name, SignedCheckpoint.parse(proof.checkpoint).checkpoint)


def _named(signer: CertificateSigner, trust: Trust) -> tuple[Identity, ...]:
    try:
        return (leaf_of(signer, trust).identity,)
    except GitchainError:
        return ()


def _problem(raw: bytes, trust: Trust, keys: Sequence[bytes]) -> str:
    """Return why a bundle does not verify; nothing if it does."""
    try:
        verify_bundle(raw, trust, keys)
    except GitchainError as error:
        return str(error)
    return ""
