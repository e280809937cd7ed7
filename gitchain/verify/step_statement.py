"""A verified statement with its claim about a step of a layout, and one that does not count, with the reason.

Does NOT decide which is which: `gitchain.verify.authorization` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.claim import StepClaim, claim_of
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.layout.artifact import Artifacts, Link, Manifests
from gitchain.layout.model import Step
from gitchain.verify.findings import FindingCode
from gitchain.verify.verified import VerifiedStatement


@dataclass(frozen=True, slots=True, eq=False)
class StepStatement:
    """A verified statement that names a step of the layout, with its claim.

    `functionary` and `principal` are those that it counts for; empty until that is known.
    """

    step: Step
    statement: VerifiedStatement
    claim: StepClaim
    link: Link
    functionary: str = ""
    principal: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class RejectedStatement:
    """A verified statement that does not count, with the reason. `attested` is None if its claim is unreadable."""

    code: FindingCode
    statement: VerifiedStatement
    attested: StepStatement | None
    expected: str
    got: str
    says: str = ""
    """The exact problem, in place of the code's general meaning."""


@dataclass(slots=True)
class StepReader:
    """Parses the claims of statements, each once for all layouts of a decision."""

    _claims: dict[int, tuple[VerifiedStatement, StepClaim | str]] = field(default_factory=dict)

    def claim(self, statement: VerifiedStatement) -> StepClaim | str:
        """Return the claim, or the error."""
        if id(statement) not in self._claims:  # the statement is kept too, so that its id() stays in use
            try:
                found: StepClaim | str = claim_of(statement.statement)
            except (MalformedError, LimitError) as error:
                found = str(error)
            self._claims[id(statement)] = statement, found
        return self._claims[id(statement)][1]


def distinct(statements: Iterable[VerifiedStatement]) -> Sequence[VerifiedStatement]:
    """Return each statement of a signer at one time once, with the log proof that was cosigned first.

    The log proof is not signed: anyone can store a bundle again, with a checkpoint without cosignatures.
    """
    found: dict[tuple[object, ...], VerifiedStatement] = {}
    for one in statements:
        key = (one.attestation_id, one.identity, one.time, *sorted(one.claims.items()))
        if key not in found or _cosigned(one) < _cosigned(found[key]):
            found[key] = one
    return tuple(found.values())


def _cosigned(one: VerifiedStatement) -> datetime:
    return one.log.cosigned or datetime.min.replace(tzinfo=UTC)  # None: no witnesses are required


def artifacts_of(descriptors: Sequence[ResourceDescriptor], manifests: Manifests) -> Artifacts:
    """Return the descriptors as rules see them."""
    return {item.rule_name or "": manifests.artifact(item) for item in descriptors}
