"""Check the layout-wide conditions of a chain: CEL constraints, `sameRun`, data sets.

Does NOT evaluate expressions: `gitchain.verify.constraints` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from gitchain.evidence.vocabulary import DATASET
from gitchain.layout.artifact import Manifests
from gitchain.layout.model import Layout
from gitchain.verify.authorization import Authorizer
from gitchain.verify.chain import Chain
from gitchain.verify.findings import Finding
from gitchain.verify.target import Target
from gitchain.verify.verified import VerifiedStatement


@dataclass(slots=True)
class CrossStepConstraints:
    """The layout-wide conditions of a layout, or of one scope of it, for one target. Ignores revoked data-set statements."""

    layout: Layout
    authorizer: Authorizer
    target: Target
    statements: Sequence[VerifiedStatement]
    manifests: Manifests
    _facts: tuple[VerifiedStatement, ...] = field(init=False)
    _known: dict[tuple[int, ...], Sequence[Finding]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        facts = (one for one in self.statements if one.statement.predicate_type == DATASET)
        self._facts = tuple(one for one in facts if not self.authorizer.is_revoked(one))

    def of(self, chain: Chain) -> Sequence[Finding]:
        """Return the conditions that a chain with evidence for every step fails."""
        return (*self._constraints(self.layout, chain), *self._datasets(chain))

    def _constraints(self, layout: Layout, chain: Chain) -> Sequence[Finding]:
        """Return which constraints and same-run rules of the layout the chain does not satisfy."""
        if not layout.constraints and not layout.same_run:
            return ()
        from gitchain.verify.constraints import check_chain

        return check_chain(layout, chain, self.target)

    def _datasets(self, chain: Chain) -> Sequence[Finding]:
        """Return the findings about the chain's data sets. Chains with equal data sets are checked once."""
        layout = self.layout
        if layout.datasets is None:
            return ()
        key = tuple(id(chain[one.step]) for one in layout.datasets.artifacts)
        if key not in self._known:
            from gitchain.verify.datasets import DatasetFacts, check_datasets

            facts = DatasetFacts(self._facts, self._owner, self.authorizer.is_early, self.manifests)
            found = check_datasets(layout, chain, facts)
            self._known[key] = found
        return self._known[key]

    def each(self, chain: Chain) -> Iterator[tuple[str, Sequence[Finding]]]:
        """Yield each condition as text, with the findings about it, for `--explain`."""
        layout = self.layout
        alone = replace(layout, constraints=(), same_run=())
        for one in layout.constraints:
            yield (
                f"constraint {one.name}: {one.expression}",
                self._constraints(replace(alone, constraints=(one,)), chain),
            )
        for names in layout.same_run:
            found = self._constraints(replace(alone, same_run=(names,)), chain)
            yield f"steps {', '.join(names)} are of one run", found
        if layout.datasets is not None:
            names = tuple(dict.fromkeys(one.step for one in layout.datasets.artifacts))
            yield f"facts about the data sets of step {', '.join(names)}", self._datasets(chain)

    def _owner(self, statement: VerifiedStatement) -> tuple[str, str] | None:
        """Return functionary and principal of a data-set statement, None if its signer is not allowed."""
        datasets = self.layout.datasets
        who = datasets and self.authorizer.signers.functionary(statement, datasets.functionaries)
        return (who, self.authorizer.signers.person(statement.identity)) if who else None
