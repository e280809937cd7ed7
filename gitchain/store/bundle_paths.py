"""The paths of a bundle in a store: its own, and those of the index, which its bytes determine. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gitchain.evidence.bundle import Bundle
from gitchain.store import tree_paths

Path = tuple[str, ...]


def attestation_paths(data: bytes, name: str) -> tuple[Path, ...]:
    """Return the paths of a bundle in a store: its own first, then those of the index.

    Raises MalformedError or LimitError if the bytes are no bundle with a statement.
    """
    return paths_under(subject_keys(data), name)


def subject_keys(data: bytes) -> list[tuple[str, str]]:
    """Return algorithm and value of the indexed digests of a bundle's subjects. Raises as `attestation_paths`."""
    keys = dict.fromkeys(
        (alg, value)
        for subject in Bundle.parse(data).statement().subject
        for alg, value in subject.digest.items()
        if tree_paths.is_indexed(alg, value)
    )
    return list(keys)


def paths_under(keys: Iterable[Sequence[str]], name: str) -> tuple[Path, ...]:
    """Return the paths of the bundle with this name, whose subjects have these digests."""
    index = ((*tree_paths.subject_path(alg, value), name) for alg, value in keys)
    return (tree_paths.content_path(tree_paths.ATTESTATIONS, name), *index)
