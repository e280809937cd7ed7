"""Declared evidence: stages recorded in dvc.lock and *.dvc files, with every md5 checked against the bytes.

gitchain did not observe these runs, and the files can be written by hand: the result is `declared`. Paths in dvc.lock
are relative to the stage's working directory, which is in dvc.yaml; DVC is run only if that is a template.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from gitchain.collect.artifacts import CollectedArtifact
from gitchain.collect.dvc_cache import dvc_root
from gitchain.collect.dvc_digest_check import ArtifactReader
from gitchain.collect.dvc_files import parse_dvc, parse_dvc_yaml, parse_lock, read_file
from gitchain.collect.dvc_ignore import not_ignored
from gitchain.collect.dvc_records import DatabaseSource, DvcYaml, ImportSource, LockEntry
from gitchain.collect.dvc_sources import outside_sources
from gitchain.collect.file_digests import Progress
from gitchain.collect.git_index import dvc_files_here
from gitchain.collect.hash_cache import StateCache
from gitchain.collect.stages import StageRun
from gitchain.collect.values import is_outside
from gitchain.errors import GitchainError, ProjectError
from gitchain.evidence.canonical import Json
from gitchain.evidence.names import check_step_name
from gitchain.evidence.statement import ResourceDescriptor


@dataclass(frozen=True, slots=True)
class RecordedStage:
    """A stage or *.dvc file with its entries by name; `external` are deps outside the repository, `lost` outs there.

    Outs on a remote (`s3://…`) are left out: nothing here can hash them. So are the values of parameter files outside the
    repository: `foreign_params` are their names.
    """

    name: str
    project: str
    commands: tuple[str, ...]
    params: Mapping[str, Mapping[str, Json]]
    deps: tuple[tuple[str, LockEntry], ...]
    outs: tuple[tuple[str, LockEntry], ...]
    external: tuple[LockEntry, ...]
    source: ImportSource | DatabaseSource | None = None
    lost: tuple[str, ...] = ()
    foreign_params: tuple[str, ...] = ()


def declare_stage(
    root: Path,
    stage: RecordedStage,
    *,
    state: StateCache | None = None,
    progress: Progress | None = None,
    fetch: bool = False,
    run_cache: bool = False,
) -> StageRun:
    """Return declared evidence for one stage.

    Raises ProjectError for a broken file or bytes that are nowhere (`fetch` asks the remote first), VerificationError
    that names stage and file where an md5 differs.
    """
    if stage.lost:
        raise ProjectError(
            "out is outside the repository", where=f"stage {stage.name}", got=ascii(stage.lost[0][:200])
        )
    reader = ArtifactReader(root, stage.project, state, progress, fetch)
    return StageRun(
        name=stage.name,
        evidence="declared",
        commands=stage.commands,
        params=stage.params,
        materials=_collect(reader, stage.deps, stage.name),
        products=_collect(reader, stage.outs, stage.name),
        sources=stage_sources(stage),
        run_cache=run_cache,
        foreign_params=stage.foreign_params,
    )


Report = Callable[[str, GitchainError], None]
"""Takes the name of a file or stage that could not be read, and why."""


def recorded_stages(root: Path, report: Report | None = None) -> Mapping[str, RecordedStage]:
    """Return every stage in dvc.lock that dvc.yaml still has, and every *.dvc file, by name.

    Raises ProjectError or LimitError for a broken file; with `report`, passes it on and reads the other files.
    """
    found: dict[str, RecordedStage] = {}
    for file in not_ignored(root, dvc_files_here(root)):
        try:
            found |= _recorded_in(root, file)
        except GitchainError as error:
            if report is None:
                raise
            report(file, error)
    return found


def _recorded_in(root: Path, file: str) -> Mapping[str, RecordedStage]:
    project = dvc_root(os.path.join(root, os.path.dirname(file)), str(root))
    if project is None:
        raise ProjectError("file is in no DVC project", where=file, help="dvc init")
    if file.endswith(".dvc"):
        return {file: _data(file, project, read_file(root, file))}
    return {stage.name: stage for stage in _locked(root, file, project)}


def _locked(root: Path, file: str, project: str) -> list[RecordedStage]:
    folder = posixpath.dirname(file)
    yaml = posixpath.join(folder, "dvc.yaml")
    stages = parse_lock(read_file(root, file), file)
    plan = parse_dvc_yaml(read_file(root, yaml), yaml) if (root / yaml).exists() else DvcYaml({}, {})
    wdirs = _wdirs(root, project, yaml, plan, stages)
    found: list[RecordedStage] = []
    for key, stage in stages.items():
        wdir = wdirs.get(key)
        if wdir is None:  # an entry that dvc.yaml has outlived
            continue
        base = posixpath.join(folder, wdir)
        deps, far = _split(base, stage.deps)
        outs, lost = _split(base, stage.outs)
        name = _step(f"{yaml}:{key}" if folder else key, file)
        params = {locate(base, path) or path: values for path, values in stage.params.items()}
        foreign = tuple(path for path in params if is_outside(root, path))
        params = {path: values for path, values in params.items() if path not in foreign}
        found.append(
            RecordedStage(
                name,
                project,
                stage.commands,
                params,
                deps,
                outs,
                far,
                lost=_lost(lost),
                foreign_params=foreign,
            )
        )
    return found


def _wdirs(
    root: Path, project: str, yaml: str, plan: DvcYaml, recorded: Collection[str]
) -> Mapping[str, str]:
    """Return the working directory of each stage, relative to the directory of its dvc.yaml.

    DVC is run if a template determines it or the set of stages: dvc.lock keeps the stages of a `foreach` whose item
    was removed.
    """
    is_generated = any(key.partition("@")[0] in plan.groups for key in recorded)
    if not is_generated and not any("${" in wdir for wdir in plan.stages.values()):
        return plan.stages
    from gitchain.collect.dvc_api import load_stages

    folder = posixpath.dirname(yaml)
    lock = posixpath.join(folder, "dvc.lock")
    loaded = load_stages(root, Path(project))
    return {stage.key: posixpath.relpath(stage.wdir, folder or ".") for stage in loaded if stage.lock == lock}


def _data(file: str, project: str, data: bytes) -> RecordedStage:
    parsed = parse_dvc(data, file)
    base = posixpath.join(posixpath.dirname(file), parsed.wdir)
    deps, far = _split(base, parsed.deps)
    outs, lost = _split(base, parsed.outs)
    return RecordedStage(_step(file, file), project, (), {}, deps, outs, far, parsed.source, _lost(lost))


def _lost(outs: tuple[LockEntry, ...]) -> tuple[str, ...]:
    return tuple(out.path for out in outs if "://" not in out.path)


def locate(base: str, path: str) -> str | None:
    """Return the repository-relative name of a path in a DVC file, or None if it is outside."""
    if "://" in path or path.startswith("/"):
        return None
    name = posixpath.normpath(posixpath.join(base, path))
    return None if name == ".." or name.startswith(("../", "/")) else name


def stage_sources(stage: RecordedStage) -> tuple[ResourceDescriptor, ...]:
    """Return the materials outside the repository, by URI: an import's commit, a remote file's etag."""
    return outside_sources(stage.source, stage.external)


def _split(
    base: str, entries: tuple[LockEntry, ...]
) -> tuple[tuple[tuple[str, LockEntry], ...], tuple[LockEntry, ...]]:
    located = [(locate(base, entry.path), entry) for entry in entries]
    inside = tuple((name, entry) for name, entry in located if name is not None)
    return inside, tuple(entry for name, entry in located if name is None)


def _collect(
    reader: ArtifactReader, entries: tuple[tuple[str, LockEntry], ...], where: str
) -> tuple[CollectedArtifact, ...]:
    return tuple(reader.collect(name, entry, f"stage {where}") for name, entry in entries)


def _step(name: str, file: str) -> str:
    try:
        return check_step_name(name)
    except GitchainError as error:
        raise ProjectError(error.what, where=file, expected=error.expected, got=ascii(name[:100])) from error
