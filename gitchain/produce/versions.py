"""Version and release attestations: the models and data that a commit tracks, and that a tag releases.

The subjects of a version are the tracked artifacts with available bytes, and the commit (`git:commit:<id>`, sha256 of
the raw commit object). A release adds the tag object (`git:tag:<name>`) and the newest checkpoints of the attestation
set. Apart from these, both statements are deterministic. Commits without tracked artifacts, and their tags, get no
attestation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from gitchain.collect.git_index import dvc_files_at
from gitchain.collect.git_objects import raw_object, resolve
from gitchain.consume.dvc_tracked_artifacts import TrackedArtifact, commit_id, pinned
from gitchain.errors import GitchainError, ProjectError
from gitchain.evidence import predicates
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet, Sha256, sha256_hex
from gitchain.evidence.predicates import StepFacts
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import CARRIED, RELEASE, VERSION
from gitchain.produce.draft import StatementDraft
from gitchain.store.tree_paths import Oid
from gitchain.workspace.project import Project

RELEASE_STEP = "release"
"""The step of release attestations."""


@dataclass(frozen=True, slots=True)
class _VersionCommit:
    """A commit and its digests."""

    oid: Oid
    tree: str
    sha256: Sha256

    def descriptor(self) -> ResourceDescriptor:
        notes = {"gitCommit": self.oid, "gitTree": self.tree}
        digest = DigestSet({"sha256": self.sha256})
        return ResourceDescriptor(f"git:commit:{self.oid}", digest, annotations=notes)


def version_draft(project: Project, commit: str) -> StatementDraft | None:
    """Return the version statement of a commit, or None if it tracks no artifact.

    Raises ProjectError if the commit is missing, and the errors of invalid DVC files.
    """
    git_commit = _commit(project, commit)
    artifacts = pinned(project, dvc_files_at(project.root, git_commit.oid), state=project.state)
    if not artifacts:
        return None
    predicate = predicates.version(
        commit=git_commit.oid,
        tree=git_commit.tree,
        commit_sha256=git_commit.sha256,
        artifacts=[item.fact() for item in artifacts],
    )
    return _draft([git_commit.descriptor()], artifacts, VERSION, predicate)


def release_draft(project: Project, tag: str, checkpoints: Sequence[str] = ()) -> StatementDraft | None:
    """Return the release statement of a tag, or None if it is not a commit's or the commit tracks no artifact.

    `checkpoints` are attestation ids. Raises ProjectError for an unknown tag, and the errors of invalid DVC files.
    """
    kind, oid = resolve(project.root, f"refs/tags/{tag}")
    try:
        git_commit = _commit(project, f"refs/tags/{tag}^{{commit}}")
    except ProjectError:
        return None
    artifacts = pinned(project, dvc_files_at(project.root, git_commit.oid), state=project.state)
    if not artifacts:
        return None
    git = [git_commit.descriptor()]
    if kind == "tag":
        digest = DigestSet({"sha256": sha256_hex(raw_object(project.root, oid)[1])})
        name = f"git:tag:{quote(tag, safe='/@+')}"
        git.insert(0, ResourceDescriptor(name, digest, annotations={"gitTag": oid}))
    layout = project.config.layout if project.config else None
    step = StepFacts(RELEASE_STEP, f"tag-{oid}", "declared", layout)
    predicate = predicates.release(purl=package_url(project, tag), step=step)
    carried: dict[str, Json] = {CARRIED: tuple(checkpoints)} if checkpoints else {}
    return _draft(git, artifacts, RELEASE, predicate | carried)


def package_url(project: Project, tag: str) -> str:
    """Return the package url of a release: the repository's name, and the tag as its version."""
    remote = (project.git.remote or "").rstrip("/").rpartition("/")[2].rpartition(":")[2].removesuffix(".git")
    common = project.git.common_dir
    name = remote or (common.parent.name if common.name == ".git" else common.name.removesuffix(".git"))
    return f"pkg:generic/{quote(name, safe='')}@{quote(tag, safe='')}"


def is_stored(project: Project, kind: str, git_sha256: Sha256, purl: str | None = None) -> bool:
    """Return True if the store has a Statement v1 of type `kind` about a commit or tag with this digest.

    Of a package url only the version (the tag) is compared, because clones may have different repository names. For
    producing only: nothing is verified.
    """
    for raw in project.store.by_subject("sha256", git_sha256):
        try:
            stored = Bundle.parse(raw).statement()
        except GitchainError:
            continue  # an unreadable bundle attests nothing
        if stored.is_old:  # a v0.1 release attests no tag
            continue
        if stored.predicate_type == kind and _version_in(stored.predicate.get("purl")) == _version_in(purl):
            return True
    return False


def _version_in(purl: Json) -> str | None:
    return purl.rpartition("@")[2] if isinstance(purl, str) else None


def _commit(project: Project, rev: str) -> _VersionCommit:
    oid = commit_id(project, rev)
    content = raw_object(project.root, oid)[1]
    return _VersionCommit(Oid(oid), content[5 : content.index(b"\n")].decode("ascii"), sha256_hex(content))


def _draft(
    git: Sequence[ResourceDescriptor],
    items: Sequence[TrackedArtifact],
    kind: str,
    predicate: Mapping[str, Json],
) -> StatementDraft:
    artifacts = [item.artifact for item in items if item.artifact]
    statement = Statement.build([*git, *(artifact.descriptor for artifact in artifacts)], kind, predicate)
    nodes = {
        digest: node
        for artifact in artifacts
        if artifact.manifest
        for digest, node in artifact.manifest.nodes.items()
    }
    return StatementDraft(statement, nodes)
