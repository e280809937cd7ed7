"""Artifacts that the .dvc and dvc.lock files of a commit track, and their bytes if available.

DVC identifies bytes by md5. A sha256 is given only for bytes that were read now and match that md5: from the work
tree, else from DVC's cache, else, for verification, from the commit itself (`cache: false`). A directory that is read
from the cache has no executable files, as after `dvc checkout`.

Excluded: artifacts outside of the repository, and outs of stages whose `wdir` is a template.
"""

from __future__ import annotations

import os
import posixpath
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gitchain.collect.artifacts import CollectedArtifact, collect_artifact, make_artifact
from gitchain.collect.dvc_cache import cache_dir, dvc_root, object_paths
from gitchain.collect.dvc_files import MAX_DIR_BYTES, parse_dir, parse_dvc, parse_dvc_yaml, parse_lock
from gitchain.collect.dvc_records import LockEntry
from gitchain.collect.file_digests import HashedFile
from gitchain.collect.files import hash_path
from gitchain.collect.git_files import hash_tree
from gitchain.collect.git_index import dvc_files_at, dvc_files_here, pipelines_here
from gitchain.collect.git_objects import resolve
from gitchain.collect.hash_cache import StateCache
from gitchain.errors import GitchainError, NoEvidenceError, ProjectError
from gitchain.evidence.names import check_name
from gitchain.evidence.predicates import VersionArtifact
from gitchain.platform.files import read_regular
from gitchain.workspace.project import Project


@dataclass(frozen=True, slots=True)
class TrackedArtifact:
    """An artifact tracked by a commit; `artifact` is None if its bytes are not available."""

    name: str
    defined_in: str
    entry: LockEntry
    artifact: CollectedArtifact | None = None

    def fact(self) -> VersionArtifact:
        """Return the artifact in the form of the version predicate."""
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
) -> tuple[TrackedArtifact, ...]:
    """Return every wanted artifact in DVC's files (path to content, of one commit), sorted by name.

    `state` caches hashes of unchanged files: for producing only, None to verify. With `commit`, bytes in Git at that
    commit are read as well. Raises ProjectError, LimitError or MalformedError for an invalid file; no partial result
    is returned.
    """
    found: dict[str, TrackedArtifact] = {}
    for item in _named(files):
        found.setdefault(item.name, item)
    reader = _TrackedBytes(project, state, commit)
    return tuple(
        TrackedArtifact(item.name, item.defined_in, item.entry, reader.read(item))
        for name, item in sorted(found.items())
        if wanted(name)
    )


def tracked_names(project: Project) -> frozenset[str]:
    """Return the name of each artifact that a .dvc or dvc.lock file of the work tree tracks.

    Raises OSError for an unreadable file, and the errors of `pinned`.
    """
    files = {path: read_regular(project.root / path, MAX_DIR_BYTES) for path in dvc_files_here(project.root)}
    pipelines = {
        path: read_regular(project.root / path, MAX_DIR_BYTES) for path in pipelines_here(project.root)
    }
    return frozenset(item.name for item in _named({**files, **pipelines}))


def _named(files: Mapping[str, bytes]) -> Iterator[TrackedArtifact]:
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


def _inside(defined_in: str, folder: str, entries: tuple[LockEntry, ...]) -> Iterator[TrackedArtifact]:
    for entry in entries:
        if "${" in folder or "://" in entry.path:
            continue
        name = posixpath.normpath(posixpath.join(posixpath.dirname(defined_in), folder, entry.path))
        if name != ".." and not name.startswith(("../", "/")):
            yield TrackedArtifact(check_name(name), defined_in, entry)


def _raw_md5(entry: LockEntry) -> str | None:
    return entry.md5 if entry.hash_name == "md5" else None


def artifact_at(project: Project, commit: str, name: str) -> CollectedArtifact | None:
    """Return the file or directory in the commit itself, or None if it has none.

    Raises ProjectError for a link, a submodule, a pointer, and a missing object.
    """
    found = hash_tree(project.root, commit, name)
    return None if found is None else make_artifact(name, found)


@dataclass(frozen=True, slots=True)
class _TrackedBytes:
    """Reads the bytes with an md5 from the work tree, DVC's cache, or Git."""

    project: Project
    state: StateCache | None
    commit: str | None = None

    def read(self, item: TrackedArtifact) -> CollectedArtifact | None:
        md5 = _raw_md5(item.entry)
        for place in (self._work_tree, self._cache, self._git) if md5 else ():
            try:
                artifact = place(item)
            except (GitchainError, OSError):
                continue  # not available: missing, a link out of the tree, or an incomplete directory
            if artifact is not None and artifact.md5 == md5:
                return artifact
        return None

    def _work_tree(self, item: TrackedArtifact) -> CollectedArtifact:
        return collect_artifact(self.project.root, item.name, self.state)

    def _cache(self, item: TrackedArtifact) -> CollectedArtifact | None:
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

    def _git(self, item: TrackedArtifact) -> CollectedArtifact | None:
        return None if self.commit is None else artifact_at(self.project, self.commit, item.name)

    def _object(self, cache: str, md5: str) -> HashedFile:
        found = hash_path(cache, _place(cache, md5).relative_to(cache).as_posix(), state=self.state)
        if not isinstance(found, HashedFile) or found.md5 != md5:
            raise FileNotFoundError(md5)
        return found._replace(path="", executable=False)


def _place(cache: str, md5: str) -> Path:
    places = [Path(path) for path in object_paths(cache, md5)]
    return next((path for path in places if path.is_file()), places[0])


def pinned_artifacts(
    project: Project, revision: str, wanted: Wanted | None = None, names: Iterable[str] = ()
) -> tuple[CollectedArtifact, ...]:
    """Return the artifacts that a revision tracks, filtered by `wanted` names and hashed now.

    `names` are files and directories that are also included if the commit itself holds them, tracked by DVC or not.
    Raises NoEvidenceError if the bytes of one are not available: an unchecked artifact must not pass.
    """
    commit = commit_id(project, f"{revision}^{{commit}}")
    files = dvc_files_at(project.root, commit)
    found = pinned(project, files, state=None, wanted=wanted or (lambda _name: True), commit=commit)
    for item in found:
        if item.artifact is None:
            raise _not_here(project, revision, commit, item)
    known = {item.name for item in found}
    held = (artifact_at(project, commit, name) for name in names if name not in known)
    return (*(item.artifact for item in found if item.artifact), *(one for one in held if one is not None))


def _not_here(project: Project, revision: str, commit: str, item: TrackedArtifact) -> NoEvidenceError:
    """Return the error for a tracked artifact without its bytes; also if Git holds different bytes."""
    where = f"{revision}: {item.name}"
    try:
        held = artifact_at(project, commit, item.name)
    except GitchainError as error:
        return NoEvidenceError(
            error.what, where=where, expected=error.expected, got=error.got, help=error.help
        )
    if held is None:
        return NoEvidenceError(
            "the bytes that this revision pins are not here",
            where=where,
            expected=f"md5 {item.entry.md5}",
            help=_fetching(project, commit, item.name),
        )
    return NoEvidenceError(
        "Git's content at this revision differs from the content that DVC recorded there",
        where=where,
        expected=f"md5 {item.entry.md5}",
        got=f"md5 {held.md5}",
        help=f"if Git converts line endings: echo '/{item.name} -text' >> .gitattributes, then dvc repro and commit",
    )


def _fetching(project: Project, commit: str, name: str) -> str:
    """Return the command that fetches the commit's artifacts: without `--all-commits` DVC reads only the work tree."""
    path = shlex.quote(os.path.relpath(project.root / name))
    is_head = commit == commit_id(project, "HEAD")
    return f"dvc fetch {path}" if is_head else f"dvc fetch --all-commits {path}"


def commit_id(project: Project, revision: str) -> str:
    """Return the commit id of a revision. Raises ProjectError for an unknown revision."""
    kind, oid = resolve(project.root, revision)
    if kind != "commit":
        raise ProjectError("not a commit", where=str(project.root), got=f"{kind} {oid}")
    return oid
