"""Build the SLSA provenance statement of one step from what was collected."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from gitchain.collect.artifacts import CollectedArtifact
from gitchain.collect.environment import environment
from gitchain.collect.git import GitState
from gitchain.collect.interpreter_facts import SeenInterpreter
from gitchain.evidence import predicates
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.predicates import PROVENANCE, StepFacts
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import time_text
from gitchain.produce.draft import StatementDraft
from gitchain.workspace.project import Project


def provenance(  # noqa: PLR0913 - one keyword for each thing that a step has
    project: Project,
    step: str,
    materials: Sequence[CollectedArtifact],
    products: Sequence[CollectedArtifact],
    *,
    evidence: predicates.Evidence,
    kind: predicates.Kind = "step",
    command: Sequence[str] = (),
    parameters: Mapping[str, Json] | None = None,
    dvc: Mapping[str, Json] | None = None,
    times: tuple[datetime, datetime] | None = None,
    outputs: tuple[str, str] | None = None,
    sources: Sequence[ResourceDescriptor] = (),
    metrics: Sequence[ResourceDescriptor] = (),
    interpreters: Sequence[SeenInterpreter] | None = None,
) -> StatementDraft:
    """Return the SLSA provenance statement of one step, with the repository's Git commit as a material."""
    source = _source(project.git)
    names = ("stdout", "stderr")
    predicate = predicates.provenance(
        step=StepFacts(step, new_run(), evidence, layout_name(project)),
        materials=[*(artifact.descriptor for artifact in materials), *_apart(sources, source), *source],
        kind=kind,
        command=command,
        parameters=parameters,
        environment=environment(interpreters) if evidence == "observed" else None,
        git=_git(project.git),
        dvc=dvc,
        started=time_text(times[0]) if times else None,
        finished=time_text(times[1]) if times else None,
        byproducts=[
            *(
                ResourceDescriptor(name=name, digest=DigestSet({"sha256": digest}))
                for name, digest in zip(names, outputs or (), strict=False)
            ),
            *metrics,
        ],
        exit_code=0 if outputs else None,
    )
    statement = Statement.build([artifact.descriptor for artifact in products], PROVENANCE, predicate)
    return with_manifests(statement, (*materials, *products))


def with_manifests(statement: Statement, artifacts: Iterable[CollectedArtifact]) -> StatementDraft:
    """Return the statement with the manifests of its directories."""
    nodes = {
        digest: node
        for artifact in artifacts
        if artifact.manifest
        for digest, node in artifact.manifest.nodes.items()
    }
    return StatementDraft(statement, nodes)


def _source(git: GitState) -> tuple[ResourceDescriptor, ...]:
    if git.commit is None or git.tree is None or git.commit_sha256 is None:
        return ()
    return (
        predicates.git_source(
            commit=git.commit,
            tree=git.tree,
            commit_sha256=git.commit_sha256,
            uri=predicates.git_uri(git.remote),
        ),
    )


def _apart(
    sources: Iterable[ResourceDescriptor], own: Iterable[ResourceDescriptor]
) -> Iterator[ResourceDescriptor]:
    """Yield the sources. One with the repository's own uri gets its commit appended: `git:local@<commit>`.

    An import from an earlier release of the repository has that uri, and so has one from a local path if the
    repository has no remote.
    """
    taken = {descriptor.uri for descriptor in own}
    for source in sources:
        commit = source.digest.get("gitCommit")
        yield replace(source, uri=f"{source.uri}@{commit}") if source.uri in taken and commit else source


def _git(git: GitState) -> dict[str, Json] | None:
    if git.commit is None:
        return None
    facts: dict[str, Json] = {
        "commit": git.commit,
        "tree": git.tree,
        "commitSha256": git.commit_sha256,
        "dirty": git.dirty,
    }
    optional = {"diffSha256": git.diff_sha256, "branch": git.branch}
    return facts | {key: value for key, value in optional.items() if value is not None}


def layout_name(project: Project) -> str | None:
    """Return the name of the layout in this repository's statements."""
    return project.config.layout if project.config else None


def new_run() -> str:
    """Return a new random id for a run of a step."""
    return uuid.uuid4().hex
