"""Revocations: what the user names to the statement that takes it back, and who is heard.

Docs: docs/formats/predicates.md (Revocation). Signing and logging go the way of every statement (`record`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gitchain.collect.artifacts import Artifact
from gitchain.errors import GitchainError, LayoutError, NoEvidenceError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.digest import ACCEPTED, DigestSet
from gitchain.evidence.manifest import MEDIA_TYPES
from gitchain.evidence.revocation import (
    ALWAYS,
    Reason,
    RevokedSigner,
    attestation_descriptor,
    read_revocation,
    revocation,
)
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import REVOCATION
from gitchain.layout.model import Identity
from gitchain.pipeline.acceptance import Accepted, Policy, load_policy
from gitchain.pipeline.project import Project
from gitchain.pipeline.record import Draft
from gitchain.pipeline.steps import callers_fault, collect_all
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.revocations import is_signed_by
from gitchain.verify.signers import Signers

MIN_ID = 6  # shorter prefixes name too many attestations
_ID = re.compile(r"[0-9a-f]{6,64}", re.ASCII)
_DIGEST = re.compile(rf"({'|'.join(ACCEPTED)}):(.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Why:
    """Why something is revoked, and when it was said."""

    reason: Reason
    message: str | None
    now: datetime


def revoke_attestations(project: Project, ids: Sequence[str], why: Why) -> Draft:
    """Return the revocation of attestations, each named by its id or the start of it.

    Raises UsageError for what is no id or stands for several, NoEvidenceError for a start that the store lacks.
    """
    found = tuple(dict.fromkeys(_resolved(project, ids)))
    return _draft([attestation_descriptor(one) for one in found], why, attestations=found)


def revoke_signer(issuer: str, subject: str, since: str | None, why: Why) -> Draft:
    """Return the revocation of a signer, from a time on (`now` is one), or of all that it ever signed.

    Raises UsageError for an identity or a time that is none.
    """
    start = ALWAYS if since is None else _utc(why.now) if since == "now" else since
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


def revoke_artifacts(project: Project, names: Iterable[str], why: Why) -> Draft:
    """Return the revocation of artifacts: paths, which are hashed now, or digests such as `sha256:…` or `sha512:…`.

    Raises UsageError for a malformed digest, UsageError or ProjectError for a path that cannot be read.
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


def _under_both_versions(artifact: Artifact) -> Iterator[ResourceDescriptor]:
    """Yield the artifact, and a directory also by the digest that evidence under manifest version 1 has for it."""
    yield artifact.descriptor
    if artifact.manifest is not None:
        digest = artifact.manifest_v1().digest
        yield ResourceDescriptor(f"sha256:{digest}", DigestSet({"sha256": digest}), media_type=MEDIA_TYPES[1])


def _draft(
    subject: Sequence[ResourceDescriptor],
    why: Why,
    attestations: Sequence[str] = (),
    signers: Sequence[RevokedSigner] = (),
) -> Draft:
    with callers_fault("the revocation"):
        predicate = revocation(
            reason=why.reason,
            when=_utc(why.now),
            attestations=attestations,
            signers=signers,
            message=why.message,
        )
        statement = Statement.build(subject, REVOCATION, predicate)
        read_revocation(statement)
    return Draft(statement)


def _resolved(project: Project, ids: Sequence[str]) -> Iterable[str]:
    known: set[str] | None = None
    for given in ids:
        name = given.lower()
        if _ID.fullmatch(name) is None:
            raise UsageError(
                "not an attestation id", got=given, expected=f"{MIN_ID} to 64 hex digits", help="gitchain log"
            )
        if len(name) == 64:
            yield name
            continue
        known = _all_ids(project) if known is None else known
        matches = [one for one in known if one.startswith(name)]
        if not matches:
            raise NoEvidenceError("no attestation has this id", where=given, help="gitchain log")
        if len(matches) > 1:
            raise UsageError(
                "several attestations have an id that starts so", got=given, help="give more digits"
            )
        yield matches[0]


def _all_ids(project: Project) -> set[str]:
    found = set()
    for raw in project.store.all():
        try:
            found.add(Bundle.parse(raw).attestation_id)
        except GitchainError:
            continue  # what cannot be read has no id
    return found


def unheard(project: Project, statement: Statement, now: datetime) -> tuple[str, ...]:
    """Return why a stored revocation changes nothing under the pinned layout, as far as that can be told."""
    try:
        accepted = load_policy(project, Policy(), now)
    except GitchainError as error:
        return (f"it does not count here: whose revocations count is for a layout to say: {error}",)
    layout, found = accepted.signed.layout, list[str]()
    if not _is_heard(project, accepted, statement):
        names = ", ".join(layout.revokers) or "nobody"
        found.append(
            f"it does not count here: the signer is no revoker of layout {layout.name} (revokers: {names}); "
            "to let it count: name the signer's functionary under revokers in .gitchain/layout.yaml, raise version, "
            "then: gitchain layout sign"
        )
    found += _unmatched(project, statement)
    signers = Signers(layout)
    for one in read_revocation(statement).signers:
        try:
            signers.person(Identity(one.issuer, one.subject))
        except KeyError:
            found.append(
                f"no functionary of layout {layout.name} is {one.subject} ({one.issuer}): is it spelt right?"
            )
    return tuple(found)


def _unmatched(project: Project, statement: Statement) -> Iterator[str]:
    """Yield a warning for each artifact that no other attestation in the store names by one of its digests."""
    for subject in statement.subject if read_revocation(statement).artifacts else ():
        known = [raw for pair in subject.digest.accepted for raw in project.store.by_subject(*pair)]
        if "sha256" not in subject.digest and len({*known}) <= 1:
            algorithm = subject.digest.accepted[0][0]
            yield (
                f"no attestation here names {subject.rule_name} by its {algorithm}: "
                "name the artifact by its path or its sha256"
            )


def _is_heard(project: Project, accepted: Accepted, statement: Statement) -> bool:
    layout = accepted.signed.layout
    revokers = [layout.functionary(name) for name in layout.revokers]
    for raw in project.store.by_subject(*statement.subject[0].digest.accepted[0]):
        try:
            found = verify_bundle(raw, accepted.profile.trust, layout.keys)
        except GitchainError:
            continue
        if found.attestation_id == statement.attestation_id and is_signed_by(revokers, found):
            return True
    return False


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
