"""Sign, log and store statements without losing any.

Each statement is first written to the outbox, then signed and logged, then verified, then stored, and finally removed
from the outbox. After a crash or a network failure it remains there for `gitchain sync`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gitchain.errors import (
    GitchainError,
    StoreError,
    TrustError,
    VerificationError,
)
from gitchain.evidence.statement import Statement
from gitchain.produce.draft import StatementDraft
from gitchain.produce.equal_statements import statement_content
from gitchain.produce.signing_identities import Waiting, by_identity, outbox_meta, signing_identity
from gitchain.sources.rollback_protection import remember
from gitchain.trust.committed_trust import check_chosen
from gitchain.trust.load_profile import load_profile
from gitchain.trust.profiles import Profile, SigningIdentity
from gitchain.workspace.project import Project
from gitchain.workspace.user_directory import local_directory, pin_for_repository

if TYPE_CHECKING:
    from gitchain.sign import StatementSigner

__all__ = [
    "SigningIdentity",
    "SigningResult",
    "StatementDraft",
    "check_signing",
    "drain_outbox",
    "project_profile",
    "record",
    "signing_identity",
]

ANYONE = SigningIdentity()
MAX_BATCH = 256  # statements per certificate, well within its ten minutes


@dataclass(frozen=True, slots=True)
class SigningResult:
    """Result of a batch: the stored attestations by id, and the waiting ones with the reason."""

    stored: tuple[Statement, ...]
    queued: tuple[Statement, ...] = ()
    reason: GitchainError | None = None


ONLY_PINNED = "this machine verifies under a pin, and has no keys to sign with"
HELP_SIGN_HERE = "to sign here with an instance of this machine: gitchain init --local --force"


def project_profile(project: Project, trust: str | None = None, *, offline: bool = False) -> Profile:
    """Return the profile that this repository signs with, or the one called `trust`.

    Raises NotChosenError or TrustError if it is a file of the repository that the user has not accepted.
    """
    config = project.configured()
    try:
        profile = load_profile(trust or config.trust, base=project.root, offline=offline)
    except TrustError as error:
        pin = pin_for_repository(project.git.common_dir)
        if pin and pin.trust != "local" and not trust and not local_directory().exists():
            raise TrustError(error.what, where=error.where, got=ONLY_PINNED, help=HELP_SIGN_HERE) from error
        raise
    if not trust:
        check_chosen(project, profile)
    return profile


def check_signing(project: Project, profile: Profile, identity: SigningIdentity = ANYONE) -> None:
    """Check that signing is possible, before a command runs whose evidence would be lost.

    Raises UsageError for an invalid identity or key, TrustError for a trust configuration, StoreError for an outbox
    that is not writable.
    """
    identity = signing_identity(project, profile, identity)
    profile.check(identity.name, identity.key)
    with project.outbox.holding():
        pass


def record(
    project: Project,
    profile: Profile,
    drafts: Sequence[StatementDraft],
    identity: SigningIdentity = ANYONE,
    *,
    replaces: bool = False,
) -> SigningResult:
    """Sign, log, verify and store `drafts`. Drafts that cannot be signed now remain in the outbox.

    With `replaces`, a draft replaces an equivalent statement in the outbox: a killed command leaves one, and
    repeating the command must not log both. Raises UsageError for an identity that can never sign and TrustError for
    an invalid trust configuration, before anything is written, and StoreError if the outbox is not writable. Later
    failures are part of the result.
    """
    if not drafts:
        return SigningResult(stored=())
    identity = signing_identity(project, profile, identity)
    profile.check(identity.name, identity.key)
    with project.outbox.holding():  # prevents a drainer from signing these again
        return _record(project, profile, drafts, identity, replaces=replaces)


def _record(
    project: Project,
    profile: Profile,
    drafts: Sequence[StatementDraft],
    identity: SigningIdentity,
    *,
    replaces: bool,
) -> SigningResult:
    meta = outbox_meta(profile.name, identity)
    replaced = _waiting_duplicates(project, drafts, meta) if replaces else set()
    waiting = [
        (project.outbox.put(draft.statement.payload, draft.manifests, meta), draft) for draft in drafts
    ]
    for item in replaced.difference(item for item, _ in waiting):
        project.outbox.remove(item)
    return _sign_and_deliver(project, profile, identity, waiting)


def _waiting_duplicates(
    project: Project, drafts: Sequence[StatementDraft], meta: Mapping[str, str]
) -> set[str]:
    """Return the ids of waiting items equivalent to a draft, with the same trust profile and signer."""
    contents = {statement_content(draft.statement) for draft in drafts}
    duplicates: set[str] = set()
    for item in project.outbox.items():
        if {name: value for name, value in item.meta.items() if name != "holder"} == meta:
            with suppress(GitchainError):
                if statement_content(Statement.parse(item.payload)) in contents and project.outbox.is_free(
                    item
                ):
                    duplicates.add(item.id)
    return duplicates


def drain_outbox(
    project: Project,
    profile: Profile,
    identity: SigningIdentity = ANYONE,
    advance: Callable[[int], None] | None = None,
) -> SigningResult:
    """Sign and store all statements in the outbox, each with its recorded identity or key.

    Only one drainer runs at a time; a second one returns at once. A failed statement remains and does not stop
    others. So do statements under another trust profile and unreadable ones: both are reported.
    """
    with project.outbox.draining() as mine:
        if not mine:
            return SigningResult(stored=())
        stored: tuple[Statement, ...] = ()
        groups, queued, reason = by_identity(project, profile, identity)
        for recorded_identity, group in groups:
            for start in range(0, len(group), MAX_BATCH):
                batch = group[start : start + MAX_BATCH]
                result = _sign_and_deliver(project, profile, recorded_identity, batch, again=True)
                stored, queued, reason = (
                    stored + result.stored,
                    queued + result.queued,
                    result.reason or reason,
                )
                if advance:
                    advance(len(batch))
        return SigningResult(stored, queued, reason)


def _sign_and_deliver(
    project: Project, profile: Profile, identity: SigningIdentity, waiting: Waiting, *, again: bool = False
) -> SigningResult:
    """Sign and store waiting statements; with `again`, skip those that a killed process stored already."""
    try:
        signer = profile.signer(identity)
    except GitchainError as error:
        return SigningResult(stored=(), queued=tuple(draft.statement for _, draft in waiting), reason=error)
    with signer:
        stored = [
            pair for pair in waiting if again and _is_stored(project, profile, signer, pair[1].statement)
        ]
        for item, _ in stored:
            project.outbox.remove(item)
        done = _deliver(project, profile, signer, [pair for pair in waiting if pair not in stored])
    return replace(done, stored=(*(draft.statement for _, draft in stored), *done.stored))


def _is_stored(project: Project, profile: Profile, signer: StatementSigner, statement: Statement) -> bool:
    """Return True if the store has a verified bundle of exactly this statement."""
    from gitchain.verify.bundle import verify_bundle

    for raw in project.store.by_subject("sha256", statement.subject[0].digest["sha256"]):
        with suppress(GitchainError):
            if verify_bundle(raw, profile.trust, signer.keys).attestation_id == statement.attestation_id:
                return True
    return False


def _deliver(project: Project, profile: Profile, signer: StatementSigner, waiting: Waiting) -> SigningResult:
    """Sign the statements one by one, and store the signed ones, so that a failure causes no duplicate log entries."""
    bundles, reason = _signed(profile, signer, [draft.statement for _, draft in waiting])
    done, left = waiting[: len(bundles)], waiting[len(bundles) :]
    try:
        manifests = {digest: node for _, draft in done for digest, node in draft.manifests.items()}
        if bundles:
            project.store.add(tuple(bundles), manifests)
    except GitchainError as error:  # in any case, the statements remain in the outbox
        return SigningResult(stored=(), queued=tuple(draft.statement for _, draft in waiting), reason=error)
    for item, _ in done:
        project.outbox.remove(item)
    with suppress(StoreError, TrustError):  # the attestations are stored; the last seen state is kept
        remember(project, project.store.tip(), datetime.now(UTC))
    return SigningResult(
        tuple(draft.statement for _, draft in done), tuple(draft.statement for _, draft in left), reason
    )


def _signed(
    profile: Profile, signer: StatementSigner, statements: Sequence[Statement]
) -> tuple[list[bytes], GitchainError | None]:
    """Return the verified bundles up to the first failure, and that failure."""
    bundles: list[bytes] = []
    try:
        for statement, raw in zip(statements, signer.each(statements), strict=True):
            _check_recorded(profile, statement, raw, signer.keys)
            bundles.append(raw)
    except GitchainError as error:
        return bundles, error
    return bundles, None


def _check_recorded(profile: Profile, statement: Statement, raw: bytes, keys: Sequence[bytes]) -> None:
    """Check that a new bundle verifies and contains exactly the given statement."""
    from gitchain.verify.bundle import verify_bundle

    if verify_bundle(raw, profile.trust, keys).attestation_id != statement.attestation_id:
        raise VerificationError("the signer returned a bundle for another statement")
