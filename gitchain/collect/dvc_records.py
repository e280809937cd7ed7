"""Data types for the content of DVC's files: dvc.lock, .dvc, dvc.yaml and .dir files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitchain.evidence.canonical import Json


@dataclass(frozen=True, slots=True)
class CloudVersion:
    """The version of an object that a version-aware remote keeps instead of DVC's cache."""

    remote: str
    etag: str | None
    version_id: str | None


@dataclass(frozen=True, slots=True)
class DirEntry:
    """One file of a directory: in a .dir object or in an inline `files:` list."""

    path: str
    md5: str | None
    size: int | None = None
    is_exec: bool = False
    cloud: CloudVersion | None = None


@dataclass(frozen=True, slots=True)
class DatasetLock:
    """The dataset that a stage took, as DVC locked it. `kind` is DVC's type: dvc, dc or url.

    dvc: `path` in the repository at `url`, at the commit `rev_lock`. dc: `version`. url: `etag`, `version_id`, `files`.
    """

    name: str
    kind: str
    url: str
    path: str | None = None
    rev: str | None = None
    rev_lock: str | None = None
    version: int | None = None
    created_at: str | None = None
    etag: str | None = None
    version_id: str | None = None
    files: tuple[DirEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class LockEntry:
    """One dep or out as DVC recorded it. `md5` ends in `.dir` for a directory with a .dir object."""

    path: str
    md5: str | None
    hash_name: str
    size: int | None
    nfiles: int | None
    is_exec: bool
    checksum: str | None
    cloud: CloudVersion | None
    files: tuple[DirEntry, ...]
    dataset: DatasetLock | None = None

    @property
    def is_dir(self) -> bool:
        """Return True if the entry is a directory."""
        return bool(self.files) or self.nfiles is not None or (self.md5 or "").endswith(".dir")


@dataclass(frozen=True, slots=True)
class LockStage:
    """One stage of dvc.lock: its command, dependencies and outputs according to DVC."""

    name: str
    commands: tuple[str, ...]
    deps: tuple[LockEntry, ...]
    outs: tuple[LockEntry, ...]
    params: Mapping[str, Mapping[str, Json]]


@dataclass(frozen=True, slots=True)
class ImportSource:
    """Where `dvc import` took a file from: a path in another repository, at one exact commit once it is locked."""

    path: str | None
    url: str
    rev: str | None
    rev_lock: str | None


@dataclass(frozen=True, slots=True)
class DatabaseSource:
    """The source of `dvc import-db`: a query, or a whole table, on a connection that .dvc/config names."""

    connection: str
    query: str | None = None
    table: str | None = None


@dataclass(frozen=True, slots=True)
class DvcFile:
    """One *.dvc file: tracked data, with where it was imported from if it was."""

    outs: tuple[LockEntry, ...]
    deps: tuple[LockEntry, ...] = ()
    source: ImportSource | DatabaseSource | None = None
    wdir: str = "."
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class DvcYaml:
    """The raw content of dvc.yaml: stage names, their wdir, the `artifacts:` section.

    `groups` are the names of stages with `foreach` or `matrix`.
    """

    stages: Mapping[str, str]
    artifacts: Mapping[str, str]
    groups: frozenset[str] = frozenset()
