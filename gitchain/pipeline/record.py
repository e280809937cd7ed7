"""Sign, record and store statements: nothing that was stated is lost on the way.

Each statement is first made durable in the outbox, then signed and logged, then what came back is checked, then stored,
and only then leaves the outbox. A crash or a network failure at any point leaves it there for `gitchain sync`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import (
    GitchainError,
    MalformedError,
    StoreError,
    TrustError,
    VerificationError,
)
from gitchain.evidence.statement import Statement
from gitchain.pipeline.profiles import Identity, Profile, load_profile
from gitchain.pipeline.project import Project
from gitchain.pipeline.restated import said_in_all
from gitchain.pipeline.seen import remember

if TYPE_CHECKING:
    from gitchain.sign import Signer
    from gitchain.store.trees import Problem

__all__ = [
    "Draft",
    "Identity",
    "Recorded",
    "check_signing",
    "drain_outbox",
    "project_profile",
    "record",
    "rooted",
    "signing_identity",
]

ANYONE = Identity()
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


def project_profile(project: Project, trust: str | None = None, *, offline: bool = False) -> Profile:
    """Return the profile that this repository signs with, unless `trust` names another."""
    config = project.configured()
    return load_profile(trust or config.trust, base=project.root, offline=offline)


def signing_identity(project: Project, profile: Profile, identity: Identity) -> Identity:
    """Fill in who signs when nobody said: the configuration's key or identity; on the embedded instance, Git's e-mail.

    A key file that the configuration names is relative to the repository.
    """
    if identity.name or identity.token or identity.key:
        return identity
    config = project.config
    if config and config.key:
        return replace(identity, key=rooted(config.key, project.root))
    if profile.instance is None:
        return identity
    from gitchain.collect.identity import user_email

    return replace(identity, name=(config.identity if config else None) or user_email(project.root))


def check_signing(project: Project, profile: Profile, identity: Identity = ANYONE) -> None:
    """Raise what would make signing impossible for good, before a command runs whose evidence would be lost.

    UsageError for an identity or key, TrustError for a trust configuration, StoreError for an outbox that cannot be written.
    """
    who = signing_identity(project, profile, identity)
    profile.check(who.name, who.key)
    with project.outbox.holding():
        pass


def rooted(key: str, root: Path) -> str:
    """Return what names a key, a path made absolute: the outbox may be drained from elsewhere."""
    path = key.removeprefix("file:")
    return key if ":" in path else str((root / Path(path).expanduser()).absolute())


def record(
    project: Project,
    profile: Profile,
    drafts: Sequence[Draft],
    identity: Identity = ANYONE,
    *,
    replaces: bool = False,
) -> Recorded:
    """Sign, log, check and store `drafts`; what cannot be signed now stays in the outbox.

    With `replaces`, a draft takes the place of a statement that waits there and says the same: that is what a command that
    was killed leaves behind, and the command repeated must not be logged beside it.

    Raises UsageError for an identity that nobody can sign as and TrustError for a trust that is none, before anything
    is kept, and StoreError if even the outbox cannot be written. Everything after that is reported in the result.
    """
    if not drafts:
        return Recorded(stored=())
    who = signing_identity(project, profile, identity)
    profile.check(who.name, who.key)
    with project.outbox.holding():  # no drainer signs these a second time
        return _record(project, profile, drafts, who, replaces=replaces)


def outbox_meta(profile: Profile, who: Identity) -> dict[str, str]:
    """Return what goes into the outbox beside a statement: under which trust and as whom it is to be signed."""
    said = {"identity": who.name, "key": who.key}
    return {"trust": profile.name} | {name: value for name, value in said.items() if value}


def _record(
    project: Project, profile: Profile, drafts: Sequence[Draft], who: Identity, *, replaces: bool
) -> Recorded:
    meta = outbox_meta(profile, who)
    replaced = _said_before(project, drafts, meta) if replaces else set()
    waiting = [
        (project.outbox.put(draft.statement.payload, draft.manifests, meta), draft) for draft in drafts
    ]
    for item in replaced.difference(item for item, _ in waiting):
        project.outbox.remove(item)
    return _sign_and_deliver(project, profile, who, waiting)


def _said_before(project: Project, drafts: Sequence[Draft], meta: Mapping[str, str]) -> set[str]:
    """Return the ids of waiting items that say what a draft says again, under the same trust and signer."""
    said = {said_in_all(draft.statement) for draft in drafts}
    found: set[str] = set()
    for item in project.outbox.items():
        if {name: value for name, value in item.meta.items() if name != "holder"} == meta:
            with suppress(GitchainError):
                if said_in_all(Statement.parse(item.payload)) in said and project.outbox.is_free(item):
                    found.add(item.id)
    return found


def drain_outbox(
    project: Project,
    profile: Profile,
    identity: Identity = ANYONE,
    advance: Callable[[int], None] | None = None,
) -> Recorded:
    """Sign and store everything that waits in the outbox, each as the identity or with the key that it was stated under.

    One drainer works at a time; a second one finds nothing to do. What fails keeps waiting and stops nothing else, and
    so does what was stated under another trust profile and what cannot be read: both are reported.
    """
    with project.outbox.draining() as mine:
        if not mine:
            return Recorded(stored=())
        stored: tuple[Statement, ...] = ()
        groups, queued, reason = _by_identity(project, profile, identity)
        for who, group in groups:
            for start in range(0, len(group), MAX_BATCH):
                batch = group[start : start + MAX_BATCH]
                result = _sign_and_deliver(project, profile, who, batch, again=True)
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
) -> tuple[list[tuple[Identity, list[tuple[str, Draft]]]], tuple[Statement, ...], GitchainError | None]:
    """Group what waits by who is to sign it; return also what this profile cannot sign, and why.

    What somebody else is signing at the moment is left out.
    """
    default = signing_identity(project, profile, identity)
    groups: dict[Identity, list[tuple[str, Draft]]] = {}
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
            who = _stated_by(item.meta, profile, default)
            groups.setdefault(who, []).append((item.id, Draft(statement, item.manifests)))
    for problem in broken:
        reason = MalformedError(
            "a file in the outbox cannot be read",
            where=problem.path,
            got=problem.message,
            help="move it away, then state it again: gitchain attest",
        )
    return list(groups.items()), tuple(foreign), reason


def _stated_by(meta: Mapping[str, str], profile: Profile, default: Identity) -> Identity:
    """Return who is to sign what was stated with `meta`: a token in hand signs what no key is to."""
    if "key" in meta:
        return replace(default, name=None, token=None, key=meta["key"])
    if profile.instance and "identity" in meta:
        return replace(default, name=meta["identity"], key=None)
    return default


def _sign_and_deliver(
    project: Project, profile: Profile, who: Identity, waiting: _Waiting, *, again: bool = False
) -> Recorded:
    """Sign and store what waits; with `again`, only what a run that was killed has not stored already."""
    try:
        signer = profile.signer(who)
    except GitchainError as error:
        return Recorded(stored=(), queued=tuple(draft.statement for _, draft in waiting), reason=error)
    with signer:
        stored = [
            pair for pair in waiting if again and _is_stored(project, profile, signer, pair[1].statement)
        ]
        for item, _ in stored:
            project.outbox.remove(item)
        done = _deliver(project, profile, signer, [pair for pair in waiting if pair not in stored])
    return replace(done, stored=(*(draft.statement for _, draft in stored), *done.stored))


def _is_stored(project: Project, profile: Profile, signer: Signer, statement: Statement) -> bool:
    """Tell whether the store holds a bundle of these very bytes that verifies: it was stored and not yet forgotten here."""
    from gitchain.verify.bundle import verify_bundle

    for raw in project.store.by_subject("sha256", statement.subject[0].digest["sha256"]):
        with suppress(GitchainError):
            if verify_bundle(raw, profile.trust, signer.keys).attestation_id == statement.attestation_id:
                return True
    return False


def _deliver(project: Project, profile: Profile, signer: Signer, waiting: _Waiting) -> Recorded:
    """Sign one after the other, and store what was signed: a failure in the middle makes nothing be logged twice."""
    bundles, reason = _signed(profile, signer, [draft.statement for _, draft in waiting])
    done, left = waiting[: len(bundles)], waiting[len(bundles) :]
    try:
        manifests = {digest: node for _, draft in done for digest, node in draft.manifests.items()}
        if bundles:
            project.store.add(tuple(bundles), manifests)
    except GitchainError as error:  # whatever it is, the statements are in the outbox
        return Recorded(stored=(), queued=tuple(draft.statement for _, draft in waiting), reason=error)
    for item, _ in done:
        project.outbox.remove(item)
    with suppress(
        StoreError, TrustError
    ):  # the attestations are stored; what was seen before stays remembered
        remember(project, project.store.tip(), datetime.now(UTC))
    return Recorded(
        tuple(draft.statement for _, draft in done), tuple(draft.statement for _, draft in left), reason
    )


def _signed(
    profile: Profile, signer: Signer, statements: Sequence[Statement]
) -> tuple[list[bytes], GitchainError | None]:
    """Return the bundles up to the first failure, each of which verifies, and the failure."""
    bundles: list[bytes] = []
    try:
        for statement, raw in zip(statements, signer.each(statements), strict=True):
            _check_recorded(profile, statement, raw, signer.keys)
            bundles.append(raw)
    except GitchainError as error:
        return bundles, error
    return bundles, None


def _check_recorded(profile: Profile, statement: Statement, raw: bytes, keys: Sequence[bytes]) -> None:
    """Check that a returned bundle verifies and is about the very bytes that were given."""
    from gitchain.verify.bundle import verify_bundle

    if verify_bundle(raw, profile.trust, keys).attestation_id != statement.attestation_id:
        raise VerificationError("the signer returned a bundle for another statement")
