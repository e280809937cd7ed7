"""The inputs of one decision under every layout (evidence, time, manifests), and its caches.

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
    """The inputs of a decision, and its caches across layouts."""

    statements: Sequence[VerifiedStatement]
    now: datetime
    manifests: Manifests
    budget: SearchBudget = field(default_factory=SearchBudget)
    reader: StepReader = field(default_factory=StepReader)
    layouts: dict[bytes, Layout | LayoutError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayoutStack:
    """The enclosing layouts of a layout: their names (its own last), revocations and rejections.

    Evidence refers to a layout by name, so no two nested layouts may have the same one.
    """

    names: tuple[str, ...]
    revocations: tuple[Revocations, ...] = ()
    rejections: Sequence[Rejections] = ()
