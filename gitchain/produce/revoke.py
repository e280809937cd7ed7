"""Revocations: build the statement, and check whether it has an effect.

Docs: docs/formats/predicates.md (Revocation). It is signed and logged like every statement (`record`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from gitchain.collect.artifacts import CollectedArtifact
from gitchain.consume.load_layout import AcceptedLayout, LayoutOptions, load_policy
from gitchain.errors import GitchainError, LayoutError, NoEvidenceError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.digest import ACCEPTED, DigestSet
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.revocation import (
    ALWAYS,
    Reason,
    RevokedSigner,
    attestation_descriptor,
    read_revocation,
    revocation,
)
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES, REVOCATION, time_text
from gitchain.layout.model import Identity
from gitchain.produce.draft import StatementDraft
from gitchain.produce.steps import callers_fault, collect_all
from gitchain.verify.authorization import Signers
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.revocations import is_signed_by
from gitchain.workspace.project import Project

MIN_ID = 6  # shorter prefixes match too many attestations
_ID = re.compile(r"[0-9a-f]{6,64}", re.ASCII)
_DIGEST = re.compile(rf"({'|'.join(ACCEPTED)}):(.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class RevocationReason:
    """Reason and time of a revocation."""

    reason: Reason
    message: str | None
    now: datetime


def revoke_attestations(project: Project, ids: Sequence[str], why: RevocationReason) -> StatementDraft:
    """Return the revocation of attestations, each given by its id or a prefix of it.

    Raises UsageError for an invalid or ambiguous id, NoEvidenceError for a prefix without a match in the store.
    """
    resolved = tuple(dict.fromkeys(_resolved(project, ids)))
    return _draft(
        [attestation_descriptor(attestation_id) for attestation_id in resolved], why, attestations=resolved
    )


def revoke_signer(issuer: str, subject: str, since: str | None, why: RevocationReason) -> StatementDraft:
    """Return the revocation of a signer, from a time on (`now` is allowed), or of all its signatures.

    Raises UsageError for an invalid identity or time.
    """
    start = ALWAYS if since is None else time_text(why.now) if since == "now" else since
    try:
        Identity(issuer, subject)
    except LayoutError as error:
        raise UsageError(
            error.what,
            where=error.where,
            expected=error.expected,
            got=error.got,
            help="gitchain log --json   shows signers as they are named",
        ) from error
    with callers_fault("--from"):
        signer = RevokedSigner(issuer, subject, start)
    return _draft([signer.descriptor], why, signers=[signer])


def revoke_artifacts(project: Project, names: Iterable[str], why: RevocationReason) -> StatementDraft:
    """Return the revocation of artifacts: paths, which are hashed now, or digests such as `sha256:…` or `sha512:…`.

    Raises UsageError for a malformed digest, UsageError or ProjectError for an unreadable path.
    """
    given = tuple(dict.fromkeys(names))
    artifacts = collect_all(project, [name for name in given if not _DIGEST.fullmatch(name)])
    with callers_fault("the artifact's digest"):
        named = [
            ResourceDescriptor(name, DigestSet({found[1]: found[2]}))
            for name in given
            if (found := _DIGEST.fullmatch(name))
        ]
    return _draft([*(found for one in artifacts for found in _under_both_versions(one)), *named], why)


def _under_both_versions(artifact: CollectedArtifact) -> Iterator[ResourceDescriptor]:
    """Yield the artifact, and a directory also under its digest of manifest version 1."""
    yield artifact.descriptor
    if artifact.manifest is not None:
        digest = artifact.manifest_v1().digest
        yield ResourceDescriptor(
            f"sha256:{digest}", DigestSet({"sha256": digest}), media_type=MANIFEST_MEDIA_TYPES[1]
        )


def _draft(
    subject: Sequence[ResourceDescriptor],
    why: RevocationReason,
    attestations: Sequence[str] = (),
    signers: Sequence[RevokedSigner] = (),
) -> StatementDraft:
    with callers_fault("the revocation"):
        predicate = revocation(
            reason=why.reason,
            when=time_text(why.now),
            attestations=attestations,
            signers=signers,
            message=why.message,
        )
        statement = Statement.build(subject, REVOCATION, predicate)
        read_revocation(statement)
    return StatementDraft(statement)


def _resolved(project: Project, ids: Sequence[str]) -> Iterable[AttestationId]:
    known: set[AttestationId] | None = None
    for given in ids:
        name = given.lower()
        if _ID.fullmatch(name) is None:
            raise UsageError(
                "not an attestation id", got=given, expected=f"{MIN_ID} to 64 hex digits", help="gitchain log"
            )
        if len(name) == 64:
            yield AttestationId(name)
            continue
        known = _all_ids(project) if known is None else known
        matches = [attestation_id for attestation_id in known if attestation_id.startswith(name)]
        if not matches:
            raise NoEvidenceError("no attestation has this id", where=given, help="gitchain log")
        if len(matches) > 1:
            raise UsageError(
                "several attestations have an id that starts so", got=given, help="give more digits"
            )
        yield matches[0]


def _all_ids(project: Project) -> set[AttestationId]:
    attestation_ids = set()
    for raw in project.store.all():
        try:
            attestation_ids.add(Bundle.parse(raw).attestation_id)
        except GitchainError:
            continue  # an unreadable bundle has no id
    return attestation_ids


def no_effect_reasons(project: Project, statement: Statement, now: datetime) -> tuple[str, ...]:
    """Return the reasons why a stored revocation has no effect under the pinned layout, if they can be determined."""
    try:
        accepted = load_policy(project, LayoutOptions(), now)
    except GitchainError as error:
        return (f"it does not count here, because no layout defines its revokers: {error}",)
    layout, reasons = accepted.signed.layout, list[str]()
    if not _is_heard(project, accepted, statement):
        names = ", ".join(layout.revokers) or "nobody"
        reasons.append(
            f"it does not count here: the signer is no revoker of layout {layout.name} (revokers: {names}); "
            "to let it count: name the signer's functionary under revokers in .gitchain/layout.yaml, raise version, "
            "then: gitchain layout sign"
        )
    reasons += _unmatched(project, statement)
    signers = Signers(layout)
    for signer in read_revocation(statement).signers:
        try:
            signers.person(Identity(signer.issuer, signer.subject))
        except KeyError:
            reasons.append(
                f"no functionary of layout {layout.name} is {signer.subject} ({signer.issuer}): is it spelt right?"
            )
    return tuple(reasons)


def _unmatched(project: Project, statement: Statement) -> Iterator[str]:
    """Yield a warning for each artifact that no other stored attestation contains by one of its digests."""
    for subject in statement.subject if read_revocation(statement).artifacts else ():
        known = [raw for pair in subject.digest.accepted for raw in project.store.by_subject(*pair)]
        if "sha256" not in subject.digest and len({*known}) <= 1:
            algorithm = subject.digest.accepted[0][0]
            yield (
                f"no attestation here names {subject.rule_name} by its {algorithm}: "
                "name the artifact by its path or its sha256"
            )


def _is_heard(project: Project, accepted: AcceptedLayout, statement: Statement) -> bool:
    layout = accepted.signed.layout
    revokers = [layout.functionary(name) for name in layout.revokers]
    for raw in project.store.by_subject(*statement.subject[0].digest.accepted[0]):
        try:
            verified = verify_bundle(raw, accepted.profile.trust, layout.keys)
        except GitchainError:
            continue
        if verified.attestation_id == statement.attestation_id and is_signed_by(revokers, verified):
            return True
    return False
