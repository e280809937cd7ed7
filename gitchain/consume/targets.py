"""Resolve a target (path, revision, digest or bundle file) to artifacts by content.

A revision resolves to the artifacts that the layout serves, as tracked by that commit: their bytes are read from the
work tree or DVC's cache and checked against the recorded md5.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.collect.artifacts import CollectedArtifact, collect_artifact
from gitchain.collect.paths import real_path
from gitchain.errors import GitchainError, LimitError, NoEvidenceError, ProjectError, UsageError
from gitchain.evidence.digest import Sha256
from gitchain.layout.model import Layout
from gitchain.platform.files import read_input
from gitchain.verify.target import Target
from gitchain.workspace.project import Project

if TYPE_CHECKING:
    from gitchain.consume.dvc_tracked_artifacts import Wanted
    from gitchain.verify.trust import Trust

SHA256 = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
BUNDLE_SUFFIXES = (".sigstore.json", ".sigstore")
MAX_BUNDLE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class GivenTarget:
    """A target as the user gave it, parsed once: a digest, an image, a bundle file, a path, or else a revision.

    `artifact` is what a digest or an image names, `bundle` the bytes of a bundle file.
    """

    text: str
    artifact: Target | None = None
    bundle: bytes | None = field(default=None, repr=False)
    path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> GivenTarget:
        """Return the target. Raises UsageError for an image without a digest, LimitError for too large a bundle file."""
        if match := SHA256.fullmatch(text):
            return cls(text, artifact=Target(Sha256(match[1]), directory=None))
        if digest := image_digest(text):
            return cls(text, artifact=Target(digest, directory=False))
        if (bundle := bundle_file(text)) is not None:
            return cls(text, bundle=bundle)
        return cls(text, path=Path(text) if is_path(text) else None)

    @classmethod
    def try_parse(cls, text: str) -> GivenTarget | GitchainError:
        """Return the target, or the error that `parse` raises."""
        try:
            return cls.parse(text)
        except GitchainError as error:
            return error

    @property
    def is_revision(self) -> bool:
        """Return True for what can only be a commit or tag of a repository."""
        return self.artifact is None and self.bundle is None and self.path is None


def resolve_targets(project: Project | None, target: GivenTarget, layout: Layout) -> tuple[Target, ...]:
    """Return the artifacts of `target`. Bundle files are handled by `subjects_of`.

    Raises UsageError or ProjectError for an unknown target, NoEvidenceError for a revision without artifacts that the
    layout serves.
    """
    if target.artifact is not None:
        return (target.artifact,)
    if target.path is not None:
        return (target_at(project, target.path, target.path),)
    if project is None:
        raise UsageError("no such file", got=target.text, help="outside a repository: a path or sha256:…")
    return _of_revision(project, target.text, layout)


def is_path(target: str) -> bool:
    """Return True if `target` is a file or directory; `HEAD` and `refs/…` inside a Git directory are revisions."""
    is_ref = target == "HEAD" or target.startswith("refs/")
    if is_ref and all(Path(name).exists() for name in ("HEAD", "objects", "refs")):
        return False
    path = Path(target)
    return path.exists() or path.is_symlink()


def target_at(project: Project | None, given: Path, actual: Path) -> Target:
    """Return the artifact at `actual`, hashed now, under the name that `given` has in the project."""
    target = _of_artifact(_collect(project, actual), named=False)
    path = real_path(given)
    if project is None or project.root not in path.parents:
        return replace(target, given=str(given))
    return replace(target, name=path.relative_to(project.root).as_posix())


@dataclass(frozen=True, slots=True)
class TargetLocation:
    """Location of a target's bytes: a root and a name, DVC's cache with the md5 of each file, or a commit."""

    root: Path
    name: str
    cache: Path | None = None
    md5: Mapping[Sha256, str] = field(default_factory=dict)
    commit: str = ""

    def of(self, path: str, sha256: Sha256) -> Iterator[tuple[str, str]]:
        """Yield the possible locations (root, name) of the file with this path below the target and this content."""
        yield str(self.root), f"{self.name}/{path}" if path else self.name
        if self.cache is not None and sha256 in self.md5:
            from gitchain.collect.dvc_cache import object_paths

            for path_in_cache in object_paths("", self.md5[sha256]):
                yield str(self.cache), path_in_cache


def place_of(project: Project | None, given: GivenTarget, target: Target) -> TargetLocation | None:
    """Return the location of a target's bytes, or None for a digest or a bundle."""
    if given.path is not None:
        return TargetLocation(*_split(project, given.path))
    if project is None or target.name is None or not given.is_revision:
        return None
    from gitchain.collect.dvc_cache import cache_dir, dvc_root
    from gitchain.collect.git_objects import resolve

    folder = dvc_root(str((project.root / target.name).parent), str(project.root))
    wanted = target.name
    artifacts = _pinned(project, given.text, lambda name: name == wanted)
    md5 = {part.sha256: part.md5 for artifact in artifacts for part in artifact.parts}
    _, commit = resolve(project.root, f"{given.text}^{{commit}}")
    return TargetLocation(project.root, target.name, Path(cache_dir(folder)) if folder else None, md5, commit)


def target_digests(
    project: Project, target: str, trust: Trust, keys: Sequence[bytes], layout: Layout | None = None
) -> tuple[str, ...]:
    """Return the sha256 digests of `target`.

    A revision resolves to the artifacts in it that `layout` serves; without any, to all artifacts that the commit pins.
    A bundle file resolves to its subjects if it verifies. Raises the errors of `verify_subjects`.
    """
    given = GivenTarget.parse(target)
    if given.bundle is not None:
        from gitchain.consume.bundle_subjects import subjects_of

        return _all_digests(subjects_of(given.bundle, target, trust, keys).targets)
    if given.artifact is not None:
        return (given.artifact.sha256,)
    if given.path is not None:
        return _all_digests([_of_artifact(_collect(project, given.path))])
    if layout is not None:
        with suppress(NoEvidenceError):
            return _all_digests(_of_revision(project, target, layout))
    return _all_digests(_of_artifact(artifact) for artifact in _pinned(project, target))


def _all_digests(targets: Iterable[Target]) -> tuple[str, ...]:
    return tuple(digest for target in targets for digest in target.digests)


def image_digest(target: str) -> Sha256 | None:
    """Return the manifest digest in `oci://…@sha256:…`, or None for another kind of target.

    The manifest is the artifact: clusters pin it, and it holds the digest of every layer. Raises UsageError for a tag
    that was not resolved (`gitchain.sources.oci.pin`).
    """
    if not target.startswith("oci://"):
        return None
    from gitchain.store.oci import ImageReference

    reference = ImageReference.parse(target)
    if reference.digest is None:
        raise UsageError(
            "a tag names no artifact",
            got=target,
            expected="oci://HOST/NAME@sha256:…",
            help="give the digest: oci://HOST/NAME@sha256:…",
        )
    return reference.digest


def bundle_file(target: str) -> bytes | None:
    """Return the bytes of a target that is a bundle file, else None. Raises LimitError for one that is too large."""
    path = Path(target)
    if not target.endswith(BUNDLE_SUFFIXES) or not path.is_file():
        return None
    remedy = "check the path and its permissions"
    data = read_input(path, MAX_BUNDLE_BYTES, UsageError, "cannot read the bundle", help=remedy)
    if len(data) > MAX_BUNDLE_BYTES:
        raise LimitError(
            "the bundle is too large", where=target, expected=f"at most {MAX_BUNDLE_BYTES} bytes"
        )
    return data


def _collect(project: Project | None, path: Path) -> CollectedArtifact:
    """Hash a path without the state cache, which verification never uses, and without MD5, which it never compares."""
    root, name = _split(project, path)
    progress = project.progress if project else None
    return collect_artifact(root, name, progress=progress, md5=False)


def _split(project: Project | None, path: Path) -> tuple[Path, str]:
    """Return the repository's root and the name below it; outside of it the directory and the file name."""
    absolute = real_path(path)
    if project is not None and absolute.is_relative_to(project.root):
        return project.root, absolute.relative_to(project.root).as_posix()
    return absolute.parent, absolute.name


def _of_artifact(artifact: CollectedArtifact, *, named: bool = True) -> Target:
    digest = artifact.descriptor.digest["sha256"]
    name = artifact.name if named else None
    if artifact.manifest is None:
        return Target(digest, name)

    @cache
    def older() -> Target:
        manifest = artifact.manifest_v1()
        return Target(manifest.digest, name, True, manifest.nodes, 1)

    return Target(digest, name, True, artifact.manifest.nodes, older=older)


def _pinned(
    project: Project, revision: str, wanted: Wanted | None = None, names: Iterable[str] = ()
) -> Sequence[CollectedArtifact]:
    from gitchain.consume.dvc_tracked_artifacts import pinned_artifacts
    from gitchain.consume.missing_files import is_dvc_tracked

    try:
        return pinned_artifacts(project, revision, wanted, names)
    except ProjectError as error:
        if error.what != "no such revision":
            raise
        if lost := _restoring(project, revision):
            raise UsageError(
                "this file of the repository is not in the work tree", got=revision, help=lost
            ) from error
        if is_dvc_tracked(project, revision):
            raise UsageError(
                "this file is tracked by DVC and not in the work tree",
                got=revision,
                help=f"dvc pull {shlex.quote(revision)}",
            ) from error
        raise UsageError(
            "no such file or revision", got=revision, help="a path, tag, commit, sha256:… or bundle file"
        ) from error


def _restoring(project: Project, given: str) -> str:
    """Return the command that restores a tracked file missing in the work tree, or an empty text."""
    from gitchain.collect.committed import restoring

    absolute = real_path(given)
    return (
        restoring(project.root, absolute.relative_to(project.root))
        if absolute.is_relative_to(project.root)
        else ""
    )


def _of_revision(project: Project, revision: str, layout: Layout) -> tuple[Target, ...]:
    patterns = [pattern for served in layout.serve for pattern in served.products]

    def wanted(name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    # a pattern could match any file of the commit: only a name identifies models
    names = [pattern for pattern in dict.fromkeys(patterns) if not set("*?[") & set(pattern)]
    served = _pinned(project, revision, wanted, names)
    if not served:
        raise NoEvidenceError(
            "the commit contains no model that the layout lists under serve",
            where=revision,
            expected=", ".join(patterns),
            help="gitchain log shows what is attested; a commit pins what its dvc.lock and .dvc files name, and files that "
            "the layout serves by their full name",
        )
    return tuple(_of_artifact(artifact) for artifact in served)
