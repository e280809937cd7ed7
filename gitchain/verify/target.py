"""The target: one artifact by its content, and by its name where it has one.

A file in a served directory is served too: it is found through the directory's manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from gitchain.errors import UsageError
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.manifest import MANIFEST_VERSION, Version
from gitchain.layout.artifact import Artifact, Link, Manifests, lookup
from gitchain.layout.model import Layout, Served


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be served: the sha256 of a file, or of a directory's manifest, and its name if it has one.

    With a name, only evidence for that name counts: another model's evidence does not vouch for this one.
    `directory` is None where only a digest is known and either kind will do. `nodes` are the nodes of a directory's
    own manifest, for findings that say which file in it differs; no verdict rests on them.

    `version` is that of a directory's manifest. `older` returns the same directory under version 1, where its bytes were
    hashed: evidence of version 1 is compared with that, modes included. Most evidence needs it not, and it costs time.
    """

    sha256: str
    name: str | None = None
    directory: bool | None = False
    nodes: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)
    version: Version = MANIFEST_VERSION
    older: Callable[[], Target] | None = field(default=None, compare=False, repr=False)
    given: str = field(default="", compare=False)
    """The path that the user gave, where the target has no name in the repository: for reports, never for evidence."""

    @classmethod
    def of(cls, artifact: Artifact, name: str) -> Target:
        """Return the target that an artifact with a sha256 is."""
        return cls(artifact.digest["sha256"], name, artifact.directory, version=artifact.version)

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise UsageError("not a sha256", expected="64 lower-case hex digits", got=self.sha256[:80])

    def __str__(self) -> str:
        """Return the name if there is one, else the path that was given, else the digest."""
        return self.name or self.given or f"sha256:{self.sha256}"

    @property
    def artifact_name(self) -> str:
        """Return the name, empty if there is none: what a finding about the target names as its artifact."""
        return self.name or ""

    @property
    def content(self) -> str:
        """Return kind and digest as messages show them."""
        return f"{'directory ' if self.directory else ''}sha256:{self.sha256}"

    @property
    def artifact(self) -> Artifact:
        """Return the target as rules see artifacts."""
        return Artifact(DigestSet({"sha256": self.sha256}), bool(self.directory), self.version)

    @property
    def digests(self) -> tuple[str, ...]:
        """Return the digests under which evidence of any version may name the target."""
        return (self.sha256,) if self.older is None else (self.sha256, self.older().sha256)

    def upgrade(self, sha256: str) -> str | None:
        """Return the target's version 2 digest for its own version 1 digest, None for any other."""
        return self.sha256 if self.older is not None and self.older().sha256 == sha256 else None

    def under(self, version: Version) -> Target:
        """Return the target as this version of the manifest names it, itself where that is not known."""
        if self.older is None or version == self.version:
            return self
        return replace(self.older(), name=self.name)

    def is_content_of(self, artifact: Artifact) -> bool:
        """Tell whether the artifact has the target's content and kind; a directory, under its own manifest version."""
        seen = self.under(artifact.version)
        same_kind = seen.directory is None or seen.artifact.kind == artifact.kind
        return same_kind and artifact.digest.matches(seen.artifact.digest)

    def names_in(self, link: Link, manifests: Manifests) -> Iterable[tuple[str, str, Artifact]]:
        """Yield the products that could be the target: its name, the product's that holds it, the artifact."""
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
        """Return the target as `verify --json` holds it."""
        kind = {None: None, True: "directory", False: "file"}[self.directory]
        return {"name": self.name or self.given or None, "digest": {"sha256": self.sha256}, "kind": kind}


def is_served(layout: Layout, step: str, *names: str) -> bool:
    """Tell whether the layout serves this step's product under one of the names."""
    return any(is_served_by(one, *names) for one in layout.serve if one.step == step)


def is_served_by(entry: Served, *names: str) -> bool:
    """Tell whether one of the names matches a pattern of this entry."""
    return any(fnmatchcase(name, pattern) for name in names for pattern in entry.products)


def makes(layout: Layout, link: Link, step: str, target: Target, manifests: Manifests) -> bool:
    """Tell whether the evidence says that the step made the target, and that the layout serves it."""
    return any(
        target.is_content_of(artifact) and is_served(layout, step, name, holder)
        for name, holder, artifact in target.names_in(link, manifests)
    )
