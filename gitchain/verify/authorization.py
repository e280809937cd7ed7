"""Check whether a verified statement counts under a layout, at a given time, with the known revocations.

Each check is a `StatementCondition`. The first one that fails is the reason why the statement does not count.

`Signers` maps a signer to the functionaries that match it, and to the one principal that it counts as, whatever its
certificate claims: the first functionary of the layout that could match it, or that functionary's principal. So no
signer counts twice in a threshold or across steps, however the layout's patterns overlap. Whether the signer is allowed
for a step is a separate check: an entry of one of the step's functionaries must match, including its claims.

Does NOT verify signatures or claims: they come from a VerifiedStatement. Does NOT compare statements with each other:
`gitchain.verify.classify` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError
from gitchain.evidence.vocabulary import LAYOUT, VSA
from gitchain.layout.model import Functionary, Identity, Layout, SigstoreMember, Step
from gitchain.verify.findings import Finding, FindingCode
from gitchain.verify.verified import (
    NEVER,
    RejectedStatement,
    StepStatement,
    VerifiedStatement,
    is_ahead,
    is_early,
)

if TYPE_CHECKING:
    from gitchain.verify.revocations import Revocations, Revoked


@dataclass(frozen=True, slots=True)
class StatementCondition:
    """One condition for a statement to count, and whether the statement meets it."""

    code: FindingCode
    passed: bool
    expected: str
    got: str
    of_negative: bool = False
    """Whether negative evidence must meet it too (docs/negative-evidence.md)."""


class Authorizer:
    """Decides whether a statement counts under one layout at one time, and for which functionary.

    `revocations` are those of the layout's own revokers and of the enclosing layouts. Under a sublayout (`inside`),
    evidence must name the layout: a statement that names no layout belongs to the outermost one.
    """

    __slots__ = ("_allowed", "inside", "layout", "now", "revocations", "signers", "stale")

    def __init__(
        self,
        layout: Layout,
        now: datetime,
        revocations: Sequence[Revocations] = (),
        *,
        inside: bool = False,
        stale: Finding | None = None,
    ) -> None:
        self.layout, self.now, self.inside = layout, now, inside
        self.revocations = tuple(revocations)
        self.stale = stale
        self.signers = Signers(layout)
        self._allowed: dict[str, str] = {}

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Return why no target can pass under the layout: unreadable revocations, or a store that is too old."""
        unreadable = (problem for one in self.revocations for problem in one.problems)
        return (*unreadable, *((self.stale,) if self.stale else ()))

    def check_statement(self, attested: StepStatement) -> tuple[RejectedStatement | None, bool]:
        """Return the first reason why the claim does not count, or None, and whether it counts as negative evidence."""
        reason = None
        for one in self.conditions(attested):
            if not one.passed:
                reason = reason or RejectedStatement(
                    one.code, attested.statement, attested, one.expected, one.got
                )
                if one.of_negative:
                    return reason, False
        return reason, True

    def conditions(self, attested: StepStatement) -> Iterator[StatementCondition]:
        """Yield each condition for the statement to count for its step."""
        step, statement, claim = attested.step, attested.statement, attested.claim
        name, kind = self.layout.name, statement.statement.predicate_type
        if step.sublayout and kind == LAYOUT:  # it names no layout; the statements under it name it
            yield from self.signed(step, statement)
            return
        of_another_tool = step.select is not None and not claim.has_facts  # it cannot know this layout
        silent = of_another_tool or self._may_be_silent(kind, claim.step)
        named = claim.layout == name or (claim.layout is None and silent)
        yield StatementCondition(
            FindingCode.OTHER_LAYOUT, named, name, claim.layout or "no layout", of_negative=True
        )
        wanted = LAYOUT if step.sublayout else step.predicate_type
        yield StatementCondition(FindingCode.PREDICATE_TYPE, kind == wanted, wanted, kind, of_negative=True)
        if statement.statement.is_old and step.select is None:
            yield StatementCondition(FindingCode.OLD_STATEMENT, False, "Statement v1", "Statement v0.1")
        if step.verifier is not None:
            from gitchain.verify.vsa_check import check_summary

            for one in check_summary(step.verifier, step.resource, statement, self.now):
                yield StatementCondition(*one, of_negative=one[0] is FindingCode.VERIFIER)
        yield from self.signed(step, statement)
        if step.verifier is not None:
            yield self._inputs(statement)
        if step.select is not None:
            from gitchain.verify.selection import check_selection

            yield StatementCondition(*check_selection(step.select, attested))
        strong = step.evidence is None or claim.evidence in {"observed", step.evidence}
        got = claim.evidence or "no strength"
        yield StatementCondition(FindingCode.TOO_WEAK, strong, step.evidence or "any strength", got)
        if step.max_age is not None:
            oldest, time = self.now - step.max_age, statement.time
            yield StatementCondition(
                FindingCode.STALE, time >= oldest, f"not before {oldest.isoformat()}", time.isoformat()
            )
            if step.verifier is not None:
                from gitchain.verify.vsa_check import check_age

                yield StatementCondition(*check_age(step.max_age, statement, self.now))

    def denial(self, attested: StepStatement) -> RejectedStatement | None:
        """Return why an attestation is negative evidence (its result, or a constraint of the step), or None.

        A constraint and a selector's condition that cannot be evaluated are reasons, for a step with constraints.
        """
        for one in _result(attested):
            if not one.passed:
                return RejectedStatement(one.code, attested.statement, attested, one.expected, one.got)
        if not attested.step.constraints:
            return None
        from gitchain.verify.constraints import check_step

        problem = check_step(attested.step, attested)
        if problem is None:
            return _unevaluated(attested)
        code, says = problem.code, problem.message
        return RejectedStatement(code, attested.statement, attested, problem.expected, problem.got, says)

    def named(self, attested: StepStatement) -> StepStatement:
        """Return the attestation with the functionary and the principal that it counts for."""
        one, step = attested.statement, attested.step
        functionary = self.signers.functionary(one, step.functionaries) or ""
        return replace(attested, functionary=functionary, principal=self.signers.person(one.identity))

    def _may_be_silent(self, kind: str, step: str | None) -> bool:
        return not self.inside or (kind == VSA and step is None)

    def signed(self, step: Step, statement: VerifiedStatement) -> Iterator[StatementCondition]:
        """Yield the conditions on every signature for a step: its signer, its time, and that it is not revoked."""
        may = self.signers.functionary(statement, step.functionaries) is not None
        yield StatementCondition(
            FindingCode.UNAUTHORISED, may, self.allowed(step), str(statement.identity), of_negative=True
        )
        yield from self._timely(statement)
        taken = [one.statement(statement) for one in self.revocations]
        yield _not_revoked(FindingCode.REVOKED_ATTESTATION, taken)
        gone = [one.signer(statement.identity, statement.time) for one in self.revocations]
        yield _not_revoked(FindingCode.REVOKED_SIGNER, gone)

    def _inputs(self, statement: VerifiedStatement) -> StatementCondition:
        """Return whether no input of a summary is revoked. The inputs of a malformed summary are not read."""
        from gitchain.verify.vsa_check import inputs_of

        try:
            inputs = inputs_of(statement.statement.predicate)
        except GitchainError:
            inputs = ()
        found = (one.attestation(name) for one in self.revocations for name in inputs)
        return replace(_not_revoked(FindingCode.REVOKED_ATTESTATION, found), of_negative=False)

    def _timely(self, statement: VerifiedStatement) -> Iterator[StatementCondition]:
        """Yield the check that neither the statement nor the cosignatures of its log entry are ahead of the clock."""
        latest, time, cosigned = f"not after {self.now.isoformat()}", statement.time, statement.log.cosigned
        yield StatementCondition(FindingCode.FUTURE, not is_ahead(time, self.now), latest, time.isoformat())
        if cosigned is not None:
            got = "no quorum" if cosigned == NEVER else cosigned.isoformat()
            expected = f"the quorum of the witness policy, {latest}"
            yield StatementCondition(FindingCode.UNCOSIGNED, not is_ahead(cosigned, self.now), expected, got)

    def may_speak(self, step: Step, statement: VerifiedStatement) -> bool:
        """Return whether the statement counts as negative evidence for the step: by its signer, and not revoked."""
        return all(one.passed for one in self.signed(step, statement) if one.of_negative)

    def is_early(self, statement: VerifiedStatement) -> bool:
        """Return whether the statement, or the cosignatures of its log entry, are ahead of the clock."""
        return is_early(statement, self.now)

    def is_revoked(self, statement: VerifiedStatement) -> bool:
        """Return whether the attestation, or its signer at that time, is revoked."""
        return any(
            one.statement(statement) or one.signer(statement.identity, statement.time)
            for one in self.revocations
        )

    def allowed(self, step: Step) -> str:
        """Return the signers that are allowed for the step, for messages."""
        if step.name not in self._allowed:
            self._allowed[step.name] = self.signers.allowed(step.functionaries)
        return self._allowed[step.name]


def _not_revoked(code: FindingCode, found: Iterable[Revoked | None]) -> StatementCondition:
    first = next((one for one in found if one is not None), None)
    got = "not revoked" if first is None else str(first)
    return StatementCondition(code, first is None, "not revoked", got, of_negative=True)


def _result(attested: StepStatement) -> Iterator[StatementCondition]:
    """Yield the check that a verification summary has the result PASSED, for a step with a `verifier`."""
    if attested.step.verifier is not None:
        from gitchain.verify.vsa_check import PASSED, result_of

        result = result_of(attested.statement.statement.predicate)
        yield StatementCondition(FindingCode.NOT_PASSED, result == PASSED, PASSED, result)


def _unevaluated(attested: StepStatement) -> RejectedStatement | None:
    """Return the rejection by a statement for which the condition of the step's selector cannot be evaluated, or None."""
    selector = attested.step.select
    if selector is None:
        return None
    from gitchain.verify.selection import unevaluated

    problem = unevaluated(selector, attested)
    if not problem:
        return None
    says = f"the condition that selects its statements cannot be evaluated: {problem}"
    expected = selector.where.expression
    return RejectedStatement(FindingCode.NOT_SELECTED, attested.statement, attested, expected, problem, says)


class Signers:
    """The functionaries of one layout, with a cache by signer."""

    __slots__ = ("_layout", "_matching", "_people")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._matching: dict[tuple[object, ...], frozenset[str]] = {}
        self._people: dict[Identity, str] = {}

    def matching(self, statement: VerifiedStatement) -> frozenset[str]:
        """Return the names of the functionaries that match the statement's signer, including its claims."""
        key = (statement.identity, *sorted(statement.claims.items()))
        if key not in self._matching:
            self._matching[key] = frozenset(
                one.name
                for one in self._layout.functionaries
                if one.matches(statement.identity, statement.claims)
            )
        return self._matching[key]

    def functionary(self, statement: VerifiedStatement, functionaries: Sequence[str]) -> str | None:
        """Return the first of these functionaries that matches the signer, or None."""
        matching = self.matching(statement)
        return next((name for name in functionaries if name in matching), None)

    def person(self, identity: Identity) -> str:
        """Return the one principal that the signer counts as. Raises KeyError if no entry could match it."""
        if identity not in self._people:
            owner = next((one for one in self._layout.functionaries if _could_be(one, identity)), None)
            if owner is None:
                raise KeyError(identity)
            self._people[identity] = self._layout.principal_of(owner.name)
        return self._people[identity]

    def allowed(self, functionaries: Sequence[str]) -> str:
        """Return the entries of these functionaries, for messages."""
        named = {one.name: one for one in self._layout.functionaries}
        return " or ".join(sorted(str(one) for name in functionaries for one in named[name].identities))


def _could_be(functionary: Functionary, identity: Identity) -> bool:
    """Return whether the signer could be the functionary, ignoring the claims of its certificate."""
    return any(
        member.matches(identity, dict(member.claims) if isinstance(member, SigstoreMember) else {})
        for member in functionary.identities
    )
