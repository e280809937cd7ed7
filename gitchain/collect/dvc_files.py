"""DVC's files, parsed without DVC: dvc.lock (schema 2.0), *.dvc, .dir objects and what is plain in dvc.yaml.

    schema: '2.0'
    stages:
      train:
        cmd: python train.py
        deps: [{path: data, hash: md5, md5: 5d41….dir, size: 10, nfiles: 2}]
        params: {params.yaml: {lr: 0.1}}
        outs: [{path: model.pkl, hash: md5, md5: 7d79…, size: 3}]

Paths are as DVC wrote them: relative to the stage's working directory, which dvc.lock does not hold.
Every parser is bounded and raises ProjectError or LimitError, naming file and line, whatever the bytes.

Format: https://dvc.org/doc/user-guide/project-structure
Does NOT resolve templates (see `dvc_api`) or check md5s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gitchain.collect.strict_yaml import load_yaml
from gitchain.collect.yaml_reader import YamlReader
from gitchain.errors import GitchainError, LimitError, ProjectError
from gitchain.evidence.canonical import MAX_SAFE_INTEGER, Json, strict_json

MAX_STAGES = 10_000
"""Most stages in one dvc.lock: foreach over thousands of keys exists."""

MAX_DIR_BYTES = 256 * 1024 * 1024
"""Largest .dir object: 70 bytes an entry, so about three million files."""

LEGACY_HASH = "md5-dos2unix"
"""DVC 2's hash, meant where an entry says no `hash:`: md5 after CRLF became LF in text."""

_MD5 = re.compile(r"[0-9a-f]{32}(?:\.dir)?", re.ASCII)
_REV = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)


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

    @property
    def is_dir(self) -> bool:
        """Tell whether the entry stands for a directory."""
        return bool(self.files) or self.nfiles is not None or (self.md5 or "").endswith(".dir")


@dataclass(frozen=True, slots=True)
class LockStage:
    """One stage of dvc.lock: what DVC says it ran, on what, with which result."""

    name: str
    commands: tuple[str, ...]
    deps: tuple[LockEntry, ...]
    outs: tuple[LockEntry, ...]
    params: Mapping[str, Mapping[str, Json]]


@dataclass(frozen=True, slots=True)
class ImportSource:
    """Where `dvc import` took a file from: a path in another repository at one exact commit."""

    path: str
    url: str
    rev: str | None
    rev_lock: str


@dataclass(frozen=True, slots=True)
class DvcFile:
    """One *.dvc file: tracked data, with where it was imported from if it was."""

    outs: tuple[LockEntry, ...]
    deps: tuple[LockEntry, ...] = ()
    source: ImportSource | None = None
    wdir: str = "."
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class DvcYaml:
    """What dvc.yaml says without its templates: stage names, their raw wdir, the `artifacts:` section."""

    stages: Mapping[str, str]
    artifacts: Mapping[str, str]


def parse_lock(data: bytes, where: str) -> Mapping[str, LockStage]:
    """Return the stages of a dvc.lock by name, in the file's order.

    Raises ProjectError for what is not schema 2.0, LimitError beyond the limits.
    """
    top = YamlReader.of(load_yaml(data, where), where)
    schema = top.value.get("schema")
    if schema != "2.0":
        top.fail(
            "schema", "dvc.lock has another schema", expected="2.0", got=ascii(schema)[:40], help="dvc repro"
        )
    stages = top.map("stages")
    if len(stages.value) > MAX_STAGES:
        raise LimitError(
            "too many stages", where=where, expected=f"at most {MAX_STAGES}", got=str(len(stages.value))
        )
    return MappingProxyType({name: _stage(name, stages.map(name)) for name in stages.value})


def parse_dvc(data: bytes, where: str) -> DvcFile:
    """Return what a *.dvc file tracks; raises ProjectError or LimitError."""
    top = YamlReader.of(load_yaml(data, where), where)
    outs = top.items("outs", _entry)
    if not outs:
        top.fail("outs", "file tracks nothing", expected="outs")
    sources = [item for item in top.items("deps", lambda item: item) if "repo" in item.value]
    return DvcFile(
        outs=outs,
        deps=tuple(_entry(item) for item in top.items("deps", lambda item: item) if "repo" not in item.value),
        source=_source(sources[0]) if sources else None,
        wdir=top.text("wdir") or ".",
        frozen=top.flag("frozen"),
    )


def parse_dvc_yaml(data: bytes, where: str) -> DvcYaml:
    """Return stage names with their raw wdir and model names with their raw path.

    Raises ProjectError or LimitError.
    """
    top = YamlReader.of(load_yaml(data, where), where)
    stages: dict[str, str] = {}
    for name in top.map("stages").value:
        stage = top.map("stages").map(name)
        body = stage.map("do") if "do" in stage.value else stage
        stages[name] = body.text("wdir") or "."
    named = top.map("artifacts")
    artifacts = {name: named.map(name).need("path") for name in named.value}
    return DvcYaml(MappingProxyType(stages), MappingProxyType(artifacts))


def parse_dir(data: bytes, where: str) -> tuple[DirEntry, ...]:
    """Return the files that a .dir object lists; raises ProjectError or LimitError."""
    try:
        value = strict_json(data, where, max_bytes=MAX_DIR_BYTES, max_depth=4, max_values=MAX_DIR_BYTES // 32)
    except LimitError:
        raise
    except GitchainError as error:
        raise ProjectError("DVC directory object is malformed", where=where, got=error.what) from error
    if not isinstance(value, list):
        raise ProjectError("DVC directory object is malformed", where=where, expected="a list")
    entries = tuple(_dir_entry(item, where) for item in value)
    if len({entry.path for entry in entries}) != len(entries):
        raise ProjectError("DVC directory object names a file twice", where=where)
    return entries


def _dir_entry(item: Json, where: str) -> DirEntry:
    if not isinstance(item, dict):
        raise ProjectError("DVC directory object is malformed", where=where, expected="objects")
    path, md5 = item.get("relpath"), item.get("md5")
    if (
        not isinstance(path, str)
        or not isinstance(md5, str)
        or not _MD5.fullmatch(md5)
        or md5.endswith(".dir")
    ):
        raise ProjectError("DVC directory object is malformed", where=where, expected="relpath and md5")
    if not path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise ProjectError("DVC directory object names a file outside", where=where, got=ascii(path[:100]))
    return DirEntry(path, md5)


def _stage(name: str, stage: YamlReader) -> LockStage:
    params = stage.map("params")
    return LockStage(
        name=name,
        commands=_commands(stage),
        deps=stage.items("deps", _entry),
        outs=stage.items("outs", _entry),
        params=MappingProxyType(
            {
                file: MappingProxyType(
                    {key: _in_json(value) for key, value in params.map(file).value.items()}
                )
                for file in params.value
            }
        ),
    )


def _in_json(value: Json) -> Json:
    """Return a parameter as JSON can hold it: numbers that are not finite, or beyond 2^53-1, as YAML spells them."""
    if isinstance(value, dict):
        return {key: _in_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        return str(value)
    return value


def _commands(stage: YamlReader) -> tuple[str, ...]:
    """A string is split at its line ends, as DVC does when it runs it."""
    cmd = stage.value.get("cmd")
    if isinstance(cmd, str):
        return tuple(cmd.splitlines())
    if not isinstance(cmd, list) or not all(isinstance(one, str) for one in cmd):
        stage.fail("cmd", "stage has no command", expected="text or a list of texts")
    return tuple(str(one) for one in cmd)


def _entry(item: YamlReader) -> LockEntry:
    md5 = item.text("md5")
    if md5 is not None and not _MD5.fullmatch(md5):
        item.fail("md5", "md5 is malformed", expected="32 hex digits", got=ascii(md5[:80]))
    return LockEntry(
        path=item.need("path"),
        md5=md5,
        hash_name=item.text("hash") or LEGACY_HASH,
        size=item.number("size"),
        nfiles=item.number("nfiles"),
        is_exec=item.flag("isexec"),
        checksum=item.text("checksum") or item.text("etag"),
        cloud=_cloud(item),
        files=item.items("files", _inline_file),
    )


def _inline_file(item: YamlReader) -> DirEntry:
    md5 = item.text("md5")
    if md5 is not None and (not _MD5.fullmatch(md5) or md5.endswith(".dir")):
        item.fail("md5", "md5 is malformed", expected="32 hex digits", got=ascii(md5[:80]))
    return DirEntry(item.need("relpath"), md5, item.number("size"), item.flag("isexec"), _cloud(item))


def _cloud(item: YamlReader) -> CloudVersion | None:
    clouds = item.map("cloud")
    for remote in clouds.value:
        found = clouds.map(remote)
        return CloudVersion(remote, found.text("etag"), found.text("version_id"))
    etag, version = item.text("etag"), item.text("version_id")
    return CloudVersion("", etag, version) if version is not None else None


def _source(item: YamlReader) -> ImportSource:
    repo = item.map("repo")
    rev_lock = repo.need("rev_lock")
    if not _REV.fullmatch(rev_lock):
        repo.fail("rev_lock", "rev_lock is no commit", expected="40 hex digits", got=ascii(rev_lock[:80]))
    return ImportSource(item.need("path"), repo.need("url"), repo.text("rev"), rev_lock)
