"""Parse DVC's files without DVC: dvc.lock (schema 2.0), *.dvc, .dir objects, and dvc.yaml without its templates.

    schema: '2.0'
    stages:
      train:
        cmd: python train.py
        deps: [{path: data, hash: md5, md5: 5d41….dir, size: 10, nfiles: 2}]
        params: {params.yaml: {lr: 0.1}}
        outs: [{path: model.pkl, hash: md5, md5: 7d79…, size: 3}]

A dep on a dataset is `{path: ds://NAME, dataset: {name, url, type, …}}` with the locked revision or version.
Paths are as DVC wrote them: relative to the stage's working directory, which dvc.lock does not hold.
Every parser is bounded and raises ProjectError or LimitError, naming file and line, whatever the bytes.

Format: https://dvc.org/doc/user-guide/project-structure
Does NOT resolve templates (see `dvc_api`) or check md5s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from gitchain.collect.dvc_records import (
    CloudVersion,
    DatabaseSource,
    DatasetLock,
    DirEntry,
    DvcFile,
    DvcYaml,
    ImportSource,
    LockEntry,
    LockStage,
)
from gitchain.collect.strict_yaml import load_yaml
from gitchain.collect.yaml_reader import YamlReader
from gitchain.errors import GitchainError, LimitError, ProjectError
from gitchain.evidence.canonical import MAX_SAFE_INTEGER, Json, strict_json
from gitchain.platform.files import open_regular

MAX_FILE_BYTES = 32 * 1024 * 1024
"""Largest dvc.lock, dvc.yaml or *.dvc that is read."""

MAX_STAGES = 10_000
"""Most stages in one dvc.lock: foreach over thousands of keys exists."""

MAX_DIR_BYTES = 256 * 1024 * 1024
"""Largest .dir object: 70 bytes an entry, so about three million files."""

LEGACY_HASH = "md5-dos2unix"
"""DVC 2's hash, for entries without `hash:`: md5 of text with CRLF converted to LF."""

_MD5 = re.compile(r"[0-9a-f]{32}(?:\.dir)?", re.ASCII)
_DVC_KEYS = frozenset({"md5", "wdir", "deps", "outs", "locked", "frozen", "meta", "always_changed", "desc"})
_SOURCES = frozenset({"repo", "db"})
_REV = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)


def read_file(root: Path, name: str) -> bytes:
    """Return the content of one of DVC's small files. Raises ProjectError if it cannot be read, LimitError if it is huge."""
    try:
        with open_regular(root / name) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ProjectError("file cannot be read", where=name, got=(error.strerror or "").lower()) from error
    if len(data) > MAX_FILE_BYTES:
        raise LimitError("file is too large", where=name, expected=f"at most {MAX_FILE_BYTES} bytes")
    return data


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
    """Return the artifacts that a *.dvc file tracks. Raises ProjectError or LimitError."""
    top = YamlReader.of(load_yaml(data, where), where)
    if not top.value.get("outs") and top.value.keys() - _DVC_KEYS:
        top.fail("outs", "file tracks nothing", expected="outs")
    deps = top.items("deps", lambda item: item)
    sources = [_source(item) for item in deps if _SOURCES & item.value.keys()]
    return DvcFile(
        outs=top.items("outs", _entry),
        deps=tuple(_entry(item) for item in deps if not _SOURCES & item.value.keys()),
        source=sources[0] if sources else None,
        wdir=top.text("wdir") or ".",
        frozen=top.flag("frozen"),
    )


def parse_dvc_yaml(data: bytes, where: str) -> DvcYaml:
    """Return stage names with their raw wdir and model names with their raw path.

    Raises ProjectError or LimitError.
    """
    top = YamlReader.of(load_yaml(data, where), where)
    stages: dict[str, str] = {}
    groups: set[str] = set()
    for name in top.map("stages").value:
        stage = top.map("stages").map(name)
        body = stage.map("do") if "do" in stage.value else stage
        stages[name] = body.text("wdir") or "."
        if {"foreach", "matrix"} & stage.value.keys():
            groups.add(name)
    named = top.map("artifacts")
    artifacts = {name: named.map(name).need("path") for name in named.value}
    return DvcYaml(MappingProxyType(stages), MappingProxyType(artifacts), frozenset(groups))


def parse_dir(data: bytes, where: str) -> tuple[DirEntry, ...]:
    """Return the files that a .dir object lists. Raises ProjectError or LimitError."""
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
    md5 = _md5(item)
    if md5 is not None and not _MD5.fullmatch(md5):
        item.fail("md5", "md5 is malformed", expected="32 hex digits", got=ascii(md5[:80]))
    return LockEntry(
        path=item.need("path"),
        md5=md5,
        hash_name=item.text("hash") or LEGACY_HASH,
        size=item.number("size"),
        nfiles=item.number("nfiles"),
        is_exec=item.flag("isexec"),
        checksum=item.checksum("checksum") or item.checksum("etag"),
        cloud=_cloud(item),
        files=item.items("files", _inline_file),
        dataset=_dataset(item.map("dataset")) if item.value.get("dataset") is not None else None,
    )


def _md5(item: YamlReader) -> str | None:
    """Return the md5 as DVC's schema takes it: digits alone are a number to YAML, capital letters are allowed."""
    md5 = item.checksum("md5")
    return md5.lower() if md5 is not None else None


def _dataset(lock: YamlReader) -> DatasetLock:
    meta = lock.map("meta")
    return DatasetLock(
        name=lock.need("name"),
        kind=lock.need("type"),
        url=lock.need("url"),
        path=lock.text("path"),
        rev=lock.text("rev"),
        rev_lock=_rev_lock(lock),
        version=lock.number("version"),
        created_at=lock.text("created_at"),
        etag=meta.checksum("etag") or meta.checksum("checksum") or meta.checksum("md5"),
        version_id=meta.text("version_id"),
        files=lock.items("files", _dataset_file),
    )


def _dataset_file(item: YamlReader) -> DirEntry:
    meta = item.map("meta")
    return DirEntry(item.need("relpath"), meta.text("md5"), meta.number("size"), cloud=_cloud(meta))


def _inline_file(item: YamlReader) -> DirEntry:
    md5 = _md5(item)
    if md5 is not None and (not _MD5.fullmatch(md5) or md5.endswith(".dir")):
        item.fail("md5", "md5 is malformed", expected="32 hex digits", got=ascii(md5[:80]))
    return DirEntry(item.need("relpath"), md5, item.number("size"), item.flag("isexec"), _cloud(item))


def _cloud(item: YamlReader) -> CloudVersion | None:
    clouds = item.map("cloud")
    for remote in clouds.value:
        found = clouds.map(remote)
        return CloudVersion(remote, found.checksum("etag"), found.text("version_id"))
    etag, version = item.checksum("etag"), item.text("version_id")
    return CloudVersion("", etag, version) if version is not None else None


def _source(item: YamlReader) -> ImportSource | DatabaseSource:
    if "db" in item.value:
        database = item.map("db")
        return DatabaseSource(
            database.text("connection") or "", database.text("query"), database.text("table")
        )
    repo = item.map("repo")
    return ImportSource(item.text("path"), repo.need("url"), repo.text("rev"), _rev_lock(repo))


def _rev_lock(item: YamlReader) -> str | None:
    rev_lock = item.text("rev_lock")
    if rev_lock is not None and not _REV.fullmatch(rev_lock):
        item.fail("rev_lock", "rev_lock is no commit", expected="40 hex digits", got=ascii(rev_lock[:80]))
    return rev_lock
