"""Shell that runs the commands of DVC stages during an observed run (see `repro`).

DVC runs `$SHELL -c COMMAND` with DVC_STAGE in the environment. During one `dvc repro`, SHELL is a small script that
calls this module: hash the stage's materials before its first command, run the user's own shell with the same
arguments and its output passed through, hash the products after the last. Each command's observations are written to
a JSON file in a private directory.

Errors here must not break a pipeline: they are recorded, and the command runs anyway.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from gitchain.collect.artifacts import CollectedArtifact, collect_artifact, make_artifact
from gitchain.collect.file_digests import HashedFile
from gitchain.collect.hash_cache import StateCache
from gitchain.collect.run import changed_file
from gitchain.collect.stages import PipelineStage
from gitchain.collect.subprocess_tee import run_tee
from gitchain.collect.written import FileState, look_after, look_before, unwritten_parts
from gitchain.errors import GitchainError, RunError

SPEC = "spec.json"
EXIT_CANNOT_START = 126
"""Exit codes of shells for a command that exists but does not start."""


def main(scratch: str) -> int:
    """Run the shell with this process's arguments; return its exit code."""
    spec = json.loads(Path(scratch, SPEC).read_bytes())
    shell, address = spec["shell"], os.environ.get("DVC_STAGE")
    os.environ.pop("SHELL", None)
    if spec["user_shell"] is not None:
        os.environ["SHELL"] = spec["user_shell"]
    arguments = sys.argv[1:]
    if address is None or "-c" not in arguments[:-1]:
        os.execv(shell, [shell, *arguments])  # noqa: S606 - to be the user's shell is the whole point
    return _Watcher(Path(scratch), spec, address).run([shell, *arguments], arguments[-1])


class _Watcher:
    """One command of a stage, with the observations before, during and after it."""

    def __init__(self, scratch: Path, spec: dict[str, Any], address: str) -> None:
        self._scratch = scratch
        self._spec = spec
        self._address = address
        self._root = Path(spec["root"])
        self._prefix = hashlib.sha256(address.encode()).hexdigest()[:32]
        self._count = len(list(scratch.glob(f"{self._prefix}-*.json")))

    def run(self, argv: list[str], command: str) -> int:
        record: dict[str, Any] = {"address": self._address, "command": command, "at": time.time_ns()}
        with StateCache(Path(self._spec["state"])) as state:
            stage = self._find(command, record)
            if stage is not None and self._count == 0:
                record["materials"] = self._collect(stage["deps"], state, record)
                old = look_before(
                    self._root, stage["outs"], state, hold=False
                )  # DVC keeps outs with `persist`
                record["before"] = {path: astuple(one) for path, one in old.files.items()}
                record["at"] = old.started
            state.flush()
            code = self._command(argv, record)
            last = stage is not None and self._count == len(stage["commands"]) - 1
            if stage is not None and last and code == 0:
                looked = self._look(record)
                record["after"] = self._collect(stage["deps"], state, record)
                record["products"] = self._collect(stage["outs"], state, record)
                record["unwritten"] = _unwritten(record["products"], *looked)
        self._write(record)
        return code

    def _command(self, argv: list[str], record: dict[str, Any]) -> int:
        try:
            done = run_tee(argv)
        except RunError as error:
            sys.stderr.write(f"{error}\n")
            record["exit_code"] = EXIT_CANNOT_START
            return EXIT_CANNOT_START
        seen = {key: value for key, value in asdict(done).items() if key not in {"started", "finished"}}
        record |= {**seen, "started": done.started.isoformat(), "finished": done.finished.isoformat()}
        return done.exit_code

    def _find(self, command: str, record: dict[str, Any]) -> dict[str, Any] | None:
        """Return DVC's current stage; the plan is read again if the command differs from it."""
        found = match(self._spec["stages"], self._address, os.getcwd(), command, self._count)
        if found is None or (self._spec["reload"] and not self._spec.get("reloaded")):
            try:
                self._reload()
            except GitchainError as error:
                record["error"] = str(error)
                return None
            found = match(self._spec["stages"], self._address, os.getcwd(), command, self._count)
        if found is None:
            record["error"] = "stage is not in dvc.yaml"
            return None
        record["stage"] = found["name"]
        return found

    def _reload(self) -> None:
        from gitchain.collect.dvc_api import load_stages

        stages = load_stages(self._root, Path(self._spec["project"]))
        self._spec |= {"stages": [plan(stage, self._root) for stage in stages], "reloaded": True}
        write_json(self._scratch / SPEC, self._spec)

    def _collect(self, names: Iterable[str], state: StateCache, record: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in names:
            try:
                artifact = collect_artifact(self._root, name, state)
            except GitchainError as error:
                record.setdefault("error", f"{name}: {error}")
                continue
            found[name] = {"directory": artifact.manifest is not None, "parts": artifact.parts}
        return found

    def _look(self, record: dict[str, Any]) -> _Looked:
        """Return the products' files before the stage's first command and now, and the start time of that command."""
        first = record
        if self._count > 0:
            first = json.loads((self._scratch / f"{self._prefix}-{0:06d}.json").read_bytes())
        before = {path: FileState(*one) for path, one in first.get("before", {}).items()}
        return before, look_after(self._root, before), first["at"]

    def _write(self, record: dict[str, Any]) -> None:
        try:
            write_json(self._scratch / f"{self._prefix}-{self._count:06d}.json", record)
        except OSError as error:
            sys.stderr.write(f"gitchain: record cannot be written: {error.strerror}\n")


_Looked = tuple[Mapping[str, FileState], Mapping[str, FileState], int]


def _unwritten(
    products: Mapping[str, Any],
    before: Mapping[str, FileState],
    after: Mapping[str, FileState],
    started: int,
) -> dict[str, tuple[str, ...]]:
    """Return the files of each product that the stage did not write."""
    found: dict[str, tuple[str, ...]] = {}
    for name, product in products.items():
        parts = tuple(HashedFile(*part) for part in product["parts"])
        artifact = make_artifact(name, parts if product["directory"] else parts[0])
        found[name] = unwritten_parts(artifact, before, after, started)
    return found


def match(
    stages: Iterable[dict[str, Any]], address: str, cwd: str, command: str, index: int
) -> dict[str, Any] | None:
    """Return the planned stage with this DVC address, or None if there is none or more than one.

    The address is relative to DVC's start directory, which is unknown here; the stage's name in dvc.yaml, its working
    directory and the command are known.
    """
    found = [
        stage
        for stage in stages
        if stage["key"]
        and (address == stage["key"] or address.endswith(f":{stage['key']}"))
        and os.path.realpath(stage["folder"]) == os.path.realpath(cwd)
        and index < len(stage["commands"])
        and stage["commands"][index] == command
    ]
    exact = [stage for stage in found if stage["name"] == address]
    chosen = exact or found
    return chosen[0] if len(chosen) == 1 else None


def plan(stage: PipelineStage, root: Path) -> dict[str, Any]:
    """Return the data about a stage that the shim needs."""
    keys = ("name", "key", "commands", "deps", "outs")
    return {key: getattr(stage, key) for key in keys} | {"folder": os.path.join(root, stage.wdir)}


def write_json(path: Path, value: Any) -> None:
    """Write atomically, so that readers never see a partial file."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(path)


def first_change(before: CollectedArtifact, after: CollectedArtifact) -> str | None:
    """Return the name of the file that differs between two readings, or None."""
    same = before.descriptor.digest == after.descriptor.digest
    return None if same else changed_file(before, after)
