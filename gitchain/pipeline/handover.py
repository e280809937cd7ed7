"""Fetch a model, verify it, and only then let it appear where a server looks for it.

    file:///PATH, PATH            a file or directory of a volume: copied, and the copy is what is hashed
    oci://HOST/NAME@sha256:…      an artifact of files: its manifest is verified, each layer compared with it as it comes

`gitchain+` may stand before a scheme, and `@sha256:…` behind a path: then the bytes must have this digest as well.
The destination is empty or not there before; it holds the whole model afterwards, read-only, or nothing.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from gitchain.collect.paths import real_path
from gitchain.errors import MalformedError, StoreError, UsageError, VerificationError
from gitchain.evidence.names import check_name
from gitchain.pipeline.consume import Verifier
from gitchain.pipeline.copies import copy_private
from gitchain.pipeline.inspections import inspected
from gitchain.pipeline.staging import staged
from gitchain.pipeline.targets import target_at
from gitchain.store import oci
from gitchain.store.http import Deadline
from gitchain.store.oci import Descriptor, Reference
from gitchain.store.registry import SECONDS, Registry
from gitchain.verify.decide import Decision, Target

SLOWEST = 1 << 20  # bytes a second: what is slower is given up
_ARCHIVES = re.compile(r"[+.](tar|gzip|zstd|gz|zip)\b")
_SOURCE = re.compile(
    r"(?:gitchain\+)?(?:file://(?=/))?(?P<path>[^\0]+?)(?:@sha256:(?P<digest>[0-9a-f]{64}))?", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model is fetched from: a path or a reference, and the digest that its bytes must have if one is named."""

    path: Path | None = None
    reference: Reference | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Source:
        """Return the source that `text` names; UsageError for other schemes, and for a tag: that names no content."""
        plain = text.removeprefix("gitchain+")
        if plain.startswith(oci.SCHEME):
            reference = Reference.parse(plain)
            if reference.digest is None:
                raise UsageError(
                    "a tag names no artifact", got=text, expected=f"{oci.SCHEME}HOST/NAME@sha256:…"
                )
            return cls(reference=reference, digest=reference.digest)
        found = _SOURCE.fullmatch(text)
        if found is None or "://" in found["path"]:
            raise UsageError(
                "models are fetched from volumes and registries only",
                got=text,
                expected="file:///PATH, PATH or oci://HOST/NAME@sha256:…",
            )
        return cls(path=Path(found["path"]), digest=found["digest"])


def hand_over(verifier: Verifier, source: Source, to: Path, *, name: str | None = None) -> Decision:
    """Put the model into the directory `to` if it passes, and return the decision; else nothing is left there.

    `name` is what the layout calls it. VerificationError for bytes of another digest than was named; StoreError;
    UsageError for a destination that is not empty.
    """
    with staged(to) as staging:
        try:
            if source.reference is None:
                decision, found = _copied(verifier, source, staging.files, name)
            else:
                decision = verifier.decide(Target(str(source.reference.digest), directory=False))
                found = staging.files
                if decision.passed:
                    _download(source.reference, found)
        except OSError as error:
            raise StoreError("cannot hand the model over", where=str(to), got=str(error.strerror)) from error
        if decision.passed:
            _seal(found)
            staging.publish(found)
    return decision


def _copied(verifier: Verifier, source: Source, files: Path, name: str | None) -> tuple[Decision, Path]:
    """Copy the model below `files` and decide about the copy; return the directory whose content is the model."""
    given = real_path(source.path or Path())
    copy = files / (given.name or "model")
    copy_private(given, copy, shared=True)
    found = target_at(verifier.project, given, copy)
    target = found if name is None else replace(found, name=name)
    if source.digest is not None and source.digest != target.sha256:
        raise VerificationError(
            "the model is not the one that was asked for",
            where=str(given),
            expected=f"sha256:{source.digest}",
            got=target.content,
        )
    decision = inspected(verifier.decide(target), verifier.project, str(copy))
    return decision, copy if copy.is_dir() else files


def _download(reference: Reference, files: Path) -> None:
    """Fetch the layers of a verified manifest: each is one file, under the name that its title says."""
    registry = Registry.of(reference)
    _, raw = registry.manifest(f"sha256:{reference.digest}")
    layers = oci.parse_manifest(raw, str(reference)).layers
    if not layers:
        raise MalformedError("the artifact holds no files", where=str(reference))
    for layer in layers:
        place = files / _file_name(layer)
        place.parent.mkdir(parents=True, exist_ok=True)
        registry.deadline = Deadline(SECONDS + layer.size / SLOWEST)
        registry.download(layer, place)
        place.chmod(0o444)


def _file_name(layer: Descriptor) -> str:
    if layer.title is None or _ARCHIVES.search(layer.media_type):
        raise MalformedError(
            "a layer is not a file",
            where=f"sha256:{layer.digest}",
            expected="files with titles, as ORAS pushes them; an image volume mounts the others",
            got=layer.media_type[:100],
        )
    return check_name(layer.title, "title of a layer")


def _seal(folder: Path) -> None:
    """Take the right to write from every directory below."""
    for root, folders, _ in os.walk(folder):
        for one in folders:
            Path(root, one).chmod(0o555)
