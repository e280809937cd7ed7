"""Run a folder of test cases for a layout: verify each, and compare the verdict with the expected one.

    DIR/layout.yaml                 the layout, not signed
    DIR/*.yaml                      its sublayouts
    DIR/cases/NAME/case.yaml        evidence and the expected verdict (`gitchain.layout.casefile`)

Everything is signed, logged and verified for real, on a temporary instance (`gitchain.layout_test.fixtures`).
Does NOT run inspections: a case has no files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gitchain.consume.layout_files import read_layout
from gitchain.errors import LayoutError
from gitchain.evidence.canonical import Json
from gitchain.layout.casefile import MAX_CASE_BYTES, CaseFile, ExpectedFinding, LayoutCase, joined, parse_case
from gitchain.layout.model import Layout
from gitchain.layout_test.fixtures import CaseSigner
from gitchain.platform.files import read_input
from gitchain.verify.decide import Decision, Target, decide
from gitchain.verify.verified import SignedLayout

MAX_EXTENDS = 8  # cases that extend cases; deeper is nobody's reading


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The verdict on one case, and whether it was expected."""

    case: LayoutCase
    decision: Decision

    @property
    def found(self) -> tuple[ExpectedFinding, ...]:
        """Return the errors of the verdict, each once."""
        errors = [one for one in self.decision.findings if one.severity == "error"]
        return tuple(dict.fromkeys(ExpectedFinding(one.code.value, one.step or None) for one in errors))

    @property
    def as_expected(self) -> bool:
        """Return whether the verdict has every expected finding, and no other error."""
        if self.case.expected is None:
            return self.decision.passed
        expected, found = self.case.expected, self.found
        return all(any(_is(one, other) for other in found) for one in expected) and all(
            any(_is(one, other) for one in expected) for other in found
        )

    def to_json(self) -> dict[str, Json]:
        """Return the result as `layout test --json` holds it."""
        expected = None if self.case.expected is None else [_json(one) for one in self.case.expected]
        return {
            "case": self.case.name,
            "description": self.case.description,
            "asExpected": self.as_expected,
            "expected": expected,
            "result": self.decision.result,
            "findings": [finding.to_json() for finding in self.decision.findings],
        }


def run_cases(directory: Path) -> tuple[Layout, tuple[CaseResult, ...]]:
    """Return the folder's layout, and the result of each case in the order of their names.

    Raises LayoutError if the layout or a case cannot be read, or there is no case: nothing tried is nothing passed.
    """
    layout = read_layout(directory / "layout.yaml")
    others = [read_layout(path) for path in sorted(directory.glob("*.yaml")) if path.name != "layout.yaml"]
    paths = sorted((directory / "cases").glob("*/case.yaml"))
    if not paths:
        raise LayoutError(
            "there is no case to try",
            where=str(directory / "cases"),
            expected="NAME/case.yaml",
            help="write one: docs/layout-test.md",
        )
    files = {path.parent.name: _read(path) for path in paths}
    with tempfile.TemporaryDirectory(prefix="gitchain-cases-") as temporary:
        bench = CaseSigner.set_up(Path(temporary) / "instance", (*others, layout))
        signed = bench.signed_layout(layout.name)
        return layout, tuple(_decided(bench, signed, case) for case in _cases(files))


def _decided(bench: CaseSigner, signed: SignedLayout, case: LayoutCase) -> CaseResult:
    evidence = []
    for index, one in enumerate(case.statements):
        try:
            evidence.append(bench.attest(one, signed.layout.name))
        except LayoutError as error:
            where = ".".join(part for part in (f"{case.name}.statements[{index}]", error.where) if part)
            raise LayoutError(
                error.what, where=where, expected=error.expected, got=error.got, help=error.help
            ) from error
    target = Target(bench.sha256(case.target), case.target_name, not isinstance(case.target, str))
    now = datetime.now(UTC) + case.later
    return CaseResult(case, decide(signed, evidence, target, now, bench.manifests.get))


def _read(path: Path) -> CaseFile:
    return parse_case(read_input(path, MAX_CASE_BYTES, LayoutError, "cannot read the case"), path.parent.name)


def _cases(files: Mapping[str, CaseFile]) -> Iterator[LayoutCase]:
    for name in files:
        yield _whole(files, name, MAX_EXTENDS)


def _whole(files: Mapping[str, CaseFile], name: str, left: int) -> LayoutCase:
    if name not in files or left == 0:
        raise LayoutError("no such case to extend, or too many", where="extends", got=name)
    extends = files[name].extends
    return joined(files[name], _whole(files, extends, left - 1) if extends else None)


def _is(expected: ExpectedFinding, found: ExpectedFinding) -> bool:
    return expected.code == found.code and expected.step in {None, found.step}


def _json(one: ExpectedFinding) -> dict[str, Json]:
    return {"code": one.code, "step": one.step}
