"""Observed evidence: run a command, and hash its materials before and its products after it.

A material that changes during the run is refused unless it is also a product: the bytes that the command read would
be unknown. A file that the command did not write is no product: see `written`. A missing product is an error only if
the command exits with 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from gitchain.collect.artifacts import CollectedArtifact, collect_artifact
from gitchain.collect.file_digests import Progress
from gitchain.collect.hash_cache import StateCache
from gitchain.collect.interpreter_facts import SeenInterpreter
from gitchain.collect.subprocess_tee import run_tee
from gitchain.collect.written import (
    FileState,
    ProductsBefore,
    look_after,
    look_before,
    not_written,
    unwritten_parts,
    written_products,
)
from gitchain.errors import GitchainError, ProjectError, RunError
from gitchain.evidence.digest import Sha256


@dataclass(frozen=True, slots=True)
class Observation:
    """A command that gitchain ran.

    `products` is empty if it failed before making them all. `problems` are products that it did not make, `unwritten`
    those that it did not change.
    """

    command: tuple[str, ...]
    materials: tuple[CollectedArtifact, ...]
    products: tuple[CollectedArtifact, ...]
    started: datetime
    finished: datetime
    exit_code: int
    stdout_sha256: Sha256
    stderr_sha256: Sha256
    problems: tuple[GitchainError, ...] = ()
    unwritten: tuple[tuple[str, GitchainError], ...] = ()
    interpreters: tuple[SeenInterpreter, ...] | None = None


def observe(  # noqa: PLR0913 - a run has that many parts, all keyword-only but four
    root: Path,
    command: Sequence[str],
    materials: Sequence[str] = (),
    products: Sequence[str] = (),
    *,
    cwd: Path | None = None,
    state: StateCache | None = None,
    progress: Progress | None = None,
    stdout: int = 1,
    stderr: int = 2,
) -> Observation:
    """Run the command and return its materials and products; names are relative to `root`.

    The command's output is passed to the descriptors. A failing command is no error: its exit code is in the result.
    Raises RunError if it cannot start, a material changed during the run, or it exits with 0 without writing any
    product. Raises ProjectError for a missing or refused material.
    """
    if not command:
        raise RunError("no command to run", help="gitchain run STEP -- COMMAND")
    before = tuple(collect_artifact(root, name, state, progress=progress) for name in _once(materials))
    made = _CommandProducts(root, _once(products), frozenset(_once(materials)), state, progress)
    with look_before(root, made.names, state, progress=progress) as old:
        done = run_tee(command, cwd=cwd or root, stdout=stdout, stderr=stderr)
        if done.exit_code == 0:
            now = look_after(root, old.files)
            check_unchanged(root, before, frozenset(products), state)
            made.collect(old, now)
    return Observation(
        command=tuple(command),
        materials=before,
        products=tuple(made.found),
        started=done.started,
        finished=done.finished,
        exit_code=done.exit_code,
        stdout_sha256=done.stdout_sha256,
        stderr_sha256=done.stderr_sha256,
        problems=tuple(made.problems),
        unwritten=tuple(made.unwritten),
        interpreters=done.interpreters,
    )


def check_unchanged(
    root: Path,
    materials: Iterable[CollectedArtifact],
    products: frozenset[str],
    state: StateCache | None = None,
) -> None:
    """Read the materials again. Raises RunError for a changed one that is no product."""
    for material in materials:
        if material.name in products:
            continue
        try:
            now = collect_artifact(root, material.name, state)
        except ProjectError as error:
            raise RunError(
                "material is gone after the run",
                where=material.name,
                got=error.what,
                help="name only materials that the command leaves in place",
            ) from error
        if now.descriptor.digest != material.descriptor.digest:
            raise RunError(
                "material changed while the command ran",
                where=changed_file(material, now),
                help=f"name it as a product too if the command writes it: -p {material.name}",
            )


def changed_file(before: CollectedArtifact, after: CollectedArtifact) -> str:
    """Return the name of the first file that differs between two readings of one artifact."""
    old = {part.path: (part.sha256, part.executable) for part in before.parts}
    new = {part.path: (part.sha256, part.executable) for part in after.parts}
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            return f"{before.name}/{path}".rstrip("/")
    return before.name


@dataclass(slots=True)
class _CommandProducts:
    """The products of a command that exited with 0, and the problems of the others."""

    root: Path
    names: tuple[str, ...]
    materials: frozenset[str]
    state: StateCache | None
    progress: Progress | None
    found: list[CollectedArtifact] = field(default_factory=list)
    problems: list[GitchainError] = field(default_factory=list)
    unwritten: list[tuple[str, GitchainError]] = field(default_factory=list)

    def collect(self, before: ProductsBefore, after: Mapping[str, FileState]) -> None:
        """Read the products. Raises the first error if there are none."""
        for name in self.names:
            try:
                self._one(name, before, after)
            except GitchainError as error:
                self.problems.append(error)
        if self.names and not self.found:
            raise [*self.problems, *(error for _, error in self.unwritten)][0]

    def _one(self, name: str, before: ProductsBefore, after: Mapping[str, FileState]) -> None:
        if not os.path.lexists(self.root / name):
            raise RunError(
                "command did not make its product",
                where=name,
                expected="a file or directory",
                help="check the command and its output path (-p); paths are relative to the current directory",
            )
        artifact = collect_artifact(self.root, name, self.state, progress=self.progress)
        stale = unwritten_parts(artifact, before.files, after, before.started)
        there = [path for path in before.files if path == name or path.startswith(f"{name}/")]
        parents = (name.rsplit("/", count)[0] for count in range(name.count("/") + 1))
        if not self.materials.isdisjoint(parents) and (
            len(stale) < len(artifact.parts) or len(there) > len(stale)
        ):
            stale = ()  # unchanged products existed before the run, and the statement says that
        made = written_products(artifact, stale)
        if stale:
            self.unwritten.append((name, not_written(name, stale, whole=not made)))
        self.found += made


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
