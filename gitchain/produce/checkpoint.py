"""Sign a new checkpoint of the attestation set before a push, if the signer's checkpoints count.

It extends the newest complete checkpoints that count, and covers everything that they do not.

docs/formats/history.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime

from gitchain.consume.load_layout import AcceptedLayout, LayoutOptions, load_policy
from gitchain.consume.store_checkpoints import Checkpoints
from gitchain.errors import GitchainError, VerificationError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.revocation import RevokedSigner
from gitchain.evidence.statement import Statement
from gitchain.evidence.store_checkpoint import FILED, MAX_PREVIOUS, checkpoint_statements
from gitchain.evidence.vocabulary import CHECKPOINT, REVOCATION
from gitchain.layout.model import KEY_ISSUER, Identity, Layout
from gitchain.produce.sign_and_store import SigningIdentity
from gitchain.produce.signing_identities import signing_identity
from gitchain.sources.gather import gather
from gitchain.store.tree_paths import MANIFESTS
from gitchain.store.trees import NODE_START
from gitchain.trust.profiles import Profile
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.checkpoints import behind, covered, lacking
from gitchain.verify.freshness import newest_checkpoint
from gitchain.verify.revocations import Revocations
from gitchain.verify.trust import Trust
from gitchain.workspace.project import Project


class NotEntitledError(VerificationError):
    """Raised if checkpoints of this signer do not count under the layout."""


@dataclass(frozen=True, slots=True)
class CheckpointResult:
    """Result of signing a checkpoint: its attestation ids (several for a first one), or the reason for none."""

    ids: tuple[str, ...] = ()
    covered: int = 0
    reason: str | None = None
    failure: GitchainError | None = None
    """The reason of an unexpected failure to sign or store."""


def sign_checkpoint(
    project: Project, profile: Profile, identity: SigningIdentity, now: datetime
) -> CheckpointResult:
    """Sign a checkpoint of the store's content that no counting checkpoint covers.

    Signs none if only checkpoints are new, without a pinned layout, or if the signer's checkpoints do not count:
    `reason` has the reason. Nothing is queued: the next checkpoint covers the content.
    """
    try:
        accepted = load_policy(project, LayoutOptions(), now)
    except GitchainError:
        return CheckpointResult()  # `gitchain doctor` reports problems of the layout
    checkpoints, tops = _whole(project, accepted, now)
    old = covered(checkpoints.known, behind(checkpoints.known, tops)[0])
    new = _new(project, old, _present(project), renew=_is_due(accepted, checkpoints, now))
    if not new:
        return CheckpointResult()
    statements = checkpoint_statements(old, tops, new)
    try:
        bundles = _sign(project, profile, identity, statements, accepted.signed.layout)
        project.store.add(bundles)
    except NotEntitledError as error:
        return CheckpointResult(reason=str(error))
    except GitchainError as error:
        return CheckpointResult(reason=str(error), failure=error)
    return CheckpointResult(tuple(statement.attestation_id for statement in statements), len(old) + len(new))


def newest_checkpoints(project: Project, now: datetime) -> tuple[str, ...]:
    """Return the newest complete checkpoints that count; empty without a pinned layout."""
    try:
        return _whole(project, load_policy(project, LayoutOptions(), now), now)[1]
    except GitchainError:
        return ()


def _whole(
    project: Project, accepted: AcceptedLayout, now: datetime
) -> tuple[Checkpoints, tuple[AttestationId, ...]]:
    checkpoints = _filed(project, accepted.profile.trust, accepted.signed.layout, now)
    tops = [
        name
        for name in checkpoints.tops
        if not lacking(checkpoints.known, [name], checkpoints.evidence.present)
    ]
    return checkpoints, tuple(tops[:MAX_PREVIOUS])


def _present(project: Project) -> frozenset[str]:
    """Return the names of all bundles and manifest nodes in the store."""
    return frozenset((*project.store.names(), *project.store.names(room=MANIFESTS)))


def _filed(project: Project, trust: Trust, layout: Layout, now: datetime) -> Checkpoints:
    """Return the checkpoints in the store's index, with revocations of the newest ones and their signers.

    The index is a hint. Bundles that it lacks are covered again.
    """
    store = project.store
    names = _present(project)
    raws = dict.fromkeys(store.by_subject("sha256", FILED.digest["sha256"]))
    while True:
        evidence = replace(gather(None, trust, raws, layout.keys), present=names)
        revocations = Revocations.of(layout, evidence.of_type(REVOCATION), now)
        checkpoints = Checkpoints(layout, evidence, revocations)
        filed = [
            raw
            for top in checkpoints.tops
            for key in _filed_under(checkpoints, top)
            for raw in store.by_subject("sha256", key)
        ]
        if raws.keys() >= set(filed):
            return checkpoints
        raws |= dict.fromkeys(filed)


def _filed_under(checkpoints: Checkpoints, top: str) -> Iterator[str]:
    """Yield the index digests of revocations of this checkpoint and of its signers."""
    yield top
    for signer in checkpoints.signers(top):
        yield RevokedSigner(signer.issuer, signer.subject).descriptor.digest["sha256"]


def _is_due(accepted: AcceptedLayout, checkpoints: Checkpoints, now: datetime) -> bool:
    """Return True if the newest checkpoint is older than half of the layout's limit."""
    layout = accepted.signed.layout
    if layout.freshness is None:
        return False
    newest = newest_checkpoint(
        layout,
        [checkpoints.revocations],
        checkpoints.evidence.verified(checkpoints.evidence.candidates_of(CHECKPOINT)),
        now,
    )
    return newest is None or now - newest > layout.freshness / 2


def _new(
    project: Project, old: AbstractSet[str], names: AbstractSet[str], *, renew: bool = False
) -> list[str]:
    """Return the readable bundles and manifest nodes to cover.

    Empty if all of them are checkpoints, unless `renew`.
    """
    nodes = frozenset(project.store.names(room=MANIFESTS))
    new = {name for name in nodes & (names - old) if _is_node(project, name)}
    other = bool(new)
    for name, raw in project.store.several(sorted(names - old - new)):
        try:
            statement = Bundle.parse(raw).statement()
        except GitchainError:
            continue  # covering a missing bundle would require it permanently
        new.add(name)
        other = other or statement.predicate_type != CHECKPOINT
    return sorted(new) if other or renew else []


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
    signing = signing_identity(project, profile, identity)
    if profile.instance is not None and signing.name and not signing.token:
        _check_signer(layout, Identity(profile.instance.issuer, signing.name), {})
    with profile.signer(signing) as signer:
        if signer.keys:
            _check_signer(layout, Identity(KEY_ISSUER, f"sha256:{sha256_hex(signer.keys[0])}"), {})
        bundles = signer.sign(statements)
    for raw in bundles:
        verified = verify_bundle(raw, profile.trust, signer.keys)
        _check_signer(layout, verified.identity, verified.claims)
    return bundles


def _check_signer(layout: Layout, identity: Identity, claims: Mapping[str, str]) -> None:
    if not any(functionary.matches(identity, claims) for functionary in layout.functionaries):
        raise NotEntitledError(f"{identity} is no functionary of layout {layout.name}")
