"""Compare every md5 in dvc.lock and *.dvc files with its file.

The file is read in the work tree, or in DVC's cache if the work tree lacks it. Files that DVC ignores in a
directory (.dvcignore) are skipped in this comparison only. DVC 2's text hash (md5-dos2unix: CRLF read as LF in text)
is used if an entry has no `hash:`.

Stages are defined in `declared`. Nothing is changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gitchain.collect import dvc_cache
from gitchain.collect.artifacts import (
    CollectedArtifact,
    check_md5,
    collect_artifact,
    directory_md5,
    make_artifact,
    mismatch,
)
from gitchain.collect.dvc_files import LEGACY_HASH, parse_dir
from gitchain.collect.dvc_records import LockEntry
from gitchain.collect.file_digests import HashedFile, Progress
from gitchain.collect.files import hash_path
from gitchain.collect.hash_cache import StateCache
from gitchain.collect.line_endings import (
    differs_by_line_endings,
    directory_differs_by_line_endings,
    help_for,
    help_for_directory,
)
from gitchain.collect.paths import OPEN_FILE, unreadable
from gitchain.errors import ProjectError, TransportError, VerificationError
from gitchain.platform.files import open_regular

_TEXT_SAMPLE = 512
_TEXT_CHUNK = 1024 * 1024
_TEXT = bytes(range(32, 127)) + b"\n\r\t\f\b"
_TEXT_TOLERANCE = 0.30
_NEVER_TRACKED = frozenset({".git", ".hg", ".dvc"})


@dataclass(frozen=True, slots=True)
class ArtifactReader:
    """Reads artifacts of one DVC project below `root`; `fetch` lets missing cache objects be fetched."""

    root: Path
    project: str
    state: StateCache | None = None
    progress: Progress | None = None
    fetch: bool = False

    def collect(self, name: str, entry: LockEntry, where: str) -> CollectedArtifact:
        """Return the artifact at `name`, checked against its record in the stage or file `where`.

        Raises VerificationError that names both if an md5 differs, ProjectError if the bytes are nowhere.
        """
        if os.path.lexists(self.root / name):
            artifact = collect_artifact(self.root, name, self.state, progress=self.progress)
        else:
            artifact = self._cached(name, entry, where)
        self.check(artifact, entry, where)
        return artifact

    def check(self, artifact: CollectedArtifact, entry: LockEntry, where: str) -> None:
        """Raise VerificationError unless the artifact has the md5 that DVC recorded."""
        if entry.hash_name == LEGACY_HASH and entry.md5 is not None:
            self._check_legacy(artifact, entry, where)
            return
        if artifact.md5 == entry.md5:
            return
        seen = self._as_dvc_sees(artifact)
        if seen is not artifact and seen.md5 == entry.md5:
            return
        try:
            check_md5(seen, entry, where, listed=self._listed(entry))
        except VerificationError as error:
            self._name_line_endings(error, seen, entry)
            raise

    def _name_line_endings(
        self, error: VerificationError, artifact: CollectedArtifact, entry: LockEntry
    ) -> None:
        """Say so in the error where the file differs from its record by line endings that Git converted."""
        files = {} if artifact.manifest is None else {part.path: part.md5 for part in artifact.parts}
        if directory_differs_by_line_endings(
            self.root, artifact.name, files, lambda found: directory_md5(found.items()) == entry.md5
        ):
            error.what = f"{error.what}: only its line endings differ"
            error.help = help_for_directory(artifact.name)
            return
        name, md5 = error.where.rpartition(": ")[2], error.expected.removeprefix("md5 ")
        if differs_by_line_endings(self.root, name, md5, "md5"):
            error.what = f"{error.what}: only its line endings differ"
            error.help = help_for(self.root, name, md5, "md5")

    def _as_dvc_sees(self, artifact: CollectedArtifact) -> CollectedArtifact:
        """Return the artifact without the files that .dvcignore hides from DVC."""
        if artifact.manifest is None or not self._may_ignore(artifact):
            return artifact
        from gitchain.collect.dvc_api import ignored

        folder = os.path.join(os.path.realpath(self.root), artifact.name)
        hidden = ignored(Path(self.project), (os.path.join(folder, part.path) for part in artifact.parts))
        parts = tuple(part for part in artifact.parts if os.path.join(folder, part.path) not in hidden)
        md5 = directory_md5((part.path, part.md5) for part in parts)
        return replace(artifact, parts=parts, md5=md5)

    def _may_ignore(self, artifact: CollectedArtifact) -> bool:
        folder = os.path.dirname(os.path.join(os.path.realpath(self.root), artifact.name, "x"))
        while True:
            if os.path.exists(os.path.join(folder, ".dvcignore")):
                return True
            if folder in {self.project, os.path.dirname(folder)}:
                break
            folder = os.path.dirname(folder)
        return any(
            part.path.endswith(".dvcignore") or not _NEVER_TRACKED.isdisjoint(part.path.split("/"))
            for part in artifact.parts
        )

    def _listed(self, entry: LockEntry) -> Mapping[str, str] | None:
        """Return path → md5 of the recorded directory, if its .dir object is here and sound."""
        if entry.md5 is None or not entry.md5.endswith(".dir"):
            return None
        try:
            return _read_dir(dvc_cache.cache_dir(self.project), entry.md5, "")
        except (ProjectError, VerificationError):
            return None

    def _cached(self, name: str, entry: LockEntry, where: str) -> CollectedArtifact:
        try:
            return self._from_cache(name, entry, where)
        except MissingError:
            if not self.fetch:
                raise
        from gitchain.collect.dvc_api import fetch_artifact

        fetch_artifact(Path(self.project), self.root / name)
        try:
            return self._from_cache(name, entry, where)
        except MissingError as missing:  # DVC only warns when a remote does not answer
            raise TransportError(
                "file is not on the DVC remote either",
                where=missing.where,
                got=missing.got,
                help="dvc fetch -v",
            ) from missing

    def _from_cache(self, name: str, entry: LockEntry, where: str) -> CollectedArtifact:
        shown = f"{where}: {name}"
        if entry.md5 is None:
            raise MissingError(shown, "no md5")
        cache = dvc_cache.cache_dir(self.project)
        if not entry.md5.endswith(".dir"):
            return make_artifact(name, self._object(cache, entry.md5, shown, "", executable=entry.is_exec))
        listed = _read_dir(cache, entry.md5, shown)
        return make_artifact(
            name, tuple(self._object(cache, md5, f"{shown}/{path}", path) for path, md5 in listed.items())
        )

    def _object(self, cache: str, md5: str, shown: str, path: str, *, executable: bool = False) -> HashedFile:
        for place in dvc_cache.object_paths(cache, md5):
            if os.path.lexists(place):
                found = hash_path(
                    cache, os.path.relpath(place, cache), state=self.state, progress=self.progress
                )
                if not isinstance(found, HashedFile):
                    break
                if found.md5 != md5:
                    raise dvc_cache.tampered(shown, md5, found.md5)
                return found._replace(path=path, executable=executable)
        raise MissingError(shown, md5)

    def _check_legacy(self, artifact: CollectedArtifact, entry: LockEntry, where: str) -> None:
        base = self.root / artifact.name
        if not base.exists():  # it came from the cache, where the object's own name was checked
            return
        if artifact.manifest is None:
            got = legacy_md5(str(base), artifact.name)
        else:
            got = directory_md5(
                (part.path, legacy_md5(str(base / part.path), artifact.name)) for part in artifact.parts
            )
        if got != entry.md5:
            raise mismatch(where, artifact.name, f"{entry.md5} ({LEGACY_HASH})", got)


class MissingError(ProjectError):
    """Neither the work tree nor DVC's cache has the bytes."""

    def __init__(self, where: str, md5: str) -> None:
        super().__init__(
            "file is neither in the work tree nor in DVC's cache",
            where=where,
            got=md5,
            help="dvc pull",
        )


def _read_dir(cache: str, md5: str, shown: str) -> dict[str, str]:
    for place in dvc_cache.object_paths(cache, md5):
        try:
            with open_regular(place) as file:
                data = file.read()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unreadable(error, shown) from error
        found = hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
        if found != md5:
            raise dvc_cache.tampered(shown, md5, found)
        return {entry.path: entry.md5 for entry in parse_dir(data, f"DVC cache object {md5}") if entry.md5}
    raise MissingError(shown, md5)


def legacy_md5(path: str, shown: str) -> str:
    """Return DVC 2's md5 of a file: CRLF counts as LF in each MiB whose first 512 bytes look like text."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with os.fdopen(os.open(path, OPEN_FILE), "rb") as file:
            while chunk := file.read(_TEXT_CHUNK):
                digest.update(chunk.replace(b"\r\n", b"\n") if _is_text(chunk[:_TEXT_SAMPLE]) else chunk)
    except OSError as error:
        raise unreadable(error, shown) from error
    return digest.hexdigest()


def _is_text(sample: bytes) -> bool:
    odd = sample.translate(None, _TEXT)
    return b"\0" not in sample and len(odd) <= _TEXT_TOLERANCE * len(sample)
