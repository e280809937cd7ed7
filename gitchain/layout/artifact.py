"""Artifacts for rules, and access to files inside of directories.

A file and a directory are different kinds and never equal, whatever their digests. A directory is one artifact: the
digest of its manifest (`gitchain.evidence.manifest`). A rule about files inside of it opens only that manifest:

- a lookup of `data/x/train.csv` in a list with the directory `data/x` follows its manifest to the entry;
- in a list whose rules name something inside one of its directories, the directory is replaced by its files.

A manifest that is not available is closed: a lookup finds nothing, and a list that must be opened is refused.

Directories of two manifest versions are equal if the older one's nodes are available and give the newer one's digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from gitchain.errors import GitchainError
from gitchain.evidence.digest import DigestSet, Sha256
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.evidence.vocabulary import MANIFEST_VERSION, ManifestVersion

if TYPE_CHECKING:
    from gitchain.evidence.manifest import FileEntry, NodeEntry

MAX_CONTENTS = (
    10_000  # digests to list for a quick comparison; beyond, links are compared by their rules alone
)
MAX_OPENED_FILES = 1_000_000  # per directory and list; rules over more are better written for the directory


@dataclass(frozen=True, slots=True, eq=False)
class Artifact:
    """An artifact as rules compare it: kind and digests. Equal if one accepted digest agrees and none differs.

    `version` is that of a directory's manifest. `upgrade` returns the version 2 digest for a version 1 digest, None if
    the nodes are not available: two directories of different versions are equal by it alone.
    That relation is not transitive (verifier rules, digest equality), so artifacts are not hashable.
    """

    digest: DigestSet
    directory: bool = False
    version: ManifestVersion = MANIFEST_VERSION
    upgrade: Callable[[Sha256], Sha256 | None] | None = field(default=None, repr=False)

    @property
    def kind(self) -> int:
        """Return 0 for a file, the manifest's version for a directory."""
        return self.version if self.directory else 0

    @property
    def newest(self) -> Sha256 | None:
        """Return a directory's sha256 under version 2, None if it cannot be known."""
        sha256 = self.digest.sha256
        if self.version == MANIFEST_VERSION or sha256 is None:
            return sha256
        return self.upgrade(sha256) if self.upgrade else None

    @property
    def digests(self) -> Iterable[tuple[str, str]]:
        """Return the accepted digests, and a directory's version 2 digest where it is of version 1 and known."""
        if self.kind != 1 or (newest := self.newest) is None:
            return self.digest.accepted
        return (*self.digest.accepted, ("sha256", newest))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Artifact):
            return NotImplemented
        if self.version == other.version:
            return self.directory == other.directory and self.digest.matches(other.digest)
        newest = self.newest if self.directory and other.directory else None
        return newest is not None and newest == other.newest

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        """Return the digest for messages."""
        algorithm = "sha256" if "sha256" in self.digest else next(iter(sorted(self.digest)), "")
        kind = "directory " if self.directory else ""
        return f"{kind}{algorithm}:{self.digest[algorithm]}" if algorithm else f"{kind}without a digest"


Artifacts: TypeAlias = Mapping[str, Artifact]


@dataclass(frozen=True, slots=True)
class Link:
    """Materials and products of one step, in the form that in-toto's rule engine reads."""

    materials: Artifacts
    products: Artifacts


class Manifests:
    """The manifests available, each node checked and parsed once. Nothing here raises for one that is missing.

    `fetch` returns the node with a sha256, or None; its bytes need not be trusted. `hashed` returns the
    version 2 digest for the version 1 digest of a directory that the caller hashed itself, None for any other.
    """

    __slots__ = ("_absent", "_converted", "_fetch", "_hashed", "_nodes", "_opened", "_upgraded")

    def __init__(
        self, fetch: Callable[[str], bytes | None], hashed: Callable[[Sha256], Sha256 | None] | None = None
    ) -> None:
        self._fetch = fetch
        self._nodes: dict[_Key, Artifacts] = {}
        self._opened: dict[_Key, Artifacts | None] = {}
        self._absent: set[_Key] = set()
        self._hashed = hashed or (lambda _sha256: None)
        self._upgraded: dict[Sha256, Sha256 | None] = {}
        self._converted: dict[str, NodeEntry] = {}

    def artifact(self, descriptor: ResourceDescriptor) -> Artifact:
        """Return the descriptor as rules see it."""
        version = descriptor.manifest_version
        if version is None:
            return Artifact(descriptor.digest)
        return Artifact(descriptor.digest, True, version, self.upgrade)

    def upgrade(self, sha256: Sha256) -> Sha256 | None:
        """Return the version 2 digest of a directory by its version 1 digest, None if its nodes are not all available."""
        if sha256 not in self._upgraded:
            from gitchain.evidence.manifest import to_version_2

            try:
                known = self._hashed(sha256)
                self._upgraded[sha256] = known or to_version_2(sha256, self._fetch, self._converted)
            except GitchainError:
                self._upgraded[sha256] = None
        return self._upgraded[sha256]

    def is_closed(self, directory: Artifact) -> bool:
        """Return whether the directory's own node is not available, or does not match its digest."""
        self.entries(directory)
        return _key(directory) in self._absent

    def entries(self, directory: Artifact) -> Artifacts:
        """Return the directory's direct entries by name; nothing if its manifest is not available."""
        key = _key(directory)
        if key not in self._nodes:
            self._nodes[key] = self._read(key)
        return self._nodes[key]

    def files(self, directory: Artifact) -> Artifacts | None:
        """Return every file below the directory by its path in it, or None if the manifest is not whole."""
        key = _key(directory)
        if key not in self._opened:
            try:
                found = {file.path: _file(file.sha256) for file in self._expanded(key)}
                self._opened[key] = found
            except GitchainError:
                self._opened[key] = None
        return self._opened[key]

    def executables(self, directory: Artifact) -> Mapping[str, bool] | None:
        """Return for each file below whether the manifest marks it executable, or None if the manifest is not whole."""
        try:
            return {file.path: file.executable for file in self._expanded(_key(directory))}
        except GitchainError:
            return None

    def _expanded(self, key: _Key) -> Iterable[FileEntry]:
        from gitchain.evidence.manifest import expand

        return expand(key[1], self._fetch, key[0], max_files=MAX_OPENED_FILES)

    def tree(self, directory: Artifact, limit: int) -> Sequence[Artifact] | None:
        """Return the directory and all that available manifests list below it, or None beyond the limit."""
        found, at = [directory], 0
        while at < len(found):
            if found[at].directory:
                found.extend(self.entries(found[at]).values())
            if len(found) > limit:
                return None
            at += 1
        return found

    def _read(self, key: _Key) -> Artifacts:
        from gitchain.evidence.manifest import parse_node

        version, digest = key
        try:
            node = self._fetch(digest)
            entries = None if node is None else parse_node(node, digest, version)
        except GitchainError:  # bytes that are not this manifest are as good as none
            entries = None
        if entries is None:
            self._absent.add(key)
            return {}
        return {
            entry.name: Artifact(DigestSet({"sha256": entry.sha256}), True, version, self.upgrade)
            if entry.is_directory
            else _file(entry.sha256)
            for entry in entries
        }


_Key: TypeAlias = tuple[ManifestVersion, str]
"""A node: the version that it must have, and its digest."""


def _key(directory: Artifact) -> _Key:
    return directory.version, directory.digest.get("sha256", "")


def _file(sha256: Sha256) -> Artifact:
    return Artifact(DigestSet({"sha256": sha256}))


def contents(link: Link, manifests: Manifests) -> frozenset[tuple[str, str]] | None:
    """Return every accepted digest in the link, those inside directories too; None beyond MAX_CONTENTS.

    Two links with no digest in common hold no artifact in common.
    """
    found: set[tuple[str, str]] = set()
    for artifact in (*link.materials.values(), *link.products.values()):
        inside = manifests.tree(artifact, MAX_CONTENTS) if artifact.directory else (artifact,)
        if inside is None:
            return None
        for one in inside:
            found.update(one.digests)
        if len(found) > MAX_CONTENTS:
            return None
    return frozenset(found)


def lookup(artifacts: Artifacts, name: str, manifests: Manifests) -> Artifact | None:
    """Return the artifact of that name, if need be through the manifest of a directory above it, or None."""
    if name in artifacts:
        return artifacts[name]
    parts = name.split("/")
    for count in range(len(parts) - 1, 0, -1):
        above = artifacts.get("/".join(parts[:count]))
        if above is not None:
            return _descend(above, parts[count:], manifests)
    return None


def _descend(artifact: Artifact, parts: Sequence[str], manifests: Manifests) -> Artifact | None:
    for part in parts:
        found = manifests.entries(artifact).get(part) if artifact.directory else None
        if found is None:
            return None
        artifact = found
    return artifact


def closed_above(artifacts: Artifacts, name: str, manifests: Manifests) -> str | None:
    """Return the directory above the name at which a lookup ends because its manifest is not available, or None."""
    parts = name.split("/")
    for count in range(1, len(parts)):
        above = "/".join(parts[:count])
        found = lookup(artifacts, above, manifests)
        if found is not None and found.directory and manifests.is_closed(found):
            return above
    return None
