"""Read the facts that the index stores about a bundle from its bytes, without verifying them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError, LimitError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.digest import Sha256
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.evidence.vocabulary import CHECKPOINT, REVOCATION
from gitchain.sources.bundle_rows import ArtifactMention, BundleFacts, Role
from gitchain.sources.bundles import claim_or_problem

if TYPE_CHECKING:
    from gitchain.sources.bundle_index import BundleIndex

NEGATIVE = frozenset({REVOCATION, CHECKPOINT})
"""Predicate types of negative evidence, which are gathered for every target."""

MAX_MENTIONS = (
    10_000_000  # of artifacts by the bundles that one reading indexes; each costs some 50 bytes on disk
)

TOGETHER = 20_000  # rows that are written together


Facts = tuple[BundleFacts, list[ArtifactMention]]


class Indexer:
    """Adds bundles to an index. Raises LimitError beyond MAX_MENTIONS."""

    def __init__(self, index: BundleIndex) -> None:
        self.index = index
        self._mentions = 0
        self._rows = 0
        self._waiting: dict[str, Facts] = {}

    def add(self, name: str, place: str, raw: bytes) -> None:
        """Index the bundle with this name (the SHA-256 of its bytes), unless the index has it. `write` completes it."""
        if name in self._waiting or self.index.has_bundle(name):
            return
        found = self._waiting[name] = facts_of(name, place, raw)
        self._mentions += len(found[1])
        self._rows += len(found[1]) + 1
        if self._mentions > MAX_MENTIONS:
            raise LimitError(
                "the attestations name more artifacts than can be looked at",
                expected=f"at most {MAX_MENTIONS} names",
                help="gitchain sync --prune-junk   removes what is no attestation",
            )
        if self._rows >= TOGETHER:
            self.write()

    def write(self) -> None:
        """Write the added bundles that are not in the index yet."""
        if self._waiting:
            self.index.add_all(self._waiting.values())
        self._waiting.clear()
        self._rows = 0


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
