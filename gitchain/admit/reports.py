"""Kinds of reports in clusters, and the settings for reporting.

openreports.io is the successor of wgpolicyk8s.io; many clusters only have the older kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reports(StrEnum):
    """The kinds of report, by their API group."""

    OPEN = "openreports.io"
    WORKING_GROUP = "wgpolicyk8s.io"

    @property
    def version(self) -> str:
        """Return group and version."""
        return f"{self}/v1alpha1" if self is Reports.OPEN else f"{self}/v1alpha2"

    @property
    def kind(self) -> str:
        """Return the kind."""
        return "Report" if self is Reports.OPEN else "PolicyReport"

    @property
    def resource(self) -> str:
        """Return the plural name in paths."""
        return f"{self.kind.lower()}s"


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What the settings report: Events, a kind of report, or both."""

    events: bool = True
    reports: Reports | None = None
