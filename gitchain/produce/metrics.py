"""Metric files of a step, read with their values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from gitchain.collect.artifacts import CollectedArtifact
from gitchain.collect.values import parse_values, read_value_file
from gitchain.errors import GitchainError, ProjectError
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.statement import ResourceDescriptor


def read_metrics(
    root: Path,
    products: Sequence[CollectedArtifact],
    names: Iterable[str],
    notices: list[tuple[str, GitchainError]],
) -> tuple[ResourceDescriptor, ...]:
    """Return the metric files among the products with their values. Unreadable ones are added to `notices`."""
    metrics: list[ResourceDescriptor] = []
    for name in dict.fromkeys(names):
        try:
            metrics.append(read_metric(root, products, name))
        except GitchainError as error:
            notices.append((f"metrics {name}", error))
    return tuple(metrics)


def read_metric(root: Path, products: Sequence[CollectedArtifact], name: str) -> ResourceDescriptor:
    """Return a metric file with its values as an annotation. Raises ProjectError if its bytes differ from the product."""
    data = read_value_file(root, name)
    digest = sha256_hex(data)
    hashed = {
        f"{one.name}/{part.path}" if part.path else one.name: part.sha256
        for one in products
        for part in one.parts
    }
    if hashed.get(name) != digest:
        raise ProjectError(
            "metric file differs from the step's product",
            where=name,
            help="name a file that the step writes: --metrics FILE",
        )
    return ResourceDescriptor(
        name, DigestSet({"sha256": digest}), annotations={"metrics": parse_values(data, name)}
    )
