"""Check that no evidence was removed, against required checkpoints; record what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from gitchain.consume.load_layout import AcceptedLayout
from gitchain.consume.targets import bundle_file
from gitchain.errors import StoreError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.vocabulary import CHECKPOINT, RELEASE
from gitchain.layout.model import Layout
from gitchain.sources.evidence import Evidence
from gitchain.sources.rollback_protection import remember
from gitchain.store.tree_paths import is_sha256
from gitchain.verify.verified import VerifiedStatement
from gitchain.workspace.project import Project
from gitchain.workspace.user_directory import remember_version

if TYPE_CHECKING:
    from gitchain.sources.interface import EvidenceSource, Snapshot


def check_checkpoints(
    layout: Layout,
    evidence: Evidence,
    negative: Sequence[VerifiedStatement],
    now: datetime,
    demanded: Mapping[str, bytes],
) -> None:
    """Raise RollbackError if the evidence lacks what its checkpoints cover, or a required checkpoint."""
    if not demanded and not any(evidence.candidates_of(kind) for kind in (CHECKPOINT, RELEASE)):
        return
    from gitchain.consume.store_checkpoints import Checkpoints
    from gitchain.verify.revocations import Revocations

    Checkpoints(layout, evidence, Revocations.of(layout, negative, now)).check(demanded)


def required_checkpoint(named: str | None) -> dict[str, bytes]:
    """Return the required checkpoint by its attestation id, with its bundle if it is a file."""
    if named is None:
        return {}
    if is_sha256(named):
        return {named: b""}
    raw = bundle_file(named)
    if raw is None:
        raise UsageError(
            "no such checkpoint", got=named, expected="an attestation id of 64 digits, or a bundle file"
        )
    return {Bundle.parse(raw).attestation_id: raw}


def remember_all(
    project: Project | None,
    accepted: AcceptedLayout,
    evidence: Evidence,
    now: datetime,
    read: Sequence[tuple[EvidenceSource, Snapshot]],
) -> StoreError | None:
    """Store the layout's version and the state of the store. A read-only user directory does not fail verification."""
    layout = accepted.signed.layout
    try:
        remember_version(layout.name, layout.version, accepted.signed.digest)
        if project is not None:
            remember(project, evidence.tip, now, evidence.unreadable)
        for source, snapshot in read:
            source.remember(snapshot, now)
    except StoreError as error:
        return error
    return None
