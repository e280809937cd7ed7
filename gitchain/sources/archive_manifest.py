"""Manifest of an archive, `archive.json`: what the archive is about, and name, size and SHA-256 of every other member.

Format: docs/formats/archive.md, schemas/archive.schema.json. The bytes have one form, so a reader accepts only what
`ArchiveManifest.encode` writes. Pure: no file is read.

Does NOT vouch for anything: its writer is unknown. `gitchain.consume.archive_verdict` verifies the members.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gitchain.errors import GitchainError, LimitError, MalformedError
from gitchain.evidence.bundle import MAX_BUNDLE_BYTES
from gitchain.evidence.canonical import Json, strict_json
from gitchain.evidence.digest import Sha256
from gitchain.evidence.manifest import MAX_NODE_BYTES
from gitchain.evidence.vocabulary import check_time, time_text
from gitchain.layout.model import Identity
from gitchain.sources.interface import MAX_BUNDLES

FORMAT = "https://gitchain.dev/archive/"
SCHEMA = f"{FORMAT}v1"
MANIFEST = "archive.json"
README = "README.txt"
LAYOUT = "layout.sigstore.json"
TRUST = "trust/trusted-root.json"
SIGNER_KEY = "trust/layout-signer.der"
VERDICT = "verdict.json"
REPORT = "report.html"
"""Place of the report. No writer makes it yet; readers of this version accept it."""

MAX_MANIFEST_BYTES = 32 << 20
MAX_MEMBERS = MAX_BUNDLES + 100
MAX_EVIDENCE_BYTES = 1 << 30
"""Most bytes of all members together."""

_MAX_OTHER = 16 << 20
_LIMITS = {"sigstore": MAX_BUNDLE_BYTES, "manifest": MAX_NODE_BYTES}
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_EVIDENCE = re.compile(r"evidence/([0-9a-f]{64})\.(sigstore|manifest)\.json", re.ASCII)
_SCHEMA_FILE = re.compile(r"schemas/[a-z][a-z-]{0,40}\.schema\.json", re.ASCII)
_REQUIRED = frozenset({README, LAYOUT, TRUST, VERDICT})
_FIXED = _REQUIRED | {SIGNER_KEY, REPORT}


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """One member: its name, the size and SHA-256 of its content."""

    name: str
    size: int
    sha256: Sha256

    def __post_init__(self) -> None:
        evidence = _EVIDENCE.fullmatch(self.name)
        if evidence is None and self.name not in _FIXED and not _SCHEMA_FILE.fullmatch(self.name):
            raise MalformedError("no archive has a member of this name", got=ascii(self.name[:200]))
        if _SHA256.fullmatch(self.sha256) is None:
            raise MalformedError("not a sha256", where=self.name, got=ascii(self.sha256[:80]))
        if evidence is not None and evidence[1] != self.sha256:
            raise MalformedError("the name of a member is not its digest", where=self.name, got=self.sha256)
        limit = _MAX_OTHER if evidence is None else _LIMITS[evidence[2]]
        if not 0 <= self.size <= limit:
            raise LimitError(
                "a member is too large",
                where=self.name,
                expected=f"at most {limit} bytes",
                got=str(self.size),
            )

    @property
    def is_evidence(self) -> bool:
        """Return True for a bundle or manifest node of the evidence."""
        return self.name.startswith("evidence/")

    @property
    def is_bundle(self) -> bool:
        """Return True for a bundle of the evidence."""
        return self.is_evidence and self.name.endswith(".sigstore.json")

    @property
    def is_node(self) -> bool:
        """Return True for a node of a directory manifest."""
        return self.is_evidence and self.name.endswith(".manifest.json")


@dataclass(frozen=True, slots=True)
class ArchivedArtifact:
    """An artifact that the archive is about: its attested name if it has one, digest, and kind if it is known."""

    sha256: Sha256
    name: str | None = None
    directory: bool | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the artifact as in the manifest."""
        kind = {None: None, True: "directory", False: "file"}[self.directory]
        return {"name": self.name, "digest": {"sha256": self.sha256}, "kind": kind}


@dataclass(frozen=True, slots=True)
class ArchiveManifest:
    """The manifest. Its parts are statements of the archive's writer, which nothing proves, and the list of members."""

    created: datetime
    target: str
    artifacts: tuple[ArchivedArtifact, ...]
    layout: str
    signer: Identity
    trust_digest: str
    members: tuple[ArchiveMember, ...]

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if names != sorted(set(names)):
            raise MalformedError("the members are not sorted by name, each once")
        if missing := _REQUIRED.difference(names):
            raise MalformedError("the archive lacks a member", expected=min(missing))
        if not self.artifacts:
            raise MalformedError("the archive is about no artifact")
        if _SHA256.fullmatch(self.trust_digest) is None:
            raise MalformedError("not a sha256", where="trust", got=ascii(self.trust_digest[:80]))
        if sum(member.size for member in self.members) > MAX_EVIDENCE_BYTES:
            raise LimitError("the archive is too large", expected=f"at most {MAX_EVIDENCE_BYTES} bytes")

    def encode(self) -> bytes:
        """Return the bytes of the manifest: indented for people, keys sorted."""
        document = {
            "schema": SCHEMA,
            "created": time_text(self.created),
            "target": self.target,
            "artifacts": [one.to_json() for one in self.artifacts],
            "layout": {"name": self.layout, "signer": self.signer.to_json()},
            "trust": {"digest": {"sha256": self.trust_digest}},
            "members": [{"name": one.name, "size": one.size, "sha256": one.sha256} for one in self.members],
        }
        return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> ArchiveManifest:
        """Return the manifest. Raises MalformedError for another form or a newer format, LimitError for too much."""
        value = strict_json(data, MANIFEST, max_bytes=MAX_MANIFEST_BYTES, max_values=5 * MAX_MEMBERS)
        schema = value.get("schema") if isinstance(value, Mapping) else None
        if schema != SCHEMA:
            is_other = isinstance(schema, str) and schema.startswith(FORMAT)
            raise MalformedError(
                "this version of gitchain does not read archives of this format"
                if is_other
                else "not an archive of gitchain",
                where=MANIFEST,
                expected=SCHEMA,
                got=ascii(schema)[:100],
                help="use a newer gitchain" if is_other else "",
            )
        try:
            found = _manifest(value)
        except GitchainError as error:
            kind = LimitError if isinstance(error, LimitError) else MalformedError
            where = f"{MANIFEST}: {error.where}" if error.where else MANIFEST
            raise kind(error.what, where=where, expected=error.expected, got=error.got) from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MalformedError(
                "a field is missing or has the wrong type", where=MANIFEST, got=ascii(error)[:200]
            ) from error
        if found.encode() != data:
            raise MalformedError("the manifest does not have the one form of its content", where=MANIFEST)
        return found


def _manifest(value: Any) -> ArchiveManifest:
    members: Sequence[Any] = value["members"]
    if len(members) > MAX_MEMBERS:
        raise LimitError(
            "the archive has too many members", expected=f"at most {MAX_MEMBERS}", got=str(len(members))
        )
    return ArchiveManifest(
        datetime.fromisoformat(check_time(value["created"], "created")),
        _text(value["target"]),
        tuple(map(_artifact, value["artifacts"])),
        _text(value["layout"]["name"]),
        Identity(_text(value["layout"]["signer"]["issuer"]), _text(value["layout"]["signer"]["subject"])),
        _text(value["trust"]["digest"]["sha256"]),
        tuple(
            ArchiveMember(_text(one["name"]), _size(one["size"]), Sha256(_text(one["sha256"])))
            for one in members
        ),
    )


def _artifact(value: Any) -> ArchivedArtifact:
    name, digest = value["name"], _text(value["digest"]["sha256"])
    if _SHA256.fullmatch(digest) is None:
        raise MalformedError("not a sha256", where="artifacts", got=ascii(digest[:80]))
    kind = {None: None, "directory": True, "file": False}[value["kind"]]
    return ArchivedArtifact(Sha256(digest), None if name is None else _text(name), kind)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not an integer")
    return value
