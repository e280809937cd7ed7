"""Compare two versions of a model by the signed statements of their chains (docs/diff.md).

Both targets are verified under one layout, with one reading of the evidence. Proven are the bytes of the targets, the
signers and times of the statements, and the layout. The content of a statement about a step is claimed by its signer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gitchain.consume.diff_code import commit_range
from gitchain.consume.diff_facts import CLAIMED, COMMIT, approved, environment, is_approval, policy, terms
from gitchain.consume.diff_files import FileComparison, Named
from gitchain.consume.diff_sides import Side, SideStep, paired, side_of, signers_of
from gitchain.consume.diff_values import Change, Facts, Group, by_step, collected, combined, compare
from gitchain.consume.load_layout import AcceptedLayout, LayoutOptions
from gitchain.consume.targets import GivenTarget
from gitchain.consume.verifier import Verifier
from gitchain.errors import ExitCode
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import time_text
from gitchain.layout.artifact import Manifests
from gitchain.sources.bundle_facts import claim_in
from gitchain.sources.interface import EvidenceSource
from gitchain.verify.target import Target
from gitchain.workspace.project import Project

SCHEMA = "https://gitchain.dev/diff/v1"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides, and the groups of their differences in the order in which they are shown."""

    accepted: AcceptedLayout
    now: datetime
    a: Side
    b: Side
    groups: Mapping[str, Group]

    @property
    def exit_code(self) -> ExitCode:
        """Return OK if both sides passed, with or without differences; else the lowest code of a side."""
        codes = (self.a.exit_code, self.b.exit_code)
        return min((code for code in codes if code is not ExitCode.OK), default=ExitCode.OK)

    def to_json(self) -> dict[str, Any]:
        """Return the document of `diff --json`, without the trust and the evidence that was not counted."""
        signed = self.accepted.signed
        return {
            "schema": SCHEMA,
            "verificationResult": "PASSED" if self.exit_code is ExitCode.OK else "FAILED",
            "layout": {
                "name": signed.layout.name,
                "version": signed.layout.version,
                "digest": {"sha256": signed.digest},
                "signer": signed.signer.to_json(),
                "expires": time_text(signed.layout.expires),
            },
            "a": self.a.to_json(),
            "b": self.b.to_json(),
            "groups": {name: group.to_json() for name, group in self.groups.items()},
            "timeVerified": time_text(self.now),
        }


def diff(
    project: Project | None,
    targets: tuple[str, str],
    policy_options: LayoutOptions,
    now: datetime,
    sources: Sequence[EvidenceSource] = (),
) -> Comparison:
    """Verify both targets under the accepted layout and compare what the signed statements of their chains state.

    Raises the errors of `gitchain.consume.verifier.verify`; NoEvidenceError if no attestation is about a target.
    """
    given = [GivenTarget.parse(target) for target in targets]
    verifier = Verifier.open(project, policy_options, now, given, sources)
    a, b = (side_of(verifier, one) for one in given)
    return Comparison(verifier.accepted, now, a, b, changes_between(verifier, a, b))


def changes_between(verifier: Verifier, a: Side, b: Side) -> dict[str, Group]:
    """Return the groups of differences from one side to the other, in the order in which they are shown."""
    whole = bool(a.steps and b.steps)  # a failed side may have no statement: then everything would differ
    first, second = paired(a, b) if whole else ((), ())

    def claimed(read: Callable[[Statement], Facts]) -> Group:
        return compare(_read(first, read), _read(second, read))

    models = _models(a, b)
    files = FileComparison(Manifests(verifier.evidence.manifest))
    targets = (_targets(a), _targets(b))
    groups = {"model": models, "data": joined(files.group(first, second, targets), claimed(terms))}
    groups |= {name: claimed(read) for name, read in CLAIMED.items()}
    groups["environment"] = compare(*_environments(first, second))
    root = verifier.project.root if verifier.project is not None else None
    groups["code"] = _with_ranges(groups["code"], lambda one: commit_range(root, one.a, one.b))
    groups["evidence"] = compare(_evidence(first), _evidence(second))
    groups["signers"] = compare(_signers(first), _signers(second), "proven")
    approvals = compare(_approvals(first), _approvals(second), "proven")
    groups["approvals"] = joined(approvals, claimed(approved))
    layouts = compare(_layouts(first), _layouts(second), "proven")
    same = Group((), layouts.compared + 1, "proven")  # both sides were verified under the one layout
    groups["layout"] = joined(replace(same, changes=layouts.changes), claimed(policy))
    return groups


def _read(steps: Sequence[SideStep], read: Callable[[Statement], Facts]) -> dict[tuple[str, str], Facts]:
    return by_step(
        (step.key, combined([read(one) for one in step.statements])) for step in steps if step.statements
    )


def _environments(
    a: Sequence[SideStep], b: Sequence[SideStep]
) -> tuple[dict[tuple[str, str], Facts], dict[tuple[str, str], Facts]]:
    """Return the environments of both sides; only the number of facts where the other side states none."""
    before, after = _read(a, environment), _read(b, environment)

    def shown(
        own: Mapping[tuple[str, str], Facts], other: Mapping[tuple[str, str], Facts]
    ) -> dict[Any, Facts]:
        return {
            key: facts if key in other else {"": f"{len(facts)} fact{'' if len(facts) == 1 else 's'}"}
            for key, facts in own.items()
        }

    return shown(before, after), shown(after, before)


def joined(group: Group, other: Group) -> Group:
    """Return both groups as one, which is claimed if anything that was compared is."""
    bases = {one.basis for one in (group, other) if one.compared} or {group.basis}
    return replace(
        group,
        changes=(*group.changes, *other.changes),
        compared=group.compared + other.compared,
        basis="claimed" if "claimed" in bases else "proven",
    )


def _with_ranges(group: Group, count: Callable[[Change], Mapping[str, Any]]) -> Group:
    """Return the group with the number of commits in the range of each pair of commits."""
    changes = (
        replace(change, more={"commits": found})
        if change.name == COMMIT and (found := count(change))
        else change
        for change in group.changes
    )
    return replace(group, changes=tuple(changes))


def _models(a: Side, b: Side) -> Group:
    """Return the targets: by name if both sides have the same names, else in their order.

    A target that was given by its digest has the name that a step attests.
    """
    sides = [
        {(_name(one.target, side) or f"artifact {number}"): one.target for number, one in decisions}
        for side in (a, b)
        for decisions in [enumerate(side.verification.decisions, 1)]
    ]
    if all(len(side) == 1 for side in sides) and sides[0].keys() != sides[1].keys():
        (old,), (new,) = (list(side.values()) for side in sides)
        name = _name(old, a) or _name(new, b) or "artifact"
        sides = [{name: old}, {name: new}]
    before, after = ({name: str(one.artifact) for name, one in side.items()} for side in sides)
    return compare({("", ""): before}, {("", ""): after}, "proven")


def _targets(side: Side) -> set[Named]:
    return {(one.target.name, str(one.target.artifact)) for one in side.verification.decisions}


def _name(target: Target, side: Side) -> str | None:
    """Return the name of a target: its own, as given, or else that of the product with its digest."""
    if target.name or target.given:
        return target.name or target.given
    names = (
        item.name
        for step in side.steps.values()
        for statement in step.statements
        for item in claim_in(statement).products
        if item.digest.get("sha256") == target.sha256
    )
    return next(filter(None, names), None)


def _evidence(steps: Sequence[SideStep]) -> dict[tuple[str, str], Facts]:
    return by_step((step.key, {"": step.evidence or "no strength"}) for step in steps)


def _signers(steps: Sequence[SideStep]) -> dict[tuple[str, str], Facts]:
    found = (step for step in steps if not _approves(step))
    return by_step((step.key, {"": signers_of(step, timed=False)}) for step in found)


def _approvals(steps: Sequence[SideStep]) -> dict[tuple[str, str], Facts]:
    found = (step for step in steps if _approves(step))
    return by_step((step.key, {"": signers_of(step, timed=True)}) for step in found)


def _approves(step: SideStep) -> bool:
    return any(map(is_approval, step.statements))


def _layouts(steps: Sequence[SideStep]) -> dict[tuple[str, str], Facts]:
    """Return the sublayouts under which steps were verified."""
    return by_step(
        (
            step.key,
            collected(
                ("sublayout", f"{one.name} v{one.version} sha256:{one.digest}") for one in step.sublayouts
            ),
        )
        for step in steps
    )
