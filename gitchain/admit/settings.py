"""The settings of `gitchain serve` and `gitchain admit`, as values. `gitchain.admit.config` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from gitchain.admit.model_problems import ModelSearchSettings
from gitchain.admit.mutate import GuardSettings
from gitchain.admit.reports import ReportSettings
from gitchain.errors import LayoutError
from gitchain.layout.model import Identity

Mode = Literal["enforce", "warn", "audit"]


MODES: tuple[Mode, ...] = ("enforce", "warn", "audit")


@dataclass(frozen=True, slots=True)
class LayoutSource:
    """One layout: its file, its allowed signers, its trusted root, and its evidence."""

    name: str
    layout: Path
    signers: tuple[Identity, ...]
    trust: str
    repository: Path | None = None
    evidence: tuple[str, ...] = ()
    minimum_version: int = 0
    layout_name: str | None = None
    """The required name of the layout; any name signed by the signers if not given."""


@dataclass(frozen=True, slots=True)
class AdmissionRule:
    """Requirements in some namespaces: the layout, the mode, and what counts as a reference to a model."""

    namespaces: tuple[str, ...]
    layout: str
    mode: Mode = "enforce"
    looking: ModelSearchSettings = field(default_factory=ModelSearchSettings)
    guarding: GuardSettings | None = None
    """How pods are patched so that volumes are verified on the node; None to leave them unchanged."""

    def matches(self, namespace: str) -> bool:
        """Return True if this is the rule for a namespace. Cluster-wide objects have an empty one."""
        return any(fnmatchcase(namespace, pattern) for pattern in self.namespaces)

    def pattern(self, namespace: str) -> str:
        """Return the first pattern that matches a namespace, or an empty text."""
        return next((pattern for pattern in self.namespaces if fnmatchcase(namespace, pattern)), "")


@dataclass(frozen=True, slots=True)
class Durations:
    """Durations in seconds. A verdict is valid for `verdict` at most, unreadable evidence for `fresh` and `stale`."""

    refresh: int = 10
    fresh: int = 60
    stale: int = 0
    verdict: int = 30
    denial: int = 5
    answer: int = 8
    """Longest time for a response: the API server waits 10 seconds by default, then the failure policy decides."""

    drain: int = 5
    audit: int = 0

    def __post_init__(self) -> None:
        if self.fresh < self.refresh:
            raise LayoutError(
                "evidence would go stale before it is read again",
                where="times.fresh",
                expected=f"at least {self.refresh}, the value of times.refresh",
                got=str(self.fresh),
            )


@dataclass(frozen=True, slots=True)
class Deployments:
    """Deployment log: the repository of its statements, their signer, and the name of this cluster."""

    repository: Path
    environment: str
    cluster: str
    trust: str
    identity: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """The parsed settings file."""

    sources: Mapping[str, LayoutSource]
    rules: tuple[AdmissionRule, ...]
    times: Durations = field(default_factory=Durations)
    decisions: int = 10_000
    """Most cached verdicts."""

    connections: int = 256
    deployments: Deployments | None = None
    reporting: ReportSettings | None = None
    """What is reported to the cluster about denials; None for nothing."""

    path: Path | None = field(default=None, compare=False)
    """The file, or None for settings that were not read from one."""

    digest: str = field(default="", compare=False)
    """SHA-256 of the file's bytes."""

    def rule_for(self, namespace: str) -> AdmissionRule | None:
        """Return the first rule for a namespace, or None."""
        return next((rule for rule in self.rules if rule.matches(namespace)), None)
