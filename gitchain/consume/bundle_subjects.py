"""A bundle file as the target of a verification: its subjects, once it is verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError, NoEvidenceError
from gitchain.evidence.digest import Sha256, check_hex
from gitchain.evidence.subjects import Subject
from gitchain.evidence.vocabulary import MANIFEST_VERSION
from gitchain.layout.model import Identity
from gitchain.verify.target import Target

if TYPE_CHECKING:
    from gitchain.verify.trust import Trust


@dataclass(frozen=True, slots=True)
class Subjects:
    """Subjects of a bundle file, and the signer of the bundle."""

    targets: tuple[Target, ...]
    signer: Identity


def subjects_of(data: bytes, name: str, trust: Trust, keys: Sequence[bytes] = ()) -> Subjects:
    """Return the subjects of a bundle that verifies under this trusted root, with any signer.

    Raises the errors of `verify_subjects` with the bundle's name in `where`, NoEvidenceError for a subject without
    sha256.
    """
    from gitchain.verify.bundle import verify_subjects

    try:
        proven, subjects = verify_subjects(data, trust, keys)
    except GitchainError as error:
        error.where = f"bundle {name}: {error.where}" if error.where else f"bundle {name}"
        raise
    return Subjects(tuple(_target(subject, f"bundle {name}") for subject in subjects), proven.identity)


def _target(subject: Subject, where: str) -> Target:
    if "sha256" not in subject.digest:
        raise NoEvidenceError(
            "a subject of the bundle has no sha256",
            where=where,
            expected="sha256 on each subject",
            got=str(subject),
        )
    digest = Sha256(check_hex(subject.digest["sha256"], (64,), where))
    version = subject.manifest_version
    return Target(digest, subject.name, version is not None, version=version or MANIFEST_VERSION)
