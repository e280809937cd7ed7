"""Artifacts as the rules see them, and how a rule reaches inside a directory.

A file and a directory are different kinds: they never equal each other, whatever their digests. A directory
is one artifact, the digest of its manifest (`gitchain.evidence.manifest`). A rule that reaches inside opens
the manifest there and nowhere else:

- looking up `data/x/train.csv` in a list that holds the directory `data/x` follows its manifest to the entry;
- a list whose rules name something inside one of its own directories sees that directory's files instead.

A manifest that is not at hand stays closed: a lookup finds nothing, a list that has to be opened is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gitchain.errors import GitchainError
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.manifest import expand, parse_node

MAX_OPENED_FILES = 1_000_000  # per directory and list; rules over more are better written for the directory

Manifests: TypeAlias = Callable[[str], "bytes | None"]
"""Returns the manifest node with a sha256, or None where it is not at hand. Its bytes are checked here."""


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


def lookup(artifacts: Artifacts, name: str, manifests: Manifests) -> Artifact | None:
    """Return the artifact of that name, if need be through the manifest of a directory above it, or None."""
    if name in artifacts:
        return artifacts[name]
    parts = name.split("/")
    for count in range(len(parts) - 1, 0, -1):
        above = artifacts.get("/".join(parts[:count]))
        if above is not None:
            return _descend(above, parts[count:], manifests) if above.directory else None
    return None


def _descend(directory: Artifact, parts: Iterable[str], manifests: Manifests) -> Artifact | None:
    found = directory
    for part in parts:
        if not found.directory:
            return None
        digest = found.digest.get("sha256", "")
        try:
            node = manifests(digest)
            entries = parse_node(node, digest) if node is not None else []
        except GitchainError:  # bytes that are not this manifest are as good as none
            return None
        entry = next((entry for entry in entries if entry["name"] == part), None)
        if entry is None:
            return None
        found = Artifact(DigestSet({"sha256": str(entry["sha256"])}), entry["type"] == "dir")
    return found


def open_directory(name: str, directory: Artifact, manifests: Manifests) -> dict[str, Artifact] | None:
    """Return every file below the directory by its full name, or None if the manifest is not whole."""
    try:
        files = expand(directory.digest.get("sha256", ""), manifests, max_files=MAX_OPENED_FILES)
        return {f"{name}/{file.path}": Artifact(DigestSet({"sha256": file.sha256})) for file in files}
    except GitchainError:
        return None
