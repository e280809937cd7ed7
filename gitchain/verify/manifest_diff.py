"""Where two directories differ, file by file: what a person wants to know when a model's directory is refused.

Equal subtrees are skipped by their digest, so that one changed file among many is found in O(depth). For findings only:
the verdict rests on the digest of the whole directory.
"""

from __future__ import annotations

from collections.abc import Iterator

from gitchain.layout.artifact import Artifact, Manifests


def differences(
    expected: Artifact, got: Artifact, attested: Manifests, here: Manifests
) -> Iterator[tuple[str, Artifact | None, Artifact | None]]:
    """Yield the path in the directory of each difference, with what was expected and what is there; None is absent.

    Yields nothing if one of the two manifests is not at hand, or if only modes differ (see `executable_bits`).
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
    """Yield the path of each file whose executable bit alone differs, and whether it was expected to be executable.

    Only manifests of version 1 hold that bit. Yields nothing if one of the two manifests is not at hand.
    """
    before, after = attested.executables(expected), here.executables(got)
    if before is not None and after is not None:
        yield from ((path, bit) for path, bit in before.items() if after.get(path, bit) != bit)
