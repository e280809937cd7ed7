"""Conditions: whether reviews can be decided under a layout, and the reason if not.

| state | meaning |
|---|---|
| `deciding` | the layout is in force and its evidence fresh |
| `failing` | the last reading failed; the evidence of the reading before still counts |
| `stale` | likewise, and each answer carries a warning |
| `closed` | nothing is decided: the answer is `GC-A0301`, or `GC-A0303` for an expired layout |

docs/admission.md lists the reasons. Evidence is read by `layout_evaluator`; changes are logged by `watch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

from gitchain.errors import (
    AuthenticationError,
    GitchainError,
    LayoutError,
    LayoutExpiredError,
    LimitError,
    NoEvidenceError,
    RollbackError,
    StoreError,
    TransportError,
    TrustError,
    UsageError,
)

State = Literal["deciding", "failing", "stale", "closed"]
STATES: tuple[State, ...] = get_args(State)


class ConditionReason(StrEnum):
    """Reasons of a condition. They are the values of metric labels and are never reused."""

    NONE = ""
    STARTING = "starting"
    SLOW = "slow"
    SOURCE = "source"
    EVIDENCE = "evidence"
    REWOUND = "rewound"
    LAYOUT = "layout"
    EXPIRED = "expired"
    TRUST = "trust"
    LIMIT = "limit"


_REASONS: tuple[tuple[tuple[type[GitchainError], ...], ConditionReason], ...] = (
    ((RollbackError,), ConditionReason.REWOUND),
    ((TrustError,), ConditionReason.TRUST),
    ((LayoutExpiredError,), ConditionReason.EXPIRED),
    ((LayoutError,), ConditionReason.LAYOUT),
    ((LimitError,), ConditionReason.LIMIT),
    ((TransportError, StoreError, UsageError, NoEvidenceError, AuthenticationError), ConditionReason.SOURCE),
)


def reason_of(error: GitchainError) -> ConditionReason:
    """Return the reason for an error of a reading."""
    return next((reason for kinds, reason in _REASONS if isinstance(error, kinds)), ConditionReason.EVIDENCE)


@dataclass(frozen=True, slots=True)
class LayoutCondition:
    """A state, and the reason unless it is `deciding`. `what` distinguishes errors with the same reason."""

    state: State
    reason: ConditionReason = ConditionReason.NONE
    why: str = ""
    what: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """Return the parts whose change counts as a change: not the message, which may contain seconds."""
        return self.state, self.reason, self.what
