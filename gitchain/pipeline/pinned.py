"""What a commit pins: the artifacts that its .dvc and dvc.lock files name, and their bytes where they are at hand.

DVC names bytes by md5. A sha256 is given only for bytes that were read now and have that md5: from the work tree, else
from DVC's cache, else, to verify, from the commit itself (`cache: false`). A directory that is read from the cache has no
executable files, as after `dvc checkout`.

Left out: what lies outside of the repository, and outs of stages whose `wdir` is a template.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gitchain.collect.artifacts import Artifact, collect_artifact, make_artifact
from gitchain.collect.dvc_cache import cache_dir, dvc_root, object_paths
from gitchain.collect.dvc_files import (
    MAX_DIR_BYTES,
    LockEntry,
    parse_dir,
    parse_dvc,
    parse_dvc_yaml,
    parse_lock,
)
from gitchain.collect.files import HashedFile, hash_path
from gitchain.collect.git import dvc_files_here, pipelines_here
from gitchain.collect.git_files import hash_tree
from gitchain.collect.state import StateCache
from gitchain.errors import GitchainError
from gitchain.evidence.names import check_name
from gitchain.evidence.predicates import VersionArtifact
from gitchain.pipeline.project import Project
from gitchain.platform.files import read_regular


@dataclass(frozen=True, slots=True)
class Pinned:
    """One artifact that a commit tracks; `artifact` is None where its bytes are not at hand."""

    name: str
    defined_in: str
    entry: LockEntry
    artifact: Artifact | None = None

    def fact(self) -> VersionArtifact:
        """Return what the version predicate says of it."""
        found = self.artifact.descriptor if self.artifact else None
        return VersionArtifact(
            name=self.name,
            defined_in=self.defined_in,
            md5=_raw_md5(self.entry),
            sha256=found.digest["sha256"] if found else None,
            media_type=found.media_type if found else None,
        )


Wanted = Callable[[str], bool]


def _all(_name: str) -> bool:
    return True


def pinned(
    project: Project,
    files: Mapping[str, bytes],
    *,
    state: StateCache | None,
    wanted: Wanted = _all,
    commit: str | None = None,
) -> tuple[Pinned, ...]:
    """Return every wanted artifact that DVC's files (path to content, of one commit) name, sorted by name.

    `state` saves hashing what has not changed: for producing alone, None to verify. With `commit`, bytes that Git itself
    holds there are read as well.

    Raises ProjectError, LimitError or MalformedError for a file that is broken: half of a version is none.
    """
    found: dict[str, Pinned] = {}
    for item in _named(files):
        found.setdefault(item.name, item)
    reader = _Reader(project, state, commit)
    return tuple(
        Pinned(item.name, item.defined_in, item.entry, reader.read(item))
        for name, item in sorted(found.items())
        if wanted(name)
    )


def tracked_names(project: Project) -> frozenset[str]:
    """Return the name of each artifact that a .dvc or dvc.lock file of the work tree names.

    Raises OSError for a file that cannot be read, else as `pinned`.
    """
    files = {path: read_regular(project.root / path, MAX_DIR_BYTES) for path in dvc_files_here(project.root)}
    pipelines = {
        path: read_regular(project.root / path, MAX_DIR_BYTES) for path in pipelines_here(project.root)
    }
    return frozenset(item.name for item in _named({**files, **pipelines}))


def _named(files: Mapping[str, bytes]) -> Iterator[Pinned]:
    for path, data in files.items():
        if path.endswith(".dvc"):
            tracked = parse_dvc(data, path)
            yield from _inside(path, tracked.wdir, tracked.outs)
        elif posixpath.basename(path) == "dvc.lock":
            folders = _folders(files, posixpath.join(posixpath.dirname(path), "dvc.yaml"))
            for name, stage in parse_lock(data, path).items():
                yield from _inside(path, folders.get(name.partition("@")[0], "."), stage.outs)


def _folders(files: Mapping[str, bytes], path: str) -> Mapping[str, str]:
    return parse_dvc_yaml(files[path], path).stages if path in files else {}


def _inside(defined_in: str, folder: str, entries: tuple[LockEntry, ...]) -> Iterator[Pinned]:
    for entry in entries:
        if "${" in folder or "://" in entry.path:
            continue
        name = posixpath.normpath(posixpath.join(posixpath.dirname(defined_in), folder, entry.path))
        if name != ".." and not name.startswith(("../", "/")):
            yield Pinned(check_name(name), defined_in, entry)


def _raw_md5(entry: LockEntry) -> str | None:
    return entry.md5 if entry.hash_name == "md5" else None


def artifact_at(project: Project, commit: str, name: str) -> Artifact | None:
    """Return the file or directory as the commit itself holds it, None if it holds none.

    Raises ProjectError for a link, a submodule, a pointer, and an object that is not here.
    """
    found = hash_tree(project.root, commit, name)
    return None if found is None else make_artifact(name, found)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the bytes that an md5 names, wherever they are."""

    project: Project
    state: StateCache | None
    commit: str | None = None

    def read(self, item: Pinned) -> Artifact | None:
        md5 = _raw_md5(item.entry)
        for place in (self._work_tree, self._cache, self._git) if md5 else ():
            try:
                artifact = place(item)
            except (GitchainError, OSError):
                continue  # not at hand: missing, a link out of the tree, half a directory
            if artifact is not None and artifact.md5 == md5:
                return artifact
        return None

    def _work_tree(self, item: Pinned) -> Artifact:
        return collect_artifact(self.project.root, item.name, self.state)

    def _cache(self, item: Pinned) -> Artifact | None:
        top = self.project.root
        folder = dvc_root(str(top / posixpath.dirname(item.defined_in)), str(top))
        md5 = item.entry.md5
        if folder is None or md5 is None:
            return None
        cache = cache_dir(folder)
        if not md5.endswith(".dir"):
            return make_artifact(item.name, self._object(cache, md5))
        listing = _place(cache, md5)
        if listing.stat().st_size > MAX_DIR_BYTES:
            return None
        files = [
            self._object(cache, file.md5)._replace(path=file.path)
            for file in parse_dir(read_regular(listing, MAX_DIR_BYTES), str(listing))
            if file.md5 is not None
        ]
        return make_artifact(item.name, files)

    def _git(self, item: Pinned) -> Artifact | None:
        return None if self.commit is None else artifact_at(self.project, self.commit, item.name)

    def _object(self, cache: str, md5: str) -> HashedFile:
        found = hash_path(cache, _place(cache, md5).relative_to(cache).as_posix(), state=self.state)
        if not isinstance(found, HashedFile) or found.md5 != md5:
            raise FileNotFoundError(md5)
        return found._replace(path="", executable=False)


def _place(cache: str, md5: str) -> Path:
    places = [Path(path) for path in object_paths(cache, md5)]
    return next((path for path in places if path.is_file()), places[0])
