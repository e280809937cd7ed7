"""What the user points at: a path, a revision, a digest or a bundle file, resolved to artifacts by content.

A revision stands for the artifacts that the layout serves, as that commit pins them: their bytes are read from the work
tree or DVC's cache and checked against the recorded md5.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from pathlib import Path

from gitchain.collect.artifacts import Artifact, collect_artifact
from gitchain.errors import NoEvidenceError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.layout.model import Layout
from gitchain.pipeline.project import Project
from gitchain.pipeline.versions import pinned_artifacts
from gitchain.verify.target import Target

SHA256 = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
BUNDLE_SUFFIXES = (".sigstore.json", ".sigstore")
MAX_BUNDLE_BYTES = 64 << 20


def resolve_targets(project: Project | None, target: str, layout: Layout) -> tuple[Target, ...]:
    """Return the artifacts that `target` stands for.

    Raises UsageError or ProjectError for a target that names nothing, NoEvidenceError for a revision that pins nothing
    which the layout serves.
    """
    if found := SHA256.fullmatch(target):
        return (Target(found[1], directory=None),)
    path = Path(target)
    if target.endswith(BUNDLE_SUFFIXES) and path.is_file():
        return _of_bundle(path)
    if path.exists() or path.is_symlink():
        inside = project is not None and project.root in Path(os.path.normpath(Path.cwd() / path)).parents
        return (_of_artifact(_collect(project, path), named=inside),)
    if project is None:
        raise UsageError("no such file", got=target, help="outside a repository: a path or sha256:…")
    return _of_revision(project, target, layout)


def target_digests(project: Project, target: str) -> tuple[str, ...]:
    """Return the sha256 digests that `target` stands for, whatever a layout serves."""
    if found := SHA256.fullmatch(target):
        return (found[1],)
    path = Path(target)
    if target.endswith(BUNDLE_SUFFIXES) and path.is_file():
        return tuple(one.sha256 for one in _of_bundle(path))
    if path.exists() or path.is_symlink():
        return (_of_artifact(_collect(project, path)).sha256,)
    return tuple(_of_artifact(one).sha256 for one in pinned_artifacts(project, target))


def _collect(project: Project | None, path: Path) -> Artifact:
    """Hash a path afresh: verification never uses the state cache."""
    absolute = Path(os.path.normpath(Path.cwd() / path))
    if project is not None:
        try:
            name = absolute.relative_to(project.root).as_posix()
        except ValueError:
            pass
        else:
            return collect_artifact(project.root, name, progress=project.progress)
    return collect_artifact(absolute.parent, absolute.name)


def _of_artifact(artifact: Artifact, *, named: bool = True) -> Target:
    digest = artifact.descriptor.digest["sha256"]
    nodes = artifact.manifest.nodes if artifact.manifest else {}
    return Target(digest, artifact.name if named else None, artifact.manifest is not None, nodes)


def _of_bundle(path: Path) -> tuple[Target, ...]:
    with path.open("rb") as file:
        data = file.read(MAX_BUNDLE_BYTES + 1)
    statement = Bundle.parse(data).statement()
    return tuple(
        Target(one.digest["sha256"], one.name, directory=one.is_directory) for one in statement.subject
    )


def _of_revision(project: Project, revision: str, layout: Layout) -> tuple[Target, ...]:
    patterns = [pattern for served in layout.serve for pattern in served.products]

    def wanted(name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    served = pinned_artifacts(project, revision, wanted)
    if not served:
        raise NoEvidenceError(
            "this revision pins nothing that the layout serves",
            where=revision,
            expected=", ".join(patterns),
            help="gitchain log shows what is attested; dvc.lock and .dvc files say what a commit pins",
        )
    return tuple(_of_artifact(one) for one in served)
