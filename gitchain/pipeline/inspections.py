"""Inspections of a layout, made on the bytes of a target that passed everything else.

1. Where the target's files are: below the work tree, beside the user, or in DVC's cache, by the content that was verified.
2. Which files each inspection looks at: those whose attested names match its patterns. One that looks at none is a finding,
   unless the layout serves other products that it could be meant for; a target at which none looks is a finding too.
3. Each file is opened once, hashed again, and inspected block by block against that hash (`gitchain.collect.inspect`).

docs/inspections.md. Does NOT run or load anything of the target.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from gitchain.collect.inspect import Check as FileCheck
from gitchain.collect.inspect import Problem, Source, inspect_file, inspect_sizes
from gitchain.collect.inspect.opening import open_file
from gitchain.errors import GitchainError, ProjectError, VerificationError
from gitchain.evidence.manifest import expand
from gitchain.layout.model import Inspection, Layout
from gitchain.pipeline.project import Project
from gitchain.pipeline.targets import Place, place_of
from gitchain.verify.decide import Check, Decision, Finding, Target
from gitchain.verify.findings import Code


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the target: its name as layouts see it, its path below the target, and its content."""

    name: str
    path: str
    sha256: str
    size: int = 0


@dataclass(slots=True)
class Result:
    """What one inspection looked at, and what it found."""

    inspection: Inspection
    looked: list[tuple[str, int]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def inspected(decision: Decision, project: Project | None, given: str) -> Decision:
    """Return the decision after the layout's inspections; what did not pass, or asks for none, stays as it is.

    `given` is the target as the user named it: there the bytes are.
    """
    layout = decision.signed.layout
    if not decision.passed or not layout.inspections:
        return decision
    place = place_of(project, given, decision.target)
    if place is None:
        return decision.with_inspections([_no_bytes(decision.target)], [_failed(Code.NO_BYTES)])
    try:
        parts = _parts(decision.target, place)
        results = _inspect(layout.inspections, parts, place)
    except (VerificationError, ProjectError) as error:
        return decision.with_inspections([_swapped(decision.target, error)], [_failed(Code.SWAPPED)])
    idle = _idle(layout, decision.target, results)
    findings = (*_findings(results), *_nothing(decision.target, idle))
    checks = [_check(one, failed=bool(one.problems) or one in idle) for one in results]
    if not any(one.looked for one in results):
        findings = (*findings, _nowhere(decision.target))
        checks.append(_failed(Code.INSPECTED_NOTHING))
    return decision.with_inspections(findings, checks)


def _parts(target: Target, place: Place) -> tuple[Part, ...]:
    name = target.name or place.name
    if not target.nodes:
        return (Part(name, "", target.sha256),)
    found = expand(target.sha256, target.nodes.get, target.version)
    return tuple(Part(f"{name}/{one.path}", one.path, one.sha256, one.size) for one in found)


def _inspect(inspections: Sequence[Inspection], parts: Sequence[Part], place: Place) -> tuple[Result, ...]:
    """Look at each file once, with every inspection that is meant for it."""
    results = tuple(Result(one) for one in inspections)
    files = {part.name: part.size for part in parts}
    for part in parts:
        meant = [one for one in results if _matches(one.inspection, part.name)]
        if meant:
            with ExitStack() as stack:
                source = _open(part, place, stack)
                for one in meant:
                    _look(one, source, files)
    for one in results:
        if one.inspection.max_bytes is not None:
            one.problems.extend(inspect_sizes(one.looked, one.inspection.max_bytes))
    return results


def _look(result: Result, source: Source, files: Mapping[str, int]) -> None:
    one = result.inspection
    result.looked.append((source.name, source.size))
    if one.kind != "size":
        result.problems.extend(inspect_file(source, FileCheck(one.kind, one.allow, one.frameworks, files)))


def _open(part: Part, place: Place, stack: ExitStack) -> Source:
    """Open the part where its bytes are; the last place's error is the answer if they are nowhere."""
    places = list(place.of(part.path, part.sha256))
    for root, name in places[:-1]:
        with ExitStack() as attempt:
            try:
                source = Source(attempt.enter_context(open_file(root, name)), part.name, part.sha256)
            except GitchainError:
                continue
            stack.push(attempt.pop_all())
            return source
    root, name = places[-1]
    return Source(stack.enter_context(open_file(root, name)), part.name, part.sha256)


def _matches(inspection: Inspection, name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in inspection.artifacts)


def _findings(results: Sequence[Result]) -> Iterator[Finding]:
    for result in results:
        for one in result.problems:
            message = f"inspection {result.inspection.name}: {one.what}"
            yield Finding(
                Code.INSPECTION,
                message,
                artifact=one.where,
                expected=one.expected,
                got=one.got,
                help=one.help,
            )


def _idle(layout: Layout, target: Target, results: Sequence[Result]) -> list[Result]:
    """Return the inspections that should have looked at the target and did not."""
    return [one for one in results if not one.looked and not _is_for_another(layout, target, one.inspection)]


def _nothing(target: Target, idle: Sequence[Result]) -> Iterator[Finding]:
    for result in idle:
        yield Finding(
            Code.INSPECTED_NOTHING,
            f"inspection {result.inspection.name} looks at no file of {target}",
            artifact=target.name or "",
            expected=", ".join(result.inspection.artifacts),
            help="verify it by its attested name, or mend the patterns",
        )


def _nowhere(target: Target) -> Finding:
    return Finding(
        Code.INSPECTED_NOTHING,
        f"no inspection of the layout looks at any file of {target}",
        artifact=target.name or "",
        help="verify it by its attested name, or add an inspection for it to the layout",
    )


def _is_for_another(layout: Layout, target: Target, inspection: Inspection) -> bool:
    """Tell whether the layout serves something else that the inspection could be meant for."""
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
    """Tell whether some name matches both patterns, in which `*` and `?` are all that is special."""
    row = {0}  # positions in `right` that a common beginning of both may have reached
    for at in range(len(left) + 1):
        for position in range(len(right)):
            if position in row and (right[position] == "*"):
                row.add(position + 1)
        if at == len(left):
            return len(right) in row
        row = _step(left[at], right, row)
    return False


def _step(char: str, right: str, row: set[int]) -> set[int]:
    """Return the positions after one more character of the left pattern."""
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


def _check(result: Result, *, failed: bool) -> Check:
    one = result.inspection
    message = f"inspection {one.name} ({one.kind}) looked at {len(result.looked)} files"
    names = tuple(name for name, _ in result.looked)
    return Check(
        "inspection", not failed, message, got="; ".join(p.what for p in result.problems[:5]), artifacts=names
    )


def _failed(code: Code) -> Check:
    messages = {
        Code.NO_BYTES: "the target's bytes are here to be inspected",
        Code.SWAPPED: "the bytes inspected are the bytes that were hashed",
        Code.INSPECTED_NOTHING: "an inspection looked at the target",
    }
    return Check("inspection", passed=False, message=f"not so: {messages[code]}")


def _no_bytes(target: Target) -> Finding:
    message = f"the layout asks for inspections, and the bytes of {target} are not here"
    return Finding(Code.NO_BYTES, message, artifact=target.name or "", help="gitchain verify PATH")


def _swapped(target: Target, error: GitchainError) -> Finding:
    return Finding(
        Code.SWAPPED,
        f"{target} cannot be inspected as it was verified: {error.what}",
        artifact=error.where or target.name or "",
        expected=error.expected,
        got=error.got,
        help=error.help or "verify again when nothing writes to it",
    )
