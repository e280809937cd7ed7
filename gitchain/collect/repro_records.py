"""Read the records of the shim, one per command, and group them by stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from gitchain.collect import shim
from gitchain.collect.artifacts import CollectedArtifact, make_artifact
from gitchain.collect.file_digests import HashedFile
from gitchain.collect.interpreter_facts import SeenInterpreter
from gitchain.collect.stages import CommandRun
from gitchain.errors import RunError


@dataclass(frozen=True, slots=True)
class StageRecord:
    """Everything that was seen of one stage.

    `complete`: every command ran and the last one exited with 0. `unwritten`: the files of each product that no command
    wrote, as paths in it ("" for a file itself).
    """

    name: str
    ran: tuple[CommandRun, ...]
    materials: tuple[CollectedArtifact, ...]
    products: tuple[CollectedArtifact, ...]
    complete: bool
    problem: RunError | None
    unwritten: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    @property
    def commands(self) -> tuple[str, ...]:
        """Return the commands in the order in which they ran."""
        return tuple(one.command for one in self.ran)


def read_records(scratch: Path) -> Mapping[str, StageRecord]:
    """Return the stages that were seen, by name, in the order in which they started."""
    records = [
        json.loads(path.read_bytes()) for path in sorted(scratch.glob("*-*.json")) if path.name != shim.SPEC
    ]
    by_stage: dict[str, list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda record: int(record["at"])):
        by_stage.setdefault(record.get("stage") or record["address"], []).append(record)
    return {name: _stage(name, commands) for name, commands in by_stage.items()}


def _stage(name: str, records: Sequence[dict[str, Any]]) -> StageRecord:
    errors = [record["error"] for record in records if "error" in record]
    materials = _artifacts(records[0].get("materials", {}))
    last = records[-1]
    complete = "products" in last and last["exit_code"] == 0
    problem = (
        RunError("stage could not be watched", where=f"stage {name}", got=str(errors[0])) if errors else None
    )
    if complete and problem is None:
        problem = _changed(name, materials, last)
    ran = tuple(_command(record) for record in records if "started" in record)
    unwritten = {product: tuple(parts) for product, parts in last.get("unwritten", {}).items()}
    return StageRecord(
        name, ran, materials, _artifacts(last.get("products", {})), complete, problem, unwritten
    )


def _changed(name: str, materials: Sequence[CollectedArtifact], last: dict[str, Any]) -> RunError | None:
    after = {artifact.name: artifact for artifact in _artifacts(last["after"])}
    for material in materials:
        changed = (
            shim.first_change(material, after[material.name]) if material.name in after else material.name
        )
        if changed is not None and material.name not in last["products"]:
            return RunError(
                "material changed while the stage ran",
                where=f"stage {name}: {changed}",
                help="let no other program write to it, and run the stage again",
            )
    return None


def _artifacts(found: Mapping[str, Any]) -> tuple[CollectedArtifact, ...]:
    return tuple(_artifact(name, item) for name, item in found.items())


def _artifact(name: str, item: Mapping[str, Any]) -> CollectedArtifact:
    parts = tuple(HashedFile(*part) for part in item["parts"])
    return make_artifact(name, parts if item["directory"] else parts[0])


def _command(record: Mapping[str, Any]) -> CommandRun:
    return CommandRun(
        command=record["command"],
        started=datetime.fromisoformat(record["started"]),
        finished=datetime.fromisoformat(record["finished"]),
        exit_code=record["exit_code"],
        stdout_sha256=record["stdout_sha256"],
        stderr_sha256=record["stderr_sha256"],
        interpreters=_interpreters(record.get("interpreters")),
    )


def _interpreters(found: Sequence[Mapping[str, Any]] | None) -> tuple[SeenInterpreter, ...] | None:
    if found is None:
        return None
    return tuple(SeenInterpreter(**{**one, "paths": tuple(one["paths"])}) for one in found)
