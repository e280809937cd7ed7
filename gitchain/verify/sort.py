"""All statements, sorted under one layout: which count for which step, in which groups, and why the others do not.

 1. Each statement is read, and judged for every step that it claims (`gitchain.verify.judge`).
 2. A statement that only fails its step's constraints is denied: an authorised signer said what the layout forbids.
 3. What counts is grouped by its materials and products, and by nothing else.
 4. A group that has a product in common with a denied statement of the step, or holds a revoked artifact, has a fault:
    a good claim never covers a bad one.

Does NOT resolve steps that stand for another layout: `gitchain.verify.sublayout` adds their groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gitchain.evidence.vocabulary import LAYOUT, VSA
from gitchain.layout.artifact import Link, Manifests
from gitchain.layout.model import Step
from gitchain.layout.rule import Side
from gitchain.verify.attested import Attested, Reader, Rejected, artifacts_of, distinct
from gitchain.verify.claims import Claims, Content, Group, content_of
from gitchain.verify.faults import Faults
from gitchain.verify.findings import Code
from gitchain.verify.judge import Judge
from gitchain.verify.verified import VerifiedStatement
from gitchain.verify.vsa_check import verifier_of


def sort_claims(
    judge: Judge, statements: Iterable[VerifiedStatement], manifests: Manifests, reader: Reader
) -> Claims:
    """Return what counts for each step of the judge's layout, and what does not with the reason."""
    accepted: dict[str, list[Attested]] = {step.name: [] for step in judge.layout.steps}
    denied: dict[str, list[Rejected]] = {step.name: [] for step in judge.layout.steps}
    rejected: list[Rejected] = []
    for one in _read(judge, statements, manifests, reader):
        reason = one if isinstance(one, Rejected) else judge.rejection(one)
        if isinstance(one, Rejected) or reason is not None:
            rejected += [reason] if reason else []
            continue
        signed = judge.named(one)
        denial = judge.denial(signed)
        if denial is None:
            accepted[signed.step.name].append(signed)
        else:
            rejected.append(denial)
            denied[signed.step.name].append(denial)
    faults = Faults(judge, manifests, denied)
    groups = {step.name: _groups(step, accepted[step.name], faults) for step in judge.layout.steps}
    return Claims(judge, groups, tuple(rejected))


def _read(
    judge: Judge, statements: Iterable[VerifiedStatement], manifests: Manifests, reader: Reader
) -> Iterator[Attested | Rejected]:
    """Yield the claims on steps of the layout, each statement of a signer once."""
    steps = {step.name: step for step in judge.layout.steps}
    verifiers = [step for step in judge.layout.steps if step.verifier is not None]
    for statement in distinct(statements):
        kind = statement.statement.predicate_type
        if kind == LAYOUT:
            continue
        claim = reader.claim(statement)
        if isinstance(claim, str):
            yield Rejected(Code.MALFORMED_CLAIM, statement, None, got=claim)
            continue
        named: Sequence[Step] = [steps[claim.step]] if claim.step in steps else ()
        if kind == VSA and claim.step is None:  # others' summaries know no steps: they name their verifier
            said = verifier_of(statement.statement.predicate)
            named = [step for step in verifiers if step.verifier == said]
        for step in named:
            materials, products = (
                artifacts_of(items, manifests) for items in (claim.materials, claim.products)
            )
            link = Link(materials, products)
            yield Attested(step, statement, claim, link)


def _groups(step: Step, members: Sequence[Attested], faults: Faults) -> tuple[Group, ...]:
    """Return the groups of statements that agree on everything that they took and made."""
    found: dict[tuple[Content, Content], list[Attested]] = {}
    for member in members:
        link = member.link
        found.setdefault((content_of(link.materials), content_of(link.products)), []).append(member)
    return tuple(
        Group(
            step,
            tuple(sorted(same, key=lambda one: (one.statement.time, one.statement.attestation_id))),
            people_of(same),
            {Side.MATERIALS: materials, Side.PRODUCTS: products},
            _runs(step, same),
            faults.of(step, same[0].link),
        )
        for (materials, products), same in found.items()
    )


def people_of(members: Iterable[Attested]) -> tuple[str, ...]:
    """Return the distinct people and workloads who signed."""
    return tuple(sorted({one.principal for one in members}))


def _runs(step: Step, members: Sequence[Attested]) -> frozenset[str]:
    """Return the runs in which enough people signed: more evidence of other runs takes none away."""
    by_run: dict[str, list[Attested]] = {}
    for member in members:
        if member.claim.run is not None:
            by_run.setdefault(member.claim.run, []).append(member)
    return frozenset(run for run, same in by_run.items() if len(people_of(same)) >= step.threshold)
