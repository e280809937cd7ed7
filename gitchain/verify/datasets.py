"""The data sets of a chain: each needs facts from who may state them, and all such facts satisfy the constraints.

The layout says which products are data sets, and who may say what they are. Facts are about content: whatever name
they give it, whatever chain they are on. Facts about a directory hold for what its manifest says is in it.

Pure. docs/constraints.md is the reference. Does NOT know what was revoked: the caller leaves that out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from gitchain.evidence.vocabulary import DATASET
from gitchain.layout.artifact import MAX_OPENED_FILES, Artifact, Manifests
from gitchain.layout.constraint import Input
from gitchain.layout.model import Datasets, Layout
from gitchain.verify.constraints import Rows, finding, holds, signer_of
from gitchain.verify.findings import Code, Finding
from gitchain.verify.verified import VerifiedStatement

Owner = Callable[[VerifiedStatement], "tuple[str, str] | None"]
"""Says for whom a statement was signed: the functionary and the principal, or None for a stranger."""


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
    facts = [
        (one, who)
        for one in statements
        if one.statement.predicate_type == DATASET
        and (who := owner(one)) is not None
        and who[0] in layout.datasets.functionaries
    ]
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
            about = [one for one in facts if _is_about(one[0], artifact, manifests)]
            found += _dataset_findings(layout.datasets, served.step, name, artifact, about)
    return tuple(found)


def _is_about(statement: VerifiedStatement, artifact: Artifact, manifests: Manifests) -> bool:
    """Tell whether the facts are about the artifact itself, or about a directory that holds it."""
    for descriptor in statement.statement.subject:
        subject = Artifact(descriptor.digest, descriptor.is_directory)
        if subject == artifact:
            return True
        inside = manifests.tree(subject, MAX_OPENED_FILES) if subject.directory else None
        if inside is not None and any(one == artifact for one in inside):
            return True
    return False


def _dataset_findings(
    datasets: Datasets,
    step: str,
    name: str,
    artifact: Artifact,
    about: Sequence[tuple[VerifiedStatement, tuple[str, str]]],
) -> Iterator[Finding]:
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
    for statement, who in about:
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
