"""The data sets of a chain: each needs facts from who may state them, and all such facts satisfy the constraints.

The layout says which products are data sets, and who may say what they are. Facts are about content: whatever name
they give it, whatever chain they are on. Facts about a directory hold for what its manifest says is in it; facts about a
part of a data set do not speak for all of it, but have to satisfy the constraints too.

Pure. docs/constraints.md is the reference. Does NOT know what was revoked: the caller leaves that out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeAlias

from gitchain.evidence.vocabulary import DATASET
from gitchain.layout.artifact import Artifact, Manifests
from gitchain.layout.constraint import Input
from gitchain.layout.model import Datasets, Layout
from gitchain.verify.constraints import Rows, finding, holds, signer_of
from gitchain.verify.findings import Code, Finding
from gitchain.verify.verified import VerifiedStatement

Owner = Callable[[VerifiedStatement], "tuple[str, str] | None"]
"""Says for whom a statement was signed: the functionary and the principal, or None for a stranger."""


_Facts = tuple[VerifiedStatement, tuple[str, str]]


def check_datasets(
    layout: Layout,
    chain: Mapping[str, Rows],
    statements: Sequence[VerifiedStatement],
    owner: Owner,
    manifests: Manifests,
) -> tuple[Finding, ...]:
    """Return what is wrong with the data sets of this chain: unknown ones, and facts that are refused.

    `statements` are all that are not revoked; `owner` says whose each is.
    """
    if layout.datasets is None:
        return ()
    stated = _Stated(
        manifests,
        [
            (one, who)
            for one in statements
            if one.statement.predicate_type == DATASET
            and (who := owner(one)) is not None
            and who[0] in layout.datasets.functionaries
        ],
    )
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


@dataclass(slots=True)
class _Stated:
    """The facts that count, and what lies in the directories that they and the data sets are."""

    manifests: Manifests
    facts: Sequence[_Facts]
    _below: dict[_Key, frozenset[_Key]] = field(default_factory=dict)

    def about(self, artifact: Artifact) -> Sequence[_Facts]:
        """Return the facts about the artifact itself, or about a directory that holds it."""
        return [one for one in self.facts if any(self._holds(it, artifact) for it in self._subjects(one))]

    def within(self, artifact: Artifact) -> Sequence[_Facts]:
        """Return the facts about a part of the artifact: they cannot speak for all of it, but against it."""
        return [one for one in self.facts if any(self._holds(artifact, it) for it in self._subjects(one))]

    def _holds(self, outer: Artifact, inner: Artifact) -> bool:
        if outer == inner:
            return True
        return outer.directory and not self._inside(outer).isdisjoint(_keys(inner))

    def _inside(self, directory: Artifact) -> frozenset[_Key]:
        """Return kind and digests of all that lies below, as far as manifests are at hand: each node is read once."""
        top = directory.kind, directory.digest.get("sha256", "")
        if top not in self._below:
            seen, waiting = set[_Key](), [directory]
            while waiting:
                for entry in self.manifests.entries(waiting.pop()).values():
                    found = (entry.kind, entry.digest["sha256"])
                    if found not in seen:
                        seen.update(_keys(entry))
                        waiting += [entry] if entry.directory else []
            self._below[top] = frozenset(seen)
        return self._below[top]

    def _subjects(self, facts: _Facts) -> Iterator[Artifact]:
        for descriptor in facts[0].statement.subject:
            yield self.manifests.artifact(descriptor)


_Key: TypeAlias = tuple[int, str]
"""Kind and sha256 of an artifact."""


def _keys(artifact: Artifact) -> Iterator[_Key]:
    """Yield the artifact's key, and for a directory that under version 2 where it is known."""
    yield artifact.kind, artifact.digest.get("sha256", "")
    if artifact.kind == 1 and (newest := artifact.newest) is not None:
        yield 2, newest


def _dataset_findings(
    datasets: Datasets,
    step: str,
    name: str,
    artifact: Artifact,
    stated: _Stated,
) -> Iterator[Finding]:
    about = stated.about(artifact)
    if not about:
        yield Finding(
            Code.NO_FACTS,
            f"nobody who may says what data set {name} is",
            step=step,
            artifact=name,
            expected=f"a {DATASET} statement by {' or '.join(datasets.functionaries)}",
            got=f"none about {artifact}",
            help="gitchain attest dataset states source, licence and consent",
        )
    for statement, who in dict.fromkeys((*about, *stated.within(artifact))):
        variables: dict[str, Input] = {
            "dataset": statement.statement.predicate,
            "artifact": {"name": name, "sha256": artifact.digest.get("sha256", "")},
            "signer": signer_of(statement, *who),
            "time": statement.time,
        }
        for constraint in datasets.constraints:
            verdict = holds(constraint, "dataset", variables)
            if not verdict.ok:
                what = f"data set constraint {constraint.name} for {name}"
                yield finding(Code.FACTS_REFUSED, what, constraint, verdict, step=step, artifact=name)


def _no_dataset(step: str, patterns: Sequence[str]) -> Finding:
    return Finding(
        Code.NO_FACTS,
        f"step {step} made no artifact that the layout calls a data set",
        step=step,
        expected=f"a product named {' or '.join(patterns)}",
        got="none",
        help="the patterns are matched with the names of the step's products, directories among them",
    )
