"""Version and release attestations: which models and data a commit pins, and which a tag releases.

A version's subjects are the pinned artifacts whose bytes are at hand, and the commit itself (`git:commit:<id>`, sha256 of
the raw commit object). A release adds the tag object (`git:tag:<name>`), and carries the newest checkpoints of the
attestation set. But for these, both statements are functions of what they are about: made twice, they are one.

A commit that pins nothing gets no attestation, and neither does a tag of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from gitchain.pipeline.pinned import Pinned, Wanted, artifact_at, pinned
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


def pinned_artifacts(
    project: Project, revision: str, wanted: Wanted | None = None, names: Iterable[str] = ()
) -> tuple[Artifact, ...]:
    """Return the artifacts that a revision pins (those with a `wanted` name), hashed now, to verify them.

    `names` are files and directories that count where the commit itself holds them, whether DVC knows them or not.
    Raises NoEvidenceError for one whose bytes are not here: what was not looked at must not pass.
    """
    commit = _commit(project, f"{revision}^{{commit}}").oid
    files = dvc_files_at(project.root, commit)
    found = pinned(project, files, state=None, wanted=wanted or (lambda _name: True), commit=commit)
    for item in found:
        if item.artifact is None:
            raise _not_here(project, revision, commit, item)
    known = {item.name for item in found}
    held = (artifact_at(project, commit, name) for name in names if name not in known)
    return (*(item.artifact for item in found if item.artifact), *(one for one in held if one is not None))


def _not_here(project: Project, revision: str, commit: str, item: Pinned) -> NoEvidenceError:
    """Return the error for a pinned artifact without its bytes; one that Git holds with other bytes says so."""
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
            help="dvc fetch",
        )
    return NoEvidenceError(
        "what Git holds at this revision is not what DVC recorded there",
        where=where,
        expected=f"md5 {item.entry.md5}",
        got=f"md5 {held.md5}",
        help=f"if Git converts line endings: echo '/{item.name} -text' >> .gitattributes, then dvc repro and commit",
    )


def package_url(project: Project, tag: str) -> str:
    """Return the package url of a release: the repository's name, and the tag as its version."""
    remote = (project.git.remote or "").rstrip("/").rpartition("/")[2].rpartition(":")[2].removesuffix(".git")
    common = project.git.common_dir
    name = remote or (common.parent.name if common.name == ".git" else common.name.removesuffix(".git"))
    return f"pkg:generic/{quote(name, safe='')}@{quote(tag, safe='')}"


def is_stored(project: Project, kind: str, git_sha256: str, purl: str | None = None) -> bool:
    """Tell whether the store holds a statement of predicate type `kind` about a commit or tag with this digest.

    Of a package url the version counts, which is the tag: clones have the repository under different names. For
    producing only: what is found is not verified.
    """
    for raw in project.store.by_subject("sha256", git_sha256):
        try:
            found = Bundle.parse(raw).statement()
        except GitchainError:
            continue  # what cannot be read attests nothing
        if found.predicate_type == kind and _version_in(found.predicate.get("purl")) == _version_in(purl):
            return True
    return False


def _version_in(purl: Json) -> str | None:
    return purl.rpartition("@")[2] if isinstance(purl, str) else None


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
