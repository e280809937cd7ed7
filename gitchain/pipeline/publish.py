"""Put all evidence of this repository where others look for it: beside an artifact in a registry, or into a directory.

All of it, because less could not be told from a store that somebody took something away from: a checkpoint covers
every attestation that was there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gitchain.errors import NoEvidenceError, StoreError, UsageError
from gitchain.pipeline.places import OCI_SCHEME, Directory
from gitchain.pipeline.project import Project
from gitchain.pipeline.referrers import Referrers
from gitchain.store.shape import MANIFESTS
from gitchain.store.trees import Problem


@dataclass(frozen=True, slots=True)
class Published:
    """What lies there now: bundles and nodes of directory manifests, and how much of it was new."""

    to: str
    bundles: int
    nodes: int
    written: int


def publish(project: Project, place: str, *, offline: bool = False) -> Published:
    """Write every bundle and manifest node of the repository's store to `place`, unless it is there already.

    NoEvidenceError if there is none; StoreError or TransportError where the place takes nothing.
    """
    store = project.store
    tip = store.tip()
    problems: list[Problem] = []
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
        return Published(registry.name, len(bundles), len(nodes), written)
    if "://" in place:
        raise UsageError("cannot put evidence there", got=place, expected="a directory, or oci://…")
    directory = Directory(Path(place))
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError("cannot make a directory", where=place, got=str(error.strerror)) from error
    return Published(place, len(bundles), len(nodes), directory.write(bundles, nodes))
