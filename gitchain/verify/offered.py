"""The signed layout that stands behind a step: of all that the evidence offers, the newest that enough people signed.

Whoever may sign for the step may sign the layout. Among what enough of them signed only the highest version counts: an
older one never stands in for a newer one that has expired or may not be used. Two layouts of one version are none.

Does NOT look for a chain under the layout: `gitchain.verify.sublayout` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gitchain.errors import LayoutError
from gitchain.evidence.vocabulary import LAYOUT
from gitchain.layout.model import Layout, Step, Sublayout
from gitchain.verify.attested import distinct
from gitchain.verify.binding import bound_layout
from gitchain.verify.context import Above, Sources
from gitchain.verify.findings import MEANINGS, Code, Finding
from gitchain.verify.judge import Judge
from gitchain.verify.reasons import MAX_PER_STEP
from gitchain.verify.verified import VerifiedStatement

MAX_DEPTH = (
    4  # a supplier's supplier's supplier; deeper is nobody's supply chain, and every level is a search
)


@dataclass(slots=True)
class Signed:
    """One layout, and those who signed it and may."""

    layout: Layout
    by: list[VerifiedStatement] = field(default_factory=list)


@dataclass(slots=True)
class Offered:
    """The layouts that the evidence offers for one step; `problems` says why some of them may not stand behind it."""

    step: Step
    wanted: Sublayout
    judge: Judge
    above: Above
    sources: Sources
    problems: list[Finding] = field(default_factory=list)

    def newest(self) -> Signed | None:
        """Return the layout that stands behind the step, None if there is none that may."""
        chosen = self._newest(self._signed())
        return chosen if chosen is not None and self._may_stand(chosen.layout) else None

    def _signed(self) -> Iterator[Signed]:
        """Yield the layouts of the wanted name that enough people signed who may."""
        found: dict[str, Signed] = {}
        for statement in distinct(self.sources.statements):
            layout = self._read(statement)
            if layout is not None and self._accepts(layout, statement):
                found.setdefault(layout.digest, Signed(layout)).by.append(statement)
        for one in found.values():
            people = {self.judge.signers.person(statement.identity) for statement in one.by}
            if len(people) >= self.step.threshold:
                yield one
            else:
                expected = f"{self.step.threshold} of {', '.join(self.step.functionaries)}"
                self._refuse(one.layout, "is signed by too few", expected, ", ".join(sorted(people)))

    def _read(self, statement: VerifiedStatement) -> Layout | None:
        """Return the layout in the statement if it is one of the wanted name."""
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
            self._problem(f"layout {self.wanted.name} is not well formed", got=str(found))
            return None
        return found

    def _accepts(self, layout: Layout, statement: VerifiedStatement) -> bool:
        """Tell whether this signature speaks for the layout; note why not."""
        for one in self.judge.signed(self.step, statement):
            if not one.passed and len(self.problems) >= MAX_PER_STEP:
                return False
            if not one.passed:
                self._refuse(layout, f"does not count: {MEANINGS[one.code]}", one.expected, one.got)
                return False
        return True

    def _newest(self, signed: Iterable[Signed]) -> Signed | None:
        """Return the layout of the highest version; two different ones of the same version are none."""
        ordered = sorted(signed, key=lambda one: one.layout.version, reverse=True)
        if len(ordered) > 1 and ordered[0].layout.version == ordered[1].layout.version:
            both = " and ".join(sorted(one.layout.digest[:12] for one in ordered[:2]))
            self._refuse(ordered[0].layout, "is signed in two forms", "one layout for a version", both)
            return None
        return ordered[0] if ordered else None

    def _may_stand(self, layout: Layout) -> bool:
        """Tell whether the newest layout may stand behind the step; an older one never does in its place."""
        names = self.above.names
        if layout.version < self.wanted.minimum_version:
            expected = f"version {self.wanted.minimum_version} or newer"
            self._refuse(layout, "is too old", expected, f"version {layout.version}")
        elif layout.expires <= self.sources.now:
            expected = f"a time after {self.sources.now.isoformat()}"
            self._refuse(layout, "has expired", expected, layout.expires.isoformat())
        elif layout.name in names:
            self._problem(f"layout {layout.name} stands inside of itself", Code.SUBLAYOUT_NESTING)
        elif len(names) > MAX_DEPTH:
            expected = f"at most {MAX_DEPTH} layouts inside of each other"
            self._problem("layouts are nested too deep", Code.SUBLAYOUT_NESTING, expected)
        elif layout.inspections:
            self._refuse(layout, "has inspections, which need the bytes", "a layout without inspections", "")
        else:
            return True
        return False

    def _refuse(self, layout: Layout, why: str, expected: str, got: str) -> None:
        self._problem(f"layout {layout.name} version {layout.version} {why}", Code.SUBLAYOUT, expected, got)

    def _problem(self, message: str, code: Code = Code.SUBLAYOUT, expected: str = "", got: str = "") -> None:
        self.problems.append(Finding(code, message, self.step.name, expected=expected, got=got))
