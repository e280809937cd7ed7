"""Data types of DVC stages: a stage as dvc.yaml plans it, and a stage that has run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from gitchain.collect.artifacts import CollectedArtifact
from gitchain.collect.interpreter_facts import SeenInterpreter
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import Sha256
from gitchain.evidence.statement import ResourceDescriptor


@dataclass(frozen=True, slots=True)
class PipelineStage:
    """A stage of dvc.yaml with its templates resolved, or a *.dvc file (`is_data`).

    `name` is DVC's address seen from the repository's root: `train@us`, `sub/dvc.yaml:train`,
    `raw.csv.dvc`. Names of deps and outs are relative to the root; `sources` are the URIs of deps outside of it, as in
    the stage's statement. `reports` are those outs that are metrics or plots, `mixed` directories that hold some, maybe
    beside a model; `metrics` are the metric files that are outs or inside one; `params` are `file:key`, or `file` for all
    of its keys; `lock` is the file that records the stage, `key` its name there.
    """

    name: str
    commands: tuple[str, ...]
    wdir: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    reports: tuple[str, ...]
    params: tuple[str, ...]
    sources: tuple[str, ...]
    lock: str
    key: str
    frozen: bool = False
    is_data: bool = False
    is_import: bool = False
    mixed: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandRun:
    """One command of a stage that gitchain saw running."""

    command: str
    started: datetime
    finished: datetime
    exit_code: int
    stdout_sha256: Sha256
    stderr_sha256: Sha256
    interpreters: tuple[SeenInterpreter, ...] | None = None


@dataclass(frozen=True, slots=True)
class StageRun:
    """A stage with its materials and products.

    `observed`: gitchain saw every command and hashed before and after; `ran` has the times and the exit status.
    `declared`: derived from what DVC recorded, every md5 checked against the bytes. `run_cache` is true
    where DVC took the products from its run cache instead of running the command: that is declared, never
    observed. `sources` are materials outside the repository (imports, remote files), by URI. `foreign_params` are
    parameter files outside the repository: their values are left out.
    """

    name: str
    evidence: Literal["observed", "declared"]
    commands: tuple[str, ...]
    params: Mapping[str, Mapping[str, Json]] = field(hash=False)
    materials: tuple[CollectedArtifact, ...]
    products: tuple[CollectedArtifact, ...]
    sources: tuple[ResourceDescriptor, ...] = ()
    ran: tuple[CommandRun, ...] = ()
    run_cache: bool = False
    foreign_params: tuple[str, ...] = ()

    @property
    def started(self) -> datetime | None:
        """Return when the first command started, None for declared evidence."""
        return self.ran[0].started if self.ran else None

    @property
    def finished(self) -> datetime | None:
        """Return when the last command ended, None for declared evidence."""
        return self.ran[-1].finished if self.ran else None

    @property
    def interpreters(self) -> tuple[SeenInterpreter, ...] | None:
        """Return the interpreters that ran under the commands, None if nothing was watched."""
        seen = [one.interpreters for one in self.ran if one.interpreters is not None]
        return tuple(dict.fromkeys(one for found in seen for one in found)) if seen else None

    @property
    def exit_code(self) -> int | None:
        """Return the last command's exit code, None for declared evidence."""
        return self.ran[-1].exit_code if self.ran else None
