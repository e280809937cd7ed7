"""Inspections of a layout, run on the bytes of a target that passed all other checks.

1. Locate the target's files, by verified content: in the work tree, at the given path, in DVC's cache, or in the
  commit.
2. Select the files of each inspection: those whose attested names match its patterns. An inspection without files is
  a finding, unless the layout serves other products that it matches. A target without inspections is a finding too.
3. Open each file once, hash it again, and inspect it block by block against that hash (`gitchain.collect.inspect`).

docs/inspections.md. Nothing of the target is executed or loaded.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryFile

from gitchain.collect.git_files import write_blob
from gitchain.collect.inspect import Inspector as FileCheck
from gitchain.collect.inspect import ModelFile, ModelProblem, inspect_file, inspect_sizes
from gitchain.collect.inspect.opening import open_file
from gitchain.consume.targets import GivenTarget, TargetLocation, place_of
from gitchain.errors import GitchainError, ProjectError, StoreError, VerificationError, os_errors_as
from gitchain.evidence.digest import Sha256
from gitchain.evidence.manifest import expand
from gitchain.layout.model import Inspection, Layout
from gitchain.verify.decide import Decision, Finding, ReportedCheck, Target
from gitchain.verify.findings import FindingCode
from gitchain.workspace.project import Project


@dataclass(frozen=True, slots=True)
class TargetFile:
    """A file of the target: its name in the layout, its path below the target, and its content."""

    name: str
    path: str
    sha256: Sha256
    size: int = 0


@dataclass(slots=True)
class InspectionResult:
    """The files that an inspection read, and its findings."""

    inspection: Inspection
    looked: list[tuple[str, int]] = field(default_factory=list)
    problems: list[ModelProblem] = field(default_factory=list)


def inspected(decision: Decision, project: Project | None, given: GivenTarget | None) -> Decision:
    """Return the decision with the results of the layout's inspections; unchanged if it failed or none apply.

    `given` is the target as the user gave it, used to locate the bytes; None if there are none here.
    """
    layout = decision.signed.layout
    if not decision.passed or not layout.inspections:
        return decision
    place = None if given is None else place_of(project, given, decision.target)
    if place is None:
        return decision.with_inspections([_no_bytes(decision.target)], [_failed(FindingCode.NO_BYTES)])
    try:
        parts = _parts(decision.target, place)
        results = _inspect(layout.inspections, parts, place)
    except (VerificationError, ProjectError) as error:
        return decision.with_inspections([_swapped(decision.target, error)], [_failed(FindingCode.SWAPPED)])
    idle = _idle(layout, decision.target, results)
    findings = (*_findings(results), *_nothing(decision.target, idle))
    checks = [_check(result, failed=bool(result.problems) or result in idle) for result in results]
    if not any(result.looked for result in results):
        findings = (*findings, _nowhere(decision.target))
        checks.append(_failed(FindingCode.INSPECTED_NOTHING))
    return decision.with_inspections(findings, checks)


def _parts(target: Target, place: TargetLocation) -> tuple[TargetFile, ...]:
    name = target.name or place.name
    if not target.nodes:
        return (TargetFile(name, "", target.sha256),)
    files = expand(target.sha256, target.nodes.get, target.version)
    return tuple(TargetFile(f"{name}/{file.path}", file.path, file.sha256, file.size) for file in files)


def _inspect(
    inspections: Sequence[Inspection], parts: Sequence[TargetFile], place: TargetLocation
) -> tuple[InspectionResult, ...]:
    """Inspect each file once, with all inspections that match it."""
    results = tuple(InspectionResult(inspection) for inspection in inspections)
    files = {part.name: part.size for part in parts}
    for part in parts:
        meant = [result for result in results if _matches(result.inspection, part.name)]
        if meant:
            with ExitStack() as stack:
                source = _open(part, place, stack)
                for result in meant:
                    _look(result, source, files)
    for result in results:
        if result.inspection.max_bytes is not None:
            result.problems.extend(inspect_sizes(result.looked, result.inspection.max_bytes))
    return results


def _look(result: InspectionResult, source: ModelFile, files: Mapping[str, int]) -> None:
    inspection = result.inspection
    result.looked.append((source.name, source.size))
    if inspection.kind != "size":
        result.problems.extend(
            inspect_file(source, FileCheck(inspection.kind, inspection.allow, inspection.frameworks, files))
        )


def _open(part: TargetFile, place: TargetLocation, stack: ExitStack) -> ModelFile:
    """Open the part at the first place that has its bytes. Raises the last place's error if none has."""
    places = [open_file(root, name) for root, name in place.of(part.path, part.sha256)]
    if place.commit:
        name = f"{place.name}/{part.path}" if part.path else place.name
        places.append(_open_committed(place.root, place.commit, name))
    for opening in places[:-1]:
        with ExitStack() as attempt:
            try:
                source = ModelFile(attempt.enter_context(opening), part.name, part.sha256)
            except GitchainError:
                continue
            stack.push(attempt.pop_all())
            return source
    return ModelFile(stack.enter_context(places[-1]), part.name, part.sha256)


@contextmanager
def _open_committed(root: Path, commit: str, name: str) -> Iterator[int]:
    """Open a private copy of a file in the commit. Raises StoreError without enough disk space."""
    with ExitStack() as stack:
        remedy = "free some space for temporary files (TMPDIR), or check the commit out"
        with os_errors_as(StoreError, "no copy of the committed file could be made", name, help=remedy):
            file = stack.enter_context(TemporaryFile(prefix="gitchain-"))
            write_blob(root, commit, name, file.fileno())
        yield file.fileno()


def _matches(inspection: Inspection, name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in inspection.artifacts)


def _findings(results: Sequence[InspectionResult]) -> Iterator[Finding]:
    for result in results:
        for problem in result.problems:
            message = f"inspection {result.inspection.name}: {problem.what}"
            yield Finding(
                FindingCode.INSPECTION,
                message,
                artifact=problem.where,
                expected=problem.expected,
                got=problem.got,
                help=problem.help,
            )


def _idle(layout: Layout, target: Target, results: Sequence[InspectionResult]) -> list[InspectionResult]:
    """Return the inspections that should have read the target but did not."""
    return [
        result
        for result in results
        if not result.looked and not _is_for_another(layout, target, result.inspection)
    ]


def _nothing(target: Target, idle: Sequence[InspectionResult]) -> Iterator[Finding]:
    for result in idle:
        yield Finding(
            FindingCode.INSPECTED_NOTHING,
            f"inspection {result.inspection.name} looks at no file of {target}",
            artifact=target.name or "",
            expected=", ".join(result.inspection.artifacts),
            help="verify it by its attested name, or correct the patterns",
        )


def _nowhere(target: Target) -> Finding:
    return Finding(
        FindingCode.INSPECTED_NOTHING,
        f"no inspection of the layout looks at any file of {target}",
        artifact=target.name or "",
        help="verify it by its attested name, or add an inspection for it to the layout",
    )


def _is_for_another(layout: Layout, target: Target, inspection: Inspection) -> bool:
    """Return True if the layout serves another product that the inspection matches."""
    if target.name is None:
        return False
    own = {target.name, *_parents(target.name)}
    others = {pattern for served in layout.serve for pattern in served.products} - own
    return any(
        overlap(pattern, other) or overlap(pattern, f"{other}/*")
        for pattern in inspection.artifacts
        for other in others
    )


def _parents(name: str) -> Iterator[str]:
    while name := posixpath.dirname(name):
        yield name


def overlap(left: str, right: str) -> bool:
    """Return True if some name matches both patterns; only `*` and `?` are special."""
    row = {0}  # positions in `right` that a common prefix of both may have reached
    for at in range(len(left) + 1):
        for position in range(len(right)):
            if position in row and (right[position] == "*"):
                row.add(position + 1)
        if at == len(left):
            return len(right) in row
        row = _step(left[at], right, row)
    return False


def _step(char: str, right: str, row: set[int]) -> set[int]:
    """Return the positions after the next character of the left pattern."""
    if char == "*":
        return set(range(min(row, default=len(right) + 1), len(right) + 1))
    after = set()
    for position in row:
        if position < len(right):
            other = right[position]
            if other == "*":
                after.add(position)
            elif "?" in {char, other} or char == other:
                after.add(position + 1)
    return after


def _check(result: InspectionResult, *, failed: bool) -> ReportedCheck:
    inspection = result.inspection
    message = f"inspection {inspection.name} ({inspection.kind}) looked at {len(result.looked)} files"
    names = tuple(name for name, _ in result.looked)
    return ReportedCheck(
        "inspection", not failed, message, got="; ".join(p.what for p in result.problems[:5]), artifacts=names
    )


def _failed(code: FindingCode) -> ReportedCheck:
    messages = {
        FindingCode.NO_BYTES: "the target's bytes are here to be inspected",
        FindingCode.SWAPPED: "the bytes inspected are the bytes that were hashed",
        FindingCode.INSPECTED_NOTHING: "an inspection looked at the target",
    }
    return ReportedCheck("inspection", passed=False, message=f"not so: {messages[code]}")


def _no_bytes(target: Target) -> Finding:
    message = f"the layout asks for inspections, and the bytes of {target} are not here"
    return Finding(FindingCode.NO_BYTES, message, artifact=target.name or "", help="gitchain verify PATH")


def _swapped(target: Target, error: GitchainError) -> Finding:
    return Finding(
        FindingCode.SWAPPED,
        f"{target} cannot be inspected as it was verified: {error.what}",
        artifact=error.where or target.name or "",
        expected=error.expected,
        got=error.got,
        help=error.help or "verify again when nothing writes to it",
    )
