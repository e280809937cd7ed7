"""Sign and store what a verification found, for others to rely on: a SLSA VSA, on the path of every other statement.

The summary goes through the outbox, is signed, logged, checked and stored; then its bundle can be handed out.
Does NOT verify: it summarises a decision that was made.
"""

from __future__ import annotations

from pathlib import Path

from gitchain.errors import GitchainError, MalformedError, StoreError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.statement import Statement
from gitchain.pipeline.home import write_atomically
from gitchain.pipeline.profiles import Profile
from gitchain.pipeline.project import Project
from gitchain.pipeline.record import Draft, Identity, Recorded, record
from gitchain.verify.decide import Decision
from gitchain.verify.vsa import summary


def summarise(
    project: Project, profile: Profile, decision: Decision, verifier: str, identity: Identity
) -> Recorded:
    """Sign and store a summary of the decision, whatever its result; what cannot be signed now waits in the outbox.

    Raises UsageError if `verifier` is no URI, and what `record` raises.
    """
    try:
        statement = summary(decision, verifier)
    except MalformedError as error:
        raise UsageError(
            "the verifier is named by a URI", expected="https://…", got=verifier[:200], help="--verifier URI"
        ) from error
    return record(project, profile, (Draft(statement),), identity)


def write_summary(project: Project, statement: Statement, path: Path) -> None:
    """Write the stored bundle of the summary to a file, to hand out. Raises StoreError."""
    digest = statement.subject[0].digest["sha256"]
    for raw in project.store.by_subject("sha256", digest):
        if _is_bundle_of(raw, statement):
            write_atomically(path, raw)
            return
    raise StoreError("the summary is not in the store", got=statement.attestation_id)


def _is_bundle_of(raw: bytes, statement: Statement) -> bool:
    try:
        return Bundle.parse(raw).attestation_id == statement.attestation_id
    except GitchainError:
        return False
