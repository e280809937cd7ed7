"""Find the signed layout of a sublayout step: the newest one in the evidence that enough people signed.

The functionaries of the step sign the layout. Among layouts that reach the threshold, only the highest version counts: an
older one never replaces a newer one that has expired or is not usable. Two layouts of one version do not count.

Does NOT look for a chain under the layout: `gitchain.verify.sublayout` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gitchain.errors import LayoutError
from gitchain.evidence.vocabulary import LAYOUT
from gitchain.layout.model import Layout, Step, Sublayout
from gitchain.verify.authorization import Authorizer
from gitchain.verify.findings import MEANINGS, Finding, FindingCode
from gitchain.verify.layout import bound_layout
from gitchain.verify.search import LayoutStack, Sources
from gitchain.verify.step_diagnostics import MAX_PER_STEP
from gitchain.verify.verified import VerifiedStatement, distinct

MAX_DEPTH = 4  # a supplier's supplier's supplier; every level is a search


@dataclass(slots=True)
class SublayoutCandidate:
    """One layout, with its allowed signers."""

    layout: Layout
    by: list[VerifiedStatement] = field(default_factory=list)


@dataclass(slots=True)
class SublayoutCandidates:
    """The layouts in the evidence for one step; `problems` are the reasons why some are not usable."""

    step: Step
    wanted: Sublayout
    authorizer: Authorizer
    above: LayoutStack
    sources: Sources
    problems: list[Finding] = field(default_factory=list)

    def newest(self) -> SublayoutCandidate | None:
        """Return the newest usable sublayout of the step, or None."""
        chosen = self._newest(self._signed())
        problem = None if chosen is None else self._unfit(chosen.layout)
        if problem is None:
            return chosen
        self.problems.append(problem)
        return None

    def _signed(self) -> Iterator[SublayoutCandidate]:
        """Yield the layouts of the wanted name that enough allowed people signed."""
        found: dict[str, SublayoutCandidate] = {}
        for statement in distinct(self.sources.statements):
            layout = self._read(statement)
            if layout is not None and self._accepts(layout, statement):
                found.setdefault(layout.digest, SublayoutCandidate(layout)).by.append(statement)
        for one in found.values():
            people = {self.authorizer.signers.person(statement.identity) for statement in one.by}
            if len(people) >= self.step.threshold:
                yield one
            else:
                expected = f"{self.step.threshold} of {', '.join(self.step.functionaries)}"
                got = ", ".join(sorted(people))
                self.problems.append(self._refusal(one.layout, "is signed by too few", expected, got))

    def _read(self, statement: VerifiedStatement) -> Layout | None:
        """Return the layout in the statement if it has the wanted name."""
        said = statement.statement
        if said.predicate_type != LAYOUT or said.predicate.get("name") != self.wanted.name:
            return None
        if said.payload not in self.sources.layouts:
            try:
                self.sources.layouts[said.payload] = bound_layout(said)
            except LayoutError as error:
                self.sources.layouts[said.payload] = error
        found = self.sources.layouts[said.payload]
        if isinstance(found, LayoutError):
            self.problems.append(
                self._problem(f"layout {self.wanted.name} is not well formed", got=str(found))
            )
            return None
        return found

    def _accepts(self, layout: Layout, statement: VerifiedStatement) -> bool:
        """Return whether this signature counts for the layout; note the reason if not."""
        for one in self.authorizer.signed(self.step, statement):
            if not one.passed and len(self.problems) >= MAX_PER_STEP:
                return False
            if not one.passed:
                why = f"does not count: {MEANINGS[one.code]}"
                self.problems.append(self._refusal(layout, why, one.expected, one.got))
                return False
        return True

    def _newest(self, signed: Iterable[SublayoutCandidate]) -> SublayoutCandidate | None:
        """Return the layout of the highest version; None if there are two different ones."""
        ordered = sorted(signed, key=lambda one: one.layout.version, reverse=True)
        newest = [one for one in ordered if one.layout.version == ordered[0].layout.version]
        if len(newest) > 1:
            why, forms = "is signed in two forms", sorted(one.layout.digest[:12] for one in newest)
            found = self._refusal(newest[0].layout, why, "one layout for a version", " and ".join(forms))
            self.problems.append(found)
            return None
        return newest[0] if newest else None

    def _unfit(self, layout: Layout) -> Finding | None:
        """Return why the newest layout is not usable, or None. An older one never replaces it."""
        names = self.above.names
        if layout.version < self.wanted.minimum_version:
            expected = f"version {self.wanted.minimum_version} or newer"
            return self._refusal(layout, "is too old", expected, f"version {layout.version}")
        if layout.expires <= self.sources.now:
            expected = f"a time after {self.sources.now.isoformat()}"
            return self._refusal(layout, "has expired", expected, layout.expires.isoformat())
        if layout.name in names:
            return self._problem(
                f"layout {layout.name} is a sublayout of itself", FindingCode.SUBLAYOUT_NESTING
            )
        if len(names) > MAX_DEPTH:
            expected = f"at most {MAX_DEPTH} layouts inside of each other"
            return self._problem("layouts are nested too deep", FindingCode.SUBLAYOUT_NESTING, expected)
        if layout.inspections:
            why = "has inspections, which need the bytes"
            return self._refusal(layout, why, "a layout without inspections")
        return None

    def _refusal(self, layout: Layout, why: str, expected: str, got: str = "") -> Finding:
        return self._problem(
            f"layout {layout.name} version {layout.version} {why}", FindingCode.SUBLAYOUT, expected, got
        )

    def _problem(
        self, message: str, code: FindingCode = FindingCode.SUBLAYOUT, expected: str = "", got: str = ""
    ) -> Finding:
        return Finding(code, message, self.step.name, expected=expected, got=got)
