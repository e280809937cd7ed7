"""Parse in-toto statements and resource descriptors, and keep their exact bytes.

    {"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"model.pkl","digest":{"sha256":"…"}}],
     "predicateType":"https://slsa.dev/provenance/v1","predicate":{…}}

Format: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and resource_descriptor.md
A Statement v0.1 (https://github.com/in-toto/attestation/blob/main/spec/v0.1.0/statement.md) is read with the same checks.
Unknown fields are ignored for meaning and stay in the bytes, which are what was signed.
Does NOT read predicates (`predicates.claim_of` does) and verifies nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json, canonical_json, strict_json
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.dsse import AttestationId, attestation_id
from gitchain.evidence.fields import (
    as_object,
    as_string,
    find_object,
    find_string,
    get_array,
    get_string,
)
from gitchain.evidence.names import check_name, check_names, check_uri
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES, REVOCATION, ManifestVersion, is_own_type

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
OLD_STATEMENT_TYPE = "https://in-toto.io/Statement/v0.1"
"""The version before: the same fields with the same meaning. cosign and slsa-github-generator write it.

Only a step with `select` takes one as evidence (`gitchain.verify.authorization`).
"""

MAX_DESCRIPTORS = 10_000
"""Most subjects or materials of one statement: beyond that, name a directory, which is one subject."""

MAX_MEDIA_TYPE = 256
"""Longest media type: IANA allows 127 characters on each side of the slash."""

SUBJECT_ALGORITHMS = frozenset({"sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"})
"""What sigstore-python signs over. Git's and DVC's ids belong in the predicate or in annotations."""


@dataclass(frozen=True, slots=True)
class ResourceDescriptor:
    """One artifact: by name or uri, by digest, or both. The constructor raises MalformedError."""

    name: str | None
    digest: DigestSet = field(default_factory=DigestSet)
    uri: str | None = None
    media_type: str | None = None
    annotations: Mapping[str, Json] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.name is not None:
            check_name(self.name)
        if self.uri is not None:
            check_uri(self.uri)
        if self.media_type is not None and not (
            1 <= len(self.media_type) <= MAX_MEDIA_TYPE
            and self.media_type.isascii()
            and self.media_type.isprintable()
        ):
            raise MalformedError("media type is malformed", got=ascii(self.media_type[:100]))

    @property
    def is_directory(self) -> bool:
        """Return whether the digest is that of a directory manifest rather than of a file."""
        return self.manifest_version is not None

    @property
    def manifest_version(self) -> ManifestVersion | None:
        """Return the version of the directory manifest that the digest is of, None for a file."""
        return next(
            (version for version, name in MANIFEST_MEDIA_TYPES.items() if name == self.media_type), None
        )

    @property
    def rule_name(self) -> str | None:
        """Return the name that artifact rules see: the name, or the uri where there is none."""
        return self.uri if self.name is None else self.name

    def to_json(self) -> dict[str, Json]:
        """Return the descriptor as JSON, absent fields left out."""
        value: dict[str, Json] = {}
        if self.name is not None:
            value["name"] = self.name
        if self.digest:
            value["digest"] = dict(self.digest)
        if self.uri is not None:
            value["uri"] = self.uri
        if self.media_type is not None:
            value["mediaType"] = self.media_type
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value

    @classmethod
    def parse(cls, value: Json, where: str) -> ResourceDescriptor:
        """Return the descriptor that the JSON object holds, or raise MalformedError or LimitError."""
        source = as_object(value, where)
        digests = find_object(source, "digest", where) or {}
        digest = DigestSet({key: as_string(item, f"{where}.digest.{key}") for key, item in digests.items()})
        return cls(
            find_string(source, "name", where),
            digest,
            find_string(source, "uri", where),
            find_string(source, "mediaType", where),
            find_object(source, "annotations", where) or {},
        )


def check_rule_names(descriptors: Iterable[ResourceDescriptor], where: str) -> None:
    """Check that each descriptor has a name that rules can see, and that no two share one.

    Raises MalformedError: a nameless artifact would slip past `DISALLOW *`, a doubled one would hide another.
    """
    names: list[str] = []
    uris: set[str] = set()
    for descriptor in descriptors:
        if descriptor.name is not None:
            names.append(descriptor.name)
        elif descriptor.uri is None:
            raise MalformedError("artifact has neither name nor uri", where=where)
        elif descriptor.uri in uris:
            raise MalformedError("artifact uri appears twice", where=where, got=ascii(descriptor.uri[:100]))
        else:
            uris.add(descriptor.uri)
    check_names(names)
    if both := uris.intersection(names):
        raise MalformedError("artifact name is also a uri", where=where, got=ascii(min(both)[:100]))


@dataclass(frozen=True, slots=True)
class Statement:
    """An in-toto Statement and the exact bytes that it was read from. Make it with build() or parse().

    `is_old` is True for a Statement v0.1; build() makes a Statement v1.
    """

    subject: tuple[ResourceDescriptor, ...]
    predicate_type: str
    predicate: Mapping[str, Json] = field(hash=False)
    payload: bytes = field(repr=False)
    is_old: bool = False

    @classmethod
    def build(
        cls, subject: Sequence[ResourceDescriptor], predicate_type: str, predicate: Mapping[str, Json]
    ) -> Statement:
        """Return the statement over the subjects, sorted by name, with its payload in canonical JSON.

        Raises MalformedError if there is no subject, or one has no name, no sha256 (for a revocation: no accepted
        digest), or a digest that Sigstore's clients refuse to sign over.
        """
        for descriptor in subject:
            _check_signable(descriptor, predicate_type)
        ordered = sorted(subject, key=lambda descriptor: str(descriptor.name).encode())
        payload = canonical_json(
            {
                "_type": STATEMENT_TYPE,
                "subject": [descriptor.to_json() for descriptor in ordered],
                "predicateType": predicate_type,
                "predicate": predicate,
            }
        )
        return cls.parse(payload)

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """Return the statement in these bytes, and keep the exact bytes.

        A predicate that is null or absent is an empty one. Raises MalformedError for anything but a Statement v1 or
        v0.1 with at least one subject, each with a digest and a name or uri of its own, and for a Statement v0.1 of one
        of gitchain's own types; LimitError beyond MAX_DESCRIPTORS subjects or MAX_JSON_BYTES.
        """
        source = as_object(strict_json(payload, "statement"), "statement")
        is_old = _check_type(get_string(source, "_type", "statement"))
        items = get_array(source, "subject", "statement", limit=MAX_DESCRIPTORS)
        if not items:
            raise MalformedError("statement has no subject", where="statement.subject")
        subject = tuple(
            ResourceDescriptor.parse(item, f"subject[{index}]") for index, item in enumerate(items)
        )
        if not all(descriptor.digest for descriptor in subject):
            raise MalformedError("subject has no digest", where="statement.subject")
        check_rule_names(subject, "statement.subject")
        predicate_type = check_uri(get_string(source, "predicateType", "statement"), "predicateType")
        if is_old and is_own_type(predicate_type):
            raise MalformedError(
                "statement of gitchain is of an old version",
                where="_type",
                expected=STATEMENT_TYPE,
                got=OLD_STATEMENT_TYPE,
            )
        if "predicate" not in source and any(key.casefold() == "predicate" for key in source):
            raise MalformedError("field name has another case", where="statement", expected="predicate")
        predicate = find_object(source, "predicate", "statement") or {}
        return cls(subject, predicate_type, predicate, payload, is_old)

    @property
    def attestation_id(self) -> AttestationId:
        """Return the id of this attestation everywhere: SHA-256 over the PAE of its payload, in hex."""
        return attestation_id(self.payload)


def _check_type(kind: str) -> bool:
    """Return whether this `_type` is that of a Statement v0.1. Raises MalformedError for neither it nor v1."""
    if kind not in {STATEMENT_TYPE, OLD_STATEMENT_TYPE}:
        raise MalformedError(
            "not an in-toto statement", where="_type", expected=STATEMENT_TYPE, got=ascii(kind[:100])
        )
    return kind == OLD_STATEMENT_TYPE


def _check_signable(descriptor: ResourceDescriptor, predicate_type: str) -> None:
    where = f"subject {descriptor.name!a}"
    if descriptor.name is None:
        raise MalformedError("subject has no name", where=where)
    revoked = predicate_type == REVOCATION and descriptor.digest.accepted
    if "sha256" not in descriptor.digest and not revoked:
        raise MalformedError("subject has no sha256", where=where)
    if foreign := sorted(set(descriptor.digest) - SUBJECT_ALGORITHMS):
        raise MalformedError(
            f"subject digest {foreign[0]} cannot be signed with sigstore",
            where=where,
            expected="sha2 or sha3",
            help="put Git and DVC ids into annotations or the predicate",
        )
