"""Fetch a model, verify it, and publish it at its destination only if it passes.

file:///PATH, PATH            a file or directory of a volume: copied, and the copy is hashed
oci://HOST/NAME@sha256:…      an artifact of files: its manifest is verified, and each layer is compared with it

`gitchain+` may precede a scheme. `@sha256:…` after a path requires the bytes to have this digest.

The destination must be empty or missing. Afterwards it holds the whole model, read-only, or nothing.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from gitchain.collect.paths import real_path
from gitchain.consume.inspections import inspected
from gitchain.consume.private_copy import copy_private
from gitchain.consume.staging import staged
from gitchain.consume.targets import GivenTarget, target_at
from gitchain.consume.verifier import Verifier
from gitchain.errors import MalformedError, StoreError, UsageError, VerificationError, os_errors_as
from gitchain.evidence.digest import Sha256
from gitchain.evidence.names import check_name
from gitchain.platform.http import ReadDeadline
from gitchain.store import oci
from gitchain.store.oci import Descriptor, ImageReference
from gitchain.store.registry import SECONDS, Registry
from gitchain.verify.decide import Decision, Target

SLOWEST = 1 << 20  # minimum bytes per second; slower transfers are aborted
_ARCHIVES = re.compile(r"[+.](tar|gzip|zstd|gz|zip)\b")
_SOURCE = re.compile(
    r"(?:gitchain\+)?(?:file://(?=/))?(?P<path>[^\0]+?)(?:@sha256:(?P<digest>[0-9a-f]{64}))?", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class FetchSource:
    """Source of a model: a path or a reference, and the required digest if one is given."""

    path: Path | None = None
    reference: ImageReference | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> FetchSource:
        """Return the parsed source. Raises UsageError for other schemes, and for a tag, which identifies no content."""
        plain = text.removeprefix("gitchain+")
        if plain.startswith(oci.SCHEME):
            reference = ImageReference.parse(plain)
            if reference.digest is None:
                raise UsageError(
                    "a tag names no artifact", got=text, expected=f"{oci.SCHEME}HOST/NAME@sha256:…"
                )
            return cls(reference=reference, digest=reference.digest)
        match = _SOURCE.fullmatch(text)
        if match is None or "://" in match["path"]:
            raise UsageError(
                "models are fetched from volumes and registries only",
                got=text,
                expected="file:///PATH, PATH or oci://HOST/NAME@sha256:…",
            )
        return cls(path=Path(match["path"]), digest=match["digest"])


def hand_over(verifier: Verifier, source: FetchSource, to: Path, *, name: str | None = None) -> Decision:
    """Write the model to the directory `to` if it passes, and return the decision.

    `name` is the model's name in the layout. If the model does not pass, nothing is left at `to`. Raises
    VerificationError for bytes with a different digest than required, StoreError, and UsageError for a destination
    that is not empty.
    """
    with staged(to) as staging:
        with os_errors_as(StoreError, "cannot hand the model over", to):
            if source.reference is None:
                decision, folder = _copied(verifier, source, staging.files, name)
            else:
                decision = verifier.decide(Target(Sha256(str(source.reference.digest)), directory=False))
                folder = staging.files
                if decision.passed:
                    _download(source.reference, folder)
        if decision.passed:
            _seal(folder)
            staging.publish(folder)
    return decision


def _copied(verifier: Verifier, source: FetchSource, files: Path, name: str | None) -> tuple[Decision, Path]:
    """Copy the model below `files` and verify the copy; return the decision and the directory with the model."""
    given = real_path(source.path or Path())
    copy = files / (given.name or "model")
    copy_private(given, copy, shared=True)
    copied = target_at(verifier.project, given, copy)
    target = copied if name is None else replace(copied, name=name)
    if source.digest is not None and source.digest != target.sha256:
        raise VerificationError(
            "the model is not the requested one",
            where=str(given),
            expected=f"sha256:{source.digest}",
            got=target.content,
        )
    decision = inspected(verifier.decide(target), verifier.project, GivenTarget(str(copy), path=copy))
    return decision, copy if copy.is_dir() else files


def _download(reference: ImageReference, files: Path) -> None:
    """Download the layers of a verified manifest. Each is one file, with the name in its title annotation."""
    registry = Registry.of(reference)
    _, raw = registry.manifest(f"sha256:{reference.digest}")
    layers = oci.parse_manifest(raw, str(reference)).layers
    if not layers:
        raise MalformedError("the artifact holds no files", where=str(reference))
    for layer in layers:
        place = files / _file_name(layer)
        place.parent.mkdir(parents=True, exist_ok=True)
        registry.deadline = ReadDeadline(SECONDS + layer.size / SLOWEST)
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
    """Make all directories below `folder` read-only."""
    for root, folders, _ in os.walk(folder):
        for one in folders:
            Path(root, one).chmod(0o555)
