"""Check the data sets of a chain: each needs facts by an authorised signer, and all such facts must satisfy the constraints.

The layout defines which products are data sets, and who may state facts about them. Facts are about content, whatever
name or chain they have. Facts about a directory hold for the files in its manifest. Facts about a part of a data set do
not cover all of it, but must satisfy the constraints too.

Facts that fail the constraints are negative evidence (docs/negative-evidence.md): the newest facts of a signer about an
artifact count, failing ones count under weaker conditions, and they count against every directory without a manifest.

Pure. docs/constraints.md is the reference. Does NOT handle revocations: the caller leaves revoked facts out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TypeAlias

from gitchain.evidence.vocabulary import DATASET
from gitchain.layout.artifact import Artifact, Manifests
from gitchain.layout.constraint import ConstraintResult, Input
from gitchain.layout.model import Constraint, Datasets, Layout
from gitchain.verify.constraints import StepRows, finding, holds, signer_of
from gitchain.verify.findings import Finding, FindingCode
from gitchain.verify.verified import VerifiedStatement

Owner = Callable[[VerifiedStatement], "tuple[str, str] | None"]
"""Returns functionary and principal of a statement, or None for an unknown signer."""


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """Facts that are not revoked, with the owner of each, and which are ahead of the clock or not cosigned."""

    statements: Sequence[VerifiedStatement]
    owner: Owner
    is_early: Callable[[VerifiedStatement], bool]
    manifests: Manifests


def check_datasets(layout: Layout, chain: Mapping[str, StepRows], facts: DatasetFacts) -> tuple[Finding, ...]:
    """Return the findings about the data sets of this chain: missing facts, and facts that fail."""
    if layout.datasets is None:
        return ()
    stated = _CountedFacts.of(facts, layout.datasets)
    found: list[Finding] = []
    for served in layout.datasets.artifacts:
        products = chain[served.step].link.products
        chosen = {
            name: item
            for name, item in products.items()
            if any(fnmatchcase(name, pattern) for pattern in served.products)
        }
        if not chosen:
            found.append(_no_dataset(served.step, served.products))
        for name, artifact in chosen.items():
            found += _dataset_findings(layout.datasets, served.step, name, artifact, stated)
    return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class _DatasetFact:
    """One statement about one artifact, with its owner."""

    statement: VerifiedStatement
    artifact: Artifact
    functionary: str
    principal: str
    early: bool

    @property
    def time(self) -> datetime:
        """Return the proven time of the statement."""
        return self.statement.time

    def marks(self) -> Iterator[tuple[object, ...]]:
        """Yield the keys by which later facts replace these: signer, kind and each digest."""
        newest = self.artifact.newest if self.artifact.directory else None
        if newest is not None:
            yield self.principal, 2, newest
        else:
            for digest in self.artifact.digest.accepted:
                yield self.principal, self.artifact.kind, digest


@dataclass(slots=True)
class _CountedFacts:
    """The facts that count, and the contents of their directories and of the data sets."""

    manifests: Manifests
    facts: Sequence[_DatasetFact]
    _below: dict[tuple[int, tuple[tuple[str, str], ...]], _DirectoryContents] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: DatasetFacts, datasets: Datasets) -> _CountedFacts:
        """Return the newest facts of each signer about each artifact; older ones no longer count."""
        said = [
            _DatasetFact(one, facts.manifests.artifact(subject), *who, facts.is_early(one))
            for one in facts.statements
            if one.statement.predicate_type == DATASET
            and (who := facts.owner(one)) is not None
            and who[0] in datasets.functionaries
            for subject in one.statement.subject
        ]
        newest: dict[tuple[object, ...], datetime] = {}
        for one in said:
            if not one.early:
                newest |= {key: max(one.time, newest.get(key, one.time)) for key in one.marks()}
        return cls(
            facts.manifests,
            [one for one in said if any(newest.get(key, one.time) <= one.time for key in one.marks())],
        )

    def about(self, artifact: Artifact) -> Sequence[_DatasetFact]:
        """Return the facts about the artifact itself, or about a directory that holds it."""
        return [one for one in self.facts if self._holds(one.artifact, artifact)]

    def within(self, artifact: Artifact) -> Sequence[_DatasetFact]:
        """Return the facts about a part of the artifact: these count only against it."""
        return [one for one in self.facts if self._holds(artifact, one.artifact)]

    def perhaps(self, artifact: Artifact) -> Sequence[_DatasetFact]:
        """Return the facts that may be about the artifact or a part of it, as a manifest is missing."""
        return [
            one for one in self.facts if self._inside(one.artifact).closed or self._inside(artifact).closed
        ]

    def _holds(self, outer: Artifact, inner: Artifact) -> bool:
        return outer == inner or not self._inside(outer).found.isdisjoint(_keys(inner))

    def _inside(self, artifact: Artifact) -> _DirectoryContents:
        """Return kind and digests of the contents, as far as manifests are available. Each node is read once."""
        if not artifact.directory:
            return _NOTHING_INSIDE
        top = artifact.kind, artifact.digest.accepted
        if top not in self._below:
            seen, waiting, closed = set[_Key](), [artifact], False
            while waiting:
                one = waiting.pop()
                closed = closed or self.manifests.is_closed(one)
                for entry in self.manifests.entries(one).values():
                    found = (entry.kind, entry.digest["sha256"])
                    if found not in seen:
                        seen.update(_keys(entry))
                        waiting += [entry] if entry.directory else []
            self._below[top] = _DirectoryContents(frozenset(seen), closed)
        return self._below[top]


_Key: TypeAlias = tuple[int, str]
"""Kind and sha256 of an artifact."""


def _keys(artifact: Artifact) -> Iterator[_Key]:
    """Yield the artifact's key, and for a directory also its version 2 key if that is known."""
    if (sha256 := artifact.digest.get("sha256")) is not None:
        yield artifact.kind, sha256
    if artifact.kind == 1 and (newest := artifact.newest) is not None:
        yield 2, newest


@dataclass(frozen=True, slots=True)
class _DirectoryContents:
    """Keys of the known contents of a directory; `closed` if a manifest is missing."""

    found: frozenset[_Key]
    closed: bool


_NOTHING_INSIDE = _DirectoryContents(frozenset(), closed=False)


def _dataset_findings(
    datasets: Datasets,
    step: str,
    name: str,
    artifact: Artifact,
    stated: _CountedFacts,
) -> Iterator[Finding]:
    about = stated.about(artifact)
    if all(one.early for one in about):
        yield Finding(
            FindingCode.NO_FACTS,
            f"no facts about data set {name} by an authorised signer",
            step=step,
            artifact=name,
            expected=f"a {DATASET} statement by {' or '.join(datasets.functionaries)}",
            got=f"{'facts from the future' if about else 'none'} about {artifact}",
            help="gitchain attest dataset states source, licence and consent",
        )
    certain = _by_statement((*about, *stated.within(artifact)))
    for fact in certain.values():
        for constraint, verdict in _refusals(datasets, name, artifact, fact):
            what = f"data set constraint {constraint.name} for {name}"
            yield finding(FindingCode.FACTS_REFUSED, what, constraint, verdict, step=step, artifact=name)
    for key, fact in _by_statement(stated.perhaps(artifact)).items():
        if key not in certain and any(True for _ in _refusals(datasets, name, artifact, fact)):
            yield _perhaps_refused(step, name, artifact, fact)


def _by_statement(facts: Sequence[_DatasetFact]) -> dict[int, _DatasetFact]:
    """Return the facts, one for each statement."""
    return {id(one.statement): one for one in facts}


def _refusals(
    datasets: Datasets, name: str, artifact: Artifact, fact: _DatasetFact
) -> Iterator[tuple[Constraint, ConstraintResult]]:
    """Yield the constraints that fail for these facts."""
    variables: dict[str, Input] = {
        "dataset": fact.statement.statement.predicate,
        "artifact": {"name": name, "sha256": artifact.digest.get("sha256", "")},
        "signer": signer_of(fact.statement, fact.functionary, fact.principal),
        "time": fact.time,
    }
    for constraint in datasets.constraints:
        verdict = holds(constraint, "dataset", variables)
        if not verdict.ok:
            yield constraint, verdict


def _perhaps_refused(step: str, name: str, artifact: Artifact, fact: _DatasetFact) -> Finding:
    return Finding(
        FindingCode.CLOSED,
        f"facts by {fact.statement.identity} that the layout refuses (attestation "
        f"{fact.statement.attestation_id[:12]}) may be about {name}: a directory's manifest is not available",
        step=step,
        artifact=name,
        expected="the manifests of the data set and of the directories that facts are about",
        got=str(artifact),
        help="fetch the manifests: gitchain sync",
    )


def _no_dataset(step: str, patterns: Sequence[str]) -> Finding:
    return Finding(
        FindingCode.NO_FACTS,
        f"step {step} made no artifact that the layout calls a data set",
        step=step,
        expected=f"a product named {' or '.join(patterns)}",
        got="none",
        help="the patterns are matched with the names of the step's products, directories among them",
    )
