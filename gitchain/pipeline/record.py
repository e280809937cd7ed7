"""Sign, record and store statements: nothing that was stated is lost on the way.

Each statement is first made durable in the outbox, then signed and logged, then what came back is checked, then stored,
and only then leaves the outbox. A crash or a network failure at any point leaves it there for `gitchain sync`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError, MalformedError, StoreError, TrustError, VerificationError
from gitchain.evidence.statement import Statement
from gitchain.pipeline.profiles import Profile, load_profile
from gitchain.pipeline.project import Project
from gitchain.pipeline.seen import remember

if TYPE_CHECKING:
    from gitchain.sign.keyless import Signer
    from gitchain.store.trees import Problem

MAX_BATCH = 256  # statements under one certificate, well inside its ten minutes


@dataclass(frozen=True, slots=True)
class Draft:
    """A statement to sign, with the directory manifests that it names."""

    statement: Statement
    manifests: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What happened to a batch: the stored attestations by id, and what still waits and why."""

    stored: tuple[Statement, ...]
    queued: tuple[Statement, ...] = ()
    reason: GitchainError | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs: an identity of the embedded instance, an OIDC token, or whatever the environment offers."""

    name: str | None = None
    token: str | None = None


def project_profile(project: Project, trust: str | None = None, *, offline: bool = False) -> Profile:
    """Return the profile that this repository signs with, unless `trust` names another."""
    config = project.configured()
    return load_profile(trust or config.trust, base=project.root, offline=offline)


def signing_identity(project: Project, profile: Profile, identity: Identity) -> Identity:
    """Fill in who signs on the embedded instance when nobody said: the configuration's identity, else Git's e-mail."""
    if profile.instance is None or identity.name or identity.token:
        return identity
    from gitchain.collect.identity import user_email

    config = project.config
    return Identity(name=(config.identity if config else None) or user_email(project.root))


def record(
    project: Project, profile: Profile, drafts: Sequence[Draft], identity: Identity = Identity()
) -> Recorded:
    """Sign, log, check and store `drafts`; what cannot be signed now stays in the outbox.

    Raises UsageError for an identity that nobody can sign as and TrustError for a trust that is none, before anything
    is kept, and StoreError if even the outbox cannot be written. Everything after that is reported in the result.
    """
    if not drafts:
        return Recorded(stored=())
    who = signing_identity(project, profile, identity)
    profile.check(who.name)
    with project.outbox.holding():  # no drainer signs these a second time
        return _record(project, profile, drafts, who)


def _record(project: Project, profile: Profile, drafts: Sequence[Draft], who: Identity) -> Recorded:
    meta = {"trust": profile.name} | ({"identity": who.name} if who.name else {})
    waiting = [
        (project.outbox.put(draft.statement.payload, draft.manifests, meta), draft) for draft in drafts
    ]
    return _sign_and_deliver(project, profile, who, waiting)


def drain_outbox(
    project: Project,
    profile: Profile,
    identity: Identity = Identity(),
    advance: Callable[[int], None] | None = None,
) -> Recorded:
    """Sign and store everything that waits in the outbox, each as the identity that it was stated under.

    One drainer works at a time; a second one finds nothing to do. What fails keeps waiting and stops nothing else, and
    so does what was stated under another trust profile and what cannot be read: both are reported.
    """
    with project.outbox.draining() as mine:
        if not mine:
            return Recorded(stored=())
        stored: tuple[Statement, ...] = ()
        groups, queued, reason = _by_identity(project, profile, identity)
        for name, group in groups:
            for start in range(0, len(group), MAX_BATCH):
                batch = group[start : start + MAX_BATCH]
                result = _sign_and_deliver(project, profile, Identity(name, identity.token), batch)
                stored, queued, reason = (
                    stored + result.stored,
                    queued + result.queued,
                    result.reason or reason,
                )
                if advance:
                    advance(len(batch))
        return Recorded(stored, queued, reason)


_Waiting = Sequence[tuple[str, Draft]]


def _by_identity(
    project: Project, profile: Profile, identity: Identity
) -> tuple[list[tuple[str | None, list[tuple[str, Draft]]]], tuple[Statement, ...], GitchainError | None]:
    """Group what waits by who is to sign it; return also what this profile cannot sign, and why.

    What somebody else is signing at the moment is left out.
    """
    default = signing_identity(project, profile, identity).name
    groups: dict[str | None, list[tuple[str, Draft]]] = {}
    foreign: list[Statement] = []
    broken: list[Problem] = []
    reason: GitchainError | None = None
    for item in project.outbox.items(broken.append):
        trust, statement = item.meta.get("trust", profile.name), Statement.parse(item.payload)
        if trust != profile.name:
            foreign.append(statement)
            reason = TrustError(
                "stated under another trust profile",
                expected=profile.name,
                got=trust,
                help=f"gitchain --trust {trust} sync",
            )
        elif project.outbox.is_free(item):
            name = item.meta.get("identity", default) if profile.instance else None
            groups.setdefault(name, []).append((item.id, Draft(statement, item.manifests)))
    for problem in broken:
        reason = MalformedError(
            "a file in the outbox cannot be read",
            where=problem.path,
            got=problem.message,
            help="move it away, then state it again: gitchain attest",
        )
    return list(groups.items()), tuple(foreign), reason


def _sign_and_deliver(project: Project, profile: Profile, who: Identity, waiting: _Waiting) -> Recorded:
    try:
        signer = profile.signer(who.name, who.token)
    except GitchainError as error:
        return Recorded(stored=(), queued=tuple(draft.statement for _, draft in waiting), reason=error)
    with signer:
        return _deliver(project, profile, signer, waiting)


def _deliver(project: Project, profile: Profile, signer: Signer, waiting: _Waiting) -> Recorded:
    statements = tuple(draft.statement for _, draft in waiting)
    try:
        bundles = signer.sign(statements)
        _check_recorded(profile, statements, bundles)
        manifests = {digest: node for _, draft in waiting for digest, node in draft.manifests.items()}
        project.store.add(bundles, manifests)
    except GitchainError as error:  # whatever it is, the statements are in the outbox
        return Recorded(stored=(), queued=statements, reason=error)
    for item, _ in waiting:
        project.outbox.remove(item)
    with suppress(
        StoreError, TrustError
    ):  # the attestations are stored; what was seen before stays remembered
        remember(project, project.store.tip(), datetime.now(UTC))
    return Recorded(stored=statements)


def _check_recorded(profile: Profile, statements: Sequence[Statement], bundles: Sequence[bytes]) -> None:
    """Check that each returned bundle verifies and is about the very bytes that were given."""
    from gitchain.verify.bundle import verify_bundle

    if len(bundles) != len(statements):
        raise VerificationError(
            "the signer returned another number of bundles",
            expected=str(len(statements)),
            got=str(len(bundles)),
        )
    for statement, raw in zip(statements, bundles, strict=True):
        if verify_bundle(raw, profile.trust).attestation_id != statement.attestation_id:
            raise VerificationError("the signer returned a bundle for another statement")
