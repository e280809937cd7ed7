"""Sign and store the summary of a verification: a SLSA VSA.

The summary is queued in the outbox, signed, logged, verified and stored like every statement. The caller has made the
decision; nothing is verified here.
"""

from __future__ import annotations

from pathlib import Path

from gitchain.errors import GitchainError, MalformedError, StoreError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.statement import Statement
from gitchain.platform.files import write_durably
from gitchain.produce.draft import StatementDraft
from gitchain.produce.sign_and_store import SigningIdentity, SigningResult, record
from gitchain.trust.profiles import Profile
from gitchain.verify.decide import Decision
from gitchain.verify.vsa import summary
from gitchain.workspace.project import Project


def summarise(
    project: Project, profile: Profile, decision: Decision, verifier: str, identity: SigningIdentity
) -> SigningResult:
    """Sign and store a summary of the decision, with any result. If it cannot be signed now, it remains in the outbox.

    Raises UsageError if `verifier` is not a URI, and the errors of `record`.
    """
    try:
        statement = summary(decision, verifier)
    except MalformedError as error:
        raise UsageError(
            "the verifier is named by a URI", expected="https://…", got=verifier[:200], help="--verifier URI"
        ) from error
    return record(project, profile, (StatementDraft(statement),), identity)


def write_summary(project: Project, statement: Statement, path: Path) -> None:
    """Write the stored bundle of the summary to a file. Raises StoreError."""
    digest = statement.subject[0].digest["sha256"]
    for raw in project.store.by_subject("sha256", digest):
        if _is_bundle_of(raw, statement):
            write_durably(path, raw, mode=0o644)
            return
    raise StoreError("the summary is not in the store", got=statement.attestation_id)


def _is_bundle_of(raw: bytes, statement: Statement) -> bool:
    try:
        return Bundle.parse(raw).attestation_id == statement.attestation_id
    except GitchainError:
        return False
