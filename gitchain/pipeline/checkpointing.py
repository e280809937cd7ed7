"""A new checkpoint of the attestation set, signed before a push by somebody whose checkpoints count.

It follows the newest checkpoints that count and of which nothing is missing, and adds what they do not cover.
docs/formats/history.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime

from gitchain.errors import GitchainError, VerificationError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.inventory import FILED, MAX_PREVIOUS, checkpoint_statements
from gitchain.evidence.revocation import RevokedSigner
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import CHECKPOINT, REVOCATION
from gitchain.layout.model import KEY_ISSUER, Identity, Layout
from gitchain.pipeline.acceptance import Accepted, Policy, load_policy
from gitchain.pipeline.checkpoints import Checkpoints
from gitchain.pipeline.profiles import Profile
from gitchain.pipeline.project import Project
from gitchain.pipeline.record import Identity as SigningIdentity
from gitchain.pipeline.record import signing_identity
from gitchain.pipeline.sources import gather
from gitchain.store.shape import MANIFESTS
from gitchain.store.trees import NODE_START
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.checkpoints import behind, covered, lacking
from gitchain.verify.freshness import newest_checkpoint
from gitchain.verify.revocations import Revocations
from gitchain.verify.trust import Trust


class NotEntitledError(VerificationError):
    """The layout does not count checkpoints of this signer."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What became of a new checkpoint: its attestation ids (several for a first one), or why there is none."""

    ids: tuple[str, ...] = ()
    covered: int = 0
    reason: str | None = None
    failure: GitchainError | None = None
    """Why signing or storing failed, where it should have worked."""


def sign_checkpoint(project: Project, profile: Profile, identity: SigningIdentity, now: datetime) -> Signed:
    """Sign a checkpoint of what the store holds now and no checkpoint that counts covers.

    None where nothing is new but checkpoints, where no layout is pinned that says whose checkpoints count, or where
    nobody whose checkpoints count can sign: then `reason` says why. What is not signed now does not wait: the next
    one covers it too.
    """
    try:
        accepted = load_policy(project, Policy(), now)
    except GitchainError:
        return Signed()  # `gitchain doctor` says what is wrong with the layout
    found, tops = _whole(project, accepted, now)
    old = covered(found.known, behind(found.known, tops)[0])
    new = _new(project, old, found.evidence.present, renew=_is_due(accepted, found, now))
    if not new:
        return Signed()
    statements = checkpoint_statements(old, tops, new)
    try:
        bundles = _sign(project, profile, identity, statements, accepted.signed.layout)
        project.store.add(bundles)
    except NotEntitledError as error:
        return Signed(reason=str(error))
    except GitchainError as error:
        return Signed(reason=str(error), failure=error)
    return Signed(tuple(one.attestation_id for one in statements), len(old) + len(new))


def newest_checkpoints(project: Project, now: datetime) -> tuple[str, ...]:
    """Return the newest checkpoints that count and of which nothing is missing; none without a pinned layout."""
    try:
        return _whole(project, load_policy(project, Policy(), now), now)[1]
    except GitchainError:
        return ()


def _whole(project: Project, accepted: Accepted, now: datetime) -> tuple[Checkpoints, tuple[str, ...]]:
    found = _filed(project, accepted.profile.trust, accepted.signed.layout, now)
    tops = [name for name in found.tops if not lacking(found.known, [name], found.evidence.present)]
    return found, tuple(tops[:MAX_PREVIOUS])


def _filed(project: Project, trust: Trust, layout: Layout, now: datetime) -> Checkpoints:
    """Return the checkpoints that the store's index finds, and what it finds of the revocations of the newest.

    The index is a hint. What it lacks is covered once more.
    """
    store = project.store
    names = frozenset((*store.names(), *store.names(room=MANIFESTS)))
    raws = dict.fromkeys(store.by_subject("sha256", FILED.digest["sha256"]))
    while True:
        evidence = replace(gather(None, trust, raws, layout.keys), present=names)
        revocations = Revocations.of(layout, evidence.of_type(REVOCATION), now)
        found = Checkpoints(layout, evidence, revocations)
        filed = [
            raw
            for top in found.tops
            for key in _filed_under(found, top)
            for raw in store.by_subject("sha256", key)
        ]
        if raws.keys() >= set(filed):
            return found
        raws |= dict.fromkeys(filed)


def _filed_under(found: Checkpoints, top: str) -> Iterator[str]:
    """Yield the digests under which a revocation of this checkpoint, or of its signer, is filed."""
    yield top
    for one in found.signers(top):
        yield RevokedSigner(one.issuer, one.subject).descriptor.digest["sha256"]


def _is_due(accepted: Accepted, found: Checkpoints, now: datetime) -> bool:
    """Return whether the newest checkpoint is older than half of what the layout allows."""
    layout = accepted.signed.layout
    if layout.freshness is None:
        return False
    newest = newest_checkpoint(
        layout, [found.revocations], found.evidence.verified(found.evidence.candidates_of(CHECKPOINT)), now
    )
    return newest is None or now - newest > layout.freshness / 2


def _new(
    project: Project, old: AbstractSet[str], names: AbstractSet[str], *, renew: bool = False
) -> list[str]:
    """Return the bundles and manifest nodes to cover, each of which can be read.

    None if all of them are checkpoints, unless to `renew`.
    """
    new, other = [], False
    nodes = frozenset(project.store.names(room=MANIFESTS))
    for name in sorted(names - old):
        if name in nodes and _is_node(project, name):
            new.append(name)
            other = True
            continue
        try:
            statement = Bundle.parse(project.store.get(name) or b"").statement()
        except GitchainError:
            continue  # who covered it would have it demanded for ever
        new.append(name)
        other = other or statement.predicate_type != CHECKPOINT
    return new if other or renew else []


def _is_node(project: Project, name: str) -> bool:
    try:
        return (project.store.manifest(name) or b"").startswith(NODE_START)
    except GitchainError:
        return False


def _sign(
    project: Project,
    profile: Profile,
    identity: SigningIdentity,
    statements: Sequence[Statement],
    layout: Layout,
) -> tuple[bytes, ...]:
    who = signing_identity(project, profile, identity)
    if profile.instance is not None and who.name and not who.token:
        _check_signer(layout, Identity(profile.instance.issuer, who.name), {})
    with profile.signer(who) as signer:
        if signer.keys:
            _check_signer(layout, Identity(KEY_ISSUER, f"sha256:{sha256_hex(signer.keys[0])}"), {})
        bundles = signer.sign(statements)
    for raw in bundles:
        found = verify_bundle(raw, profile.trust, signer.keys)
        _check_signer(layout, found.identity, found.claims)
    return bundles


def _check_signer(layout: Layout, identity: Identity, claims: Mapping[str, str]) -> None:
    if not any(who.matches(identity, claims) for who in layout.functionaries):
        raise NotEntitledError(f"{identity} is no functionary of layout {layout.name}")
