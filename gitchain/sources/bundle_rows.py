"""Rows of the index's tables about a bundle, and the keys of digests and names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from gitchain.evidence.digest import Sha256, sha256_hex
from gitchain.evidence.dsse import AttestationId

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
