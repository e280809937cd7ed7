"""Artifacts as the rules see them, and how a rule reaches inside a directory.

A file and a directory are different kinds: they never equal each other, whatever their digests. A directory
is one artifact, the digest of its manifest (`gitchain.evidence.manifest`). A rule that reaches inside opens
the manifest there and nowhere else:

- looking up `data/x/train.csv` in a list that holds the directory `data/x` follows its manifest to the entry;
- a list whose rules name something inside one of its own directories sees that directory's files instead.

A manifest that is not at hand stays closed: a lookup finds nothing, a list that has to be opened is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gitchain.errors import GitchainError
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.manifest import expand, parse_node

MAX_CONTENTS = (
    10_000  # digests to list for a quick comparison; beyond, links are compared by their rules alone
)
MAX_OPENED_FILES = 1_000_000  # per directory and list; rules over more are better written for the directory


@dataclass(frozen=True, slots=True, eq=False)
class Artifact:
    """What a rule compares: the kind and the digests. Equal if one accepted digest agrees and none differs.

    That relation is not transitive (verifier rules, digest equality), so artifacts are not hashable.
    """

    digest: DigestSet
    directory: bool = False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Artifact):
            return NotImplemented
        return self.directory == other.directory and self.digest.matches(other.digest)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        """Return the digest as messages show it."""
        algorithm = "sha256" if "sha256" in self.digest else next(iter(sorted(self.digest)), "")
        kind = "directory " if self.directory else ""
        return f"{kind}{algorithm}:{self.digest[algorithm]}" if algorithm else f"{kind}without a digest"


Artifacts: TypeAlias = Mapping[str, Artifact]


@dataclass(frozen=True, slots=True)
class Link:
    """What one step took and made: the shape that in-toto's rule engine reads."""

    materials: Artifacts
    products: Artifacts


class Manifests:
    """The manifests at hand, each node checked and parsed once. Nothing here raises for one that is missing.

    `fetch` returns the node with a sha256, or None; its bytes need not be trusted.
    """

    __slots__ = ("_absent", "_fetch", "_nodes", "_opened")

    def __init__(self, fetch: Callable[[str], bytes | None]) -> None:
        self._fetch = fetch
        self._nodes: dict[str, Artifacts] = {}
        self._opened: dict[str, Artifacts | None] = {}
        self._absent: set[str] = set()

    def is_closed(self, directory: Artifact) -> bool:
        """Tell whether the directory's own node is not at hand, or not what its digest says."""
        self.entries(directory)
        return directory.digest.get("sha256", "") in self._absent

    def entries(self, directory: Artifact) -> Artifacts:
        """Return what lies directly in the directory, by name; nothing if its manifest is not at hand."""
        digest = directory.digest.get("sha256", "")
        if digest not in self._nodes:
            self._nodes[digest] = self._read(digest)
        return self._nodes[digest]

    def files(self, directory: Artifact) -> Artifacts | None:
        """Return every file below the directory by its path in it, or None if the manifest is not whole."""
        digest = directory.digest.get("sha256", "")
        if digest not in self._opened:
            try:
                found = expand(digest, self._fetch, max_files=MAX_OPENED_FILES)
                self._opened[digest] = {file.path: _artifact(file.sha256) for file in found}
            except GitchainError:
                self._opened[digest] = None
        return self._opened[digest]

    def tree(self, directory: Artifact, limit: int) -> Sequence[Artifact] | None:
        """Return the directory and what lies below it as far as it is at hand, or None beyond the limit."""
        found, at = [directory], 0
        while at < len(found):
            if found[at].directory:
                found.extend(self.entries(found[at]).values())
            if len(found) > limit:
                return None
            at += 1
        return found

    def _read(self, digest: str) -> Artifacts:
        try:
            node = self._fetch(digest)
            entries = None if node is None else parse_node(node, digest)
        except GitchainError:  # bytes that are not this manifest are as good as none
            entries = None
        if entries is None:
            self._absent.add(digest)
            return {}
        return {entry.name: _artifact(entry.sha256, entry.is_directory) for entry in entries}


def _artifact(sha256: str, directory: bool = False) -> Artifact:
    return Artifact(DigestSet({"sha256": sha256}), directory)


def contents(link: Link, manifests: Manifests) -> frozenset[tuple[str, str]] | None:
    """Return every accepted digest in the link, those inside directories too; None beyond MAX_CONTENTS.

    Two links with no digest in common hold no artifact in common.
    """
    found: set[tuple[str, str]] = set()
    for artifact in (*link.materials.values(), *link.products.values()):
        inside = manifests.tree(artifact, MAX_CONTENTS) if artifact.directory else (artifact,)
        if inside is None or len(found) > MAX_CONTENTS:
            return None
        for one in inside:
            found.update(one.digest.accepted)
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
    """Return the directory above the name at which a lookup ends because its manifest is not at hand, or None."""
    parts = name.split("/")
    for count in range(1, len(parts)):
        above = "/".join(parts[:count])
        found = lookup(artifacts, above, manifests)
        if found is not None and found.directory and manifests.is_closed(found):
            return above
    return None
