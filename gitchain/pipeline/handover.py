"""Fetch a model, verify it, and only then let it appear where a server looks for it.

    file:///PATH, PATH            a file or directory of a volume: copied, and the copy is what is hashed
    oci://HOST/NAME@sha256:…      an artifact of files: its manifest is verified, each layer compared with it as it comes

`gitchain+` may stand before a scheme, and `@sha256:…` behind a path: then the bytes must have this digest as well.
The destination is empty or not there before; it holds the whole model afterwards, read-only, or nothing.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from gitchain.collect.paths import real_path
from gitchain.errors import MalformedError, StoreError, UsageError, VerificationError
from gitchain.evidence.names import check_name
from gitchain.pipeline.consume import Verifier
from gitchain.pipeline.copies import copy_private, remove
from gitchain.pipeline.inspections import inspected
from gitchain.pipeline.targets import target_at
from gitchain.store import oci
from gitchain.store.http import Deadline
from gitchain.store.oci import Descriptor, Reference
from gitchain.store.registry import SECONDS, Registry
from gitchain.verify.decide import Decision, Target

PARTIAL = ".gitchain-partial-"
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
    partial = _prepare(to)
    try:
        if source.reference is not None:
            decision = verifier.decide(Target(str(source.reference.digest), directory=False))
            if decision.passed:
                _download(source.reference, partial)
        else:
            decision = _copied(verifier, source, partial, name)
        if decision.passed:
            _appear(partial, to)
    except OSError as error:
        raise StoreError("cannot hand the model over", where=str(to), got=str(error.strerror)) from error
    finally:
        remove(partial)
    return decision


def _prepare(to: Path) -> Path:
    try:
        to.mkdir(parents=True, exist_ok=True)
        if any(one for one in to.iterdir() if not one.name.startswith(PARTIAL)):
            raise UsageError(
                "something lies at the destination", where=str(to), expected="an empty directory"
            )
        for left in to.iterdir():  # of an earlier try that was killed
            remove(left)
        partial = to / f"{PARTIAL}{secrets.token_hex(8)}"
        partial.mkdir(mode=0o700)
    except OSError as error:
        raise StoreError("cannot write to the destination", where=str(to), got=str(error.strerror)) from error
    return partial


def _copied(verifier: Verifier, source: Source, partial: Path, name: str | None) -> Decision:
    given = real_path(source.path or Path())
    copy = partial / (given.name or "model")
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
    if decision.passed and copy.is_dir():
        copy.chmod(0o700)
        for one in list(copy.iterdir()):
            _move(one, partial / one.name)
        copy.rmdir()
    return decision


def _download(reference: Reference, partial: Path) -> None:
    """Fetch the layers of a verified manifest: each is one file, under the name that its title says."""
    registry = Registry.of(reference)
    _, raw = registry.manifest(f"sha256:{reference.digest}")
    layers = oci.parse_manifest(raw, str(reference)).layers
    if not layers:
        raise MalformedError("the artifact holds no files", where=str(reference))
    for layer in layers:
        place = partial / _file_name(layer)
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


def _appear(partial: Path, to: Path) -> None:
    """Move everything to its place: one rename for each entry, in the same file system."""
    for one in list(partial.iterdir()):
        _move(one, to / one.name)


def _move(one: Path, to: Path) -> None:
    if one.is_dir():
        one.chmod(0o755)  # a directory that may not be written cannot be moved
    try:
        one.rename(to)
    except OSError as error:
        raise StoreError(
            "cannot move the model to its place", where=str(to), got=str(error.strerror)
        ) from error
    if to.is_dir():
        to.chmod(0o555)
