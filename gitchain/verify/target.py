"""The target: one artifact by its content, and by its name where it has one.

A file in a served directory is served too: it is found through the directory's manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from gitchain.errors import UsageError
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet
from gitchain.layout.artifact import Artifact, Link, Manifests, lookup
from gitchain.layout.model import Layout


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be served: the sha256 of a file, or of a directory's manifest, and its name if it has one.

    With a name, only evidence for that name counts: another model's evidence does not vouch for this one.
    `directory` is None where only a digest is known and either kind will do. `nodes` are the nodes of a directory's
    own manifest, for findings that say which file in it differs; no verdict rests on them.
    """

    sha256: str
    name: str | None = None
    directory: bool | None = False
    nodes: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise UsageError("not a sha256", expected="64 lower-case hex digits", got=self.sha256[:80])

    def __str__(self) -> str:
        """Return the name if there is one, else the digest."""
        return self.name or f"sha256:{self.sha256}"

    @property
    def content(self) -> str:
        """Return kind and digest as messages show them."""
        return f"{'directory ' if self.directory else ''}sha256:{self.sha256}"

    @property
    def artifact(self) -> Artifact:
        """Return the target as rules see artifacts."""
        return Artifact(DigestSet({"sha256": self.sha256}), bool(self.directory))

    def is_content_of(self, artifact: Artifact) -> bool:
        """Tell whether the artifact has the target's content and kind."""
        same_kind = self.directory is None or artifact.directory == self.directory
        return same_kind and artifact.digest.matches(DigestSet({"sha256": self.sha256}))

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
        return {"name": self.name, "digest": {"sha256": self.sha256}, "kind": kind}


def is_served(layout: Layout, step: str, *names: str) -> bool:
    """Tell whether the layout serves this step's product under one of the names."""
    patterns = [pattern for one in layout.serve if one.step == step for pattern in one.products]
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def makes(layout: Layout, link: Link, step: str, target: Target, manifests: Manifests) -> bool:
    """Tell whether the evidence says that the step made the target, and that the layout serves it."""
    return any(
        target.is_content_of(artifact) and is_served(layout, step, name, holder)
        for name, holder, artifact in target.names_in(link, manifests)
    )
