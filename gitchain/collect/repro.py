"""Observe `dvc repro` and `dvc exp run`: one StageRun for every stage that ran.

DVC runs each command as `$SHELL -c COMMAND`. SHELL is set to our script (`shim`), which records the command and runs
it. It has the name of the user's shell, since DVC selects flags by that name. Afterwards:

- a stage with a complete record whose md5s match dvc.lock is observed;
- one that DVC recorded or restored without running it came from the run cache: declared, and marked so;
- a *.dvc file that DVC updated is declared; an unchanged stage gives nothing.

Runs in other work trees (`--temp`, `--queue`) or on other machines are not observed.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gitchain.collect.artifacts import CollectedArtifact, collect_artifact
from gitchain.collect.committed import not_a_dvc_project
from gitchain.collect.declared import RecordedStage, Report, declare_stage, recorded_stages, stage_sources
from gitchain.collect.dvc_api import load_stages
from gitchain.collect.dvc_cache import dvc_root
from gitchain.collect.dvc_digest_check import ArtifactReader
from gitchain.collect.hash_cache import StateCache
from gitchain.collect.paths import check_path_name
from gitchain.collect.repro_command import ELSEWHERE, overlap, stages_named, watching_shell
from gitchain.collect.repro_records import StageRecord, read_records
from gitchain.collect.stage_names import as_dvc_reads
from gitchain.collect.stages import PipelineStage, StageRun
from gitchain.collect.subprocess_tee import run_plain
from gitchain.collect.written import not_written, written_products
from gitchain.errors import GitchainError, RunError, UsageError
from gitchain.evidence.names import check_step_name


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Result of a DVC run: its exit code, and the stages that ran or were restored.

    `problems` are stages that ran or were restored without evidence: they are not in `stages`. `notices` are
    unreadable files and data that this run did not make. `idle` are the recorded stages that did not run, `metrics`
    the metric files of each stage.
    """

    stages: tuple[StageRun, ...]
    problems: tuple[GitchainError, ...]
    notices: tuple[tuple[str, GitchainError], ...]
    idle: tuple[RecordedStage, ...]
    metrics: Mapping[str, tuple[str, ...]]
    exit_code: int
    started: datetime
    finished: datetime


@dataclass(frozen=True, slots=True)
class _RecordsBefore:
    """DVC's records and the outs before the run."""

    recorded: Mapping[str, RecordedStage]
    outs: Mapping[str, tuple[int, ...] | None]


def observe_dvc(
    root: Path,
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    state: StateCache,
    stdout: int = 1,
    report: Report | None = None,
) -> Reproduction:
    """Run DVC and return the result; names are relative to `root`. DVC's output is passed through.

    Before the run, `report` receives the stages that could not be attested if they ran; one that is certain to run is
    an error. A failing stage is no error: DVC's exit code is in the result, with the finished stages. Raises
    UsageError for runs in other work trees, ProjectError if DVC's project cannot be read, RunError if DVC cannot be
    started.
    """
    here = cwd or root
    project = dvc_root(str(here), str(root))
    if project is None:
        raise not_a_dvc_project(root)
    elsewhere = ELSEWHERE.intersection(argv)
    if elsewhere:
        raise UsageError(
            "DVC would run the stages in another work tree",
            got=min(elsewhere),
            help="run it without that option",
        )
    state.flush()
    stages = load_stages(root, Path(project))
    before = _RecordsBefore(
        recorded_stages(root), {name: _stat(root, name) for stage in stages for name in stage.outs}
    )
    _check_stages(root, stages, before.recorded, argv, state, report)
    with watching_shell(root, project, stages, state, os.environ, reload="exp" in argv) as (
        scratch,
        variables,
    ):
        code, started, finished = run_plain(argv, cwd=here, env=variables, stdout=stdout)
        records = read_records(scratch)
    settled = _StageComparison(root, project, state, before)
    settled.compare(records)
    return Reproduction(
        stages=tuple(settled.runs),
        problems=tuple(settled.problems),
        notices=tuple(settled.notices),
        idle=tuple(settled.idle),
        metrics={stage.name: stage.metrics for stage in stages if stage.metrics},
        exit_code=code,
        started=started,
        finished=finished,
    )


def _check_stages(
    root: Path,
    stages: Sequence[PipelineStage],
    recorded: Collection[str],
    argv: Sequence[str],
    state: StateCache,
    report: Report | None,
) -> None:
    """Read the stages' dependencies before the run: raise for a stage that will run and could not be attested.

    A stage is certain to run if DVC has no record of it, or with --force; others are passed to `report`.
    """
    made = {out for stage in stages if not stage.is_data for out in stage.outs}
    is_forced = not {"-f", "--force"}.isdisjoint(argv)
    for stage in stages_named(stages, argv):
        try:
            _check_stage(root, stage, made, state)
        except GitchainError as error:
            error.where = f"stage {stage.name}: {error.where}"
            if is_forced or stage.name not in recorded:
                raise
            if report is not None:
                report(stage.name, error)


def _check_stage(root: Path, stage: PipelineStage, made: Collection[str], state: StateCache) -> None:
    check_step_name(stage.name)
    for out in stage.outs:
        check_path_name(out)
    for dep in stage.deps:
        check_path_name(dep)
        if os.path.lexists(root / dep) and not any(overlap(dep, out) for out in made):
            collect_artifact(root, dep, state)  # the stage needs the digest, which is cached


def _stat(root: Path, name: str) -> tuple[int, ...] | None:
    try:
        info = os.lstat(root / name)
    except OSError:
        return None
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


class _StageComparison:
    """Compares the observations with DVC's records, per stage; an unreadable file affects its own stage only."""

    def __init__(self, root: Path, project: str, state: StateCache, before: _RecordsBefore) -> None:
        self._root = root
        self._state = state
        self._before = before
        self._reader = ArtifactReader(root, project, state)
        self.runs: list[StageRun] = []
        self.problems: list[GitchainError] = []
        self.notices: list[tuple[str, GitchainError]] = []
        self.idle: list[RecordedStage] = []

    def compare(self, records: Mapping[str, StageRecord]) -> None:
        self.problems += [record.problem for record in records.values() if record.problem is not None]
        after = recorded_stages(self._root, lambda file, error: self.notices.append((file, error)))
        for name, recorded in after.items():
            try:
                self._stage(recorded, records.get(name))
            except GitchainError as error:
                if recorded.commands:
                    self.problems.append(error)
                else:
                    self.notices.append((name, error))
        self.problems += [
            RunError(
                "stage ran and DVC has no readable record of it",
                where=f"stage {name}",
                help=f"gitchain run -- dvc repro --force {shlex.quote(as_dvc_reads(name, self._root))}",
            )
            for name, record in records.items()
            if name not in after and record.complete and record.problem is None
        ]
        order = {name: index for index, name in enumerate(records)}
        self.runs.sort(key=lambda run: order.get(run.name, -1))

    def _stage(self, recorded: RecordedStage, record: StageRecord | None) -> None:
        if record is not None:
            if record.complete and record.problem is None:
                self.runs.append(_observed(self._reader, recorded, record))
                self.notices += _unwritten(record)
        elif _touched(self._root, recorded, self._before):
            is_stage = bool(recorded.commands)
            self.runs.append(declare_stage(self._root, recorded, state=self._state, run_cache=is_stage))
        elif recorded.commands:
            self.idle.append(recorded)


def _touched(root: Path, recorded: RecordedStage, before: _RecordsBefore) -> bool:
    if before.recorded.get(recorded.name) != recorded:
        return True
    return any(name in before.outs and before.outs[name] != _stat(root, name) for name, _ in recorded.outs)


def _observed(reader: ArtifactReader, recorded: RecordedStage, record: StageRecord) -> StageRun:
    """Return the observed run, after comparing every md5 of DVC's record with the observed bytes."""
    where = f"stage {recorded.name}"
    if recorded.commands != record.commands:
        raise RunError(
            "DVC recorded another command than it ran",
            where=where,
            expected=ascii("; ".join(record.commands)[:200]),
            got=ascii("; ".join(recorded.commands)[:200]),
        )
    seen = {artifact.name: artifact for artifact in (*record.materials, *record.products)}
    for name, entry in (*recorded.deps, *recorded.outs):
        artifact = seen.get(name)
        if artifact is None:
            raise RunError("DVC recorded a file that was not seen", where=f"{where}: {name}")
        if entry.md5 is not None:
            reader.check(artifact, entry, where)
    return StageRun(
        name=recorded.name,
        evidence="observed",
        commands=recorded.commands,
        params=recorded.params,
        materials=_named(record.materials, recorded.deps),
        products=tuple(
            product
            for artifact in _named(record.products, recorded.outs)
            for product in written_products(artifact, record.unwritten.get(artifact.name, ()))
        ),
        sources=stage_sources(recorded),
        ran=record.ran,
        foreign_params=recorded.foreign_params,
    )


def _unwritten(record: StageRecord) -> Iterator[tuple[str, RunError]]:
    """Yield the products that the stage did not write completely: DVC keeps outs with `persist: true`."""
    for product in record.products:
        stale = record.unwritten.get(product.name, ())
        if stale:
            error = not_written(product.name, stale, whole=len(stale) == len(product.parts))
            error.help = "DVC keeps it between runs: take `persist: true` away to attest it as a whole"
            yield f"{record.name}: {product.name}", error


def _named(
    artifacts: tuple[CollectedArtifact, ...], entries: Sequence[tuple[str, object]]
) -> tuple[CollectedArtifact, ...]:
    names = {name for name, _ in entries}
    return tuple(artifact for artifact in artifacts if artifact.name in names)
