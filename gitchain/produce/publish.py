"""Copy all evidence of this repository to another place: an artifact in a registry, or a directory.

Partial evidence is not copied: it would look like a store with removed attestations, because a checkpoint covers all
of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gitchain.errors import NoEvidenceError, StoreError, UsageError, os_errors_as
from gitchain.sources.oci import Referrers
from gitchain.sources.open_source import OCI_SCHEME, Directory
from gitchain.store.tree_paths import MANIFESTS
from gitchain.store.trees import StoreProblem
from gitchain.workspace.project import Project


@dataclass(frozen=True, slots=True)
class PublishResult:
    """Content of the place: bundles and nodes of directory manifests, and the number of new ones."""

    to: str
    bundles: int
    nodes: int
    written: int


def publish(project: Project, place: str, *, offline: bool = False) -> PublishResult:
    """Write the missing bundles and manifest nodes of the repository's store to `place`.

    Raises NoEvidenceError for an empty store. Raises StoreError or TransportError if writing fails.
    """
    store = project.store
    tip = store.tip()
    problems: list[StoreProblem] = []
    bundles = [data for _, data in store.items(tip, problems.append)]
    nodes = [data for _, data in store.items(tip, problems.append, MANIFESTS)]
    if problems:
        raise StoreError(
            "the store does not hold all that it lists", where=problems[0].path, got=problems[0].message
        )
    if not bundles:
        raise NoEvidenceError("nothing is attested", where=str(project.root), help="gitchain attest")
    if place.startswith(OCI_SCHEME):
        registry = Referrers.of(place, offline=offline)
        written = registry.write(bundles, nodes)
        return PublishResult(registry.name, len(bundles), len(nodes), written)
    if "://" in place:
        raise UsageError(
            "cannot put evidence there",
            got=place,
            expected="a directory, or oci://…",
            help="gitchain bundle push DIR",
        )
    directory = Directory(Path(place))
    with os_errors_as(StoreError, "cannot make a directory", place):
        directory.path.mkdir(parents=True, exist_ok=True)
    return PublishResult(place, len(bundles), len(nodes), directory.write(bundles, nodes))
