"""The target: one artifact by its content, and by its name if it has one.

A file in a served directory is served too: it is found through the directory's manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from gitchain.errors import UsageError
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet, Sha256
from gitchain.evidence.vocabulary import MANIFEST_VERSION, ManifestVersion
from gitchain.layout.artifact import Artifact, Link, Manifests, lookup
from gitchain.layout.model import Layout, ServedProducts


@dataclass(frozen=True, slots=True)
class Target:
    """The artifact to verify: the sha256 of a file, or of a directory's manifest, and its name if it has one.

    With a name, only evidence for that name counts, not that of another model with equal bytes. `directory` is None if
    only a digest is known, and then either kind matches. `nodes` are the nodes of a directory's own manifest, for findings
    about files in it; no verdict depends on them.

    `version` is that of a directory's manifest. `older` returns the same directory under version 1, with modes, for
    comparison with evidence of version 1. It takes time and is rarely needed.
    """

    sha256: Sha256
    name: str | None = None
    directory: bool | None = False
    nodes: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)
    version: ManifestVersion = MANIFEST_VERSION
    older: Callable[[], Target] | None = field(default=None, compare=False, repr=False)
    given: str = field(default="", compare=False)
    """The given path of a target without a name in the repository: for reports, never for evidence."""

    @classmethod
    def of(cls, artifact: Artifact, name: str) -> Target:
        """Return the target for an artifact with a sha256."""
        return cls(artifact.digest["sha256"], name, artifact.directory, version=artifact.version)

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise UsageError("not a sha256", expected="64 lower-case hex digits", got=self.sha256[:80])

    def __str__(self) -> str:
        """Return the name, else the given path, else the digest."""
        return self.name or self.given or f"sha256:{self.sha256}"

    @property
    def artifact_name(self) -> str:
        """Return the name for findings about the target; empty without one."""
        return self.name or ""

    @property
    def content(self) -> str:
        """Return kind and digest, for messages."""
        return f"{'directory ' if self.directory else ''}sha256:{self.sha256}"

    @property
    def artifact(self) -> Artifact:
        """Return the target as an artifact for rules."""
        return Artifact(DigestSet({"sha256": self.sha256}), bool(self.directory), self.version)

    @property
    def digests(self) -> tuple[str, ...]:
        """Return the digests by which evidence of any version may name the target."""
        return (self.sha256,) if self.older is None else (self.sha256, self.older().sha256)

    def upgrade(self, sha256: Sha256) -> Sha256 | None:
        """Return the target's version 2 digest for its own version 1 digest, None for another one."""
        return self.sha256 if self.older is not None and self.older().sha256 == sha256 else None

    def under(self, version: ManifestVersion) -> Target:
        """Return the target under this manifest version, itself if that is unknown."""
        if self.older is None or version == self.version:
            return self
        return replace(self.older(), name=self.name)

    def is_content_of(self, artifact: Artifact) -> bool:
        """Return whether the artifact has the target's content and kind; for a directory, under its own manifest version."""
        seen = self.under(artifact.version)
        same_kind = seen.directory is None or seen.artifact.kind == artifact.kind
        return same_kind and artifact.digest.matches(seen.artifact.digest)

    def names_in(self, link: Link, manifests: Manifests) -> Iterable[tuple[str, str, Artifact]]:
        """Yield the products that could be the target: its name, the name of the containing product, the artifact."""
        if self.name is None:
            yield from ((name, name, artifact) for name, artifact in link.products.items())
            return
        found = lookup(link.products, self.name, manifests)
        parts = self.name.split("/")
        holders = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
        holder = next((name for name in holders if name in link.products), None)
        if found is not None and holder is not None:
            yield self.name, holder, found

    def to_json(self) -> dict[str, Json]:
        """Return the target as in `verify --json`."""
        kind = {None: None, True: "directory", False: "file"}[self.directory]
        return {"name": self.name or self.given or None, "digest": {"sha256": self.sha256}, "kind": kind}


def is_served(layout: Layout, step: str, *names: str) -> bool:
    """Return whether the layout serves this step's product under one of the names."""
    return any(is_served_by(one, *names) for one in layout.serve if one.step == step)


def is_served_by(entry: ServedProducts, *names: str) -> bool:
    """Return whether one of the names matches a pattern of this entry."""
    return any(fnmatchcase(name, pattern) for name in names for pattern in entry.products)


def makes(layout: Layout, link: Link, step: str, target: Target, manifests: Manifests) -> bool:
    """Return whether the target is a product of this evidence that the layout serves."""
    return any(
        target.is_content_of(artifact) and is_served(layout, step, name, holder)
        for name, holder, artifact in target.names_in(link, manifests)
    )
