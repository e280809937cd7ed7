"""What the verifying verbs share: where evidence is looked for besides the repository, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitchain.cli.output import Options, escape

if TYPE_CHECKING:
    from gitchain.pipeline.snapshots import Source

OCI = "oci://"


def look_up(
    options: Options, targets: Sequence[str], places: Sequence[str]
) -> tuple[tuple[str, ...], tuple[Source, ...]]:
    """Return the targets, tags of registries resolved to digests, and the sources to look into.

    An artifact in a registry brings what refers to it there. Tells what a tag stood for, and which sources can hide what
    they held before. Raises UsageError for what is no source, and what the registries raise.
    """
    from gitchain.pipeline.places import open_source

    pinned = tuple(_pinned(options, target) for target in targets)
    images = [target for target in pinned if target.startswith(OCI)]
    sources = tuple(
        open_source(place, offline=options.offline) for place in dict.fromkeys((*places, *images))
    )
    for source in sources:
        if not source.remembers:
            options.talk(
                f"evidence  {escape(source.name)}: it cannot be seen whether something was taken away there, "
                "unless a --checkpoint is demanded"
            )
    return pinned, sources


def _pinned(options: Options, target: str) -> str:
    if not target.startswith(OCI):
        return target
    from gitchain.pipeline.referrers import pin

    found = pin(target, offline=options.offline)
    if found != target:
        options.talk(f"target    {escape(target)} is {escape(found)} now")
    return found
