"""Select statements of other tools for the steps of a layout that have a `select`.

 1. A statement with gitchain's step facts names its step itself, and is never selected. Neither is a link with the name
    of a step that has no `select`.
 2. The statement has the step's predicate type, and its signer is a functionary of the step.
 3. The condition `where` is exactly true for `predicate`, `subject` and `signer`. An error is not true.
 4. With `as`, the statement is about one artifact, which gets that name.

This module checks 3, 4 and the first sentence of 1, after `gitchain.verify.authorization` has checked 2: no condition is
evaluated for others' statements. `gitchain.verify.classify` checks the rest of 1.
A statement for which the condition is false is about something else, and no negative evidence. Every other statement of
2 counts against the model if the step's constraints refuse it, or if the condition cannot be evaluated and the step has
constraints. docs/decisions/0015-selected-statements.md has the reasons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitchain.layout.artifact import Artifacts, Link
from gitchain.layout.model import Selector, Step
from gitchain.verify.constraints import holds
from gitchain.verify.findings import FindingCode
from gitchain.verify.verified import StepStatement, VerifiedStatement

if TYPE_CHECKING:
    from gitchain.layout.constraint import Input

Checked = tuple[FindingCode, bool, str, str, bool]
"""Result of one check: code, whether it passed, expected and actual value, and whether negative evidence must pass too."""


def check_selection(selector: Selector, attested: StepStatement) -> Checked:
    """Return whether the selector selects a statement of the right type and signer, with expected and actual value.

    Negative evidence must pass only the condition, and only if that is false: a statement with step facts, with several
    artifacts, or for which the condition cannot be evaluated is not about something else.
    """
    code, claim = FindingCode.NOT_SELECTED, attested.claim
    if claim.has_facts:
        return (
            code,
            False,
            "a statement of another tool",
            f"gitchain's step facts, of step {claim.step}",
            False,
        )
    result = holds(selector.where, "select", _variables(attested.statement))
    if not result.ok:
        return code, False, selector.where.expression, result.problem, result.evaluated
    count = len(_about(attested.step, attested.link))
    if selector.name is not None and count != 1:
        return code, False, f"one artifact, for the name {selector.name}", f"{count} artifacts", False
    return code, True, selector.where.expression, "true", True


def unevaluated(selector: Selector, attested: StepStatement) -> str:
    """Return why the condition cannot be evaluated for a statement without step facts, or an empty text."""
    if attested.claim.has_facts:
        return ""
    result = holds(selector.where, "select", _variables(attested.statement))
    return "" if result.evaluated else result.problem


def renamed(step: Step, name: str, link: Link) -> Link:
    """Return the link with this name for the one artifact that the statement is about; unchanged if it is not one."""
    about = _about(step, link)
    if len(about) != 1:
        return link
    named = dict(zip((name,), about.values(), strict=True))
    return Link(link.materials, named) if step.has_products else Link(named, link.products)


def _about(step: Step, link: Link) -> Artifacts:
    """Return the artifacts that the statement is about: its products, or of a type without products its materials."""
    return link.products if step.has_products else link.materials


def _variables(statement: VerifiedStatement) -> dict[str, Input]:
    said, identity = statement.statement, statement.identity
    return {
        "subject": lambda: [{"name": one.rule_name, "digest": dict(one.digest)} for one in said.subject],
        "predicate": said.predicate,
        "signer": {
            "issuer": identity.issuer,
            "subject": identity.subject,
            "claims": dict(statement.claims),
        },
    }
