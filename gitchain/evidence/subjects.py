"""Read only the subjects' digests of a foreign in-toto statement.

in-toto lets a subject have no name, or a URL as name; a predicate may be null or absent; digests may be of any kind.
A statement of a chain has to be stricter (`gitchain.evidence.statement`), because rules see its names. To check that a
file is a subject, the digests suffice.

Format: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
Does NOT read predicates, and no rule of a layout ever sees what is read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.canonical import Json, strict_json
from gitchain.evidence.digest import MAX_DIGESTS
from gitchain.evidence.fields import as_object, as_string, find_object, find_string, get_array, get_string
from gitchain.evidence.names import check_name
from gitchain.evidence.statement import MAX_DESCRIPTORS, OLD_STATEMENT_TYPE, STATEMENT_TYPE
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES, ManifestVersion

COMPARED = ("sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512")
"""Digests by which a file is compared with a subject; in-toto and hashlib have the same names for them."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject: its name if it is one that gitchain could have written, and its digests as they are.

    `manifest_version` is that of the directory manifest that the digest is of, None for a file.
    """

    name: str | None
    digest: Mapping[str, str] = field(hash=False)
    manifest_version: ManifestVersion | None = None

    @property
    def compared(self) -> Mapping[str, str]:
        """Return the digests by which a file can be compared with the subject."""
        return {name: self.digest[name] for name in COMPARED if name in self.digest}

    def __str__(self) -> str:
        """Return name and first digest for messages."""
        digests = self.compared or self.digest
        digest = next((f"{name}:{value}"[:140] for name, value in digests.items()), "no digest")
        return ascii(f"{self.name} {digest}" if self.name else digest)[1:-1]


def read_subjects(payload: bytes) -> tuple[Subject, ...]:
    """Return the subjects of the statement, of version 1 or the one before, that these bytes hold.

    Raises MalformedError for anything else, LimitError beyond MAX_DESCRIPTORS subjects or MAX_JSON_BYTES.
    """
    source = as_object(strict_json(payload, "statement"), "statement")
    kind = get_string(source, "_type", "statement")
    if kind not in {STATEMENT_TYPE, OLD_STATEMENT_TYPE}:
        raise MalformedError(
            "not an in-toto statement", where="_type", expected=STATEMENT_TYPE, got=ascii(kind[:100])
        )
    if not get_string(source, "predicateType", "statement"):
        raise MalformedError("statement has no predicate type", where="statement.predicateType")
    items = get_array(source, "subject", "statement", limit=MAX_DESCRIPTORS)
    if not items:
        raise MalformedError("statement has no subject", where="statement.subject")
    return tuple(_subject(item, f"subject[{index}]") for index, item in enumerate(items))


def subjects_with(subjects: Sequence[Subject], digests: Mapping[str, str]) -> tuple[Subject, ...]:
    """Return the subjects that are the artifact with these digests.

    They share one digest of COMPARED at least, and no shared one differs.
    """
    return tuple(one for one in subjects if _is(one, digests))


def _is(subject: Subject, digests: Mapping[str, str]) -> bool:
    shared = [value == digests[name] for name, value in subject.compared.items() if name in digests]
    return bool(shared) and all(shared)


def _subject(item: Json, where: str) -> Subject:
    source = as_object(item, where)
    digests = find_object(source, "digest", where) or {}
    if len(digests) > MAX_DIGESTS:
        raise LimitError("too many digests", where=where, expected=f"at most {MAX_DIGESTS}")
    digest = {name: as_string(value, f"{where}.digest") for name, value in digests.items()}
    media_type = find_string(source, "mediaType", where)
    version = next((version for version, name in MANIFEST_MEDIA_TYPES.items() if name == media_type), None)
    return Subject(_name(find_string(source, "name", where)), digest, version)


def _name(name: str | None) -> str | None:
    """Return the name if it is a normalised path; a URL, `.` and an empty text name no file of a repository."""
    try:
        return None if name is None else check_name(name)
    except MalformedError:
        return None
