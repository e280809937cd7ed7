"""Classify statements under one layout: which count for which step, in which groups, and why others do not count.

 1. Each statement is checked for every step that it names (`gitchain.verify.authorization`).
 2. A statement that fails its step's constraints, or a summary without PASSED, is a rejection. It counts under
    weaker conditions than a statement that passes (docs/negative-evidence.md).
 3. Statements that count are grouped by materials and products alone.
 4. A group with a rejected or revoked artifact, or a directory that contains one, has a fault
    (`gitchain.verify.negative_evidence`).

Groups of sublayout steps come from `gitchain.verify.sublayout`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from gitchain.evidence.claim import claimless_artifacts
from gitchain.evidence.vocabulary import LAYOUT, REVOCATION, VSA, is_own_type
from gitchain.layout.artifact import Link, Manifests
from gitchain.layout.model import Layout, Step
from gitchain.layout.rule import ArtifactList
from gitchain.verify.authorization import Authorizer
from gitchain.verify.chain import Content, EvidenceGroup, EvidenceGroups, content_of, people_of
from gitchain.verify.findings import MEANINGS, FindingCode
from gitchain.verify.negative_evidence import (
    NegativeEvidence,
    Rejection,
    Rejections,
    digests_about,
    standing,
)
from gitchain.verify.search import LayoutStack, Sources
from gitchain.verify.verified import (
    RejectedStatement,
    StepReader,
    StepStatement,
    VerifiedStatement,
    artifacts_of,
    distinct,
)

if TYPE_CHECKING:
    from gitchain.verify.revocations import Revocations


def sort_claims(
    authorizer: Authorizer,
    statements: Iterable[VerifiedStatement],
    manifests: Manifests,
    reader: StepReader,
    above: Sequence[Rejections] = (),
) -> tuple[EvidenceGroups, NegativeEvidence]:
    """Return the statements that count for each step, the others with the reason, and the negative evidence.

    `above` are the rejections under the enclosing layouts.
    """
    accepted: dict[str, list[StepStatement]] = {step.name: [] for step in authorizer.layout.steps}
    against: list[Rejection] = []
    rejected: list[RejectedStatement] = []
    for one in _read(authorizer, statements, manifests, reader):
        if isinstance(one, RejectedStatement):
            rejected.append(one)
            against += _unreadable(authorizer, one, manifests)
            continue
        reason, counts_against = authorizer.check_statement(one)
        signed = authorizer.named(one) if counts_against else one
        denial = authorizer.denial(signed) if counts_against else None
        if denial is not None:
            against.append(_rejection(signed, denial))
        found = reason or denial
        if found is None:
            accepted[signed.step.name].append(signed)
        else:
            rejected.append(found)
    own = standing(against, itertools.chain.from_iterable(accepted.values()))
    negative = NegativeEvidence(authorizer, manifests, (*above, own))
    groups = {step.name: _groups(step, accepted[step.name], negative) for step in authorizer.layout.steps}
    return EvidenceGroups(authorizer, groups, tuple(rejected)), negative


def _rejection(signed: StepStatement, denial: RejectedStatement) -> Rejection:
    why, about = denial.says or MEANINGS[denial.code], digests_about(signed.link)
    step, signer = signed.step.name, signed.principal
    return Rejection(step, signer, signed.statement, about, why, denial.expected, denial.got)


def claims_under(layout: Layout, above: LayoutStack, sources: Sources) -> EvidenceGroups:
    """Return the evidence under a layout, with the chains under its sublayouts.

    `authorizer.problems` has the revocations that cannot be read: a caller must pass no target while there are some.
    """
    revocations = (*above.revocations, *_revocations(layout, sources))
    stale = None
    if layout.freshness is not None:
        from gitchain.verify.freshness import check_freshness

        stale = check_freshness(layout, revocations, sources.statements, sources.now)
    authorizer = Authorizer(layout, sources.now, revocations, inside=len(above.names) > 1, stale=stale)
    claims, negative = sort_claims(
        authorizer, sources.statements, sources.manifests, sources.reader, above.rejections
    )
    groups, missing = dict(claims.groups), dict(claims.missing)
    inherited = LayoutStack(above.names, revocations, negative.rejections)
    for step in layout.steps:
        if step.sublayout is not None:
            from gitchain.verify.sublayout import SublayoutSearch

            search = SublayoutSearch.of(
                step, step.sublayout, claims, negative, inherited, sources, claims_under
            )
            groups[step.name] = tuple(search.groups())
            missing[step.name] = search.missing
    return EvidenceGroups(authorizer, groups, claims.rejected, missing)


def _revocations(layout: Layout, sources: Sources) -> Iterator[Revocations]:
    """Yield what the layout's revokers revoked, if there is any revocation."""
    if any(one.statement.predicate_type == REVOCATION for one in sources.statements):
        from gitchain.verify.revocations import Revocations

        yield Revocations.of(layout, sources.statements, sources.now)


def _unreadable(authorizer: Authorizer, one: RejectedStatement, manifests: Manifests) -> Iterator[Rejection]:
    """Yield a rejection for each step whose functionary signed an unreadable statement of its type."""
    statement = one.statement
    for step in authorizer.layout.steps:
        kind, asked = statement.statement.predicate_type, bool(step.constraints or step.verifier)
        if asked and kind == step.predicate_type and authorizer.may_speak(step, statement):
            signer, items = (
                authorizer.signers.person(statement.identity),
                claimless_artifacts(statement.statement),
            )
            about = frozenset(pair for item in items for pair in manifests.artifact(item).digests)
            yield Rejection(step.name, signer, statement, about, MEANINGS[one.code], got=one.got)


def _read(
    authorizer: Authorizer, statements: Iterable[VerifiedStatement], manifests: Manifests, reader: StepReader
) -> Iterator[StepStatement | RejectedStatement]:
    """Yield the claims about steps of the layout, each statement of a signer once."""
    steps = {step.name: step for step in authorizer.layout.steps}
    selecting = [step for step in authorizer.layout.steps if step.select is not None]
    verifiers = [step for step in authorizer.layout.steps if step.verifier is not None]
    for statement in distinct(statements):
        kind = statement.statement.predicate_type
        if kind == LAYOUT:
            continue
        claim = reader.claim(statement)
        if isinstance(claim, str):
            yield RejectedStatement(FindingCode.MALFORMED_CLAIM, statement, None, "", claim)
            continue
        named: Sequence[Step] = [steps[claim.step]] if claim.step in steps else ()
        if kind == VSA and claim.step is None:  # others' summaries know no steps: they name their verifier
            from gitchain.verify.vsa_check import verifier_of

            said = verifier_of(statement.statement.predicate)
            named = [step for step in verifiers if step.verifier == said]
        if selecting and not claim.has_facts and all(step.select is not None for step in named):
            named = _selecting(authorizer, selecting, statement)
        if not named:
            continue
        link = Link(*(artifacts_of(items, manifests) for items in (claim.materials, claim.products)))
        for step in named:
            if step.select is not None and step.select.name is not None:
                from gitchain.verify.selection import renamed

                yield StepStatement(step, statement, claim, renamed(step, step.select.name, link))
            else:
                yield StepStatement(step, statement, claim, link)


def _selecting(
    authorizer: Authorizer, selecting: Sequence[Step], statement: VerifiedStatement
) -> Sequence[Step]:
    """Return the steps whose selector is checked for a statement that names no step: those of its signer and type.

    If there are none, the finding needs the first step of the type, or without one every step of the signer. So the
    statements of strangers cost the same for any number of steps.
    """
    kind, signers = statement.statement.predicate_type, authorizer.signers
    if kind == VSA or is_own_type(kind):
        return ()
    typed = [step for step in selecting if step.predicate_type == kind]
    found = [
        step for step in typed or selecting if signers.functionary(statement, step.functionaries) is not None
    ]
    return found or typed[:1]


def _groups(
    step: Step, members: Sequence[StepStatement], negative: NegativeEvidence
) -> tuple[EvidenceGroup, ...]:
    """Return the groups of statements that agree on everything that they took and made."""
    found: dict[tuple[Content, Content], list[StepStatement]] = {}
    for member in members:
        link = member.link
        found.setdefault((content_of(link.materials), content_of(link.products)), []).append(member)
    return tuple(
        EvidenceGroup(
            step,
            tuple(sorted(same, key=lambda one: (one.statement.time, one.statement.attestation_id))),
            people_of(same),
            {ArtifactList.MATERIALS: materials, ArtifactList.PRODUCTS: products},
            _runs(step, same),
            negative.faults(step, same[0].link),
        )
        for (materials, products), same in found.items()
    )


def _runs(step: Step, members: Sequence[StepStatement]) -> frozenset[str]:
    """Return the runs in which enough people signed. Evidence of other runs does not change them."""
    by_run: dict[str, list[StepStatement]] = {}
    for member in members:
        if member.claim.run is not None:
            by_run.setdefault(member.claim.run, []).append(member)
    return frozenset(run for run, same in by_run.items() if len(people_of(same)) >= step.threshold)
