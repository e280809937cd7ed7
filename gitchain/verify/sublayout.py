"""Steps that stand for a chain under another layout: a data supplier's, say, with people of its own.

The layout says who may sign the other layout, its name and its lowest version. Of the signed layouts in the evidence
the newest version counts that enough of these people signed; its own chain is searched in the same evidence, of which
only what names that very layout counts for it. What each whole chain serves is the product of the step, which has no
materials: rules of other steps MATCH it like anything else.

Bounded: layouts nest MAX_DEPTH deep, and none stands inside of itself. A newer version of a layout replaces the older
ones, whatever they allowed. Does NOT run a layout's inspections: they need bytes, so a layout that has any may not
stand behind a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gitchain.errors import LayoutError
from gitchain.evidence.claim import Claim
from gitchain.evidence.vocabulary import LAYOUT
from gitchain.layout.artifact import Artifacts, Link, Manifests
from gitchain.layout.model import Layout, Step, Sublayout
from gitchain.layout.rule import Side
from gitchain.verify.attested import Attested, Reader, distinct
from gitchain.verify.binding import bound_layout
from gitchain.verify.chain import Chains
from gitchain.verify.claims import Chain, Claims, Group, Inner, Reasons, content_of
from gitchain.verify.demands import Demands
from gitchain.verify.explain import explain
from gitchain.verify.faults import Faults
from gitchain.verify.findings import MEANINGS, Code, Finding
from gitchain.verify.judge import Judge
from gitchain.verify.reasons import MAX_PER_STEP, without_evidence
from gitchain.verify.revocations import Revocations
from gitchain.verify.search import Budget, Search
from gitchain.verify.sort import people_of, sort_claims
from gitchain.verify.target import Target, is_served
from gitchain.verify.verified import VerifiedStatement

MAX_DEPTH = (
    4  # a supplier's supplier's supplier; deeper is nobody's supply chain, and every level is a search
)


@dataclass(slots=True)
class Sources:
    """What a decision looks at, and what it keeps between the layouts that it looks under."""

    statements: Sequence[VerifiedStatement]
    now: datetime
    manifests: Manifests
    budget: Budget = field(default_factory=Budget)
    reader: Reader = field(default_factory=Reader)
    layouts: dict[bytes, Layout | LayoutError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Above:
    """The layouts that a layout stands in: their digests, its own last, and their revocations."""

    digests: tuple[str, ...]
    revocations: tuple[Revocations, ...] = ()


def claims_under(layout: Layout, above: Above, sources: Sources) -> Claims:
    """Return the evidence under a layout, with the chains behind those of its steps that stand for others.

    Revocations that cannot be read are `judge.problems`: who decides must not pass anything in spite of them.
    """
    revocations = (*above.revocations, Revocations.of(layout, sources.statements))
    judge = Judge(layout, sources.now, revocations, inside=len(above.digests) > 1)
    claims = sort_claims(judge, sources.statements, sources.manifests, sources.reader)
    groups, missing = dict(claims.groups), dict(claims.missing)
    for step in layout.steps:
        if step.sublayout is not None:
            behind = _Behind(step, step.sublayout, judge, Above(above.digests, revocations), sources)
            groups[step.name] = tuple(behind.groups())
            missing[step.name] = behind.missing
    return Claims(judge, groups, claims.rejected, missing)


@dataclass(slots=True)
class _Signed:
    """One layout, and those who signed it and may."""

    layout: Layout
    by: list[VerifiedStatement] = field(default_factory=list)


@dataclass(slots=True)
class _Behind:
    """The search for what stands behind one step."""

    step: Step
    wanted: Sublayout
    judge: Judge
    above: Above
    sources: Sources
    problems: list[Finding] = field(default_factory=list)

    def groups(self) -> Iterator[Group]:
        """Yield a group for each product set that a chain under the newest layout serves, or would but for a fault."""
        chosen = self._newest(self._signed())
        if chosen is None:
            return
        layout = chosen.layout
        if not self._may_stand(layout):
            return
        above = Above((*self.above.digests, layout.digest), self.above.revocations)
        claims = claims_under(layout, above, self.sources)
        if claims.judge.problems:
            self.problems += _inside(self.step, layout, claims.judge.problems)
            return
        chains = Chains(layout, self.sources.manifests)
        seeds = [
            seed for name in dict.fromkeys(one.step for one in layout.serve) for seed in claims.counted(name)
        ]
        for seed in seeds:
            yield from self._from_seed(chosen, claims, chains, seed)
        if not seeds:
            self.problems.append(self._no_chain(layout))
            self.problems += _inside(self.step, layout, without_evidence(claims))

    def missing(self) -> Sequence[Finding]:
        """Return why nothing stands behind the step."""
        wanted = self.wanted
        if self.problems:
            return self.problems
        message = f"no layout {wanted.name} is at hand that step {self.step.name} could stand for"
        expected = f"layout {wanted.name}, version {wanted.minimum_version} or newer"
        help_ = "ask its owner for the signed layout and its evidence; then gitchain sync"
        return (Finding(Code.SUBLAYOUT, message, self.step.name, expected=expected, help=help_),)

    def _signed(self) -> Iterator[_Signed]:
        """Yield the layouts of the wanted name that enough people signed who may."""
        found: dict[str, _Signed] = {}
        for statement in distinct(self.sources.statements):
            layout = self._read(statement)
            if layout is not None and self._accepts(layout, statement):
                found.setdefault(layout.digest, _Signed(layout)).by.append(statement)
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

    def _newest(self, signed: Iterable[_Signed]) -> _Signed | None:
        """Return the layout of the highest version; two different ones of the same version are none."""
        ordered = sorted(signed, key=lambda one: one.layout.version, reverse=True)
        if len(ordered) > 1 and ordered[0].layout.version == ordered[1].layout.version:
            both = " and ".join(sorted(one.layout.digest[:12] for one in ordered[:2]))
            self._refuse(ordered[0].layout, "is signed in two forms", "one layout for a version", both)
            return None
        return ordered[0] if ordered else None

    def _may_stand(self, layout: Layout) -> bool:
        """Tell whether the newest layout may stand behind the step; an older one never does in its place."""
        digests = self.above.digests
        if layout.version < self.wanted.minimum_version:
            expected = f"version {self.wanted.minimum_version} or newer"
            self._refuse(layout, "is too old", expected, f"version {layout.version}")
        elif layout.expires <= self.sources.now:
            expected = f"a time after {self.sources.now.isoformat()}"
            self._refuse(layout, "has expired", expected, layout.expires.isoformat())
        elif layout.digest in digests:
            self._problem(f"layout {layout.name} stands inside of itself", Code.SUBLAYOUT_NESTING)
        elif len(digests) > MAX_DEPTH:
            expected = f"at most {MAX_DEPTH} layouts inside of each other"
            self._problem("layouts are nested too deep", Code.SUBLAYOUT_NESTING, expected)
        elif layout.inspections:
            self._refuse(layout, "has inspections, which need the bytes", "a layout without inspections", "")
        else:
            return True
        return False

    def _from_seed(self, signed: _Signed, claims: Claims, chains: Chains, seed: Group) -> Iterator[Group]:
        """Yield a group for what chains from this evidence serve, and one with a fault for what has no chain."""
        layout, step = chains.layout, seed.step.name
        served = {
            name: artifact
            for name, artifact in seed.link.products.items()
            if "sha256" in artifact.digest and is_served(layout, step, name)
        }
        # Constraints may read the target; without any, one chain stands for all that its last step serves.
        parts = (
            [{name: one} for name, one in served.items()]
            if layout.constraints
            else [served]
            if served
            else []
        )
        whole: list[tuple[Artifacts, Chain]] = []
        for part in parts:
            chain, why = self._find(claims, chains, seed, part)
            if chain is None:
                yield self._group(signed, part, why, None)
            else:
                whole.append((part, chain))
        if whole:
            products = {name: one for part, _ in whole for name, one in part.items()}
            faults = Faults(self.judge, self.sources.manifests).of(self.step, Link({}, products))
            yield self._group(signed, products, faults, Inner(layout, claims, whole[0][1]))

    def _find(
        self, claims: Claims, chains: Chains, seed: Group, products: Artifacts
    ) -> tuple[Chain | None, Reasons]:
        """Return a whole chain from the seed for the first of the products, and why there is none."""
        name, artifact = next(iter(products.items()))
        target = Target(artifact.digest["sha256"], name, artifact.directory)
        demands = Demands(claims.judge, target, self.sources.statements, self.sources.manifests)
        counted = {step.name: claims.counted(step.name) for step in chains.layout.steps}
        search = Search(chains, counted, demands, self.sources.budget)

        def why() -> Sequence[Finding]:
            found = explain(chains, claims, target, (seed,), search)
            return (self._no_chain(chains.layout), *_inside(self.step, chains.layout, found.findings))

        return search.find([seed]), why

    def _group(
        self, signed: _Signed, served: Artifacts, faults: Reasons | None, inner: Inner | None
    ) -> Group:
        link = Link({}, served)
        members = tuple(
            self.judge.named(Attested(self.step, one, _claim(self.step, signed.layout), link))
            for one in sorted(signed.by, key=lambda one: (one.time, one.attestation_id))
        )
        content = {Side.MATERIALS: content_of({}), Side.PRODUCTS: content_of(served)}
        people = people_of(members)
        return Group(self.step, members, people, content, faults=faults, inner=inner)

    def _no_chain(self, layout: Layout) -> Finding:
        message = f"no whole chain under layout {layout.name} version {layout.version} stands behind the step"
        return Finding(Code.SUBLAYOUT_CHAIN, message, self.step.name, expected="a whole chain")

    def _refuse(self, layout: Layout, why: str, expected: str, got: str) -> None:
        self._problem(f"layout {layout.name} version {layout.version} {why}", Code.SUBLAYOUT, expected, got)

    def _problem(self, message: str, code: Code = Code.SUBLAYOUT, expected: str = "", got: str = "") -> None:
        self.problems.append(Finding(code, message, self.step.name, expected=expected, got=got))


def _claim(step: Step, layout: Layout) -> Claim:
    """Return what a signed layout claims when it stands behind a step."""
    return Claim(step.name, None, layout.name, None, (), (), "summary")


def _inside(step: Step, layout: Layout, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings under another layout as findings about the step that it stands behind."""
    for one in findings:
        where = f"{layout.name}/{one.step}" if one.step else layout.name
        yield Finding(
            one.code,
            f"under layout {where}: {one.message}",
            step.name,
            one.artifact,
            one.expected,
            one.got,
            one.help,
        )
