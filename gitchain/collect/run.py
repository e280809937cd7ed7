"""Observed evidence: run a command between two looks at its materials, and hash its products after it.

A material that changes while the command runs is refused unless it is a product too: nobody could say which
bytes the command read. Products are hashed whatever the exit code; a missing one is an error only if the
command says that it succeeded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gitchain.collect.artifacts import Artifact, collect_artifact
from gitchain.collect.files import Progress
from gitchain.collect.state import StateCache
from gitchain.collect.tee import run_tee
from gitchain.errors import ProjectError, RunError


@dataclass(frozen=True, slots=True)
class Observation:
    """A command that gitchain ran. `products` is empty if it failed before making them all."""

    command: tuple[str, ...]
    materials: tuple[Artifact, ...]
    products: tuple[Artifact, ...]
    started: datetime
    finished: datetime
    exit_code: int
    stdout_sha256: str
    stderr_sha256: str


def observe(  # noqa: PLR0913 - a run has that many parts, all keyword-only but four
    root: Path,
    command: Sequence[str],
    materials: Sequence[str] = (),
    products: Sequence[str] = (),
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    state: StateCache | None = None,
    progress: Progress | None = None,
    stdout: int = 1,
    stderr: int = 2,
) -> Observation:
    """Run the command and return what went in and what came out; names are relative to `root`.

    The command's output passes through to the descriptors. A failing command is no error: its exit code is
    in the result. Raises RunError if it cannot start, a material changed while it ran, or it exits 0
    without having made a product; ProjectError for a material that is missing or refused.
    """
    if not command:
        raise RunError("no command to run", help="gitchain run STEP -- COMMAND")
    before = tuple(collect_artifact(root, name, state, progress=progress) for name in _once(materials))
    done = run_tee(command, cwd=cwd or root, env=env, stdout=stdout, stderr=stderr)
    if done.exit_code == 0:
        check_unchanged(root, before, frozenset(products), state)
    return Observation(
        command=tuple(command),
        materials=before,
        products=_products(root, _once(products), done.exit_code, state, progress),
        started=done.started,
        finished=done.finished,
        exit_code=done.exit_code,
        stdout_sha256=done.stdout_sha256,
        stderr_sha256=done.stderr_sha256,
    )


def check_unchanged(
    root: Path, materials: Iterable[Artifact], products: frozenset[str], state: StateCache | None = None
) -> None:
    """Read the materials again, and raise RunError that names one that changed and is no product."""
    for material in materials:
        if material.name in products:
            continue
        try:
            now = collect_artifact(root, material.name, state)
        except ProjectError as error:
            raise RunError("material is gone after the run", where=material.name, got=error.what) from error
        if now.descriptor.digest != material.descriptor.digest:
            raise RunError(
                "material changed while the command ran",
                where=changed_file(material, now),
                help=f"name it as a product too if the command writes it: -p {material.name}",
            )


def changed_file(before: Artifact, after: Artifact) -> str:
    """Return the name of the first file that differs between two readings of one artifact."""
    old = {part.path: (part.sha256, part.executable) for part in before.parts}
    new = {part.path: (part.sha256, part.executable) for part in after.parts}
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            return f"{before.name}/{path}".rstrip("/")
    return before.name


def _products(
    root: Path, names: tuple[str, ...], exit_code: int, state: StateCache | None, progress: Progress | None
) -> tuple[Artifact, ...]:
    missing = [name for name in names if not os.path.lexists(root / name)]
    if missing and exit_code == 0:
        raise RunError("command did not make its product", where=missing[0], expected="a file or directory")
    if missing:
        return ()
    return tuple(collect_artifact(root, name, state, progress=progress) for name in names)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
