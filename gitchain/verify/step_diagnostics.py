"""Explain why a step has no evidence that counts, or why a target has none.

Every rejected statement has its reason (`gitchain.verify.chain`); this module turns the relevant reasons into
findings, the newest first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gitchain.layout.artifact import Artifact, Manifests
from gitchain.layout.model import Step
from gitchain.verify.chain import Chains, EvidenceGroup, EvidenceGroups
from gitchain.verify.findings import MEANINGS, Finding, FindingCode
from gitchain.verify.target import Target, is_served
from gitchain.verify.verified import RejectedStatement, StepStatement

MAX_PER_STEP = 5  # reasons to give for one step without evidence; the newest first
MAX_FILES = (
    10  # files to name in a directory that differs; the digest of the whole says that there may be more
)
HELP = {
    FindingCode.STEP_MISSING: "run the step with gitchain run, or vouch for it with gitchain attest; then gitchain sync",
    FindingCode.UNAUTHORISED: "if this signer may do the step, add the identity to the layout and sign the layout again",
    FindingCode.TOO_WEAK: "run the step again under gitchain: gitchain run -- dvc repro --force, "
    "or without DVC: gitchain run STEP -m INPUT -p PRODUCT -- COMMAND; or accept declared evidence: evidence: declared in "
    "the step of .gitchain/layout.yaml, raise version, then: gitchain layout sign",
    FindingCode.STALE: "run the step again",
    FindingCode.FUTURE: "check the clock of this machine",
    FindingCode.MANIFEST: "fetch the manifests: gitchain sync",
    FindingCode.PREDICATE_TYPE: "attest the step with the predicate type that the layout names",
}


def without_evidence(claims: EvidenceGroups) -> Iterator[Finding]:
    """Yield findings for each step without evidence that counts."""
    for name, groups in claims.groups.items():
        if not any(group.counts for group in groups):
            yield from _reasons(claims, name)


def _reasons(claims: EvidenceGroups, step: str) -> Iterator[Finding]:
    rejected = [one for one in claims.rejected if _is_about(one, claims.authorizer.layout.step(step))]
    groups = claims.groups[step]
    missing = claims.missing.get(step)
    faulty = [group for group in groups if group.enough and group.faults]
    for group in sorted(faulty, key=lambda group: group.time, reverse=True)[:MAX_PER_STEP]:
        yield from faults(group)
    if groups and not faulty:
        yield _short(groups)
    for one in sorted(rejected, key=lambda one: one.statement.time, reverse=True)[:MAX_PER_STEP]:
        yield replace(rejection(one), step=step)
    if missing is not None and not groups:
        yield from missing()
    elif not groups and not rejected:
        message = f"step {step} has no attestation"
        yield Finding(FindingCode.STEP_MISSING, message, step=step, help=HELP[FindingCode.STEP_MISSING])


def _is_about(one: RejectedStatement, step: Step) -> bool:
    """Return whether the statement was checked for the step, or is unreadable and of a type that the step selects."""
    if one.attested is not None:
        return one.attested.step.name == step.name
    return step.select is not None and one.statement.statement.predicate_type == step.predicate_type


def faults(group: EvidenceGroup) -> Iterator[Finding]:
    """Yield the faults of a group that enough people signed."""
    yield from group.faults() if group.faults else ()


def _short(groups: Sequence[EvidenceGroup]) -> Finding:
    """Return the finding that too few people signed, or that they signed for different content."""
    step = groups[0].step
    people = sorted({person for group in groups for person in group.principals})
    most = max(groups, key=lambda group: len(group.principals))
    agree = len(people) < step.threshold
    message = (
        f"step {step.name} is signed by {len(people)} of {step.threshold} functionaries: {', '.join(people)}"
        if agree
        else f"functionaries of step {step.name} signed for different materials or products"
    )
    return Finding(
        FindingCode.THRESHOLD if agree else FindingCode.DISAGREE,
        message,
        step=step.name,
        expected=f"{step.threshold} of {', '.join(step.functionaries)}",
        got=", ".join(most.principals),
        help="another functionary has to attest the same materials and products",
    )


def rejection(one: RejectedStatement) -> Finding:
    """Return the finding with the reason why this statement does not count."""
    step = one.attested.step.name if one.attested else ""
    by, says = one.statement, one.says or MEANINGS[one.code]
    message = f"attestation {by.attestation_id[:12]} by {by.identity}: {says}"
    return Finding(
        one.code, message, step=step, expected=one.expected, got=one.got, help=HELP.get(one.code, "")
    )


def about_target(chains: Chains, claims: EvidenceGroups, target: Target) -> Iterator[Finding]:
    """Yield findings about a target that no evidence that counts has made."""
    known: list[tuple[StepStatement, EvidenceGroup | RejectedStatement]] = [
        (one, group) for groups in claims.groups.values() for group in groups for one in group.members
    ]
    rejected: list[tuple[StepStatement, EvidenceGroup | RejectedStatement]] = [
        (one.attested, one) for one in claims.rejected if one.attested
    ]
    same: list[Finding] = []
    other: list[StepStatement] = []
    renamed: list[Finding] = []
    for attested, reason in (*known, *rejected):
        for name, holder, artifact in target.names_in(attested.link, chains.manifests):
            if not target.is_content_of(artifact):
                other += [attested] if target.name else []
            elif isinstance(reason, RejectedStatement):
                same.append(rejection(reason))
            elif not is_served(claims.authorizer.layout, attested.step.name, name, holder):
                same.append(_not_served(claims, attested, target, name))
            else:
                same += faults(reason) if reason.faults else _reasons(claims, attested.step.name)
        renamed += _renamed(attested, target)
    if same:
        yield from dict.fromkeys(same)
    elif other:
        # Statements of unauthorised signers about the name are reported only without others.
        authorised = [one for one in other if any(one is member for member, _ in known)]
        yield from _other_content(chains, authorised or other, target)
    elif renamed:
        yield renamed[0]
    elif users := [one for one, _ in (*known, *rejected) if _uses(one, target)]:
        yield from _not_made(chains, claims, users, target)
    else:
        message = f"no attestation found for {target}"
        yield Finding(
            FindingCode.NO_EVIDENCE,
            message,
            artifact=target.artifact_name,
            got=target.content,
            help="gitchain sync fetches evidence; to make it: gitchain run -- dvc repro --force, "
            "or without DVC: gitchain run STEP -m INPUT -p PRODUCT -- COMMAND",
        )


def _uses(attested: StepStatement, target: Target) -> bool:
    return any(
        target.is_content_of(artifact) and target.name in {None, name}
        for name, artifact in attested.link.materials.items()
    )


def _not_made(
    chains: Chains, claims: EvidenceGroups, users: Sequence[StepStatement], target: Target
) -> Iterator[Finding]:
    """Yield why no served step made a target that is known as a material."""
    makers = dict.fromkeys(one.step for one in chains.layout.serve)
    silent = [name for name in makers if not claims.counted(name)]
    for name in silent:
        yield from _reasons(claims, name)
    if not silent:
        newest = max(users, key=lambda one: one.statement.time)
        yield Finding(
            FindingCode.UNACCEPTED,
            f"step {newest.step.name} took {target} ({signed(newest)}), but no attestation has it as a product",
            step=next(iter(makers)),
            artifact=target.artifact_name,
            expected=f"a product of step {' or '.join(makers)}",
            got=target.content,
        )


def _not_served(claims: EvidenceGroups, attested: StepStatement, target: Target, name: str) -> Finding:
    entries = claims.authorizer.layout.serve
    served = [f"{pattern} of step {one.step}" for one in entries for pattern in one.products]
    return Finding(
        FindingCode.NOT_SERVED,
        f"step {attested.step.name} made {name}, and the layout does not serve it",
        step=attested.step.name,
        artifact=name,
        expected=", ".join(served),
        got=target.content,
    )


def _renamed(attested: StepStatement, target: Target) -> list[Finding]:
    """Return a finding for each product with the target's content under another name."""
    return [
        Finding(
            FindingCode.OTHER_NAME,
            f"these bytes are attested by step {attested.step.name} as {name}, not as {target}",
            step=attested.step.name,
            artifact=target.artifact_name,
            expected=f"{target} with other content, or the target {name}",
            got=target.content,
        )
        for name, artifact in attested.link.products.items()
        if target.is_content_of(artifact)
    ]


OTHER_BYTES = "restore the attested file (git checkout, dvc checkout), or run the step again"
OTHER_MODES = (
    "only file modes differ, which manifest version 1 includes: restore them with chmod, or run the step again: "
    "new attestations leave modes out"
)


def _other_content(chains: Chains, known: Sequence[StepStatement], target: Target) -> Iterator[Finding]:
    newest = max(known, key=lambda one: one.statement.time)
    expected = next(artifact for _, _, artifact in target.names_in(newest.link, chains.manifests))
    seen = target.under(expected.version)
    files = tuple(_files_that_differ(chains, newest, expected, seen)) if seen.directory else ()
    modes = tuple(_modes_that_differ(chains, newest, expected, seen)) if seen.directory and not files else ()
    yield Finding(
        FindingCode.OTHER_CONTENT,
        f"{target} differs from the product of step {newest.step.name}: attested as {expected} {signed(newest)}, "
        f"got {seen.content}",
        step=newest.step.name,
        artifact=target.artifact_name,
        expected=str(expected),
        got=seen.content,
        help=OTHER_MODES if modes else OTHER_BYTES,
    )
    yield from (*files, *modes)


def _files_that_differ(
    chains: Chains, newest: StepStatement, expected: Artifact, target: Target
) -> Iterator[Finding]:
    """Yield findings for added, removed and changed files of a directory, the first MAX_FILES."""
    from gitchain.verify.manifest_diff import differences

    found = differences(expected, target.artifact, chains.manifests, Manifests(target.nodes.get))
    for path, old, new in itertools.islice(found, MAX_FILES):
        yield Finding(
            FindingCode.OTHER_CONTENT,
            f"{target}/{path} {_how(old, new)} since step {newest.step.name} made {target}",
            step=newest.step.name,
            artifact=f"{target}/{path}",
            expected=str(old or "no such file"),
            got=str(new or "no such file"),
        )


def _modes_that_differ(
    chains: Chains, newest: StepStatement, expected: Artifact, target: Target
) -> Iterator[Finding]:
    """Yield findings for files that differ from manifest version 1 in the executable bit alone, the first MAX_FILES."""
    from gitchain.verify.manifest_diff import executable_bits

    found = executable_bits(expected, target.artifact, chains.manifests, Manifests(target.nodes.get))
    for path, executable in itertools.islice(found, MAX_FILES):
        wanted, got = ("executable", "not executable") if executable else ("not executable", "executable")
        yield Finding(
            FindingCode.OTHER_CONTENT,
            f"{target}/{path} has the attested bytes and another file mode",
            step=newest.step.name,
            artifact=f"{target}/{path}",
            expected=wanted,
            got=got,
            help=f"chmod {'+x' if executable else '-x'} {target}/{path}",
        )


def _how(old: Artifact | None, new: Artifact | None) -> str:
    return "was added" if old is None else "was removed" if new is None else "was changed"


def signed(attested: StepStatement) -> str:
    """Return signer and time, for messages."""
    return f"by {attested.statement.identity.subject} at {attested.statement.time:%Y-%m-%d %H:%M:%S} UTC"
