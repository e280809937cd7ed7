"""Compare two directories file by file, for findings about a model directory.

Equal subtrees are skipped by digest, so one changed file among many is found in O(depth). For findings only: the verdict
depends on the digest of the whole directory.
"""

from __future__ import annotations

from collections.abc import Iterator

from gitchain.layout.artifact import Artifact, Manifests


def differences(
    expected: Artifact, got: Artifact, attested: Manifests, here: Manifests
) -> Iterator[tuple[str, Artifact | None, Artifact | None]]:
    """Yield the path of each difference, with the expected and the actual file; None is absent.

    Yields nothing if one of the two manifests is missing, or if only modes differ (see `executable_bits`).
    """
    before, after = attested.entries(expected), here.entries(got)
    if attested.is_closed(expected) or here.is_closed(got):
        return
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if old is not None and new is not None and old.directory and new.directory:
            for path, was, now in differences(old, new, attested, here):
                yield f"{name}/{path}", was, now
        else:
            yield name, old, new


def executable_bits(
    expected: Artifact, got: Artifact, attested: Manifests, here: Manifests
) -> Iterator[tuple[str, bool]]:
    """Yield the path of each file that differs only in its executable bit, and whether that was expected to be set.

    Only manifests of version 1 have that bit. Yields nothing if one of the two manifests is missing.
    """
    before, after = attested.executables(expected), here.executables(got)
    if before is not None and after is not None:
        yield from ((path, bit) for path, bit in before.items() if after.get(path, bit) != bit)
