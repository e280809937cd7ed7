"""A statement that is not signed yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gitchain.evidence.statement import Statement


@dataclass(frozen=True, slots=True)
class StatementDraft:
    """A statement to sign, with its directory manifests."""

    statement: Statement
    manifests: Mapping[str, bytes] = field(default_factory=dict)
