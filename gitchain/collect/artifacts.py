"""Artifacts: files and directories as descriptors of a statement, with DVC's md5 for comparison.

A file's digest is its SHA-256; a directory's is that of its manifest. On request both get `dvc.md5` as an annotation,
which is never a match key. `check_md5` compares with DVC's record and reports the file that differs.

DVC's md5 of a directory: md5 of the JSON list `[{"md5": …, "relpath": …}, …]` sorted by relpath, plus `.dir`.

Stages are unknown here: the caller passes `where`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.collect.file_digests import HashedFile, Progress
from gitchain.collect.files import hash_path
from gitchain.errors import GitchainError, ProjectError, VerificationError
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPE, MANIFEST_VERSION, ManifestVersion

if TYPE_CHECKING:
    from gitchain.collect.dvc_records import LockEntry
    from gitchain.collect.hash_cache import StateCache
    from gitchain.evidence.manifest import Manifest

MD5_ANNOTATION = "dvc.md5"
LINKS_ANNOTATION = "gitchain.followedLinks"
CHANGED = "file differs from the one that DVC recorded"


@dataclass(frozen=True, slots=True)
class CollectedArtifact:
    """A file or directory as it was read.

    `manifest` is None for a file; `md5` ends in `.dir` for a directory, and is "" if it was not computed.
    `parts` are the files, with paths below the artifact ("" for a file itself).
    """

    descriptor: ResourceDescriptor
    manifest: Manifest | None
    md5: str
    size: int
    files: int
    parts: tuple[HashedFile, ...] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Return the artifact's path below the repository's root."""
        return self.descriptor.name or ""

    def manifest_v1(self) -> Manifest:
        """Return a directory's manifest under version 1, as evidence from before version 2 names it."""
        return _manifest(self.parts, 1)


def collect_artifact(
    root: Path,
    name: str,
    state: StateCache | None = None,
    *,
    progress: Progress | None = None,
    md5: bool = True,
) -> CollectedArtifact:
    """Return the file or directory at `name` below `root`, read now; without `md5` it has only SHA-256.

    Raises ProjectError for what is missing, refused or changes while it is read, LimitError beyond the limits.
    """
    found = hash_path(str(root), name, state=state, progress=progress, md5=md5)
    if state is not None:
        state.flush()
    return make_artifact(name, found, md5=md5)


def make_artifact(
    name: str, found: HashedFile | Sequence[HashedFile], *, md5: bool = True
) -> CollectedArtifact:
    """Return the artifact of one hashed file, or of a directory with these files."""
    if isinstance(found, HashedFile):
        digest = DigestSet({"sha256": found.sha256})
        notes = _notes(found.md5 if md5 else None, [found])
        descriptor = ResourceDescriptor(name, digest, annotations=notes)
        return CollectedArtifact(descriptor, None, found.md5 if md5 else "", found.size, 1, (found,))
    try:
        manifest = _manifest(found)
    except GitchainError as error:
        raise ProjectError(error.what, where=f"{name}: {error.where}", expected=error.expected) from error
    whole = directory_md5((file.path, file.md5) for file in found) if md5 else ""
    descriptor = ResourceDescriptor(
        name,
        DigestSet({"sha256": manifest.digest}),
        media_type=MANIFEST_MEDIA_TYPE,
        annotations=_notes(whole or None, found),
    )
    return CollectedArtifact(descriptor, manifest, whole, manifest.size, manifest.files, tuple(found))


def _notes(md5: str | None, files: Iterable[HashedFile]) -> dict[str, Json]:
    """Return the annotations: DVC's md5, and how many files were reached by following which kind of links."""
    notes: dict[str, Json] = {} if md5 is None else {MD5_ANNOTATION: md5}
    kinds = Counter(file.followed for file in files if file.followed)
    if kinds:
        notes[LINKS_ANNOTATION] = dict(sorted(kinds.items()))
    return notes


def _manifest(files: Iterable[HashedFile], version: ManifestVersion = MANIFEST_VERSION) -> Manifest:
    from gitchain.evidence.manifest import FileEntry, build_manifest

    entries = (FileEntry(file.path, file.executable, file.size, file.sha256) for file in files)
    return build_manifest(entries, version)


def directory_md5(files: Iterable[tuple[str, str]]) -> str:
    """Return DVC's md5 of a directory with these (path, md5) pairs: that of its .dir object."""
    listed = sorted(({"md5": md5, "relpath": path} for path, md5 in files), key=lambda item: item["relpath"])
    data = json.dumps(listed, sort_keys=True).encode()
    return hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"


def check_md5(
    artifact: CollectedArtifact, recorded: LockEntry, where: str, *, listed: Mapping[str, str] | None = None
) -> None:
    """Check the bytes' md5 against the one that DVC recorded for the stage in `where`.

    `listed` is the .dir object's content, path to md5, where it is at hand: it names the file.

    An entry without any md5 (a cloud-versioned one) has nothing to check. Raises VerificationError that names
    stage, file, expected and got. Raises ProjectError for DVC 2's text hash, which `legacy` has to convert first.
    """
    if recorded.hash_name != "md5" and recorded.md5 is not None:
        raise ProjectError(
            f"DVC recorded the hash {recorded.hash_name}",
            where=f"{where}: {artifact.name}",
            expected="md5",
            help="dvc cache migrate --dvc-files, then dvc commit",
        )
    if recorded.files:
        listed = {file.path: file.md5 for file in recorded.files if file.md5 is not None}
        if len(listed) == len(recorded.files):
            _compare_files(artifact, listed, where)
        return
    if recorded.md5 is None or recorded.md5 == artifact.md5:
        return
    if listed is not None and artifact.manifest is not None:
        _compare_files(artifact, listed, where)
    raise mismatch(where, artifact.name, recorded.md5, artifact.md5)


def _compare_files(artifact: CollectedArtifact, listed: Mapping[str, str], where: str) -> None:
    """Raise VerificationError for the first file that differs; return if none does."""
    here = {part.path: part.md5 for part in artifact.parts}
    for path in sorted(here.keys() | listed.keys()):
        if here.get(path) != listed.get(path):
            raise mismatch(
                where,
                f"{artifact.name}/{path}",
                listed.get(path, "no such file"),
                here.get(path, "no such file"),
            )


def mismatch(where: str, name: str, expected: str, got: str) -> VerificationError:
    """Return the error for bytes that differ from those that DVC recorded."""
    return VerificationError(
        CHANGED,
        where=f"{where}: {name}",
        expected=f"md5 {expected}",
        got=f"md5 {got}",
        help="gitchain run -- dvc repro   to run the stage again",
    )
