"""Codes and findings of lint. docs/lint.md lists them.

A finding of lint is about the layout alone, not about evidence. An error is a layout that cannot be satisfied, or does
not do what its text suggests; a warning is a choice to review.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from gitchain.evidence.canonical import Json

Severity: TypeAlias = Literal["error", "warning"]


class LintCode(StrEnum):
    """All codes. A code is never used for a second meaning."""

    OPEN = "GC-L01"
    UNREACHABLE = "GC-L02"
    UNUSED = "GC-L03"
    UNSATISFIABLE = "GC-L04"
    FEW_PEOPLE = "GC-L05"
    OTHER_REPOSITORY = "GC-L06"
    PULL_REQUEST = "GC-L07"
    OVERLAP = "GC-L08"
    EXPIRY = "GC-L09"
    UNBOUND = "GC-L10"
    DEAD_MATCH = "GC-L11"
    UNTIED = "GC-L12"
    NEVER_SERVED = "GC-L13"
    SERVES_ALL = "GC-L14"
    NOT_OBSERVED = "GC-L15"
    CONSTANT = "GC-L16"
    NO_REVOKERS = "GC-L17"
    NOBODY_ELSE = "GC-L18"
    DEAD_INSPECTION = "GC-L19"
    UNLISTED_PICKLE = "GC-L20"
    WIDE_PICKLE = "GC-L21"
    NEVER_NEEDED = "GC-L22"
    LEFT_OUT = "GC-L23"
    TOGETHER = "GC-L24"
    ONE_PERSON = "GC-L25"
    SHORT_FRESHNESS = "GC-L26"
    ANY_BUILD = "GC-L27"
    ANY_ARTIFACT = "GC-L28"


LINT_MEANINGS: dict[LintCode, str] = {
    LintCode.OPEN: "a list of rules allows what no rule names, or everything",
    LintCode.UNREACHABLE: "a rule never applies at its place in the list",
    LintCode.UNUSED: "a functionary is not used by any step",
    LintCode.UNSATISFIABLE: "no evidence can satisfy the step",
    LintCode.FEW_PEOPLE: "the step has fewer distinct people than its threshold",
    LintCode.OTHER_REPOSITORY: "a workflow of another repository can have the identity",
    LintCode.PULL_REQUEST: "a pull request can have the identity",
    LintCode.OVERLAP: "one signer can be two functionaries that are two principals",
    LintCode.EXPIRY: "the layout has expired, expires soon, or too late",
    LintCode.UNBOUND: "a later rule allows what a MATCH rule does not match, so other content passes",
    LintCode.DEAD_MATCH: "a MATCH rule looks for artifacts that the other step cannot have",
    LintCode.UNTIED: "no MATCH rule links the step to a served product",
    LintCode.NEVER_SERVED: "a served product or data set cannot be a product of its step",
    LintCode.SERVES_ALL: "every product of the step may be served",
    LintCode.NOT_OBSERVED: "a step that makes a served product accepts declared evidence",
    LintCode.CONSTANT: "a constraint reads no evidence",
    LintCode.NO_REVOKERS: "no functionary may revoke anything",
    LintCode.NOBODY_ELSE: "only people who did a step can sign the step that checks it",
    LintCode.DEAD_INSPECTION: "an inspection applies to no served product",
    LintCode.UNLISTED_PICKLE: "a pickle inspection has neither allow nor frameworks",
    LintCode.WIDE_PICKLE: "a pattern under allow matches functions that run code",
    LintCode.NEVER_NEEDED: "no entry of serve needs the step",
    LintCode.LEFT_OUT: "a product passes without a step that uses it, such as an evaluation or an approval",
    LintCode.TOGETHER: "a product passes only with evidence for every model, including unrelated ones",
    LintCode.ONE_PERSON: "one person performs every step and signs the layout",
    LintCode.SHORT_FRESHNESS: "freshness is so short that verification fails unless gitchain sync runs often",
    LintCode.ANY_BUILD: "a step selects provenance without comparing its build type or its builder",
    LintCode.ANY_ARTIFACT: "a served step gives the served name to any artifact of its signers",
}


@dataclass(frozen=True, slots=True)
class Lint:
    """One finding: code, severity, place, and what to do."""

    code: LintCode
    severity: Severity
    where: str
    message: str
    help: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the finding as in `layout lint --json`."""
        return {
            "code": self.code.value,
            "severity": self.severity,
            "where": self.where,
            "message": self.message,
            "help": self.help or None,
        }
