"""Version and release attestations: which models and data a commit pins, and which a tag releases.

A version's subjects are the pinned artifacts whose bytes are at hand, and the commit itself (`git:commit:<id>`, sha256 of
the raw commit object). A release adds the tag object (`git:tag:<name>`), and carries the newest checkpoints of the
attestation set. But for these, both statements are functions of what they are about: made twice, they are one.

A commit that pins nothing gets no attestation, and neither does a tag of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from gitchain.collect.artifacts import Artifact
from gitchain.collect.git import dvc_files_at, raw_object, resolve
from gitchain.errors import GitchainError, NoEvidenceError, ProjectError
from gitchain.evidence import predicates
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.predicates import StepFacts
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import CARRIED, RELEASE, VERSION
from gitchain.pipeline.pinned import Pinned, Wanted, pinned
from gitchain.pipeline.project import Project
from gitchain.pipeline.record import Draft

RELEASE_STEP = "release"
"""The step that a tag is evidence for."""


@dataclass(frozen=True, slots=True)
class _Commit:
    """A commit, and what binds it."""

    oid: str
    tree: str
    sha256: str

    def descriptor(self) -> ResourceDescriptor:
        notes = {"gitCommit": self.oid, "gitTree": self.tree}
        digest = DigestSet({"sha256": self.sha256})
        return ResourceDescriptor(f"git:commit:{self.oid}", digest, annotations=notes)


def version_draft(project: Project, commit: str) -> Draft | None:
    """Return the version statement of a commit, or None if it pins no artifact.

    Raises ProjectError if the commit is not here, and what a broken DVC file raises.
    """
    found = _commit(project, commit)
    artifacts = pinned(project, dvc_files_at(project.root, found.oid), state=project.state)
    if not artifacts:
        return None
    predicate = predicates.version(
        commit=found.oid,
        tree=found.tree,
        commit_sha256=found.sha256,
        artifacts=[item.fact() for item in artifacts],
    )
    return _draft([found.descriptor()], artifacts, VERSION, predicate)


def release_draft(project: Project, tag: str, checkpoints: Sequence[str] = ()) -> Draft | None:
    """Return the release statement of a tag, or None if it is no commit's or its commit pins no artifact.

    It carries the `checkpoints` of the attestation set, by their attestation ids.
    Raises ProjectError if there is no such tag, and what a broken DVC file raises.
    """
    kind, oid = resolve(project.root, f"refs/tags/{tag}")
    try:
        found = _commit(project, f"refs/tags/{tag}^{{commit}}")
    except ProjectError:
        return None
    artifacts = pinned(project, dvc_files_at(project.root, found.oid), state=project.state)
    if not artifacts:
        return None
    git = [found.descriptor()]
    if kind == "tag":
        digest = DigestSet({"sha256": sha256_hex(raw_object(project.root, oid)[1])})
        name = f"git:tag:{quote(tag, safe='/@+')}"
        git.insert(0, ResourceDescriptor(name, digest, annotations={"gitTag": oid}))
    layout = project.config.layout if project.config else None
    step = StepFacts(RELEASE_STEP, f"tag-{oid}", "declared", layout)
    predicate = predicates.release(purl=package_url(project, tag), step=step)
    carried: dict[str, Json] = {CARRIED: tuple(checkpoints)} if checkpoints else {}
    return _draft(git, artifacts, RELEASE, predicate | carried)


def pinned_artifacts(project: Project, revision: str, wanted: Wanted | None = None) -> tuple[Artifact, ...]:
    """Return the artifacts that a revision pins (those with a `wanted` name), hashed now, to verify them.

    Raises NoEvidenceError for one whose bytes are not here: what was not looked at must not pass.
    """
    commit = _commit(project, f"{revision}^{{commit}}")
    found = pinned(
        project, dvc_files_at(project.root, commit.oid), state=None, wanted=wanted or (lambda _name: True)
    )
    for item in found:
        if item.artifact is None:
            raise NoEvidenceError(
                "the bytes that this revision pins are not here",
                where=f"{revision}: {item.name}",
                expected=f"md5 {item.entry.md5}",
                help="dvc fetch",
            )
    return tuple(item.artifact for item in found if item.artifact)


def package_url(project: Project, tag: str) -> str:
    """Return the package url of a release: the repository's name, and the tag as its version."""
    remote = (project.git.remote or "").rstrip("/").rpartition("/")[2].rpartition(":")[2].removesuffix(".git")
    common = project.git.common_dir
    name = remote or (common.parent.name if common.name == ".git" else common.name.removesuffix(".git"))
    return f"pkg:generic/{quote(name, safe='')}@{quote(tag, safe='')}"


def is_stored(project: Project, kind: str, git_sha256: str, purl: Json = None) -> bool:
    """Tell whether the store holds a statement of predicate type `kind` about a commit or tag with this digest.

    For producing only: what is found is not verified.
    """
    for raw in project.store.by_subject("sha256", git_sha256):
        try:
            found = Bundle.parse(raw).statement()
        except GitchainError:
            continue  # what cannot be read attests nothing
        if found.predicate_type == kind and found.predicate.get("purl") == purl:
            return True
    return False


def _git_digest(statement: Statement) -> str:
    """Return the digest of the tag, or of the commit where the statement names no tag."""
    names = {(one.name or ""): one.digest["sha256"] for one in statement.subject}
    found = [digest for name, digest in sorted(names.items()) if name.startswith(("git:tag:", "git:commit:"))]
    return found[-1]  # "git:tag:" sorts behind "git:commit:"


def _commit(project: Project, rev: str) -> _Commit:
    kind, oid = resolve(project.root, rev)
    if kind != "commit":
        raise ProjectError("not a commit", where=str(project.root), got=f"{kind} {oid}")
    content = raw_object(project.root, oid)[1]
    return _Commit(oid, content[5 : content.index(b"\n")].decode("ascii"), sha256_hex(content))


def _draft(
    git: Sequence[ResourceDescriptor], items: Sequence[Pinned], kind: str, predicate: Mapping[str, Json]
) -> Draft:
    artifacts = [item.artifact for item in items if item.artifact]
    statement = Statement.build([*git, *(one.descriptor for one in artifacts)], kind, predicate)
    nodes = {digest: node for one in artifacts if one.manifest for digest, node in one.manifest.nodes.items()}
    return Draft(statement, nodes)
