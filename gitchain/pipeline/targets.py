"""What the user points at: a path, a revision, a digest or a bundle file, resolved to artifacts by content.

A revision stands for the artifacts that the layout serves, as that commit pins them: their bytes are read from the work
tree or DVC's cache and checked against the recorded md5.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.collect.artifacts import Artifact, collect_artifact
from gitchain.collect.committed import restoring
from gitchain.collect.dvc_cache import cache_dir, dvc_root, object_paths
from gitchain.collect.paths import real_path
from gitchain.errors import GitchainError, LimitError, NoEvidenceError, ProjectError, UsageError
from gitchain.evidence.digest import check_hex
from gitchain.evidence.manifest import MANIFEST_VERSION
from gitchain.evidence.subjects import Subject
from gitchain.layout.model import Identity, Layout
from gitchain.pipeline.pinned import Wanted, tracked_names
from gitchain.pipeline.project import Project
from gitchain.pipeline.versions import pinned_artifacts
from gitchain.platform.files import open_regular
from gitchain.verify.target import Target

if TYPE_CHECKING:
    from gitchain.verify.trust import Trust

SHA256 = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
BUNDLE_SUFFIXES = (".sigstore.json", ".sigstore")
MAX_BUNDLE_BYTES = 64 << 20


def resolve_targets(project: Project | None, target: str, layout: Layout) -> tuple[Target, ...]:
    """Return the artifacts that `target` stands for, which is no bundle file: `subjects_of` reads those.

    Raises UsageError or ProjectError for a target that names nothing, NoEvidenceError for a revision that pins nothing
    which the layout serves.
    """
    if found := SHA256.fullmatch(target):
        return (Target(found[1], directory=None),)
    if digest := image_digest(target):
        return (Target(digest, directory=False),)
    path = Path(target)
    if path.exists() or path.is_symlink():
        return (target_at(project, path, path),)
    if project is None:
        raise UsageError("no such file", got=target, help="outside a repository: a path or sha256:…")
    return _of_revision(project, target, layout)


def is_revision(target: str) -> bool:
    """Tell whether `target` names a commit or tag of a repository: neither digest nor image, bundle or path."""
    path = Path(target)
    named = SHA256.fullmatch(target) or image_digest(target) or bundle_file(target) is not None
    return not (named or path.exists() or path.is_symlink())


def target_at(project: Project | None, given: Path, actual: Path) -> Target:
    """Return the artifact whose bytes are at `actual`, hashed now, under the name that `given` has in the project."""
    target = _of_artifact(_collect(project, actual), named=False)
    path = real_path(given)
    if project is None or project.root not in path.parents:
        return replace(target, given=str(given))
    return replace(target, name=path.relative_to(project.root).as_posix())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a target's bytes are: below a root under a name, or in DVC's cache by the md5 of each file."""

    root: Path
    name: str
    cache: Path | None = None
    md5: Mapping[str, str] = field(default_factory=dict)

    def of(self, path: str, sha256: str) -> Iterator[tuple[str, str]]:
        """Yield where the file with this path below the target (and this content) may be, as root and name."""
        yield str(self.root), f"{self.name}/{path}" if path else self.name
        if self.cache is not None and sha256 in self.md5:
            for found in object_paths("", self.md5[sha256]):
                yield str(self.cache), found


def place_of(project: Project | None, given: str, target: Target) -> Place | None:
    """Return where the bytes are of a target that `given` stood for; None where it only named a digest or a bundle."""
    if SHA256.fullmatch(given) or image_digest(given) or bundle_file(given) is not None:
        return None
    path = Path(given)
    if path.exists() or path.is_symlink():
        return Place(*_split(project, path))
    if project is None or target.name is None:
        return None
    folder = dvc_root(str((project.root / target.name).parent), str(project.root))
    wanted = target.name
    artifacts = _pinned(project, given, lambda name: name == wanted)
    md5 = {part.sha256: part.md5 for artifact in artifacts for part in artifact.parts}
    return Place(project.root, target.name, Path(cache_dir(folder)) if folder else None, md5)


def target_digests(project: Project, target: str, trust: Trust, keys: Sequence[bytes]) -> tuple[str, ...]:
    """Return the sha256 digests that `target` stands for, whatever a layout serves.

    A bundle file stands for its subjects, if it verifies: raises what `verify_subjects` raises.
    """
    if found := SHA256.fullmatch(target):
        return (found[1],)
    if digest := image_digest(target):
        return (digest,)
    path = Path(target)
    if (bundle := bundle_file(target)) is not None:
        return _all_digests(subjects_of(bundle, target, trust, keys).targets)
    if path.exists() or path.is_symlink():
        return _all_digests([_of_artifact(_collect(project, path))])
    return _all_digests(_of_artifact(one) for one in _pinned(project, target))


def _all_digests(targets: Iterable[Target]) -> tuple[str, ...]:
    return tuple(digest for target in targets for digest in target.digests)


def image_digest(target: str) -> str | None:
    """Return the digest of the manifest that `oci://…@sha256:…` names, None for another kind of target.

    That manifest is the artifact: it is what a cluster pins, and it names every layer by its digest. A tag is not an
    artifact: UsageError unless it was resolved (`gitchain.pipeline.referrers.pin`).
    """
    if not target.startswith("oci://"):
        return None
    from gitchain.store.oci import Reference

    reference = Reference.parse(target)
    if reference.digest is None:
        raise UsageError("a tag names no artifact", got=target, expected="oci://HOST/NAME@sha256:…")
    return reference.digest


def bundle_file(target: str) -> bytes | None:
    """Return the bundle that `target` names as a file, None if it names none; LimitError for one that is too large."""
    path = Path(target)
    if not target.endswith(BUNDLE_SUFFIXES) or not path.is_file():
        return None
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise UsageError("cannot read the bundle", where=target, got=str(error.strerror)) from error
    if len(data) > MAX_BUNDLE_BYTES:
        raise LimitError(
            "the bundle is too large", where=target, expected=f"at most {MAX_BUNDLE_BYTES} bytes"
        )
    return data


def _collect(project: Project | None, path: Path) -> Artifact:
    """Hash a path afresh: verification never uses the state cache."""
    root, name = _split(project, path)
    return collect_artifact(root, name, progress=project.progress if project else None)


def _split(project: Project | None, path: Path) -> tuple[Path, str]:
    """Return the repository's root and the name below it, or for a path outside of it its directory and last name."""
    absolute = real_path(path)
    if project is not None and absolute.is_relative_to(project.root):
        return project.root, absolute.relative_to(project.root).as_posix()
    return absolute.parent, absolute.name


def _of_artifact(artifact: Artifact, *, named: bool = True) -> Target:
    digest = artifact.descriptor.digest["sha256"]
    name = artifact.name if named else None
    if artifact.manifest is None:
        return Target(digest, name)

    @cache
    def older() -> Target:
        manifest = artifact.manifest_v1()
        return Target(manifest.digest, name, True, manifest.nodes, 1)

    return Target(digest, name, True, artifact.manifest.nodes, older=older)


@dataclass(frozen=True, slots=True)
class Subjects:
    """What a bundle file stands for: its subjects, and who signed that they are."""

    targets: tuple[Target, ...]
    signer: Identity


def subjects_of(data: bytes, name: str, trust: Trust, keys: Sequence[bytes] = ()) -> Subjects:
    """Return the subjects of a bundle that verifies under this trust, signed by anybody.

    Raises what `verify_subjects` raises with the bundle's name in `where`, NoEvidenceError for a subject without
    sha256.
    """
    from gitchain.verify.bundle import verify_subjects

    try:
        proven, subjects = verify_subjects(data, trust, keys)
    except GitchainError as error:
        error.where = f"bundle {name}: {error.where}" if error.where else f"bundle {name}"
        raise
    return Subjects(tuple(_target(one, f"bundle {name}") for one in subjects), proven.identity)


def _target(subject: Subject, where: str) -> Target:
    if "sha256" not in subject.digest:
        raise NoEvidenceError(
            "a subject of the bundle has no sha256",
            where=where,
            expected="sha256 on each subject",
            got=str(subject),
        )
    digest = check_hex(subject.digest["sha256"], (64,), where)
    version = subject.manifest_version
    return Target(digest, subject.name, version is not None, version=version or MANIFEST_VERSION)


def _pinned(
    project: Project, revision: str, wanted: Wanted | None = None, names: Iterable[str] = ()
) -> Sequence[Artifact]:
    try:
        return pinned_artifacts(project, revision, wanted, names)
    except ProjectError as error:
        if error.what != "no such revision":
            raise
        if lost := _restoring(project, revision):
            raise UsageError(
                "this file of the repository is not in the work tree", got=revision, help=lost
            ) from error
        if _is_dvc_tracked(project, revision):
            raise UsageError(
                "this file is tracked by DVC and not in the work tree",
                got=revision,
                help=f"dvc pull {shlex.quote(revision)}",
            ) from error
        raise UsageError(
            "no such file or revision", got=revision, help="a path, tag, commit, sha256:… or bundle file"
        ) from error


def _restoring(project: Project, given: str) -> str:
    """Return the command that brings back a tracked file that the work tree lacks, an empty text for anything else."""
    absolute = real_path(given)
    return (
        restoring(project.root, absolute.relative_to(project.root))
        if absolute.is_relative_to(project.root)
        else ""
    )


def _is_dvc_tracked(project: Project, given: str) -> bool:
    """Tell whether a .dvc or dvc.lock file of the work tree names this path or a directory around it."""
    absolute = real_path(given)
    if not absolute.is_relative_to(project.root):
        return False
    name = absolute.relative_to(project.root).as_posix()
    try:
        tracked = tracked_names(project)
    except (GitchainError, OSError):
        return False  # a file that cannot be read is no reason to hide the error itself
    return any(name == one or name.startswith(f"{one}/") for one in tracked)


def _of_revision(project: Project, revision: str, layout: Layout) -> tuple[Target, ...]:
    patterns = [pattern for served in layout.serve for pattern in served.products]

    def wanted(name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    # a pattern could mean any file of the commit: only a name says which ones are models
    names = [pattern for pattern in dict.fromkeys(patterns) if not set("*?[") & set(pattern)]
    served = _pinned(project, revision, wanted, names)
    if not served:
        raise NoEvidenceError(
            "this revision pins nothing that the layout serves",
            where=revision,
            expected=", ".join(patterns),
            help="gitchain log shows what is attested; a commit pins what its dvc.lock and .dvc files name, and files that "
            "the layout serves by their full name",
        )
    return tuple(_of_artifact(one) for one in served)
