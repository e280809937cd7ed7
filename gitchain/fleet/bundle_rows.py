"""Read the rows of the fleet's index from a bundle's bytes, and verify the bundle if a trusted root is given.

A bundle that does not verify, or cannot be parsed, has a row as well, with the reason: it is marked as not verified.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC

from gitchain.errors import GitchainError
from gitchain.evidence.bundle import Bundle, CertificateSigner
from gitchain.evidence.claim import StepClaim
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.revocation import read_revocation
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import (
    DATASET,
    DEPLOYMENT,
    DEPLOYMENT_CHECK,
    LIFECYCLE_PREFIX,
    OMS,
    PROVENANCE,
    RETIREMENT,
    REVOCATION,
    TEST_RESULT,
    VSA,
    ManifestVersion,
)
from gitchain.fleet.tables import Role, key_of_text, plain
from gitchain.layout.model import Identity
from gitchain.sources.bundle_facts import claim_or_problem
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust

PLACE = ("environment", "cluster", "namespace", "workload", "uid")
NOT_PROVEN = -1
"""The log time and the entry of a bundle that is not verified."""


@dataclass(frozen=True)
class Verifier:
    """What bundles are verified with: a trusted root, and keys (DER) that count. `name` identifies both."""

    name: str
    trust: Trust
    keys: Sequence[bytes] = ()

    @classmethod
    def of(cls, profile_name: str, trust_digest: str, trust: Trust, keys: Sequence[bytes]) -> Verifier:
        """Return the verifier with this trust and these keys."""
        digest = sha256_hex("\n".join([trust_digest, *sorted(key.hex() for key in keys)]).encode())
        return cls(f"{plain(profile_name)[:200]} {digest[:16]}", trust, keys)


@dataclass
class BundleRows:
    """The rows of one bundle, without its number in the index."""

    bundle: tuple[str | int, ...]
    """The columns of `fleet_bundle` after `id`, without `indexed`."""
    verified: bool
    problem: str
    artifacts: list[tuple[int, str, str, str]] = field(default_factory=list)
    placements: list[tuple[int, str, str, str, str]] = field(default_factory=list)
    revocations: list[tuple[str, str, str, str]] = field(default_factory=list)
    licence: tuple[str, str] | None = None
    directories: list[tuple[str, ManifestVersion]] = field(default_factory=list)


def rows_of(name: str, raw: bytes, verifier: Verifier | None) -> BundleRows:
    """Return the rows of the bundle with this name (the SHA-256 of its bytes)."""
    trust = verifier.name if verifier else ""
    try:
        bundle = Bundle.parse(raw)
        statement = bundle.statement()
    except GitchainError as error:
        problem = plain(f"not readable: {error}")
        unknown = ("", "", "", 0, trust, problem, "", "", "", NOT_PROVEN, "", NOT_PROVEN, "", "")
        return BundleRows((name, _id_of(raw), *unknown), verified=False, problem=problem)
    signer, problem = _signer(bundle, raw, verifier)
    claim, unread = claim_or_problem(statement)
    rows = BundleRows((), verified=not problem, problem=problem)
    _add_artifacts(rows, statement, claim)
    _add_placements(rows, statement)
    licence = ""
    if statement.predicate_type == DATASET:
        licence = _text(statement.predicate, "licence")
        rows.licence = (key_of_text(licence), plain(licence))
    negative = _negative(statement, unread)
    if statement.predicate_type == REVOCATION:
        negative = _add_revocations(rows, statement)
    rows.bundle = (
        name,
        statement.attestation_id,
        plain(statement.predicate_type),
        "" if statement.is_old else plain(claim.step or ""),
        _stage(statement),
        int(rows.verified),
        trust,
        plain(problem),
        *signer,
        rows.licence[0] if rows.licence else "",
        negative,
    )
    return rows


def _id_of(raw: bytes) -> str:
    try:
        return Bundle.parse(raw).attestation_id
    except GitchainError:
        return ""


def _signer(bundle: Bundle, raw: bytes, verifier: Verifier | None) -> tuple[tuple[str | int, ...], str]:
    """Return signer, issuer, key, log time, log and entry; and an empty text, or why the bundle is not verified."""
    reason = "indexed without verification"
    if verifier is not None:
        try:
            found = verify_bundle(raw, verifier.trust, verifier.keys)
        except GitchainError as error:
            reason = str(error)
        else:
            logged = int(found.time.astimezone(UTC).timestamp())
            log = (logged, plain(found.log.origin), found.log.index)
            return (*_identity(found.identity), *log), ""
    claimed = ("", "", "")
    if isinstance(bundle.signer, CertificateSigner):
        with suppress(GitchainError):
            claimed = _identity(_claimed(bundle.signer))
    return (*claimed, NOT_PROVEN, "", NOT_PROVEN), reason


def _claimed(signer: CertificateSigner) -> Identity:
    """Return the identity in a certificate that is not verified."""
    from gitchain.verify.certificate import load_certificate
    from gitchain.verify.identity import identity_of

    return identity_of(load_certificate(signer.leaf))


def _identity(identity: Identity) -> tuple[str, str, str]:
    return plain(identity.subject), plain(identity.issuer), key_of_text(identity.subject)


def _add_artifacts(rows: BundleRows, statement: Statement, claim: StepClaim) -> None:
    material = Role.TOPIC if claim.kind == "informational" else Role.MATERIAL
    parts = [(material, claim.materials), (Role.PRODUCT, claim.products)]
    if statement.predicate_type == OMS:
        parts.append((Role.SUBJECT, statement.subject))
    for role, items in parts:
        for item in items:
            rows.artifacts += _artifact(role, item)
            version, sha256 = item.manifest_version, item.digest.sha256
            if version is not None and sha256:
                rows.directories.append((sha256, version))


def _artifact(role: Role, item: ResourceDescriptor) -> Iterator[tuple[int, str, str, str]]:
    name = item.rule_name or ""
    for _, digest in item.digest.accepted:
        yield int(role), digest, plain(name), key_of_text(name) if name else ""


def _add_placements(rows: BundleRows, statement: Statement) -> None:
    if statement.predicate_type not in {DEPLOYMENT, RETIREMENT}:
        return
    fields = statement.predicate
    retired = statement.predicate_type == RETIREMENT
    place = {part: plain(_text(fields, part)) for part in PLACE if _text(fields, part)}
    time = plain(_text(fields, "retiredOn" if retired else "deployedOn"))[:40]
    for item in statement.subject:
        for _, digest in item.digest.accepted:
            shown = json.dumps(place, sort_keys=True)
            rows.placements.append((int(retired), digest, plain(_text(fields, "model")), shown, time))


def _add_revocations(rows: BundleRows, statement: Statement) -> str:
    """Add what a revocation revokes, and return the kind of negative evidence."""
    try:
        found = read_revocation(statement)
    except GitchainError:
        digests = [digest for item in statement.subject for _, digest in item.digest.accepted]
        rows.revocations += [("unreadable", digest, "", "") for digest in digests]
        return "unreadable revocation"
    reason, when = plain(found.reason), found.revoked_on
    rows.revocations += [("attestation", one, when, reason) for one in found.attestations]
    rows.revocations += [("signer", key_of_text(one.subject), one.since, reason) for one in found.signers]
    rows.revocations += [("artifact", digest, when, reason) for _, digest in found.artifacts]
    return "revocation"


def _negative(statement: Statement, unread: str) -> str:
    """Return the kind of negative evidence that a statement is, or an empty text."""
    fields, kind = statement.predicate, statement.predicate_type
    result = {TEST_RESULT: "result", VSA: "verificationResult"}.get(kind, "")
    if result and _text(fields, result) == "FAILED":
        return "failed test" if kind == TEST_RESULT else "failed verification"
    verdict = fields.get("verdict")
    if kind == DEPLOYMENT_CHECK and isinstance(verdict, Mapping) and verdict.get("result") == "FAILED":
        return "failed deployment check"
    return "unreadable claim" if unread else ""


def _stage(statement: Statement) -> str:
    """Return the lifecycle kind in a build type, such as training; empty for statements of other tools, and of v0.1."""
    definition = statement.predicate.get("buildDefinition")
    if statement.is_old or statement.predicate_type != PROVENANCE or not isinstance(definition, Mapping):
        return ""
    kind = definition.get("buildType")
    if not isinstance(kind, str) or not kind.startswith(LIFECYCLE_PREFIX):
        return ""
    return plain(kind.removeprefix(LIFECYCLE_PREFIX).partition("/")[0])


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
