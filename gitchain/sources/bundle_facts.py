"""The facts that the index stores about a bundle, read from its bytes without verifying them; the keys to find them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from gitchain.errors import GitchainError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.claim import StepClaim, claim_of, claimless_artifacts
from gitchain.evidence.digest import Sha256, sha256_hex
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import CHECKPOINT, REVOCATION

NEGATIVE = frozenset({REVOCATION, CHECKPOINT})
"""Predicate types of negative evidence, which are gathered for every target."""

KEY_BYTES = 16  # of a digest: collisions cost a comparison


class Role(IntEnum):
    """The role of an artifact in a statement."""

    SUBJECT = 0
    MATERIAL = 1
    PRODUCT = 2
    NAME = 3
    """A name of a material or product, instead of a digest."""
    TOPIC = 4
    """A material of a statement without products: the statement is about the artifact."""


class ArtifactMention(NamedTuple):
    """One artifact of a statement. `version` is that of a directory's manifest, None for a file."""

    role: Role
    digests: tuple[str, ...]
    sha256: Sha256 = Sha256("")  # empty if the artifact has none
    version: int | None = None


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """The facts about one bundle that the index stores.

    `name` is the SHA-256 of the bytes, `place` tells the store where they are. `predicate_type` is None for bytes that
    are no attestation; `reason` is why a bundle is refused, or empty.
    """

    name: str
    place: str
    attestation_id: AttestationId
    predicate_type: str | None
    step: str | None = None
    kind: str | None = None
    unreadable: bool = False
    reason: str = ""


def key_of(digest: str) -> bytes:
    """Return the key of a digest in lower-case hex."""
    return bytes.fromhex(digest[: 2 * KEY_BYTES])


def key_of_name(name: str) -> bytes:
    """Return the key of an artifact's name."""
    return key_of(sha256_hex(name.encode("utf-8", "surrogatepass")))


Facts = tuple[BundleFacts, list[ArtifactMention]]


def facts_of(name: str, place: str, raw: bytes) -> Facts:
    """Return the facts of a bundle, and all artifacts that it mentions."""
    try:
        statement = Bundle.parse(raw).statement()
    except GitchainError as error:
        return BundleFacts(name, place, _id_of(raw), None, reason=str(error)), []
    claim, problem = claim_or_problem(statement)
    refused = problem if statement.predicate_type not in NEGATIVE else ""
    facts = BundleFacts(
        name,
        place,
        statement.attestation_id,
        statement.predicate_type,
        claim.step,
        claim.kind,
        bool(problem),
        refused,
    )
    material = Role.TOPIC if claim.kind == "informational" else Role.MATERIAL
    mentions = [
        *_mentions(Role.SUBJECT, statement.subject),
        *_mentions(material, claim.materials),
        *_mentions(Role.PRODUCT, claim.products),
    ]
    names = {item.rule_name for item in (*claim.materials, *claim.products)} - {None}
    mentions.append(ArtifactMention(Role.NAME, tuple(str(one) for one in names)))
    return facts, mentions


def _mentions(role: Role, items: Iterable[ResourceDescriptor]) -> Iterator[ArtifactMention]:
    for item in items:
        digests = tuple(value for _, value in item.digest.accepted)
        sha256 = item.digest.sha256 or Sha256("")
        yield ArtifactMention(role, digests, sha256, item.manifest_version if sha256 else None)


def _id_of(raw: bytes) -> AttestationId:
    """Return the attestation id of a statement that cannot be parsed, or an empty text if it is no bundle."""
    try:
        return Bundle.parse(raw).attestation_id
    except GitchainError:
        return AttestationId("")


def claim_or_problem(statement: Statement) -> tuple[StepClaim, str]:
    """Return the claim of a statement, and an empty text or why it cannot be read.

    An unreadable claim still counts as negative evidence (`claimless_artifacts`).
    """
    try:
        return claim_of(statement), ""
    except GitchainError as error:
        about = claimless_artifacts(statement)
        return StepClaim(None, None, None, None, about, (), "informational"), str(error)


def digests_of(items: Iterable[ResourceDescriptor]) -> tuple[str, ...]:
    """Return every accepted digest of these artifacts."""
    return tuple(value for item in items for _, value in item.digest.accepted)


def artifacts_in(statement: Statement) -> tuple[ResourceDescriptor, ...]:
    """Return the materials and products of a statement, or what it is about if its claim cannot be parsed."""
    claim = claim_in(statement)
    return (*claim.materials, *claim.products)


def claim_in(statement: Statement) -> StepClaim:
    """Return the claim of a statement. An unreadable one still counts as negative evidence (`claimless_artifacts`)."""
    return claim_or_problem(statement)[0]
