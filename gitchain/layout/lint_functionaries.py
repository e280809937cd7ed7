"""Lint of functionaries: identities that match too much, people who count twice, functionaries without a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from gitchain.evidence.vocabulary import SOURCE
from gitchain.layout.identities import REF_MARK, Member, OpenPgpMember, SigstoreMember, SshMember, covers
from gitchain.layout.lint_code import Lint, LintCode
from gitchain.layout.model import Identity, Layout
from gitchain.layout.patterns import meets
from gitchain.layout.step import Step

MAX_COMPARED = 2000  # identities; beyond, comparing each with each takes longer than a person waits


def lint_people(layout: Layout) -> Iterator[Lint]:
    """Yield findings about functionaries, principals and thresholds."""
    yield from _unused(layout)
    for one in layout.functionaries:
        for index, member in enumerate(one.identities):
            if isinstance(member, SigstoreMember) and REF_MARK in member.subject_pattern:
                where = f"functionaries.{one.name}.identities[{index}]"
                yield from _repository(member, where)
                yield from _pull_request(member, where)
    yield from _overlaps(layout)
    for index, step in enumerate(layout.steps):
        yield from _threshold(layout, step, f"steps[{index}]")
    if not layout.revokers:
        message = (
            "no functionary may revoke anything: "
            "a stolen identity or a withdrawn data set counts until the layout changes"
        )
        yield Lint(LintCode.NO_REVOKERS, "warning", "revokers", message, "name functionaries under revokers")
    yield from _nobody_else(layout)


def _unused(layout: Layout) -> Iterator[Lint]:
    used = {name for step in layout.steps for name in step.functionaries} | set(layout.revokers)
    used |= set(layout.datasets.functionaries) if layout.datasets else set()
    for one in layout.functionaries:
        if one.name not in used:
            message = f"functionary {one.name} may do nothing"
            yield Lint(LintCode.UNUSED, "warning", f"functionaries.{one.name}", message, "leave it out")


def _repository(member: SigstoreMember, where: str) -> Iterator[Lint]:
    """Yield a finding if a workflow of another repository could get this identity.

    With a reusable workflow the subject names the called workflow, not the caller. A repository's name can be registered
    again by another owner.
    """
    claims = dict(member.claims)
    if "sourceRepositoryIdentifier" in claims:
        return
    fix = "add claims: {sourceRepositoryIdentifier: …, sourceRepositoryOwnerIdentifier: …}"
    if {"sourceRepositoryURI", "sourceRepositoryOwnerIdentifier"} & claims.keys():
        message = "another repository can have this identity after a renaming, or under the same owner"
        yield Lint(LintCode.OTHER_REPOSITORY, "warning", where, message, fix)
    else:
        message = "a workflow of another repository can have this identity: no claim names the repository"
        severity = "warning" if member.exact else "error"
        yield Lint(LintCode.OTHER_REPOSITORY, severity, where, message, fix)  # type: ignore[arg-type]


def _pull_request(member: SigstoreMember, where: str) -> Iterator[Lint]:
    fixed, mark, _ = member.subject_pattern.partition(REF_MARK)
    requested = covers(member.subject_pattern, f"{fixed}{mark}pull/1/merge")
    if (requested or "@refs/pull/" in member.subject_pattern) and "buildTrigger" not in dict(member.claims):
        message = "a pull request, which every user may open, can have this identity"
        yield Lint(LintCode.PULL_REQUEST, "error", where, message, "narrow the ref, or claim a buildTrigger")


def _overlaps(layout: Layout) -> Iterator[Lint]:
    """Name pairs of functionaries, of two principals, that one signature could count for."""
    members = [(one.name, member) for one in layout.functionaries for member in one.identities]
    for (one, left), (other, right) in combinations(members[:MAX_COMPARED], 2):
        if layout.principal_of(one) != layout.principal_of(other) and overlap(left, right):
            message = f"{one} and {other} can be one signer: {left} and {right}"
            fix = f"make them one person under principals, or tell them apart: {one}, {other}"
            yield Lint(LintCode.OVERLAP, "error", f"functionaries.{other}", message, fix)


def overlap(one: Member, other: Member) -> bool:
    """Return whether one signer can match both entries."""
    if isinstance(one, SigstoreMember) and isinstance(other, SigstoreMember):
        said = dict(one.claims)
        return all(said.get(name, value) == value for name, value in other.claims) and _one_subject(
            one, other
        )
    if isinstance(one, SigstoreMember) or isinstance(other, SigstoreMember):
        return False
    return not one.spkis.isdisjoint(other.spkis)


def _one_subject(one: SigstoreMember, other: SigstoreMember) -> bool:
    """Return whether one signer can match both, ignoring claims: a threshold counts it as one person."""
    if one.issuer != other.issuer:
        return False
    if other.exact:
        return covers(one.subject_pattern, other.subject_pattern)
    if one.exact:
        return covers(other.subject_pattern, one.subject_pattern)
    left, right = one.subject_pattern.split("/"), other.subject_pattern.split("/")
    return len(left) == len(right) and all(map(meets, left, right))


def _threshold(layout: Layout, step: Step, where: str) -> Iterator[Lint]:
    """Say whether fewer people than the threshold could reach it, or none at all."""
    by_git = step.predicate_type == SOURCE
    able = [name for name in step.functionaries if by_git or _can_attest(layout, name)]
    if len({layout.principal_of(name) for name in able}) < step.threshold:
        message = f"no functionary can satisfy step {step.name}: SSH and OpenPGP keys sign commits, not attestations"
        yield Lint(LintCode.UNSATISFIABLE, "error", where, message, "add an identity or a key")
    people = _people(layout, step.functionaries) if step.threshold > 1 else step.threshold
    if people < step.threshold:
        message = f"threshold {step.threshold} of step {step.name} can be reached by {people} distinct people"
        fix = "add a functionary who is another person, and list each person's names under principals"
        yield Lint(LintCode.FEW_PEOPLE, "error", f"{where}.threshold", message, fix)


def _can_attest(layout: Layout, name: str) -> bool:
    by_git = (SshMember, OpenPgpMember)
    return any(not isinstance(member, by_git) for member in layout.functionary(name).identities)


def _people(layout: Layout, names: Sequence[str]) -> int:
    """Return the number of functionaries; those that are or look like one person count once."""
    groups: list[set[str]] = []
    for name in names:
        same = [group for group in groups if any(_same_person(layout, name, other) for other in group)]
        groups = [group for group in groups if group not in same]
        groups.append({name}.union(*same))
    return len(groups)


def _same_person(layout: Layout, one: str, other: str) -> bool:
    """Return whether two functionaries are one principal, could be one signer, or share a subject or a mail address."""
    if layout.principal_of(one) == layout.principal_of(other):
        return True
    pairs = (
        (left, right)
        for left in layout.functionary(one).identities
        for right in layout.functionary(other).identities
    )
    return any(_same_signer(*pair) for pair in pairs)


def _same_signer(one: Member, other: Member) -> bool:
    """Return whether two identities are one signer, ignoring claims, or have the same mail address."""
    if isinstance(one, SigstoreMember) and isinstance(other, SigstoreMember):
        left, right = one.subject_pattern.casefold(), other.subject_pattern.casefold()
        return _one_subject(one, other) or (left == right and "@" in left and "/" not in left)
    return overlap(one, other)


def one_person(layout: Layout, signers: Sequence[Identity]) -> Iterator[Lint]:
    """Yield the person who performs every step and signs the layout: no other person checks anything."""
    people = {layout.principal_of(name) for step in layout.steps for name in step.functionaries}
    if len(people) != 1:
        return
    (person,) = people
    own = [one for one in layout.functionaries if layout.principal_of(one.name) == person]
    if signers and all(any(one.matches(signer, {}) for one in own) for signer in signers):
        message = f"{person} performs every step and signs the layout: no other person checks anything"
        help_ = "let another person sign the layout, or perform a step such as an approval"
        yield Lint(LintCode.ONE_PERSON, "warning", "steps", message, help_)


def _nobody_else(layout: Layout) -> Iterator[Lint]:
    """Yield the steps without products that check a served step, but only by that step's own people."""
    makers = {
        one.step: {layout.principal_of(name) for name in layout.step(one.step).functionaries}
        for one in layout.serve
    }
    for index, step in enumerate(layout.steps):
        checkers = {layout.principal_of(name) for name in step.functionaries}
        for maker in step.sources if not step.has_products else ():
            if checkers <= makers.get(maker, set()):
                message = f"step {step.name} checks step {maker}, but only the functionaries of step {maker} may sign it"
                yield Lint(LintCode.NOBODY_ELSE, "warning", f"steps[{index}].functionaries", message)
