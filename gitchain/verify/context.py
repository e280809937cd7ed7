"""What one decision looks at under every layout: the evidence, the time, the manifests; and what it keeps on the way.

Does NOT decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gitchain.errors import LayoutError
from gitchain.layout.artifact import Manifests
from gitchain.layout.model import Layout
from gitchain.verify.negative_evidence import Rejections
from gitchain.verify.revocations import Revocations
from gitchain.verify.search import SearchBudget
from gitchain.verify.step_statement import StepReader
from gitchain.verify.verified import VerifiedStatement


@dataclass(slots=True)
class Sources:
    """What a decision looks at, and what it keeps between the layouts that it looks under."""

    statements: Sequence[VerifiedStatement]
    now: datetime
    manifests: Manifests
    budget: SearchBudget = field(default_factory=SearchBudget)
    reader: StepReader = field(default_factory=StepReader)
    layouts: dict[bytes, Layout | LayoutError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayoutStack:
    """The layouts that a layout stands in: their names, its own last, their revocations and rejections.

    Evidence names its layout by name: two of one name inside of each other could not be told apart.
    """

    names: tuple[str, ...]
    revocations: tuple[Revocations, ...] = ()
    rejections: Sequence[Rejections] = ()
