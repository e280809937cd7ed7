"""Find the files of a product that a command wrote, by comparing their state before and after the command.

A file is written if it was not there before, has other bytes, or is another inode; and if its modification time moved into
the run: so a command that writes the same bytes again counts. One that only sets times (`touch`) does not: it leaves
access, modification and change time the same, which no write does. To tell that from a file that was removed and made
again, up to MAX_HELD files are held open, so that their inode numbers are not given away.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from gitchain.collect.artifacts import CollectedArtifact, collect_artifact, make_artifact
from gitchain.collect.file_digests import Progress
from gitchain.collect.hash_cache import StateCache
from gitchain.errors import GitchainError, RunError
from gitchain.evidence.digest import Sha256

MAX_HELD = 256
"""Most files that are held open during a run: a quarter of the usual limit of 1,024."""

TICK = 0.02
"""Seconds after which the kernel's clock for file times has moved on: it ticks every 10 ms or more often."""


@dataclass(frozen=True, slots=True)
class FileState:
    """State of a file before the command; `held` if its inode number cannot have been reused since.

    `sha256` is None for an unreadable file, whose change is detected by inode and times alone.
    """

    sha256: Sha256 | None
    device: int
    inode: int
    modified: int
    changed: int
    accessed: int
    held: bool = False


@dataclass(slots=True)
class ProductsBefore:
    """The files of products that were there before the command, by path below the root; close it after the run."""

    files: dict[str, FileState] = field(default_factory=dict)
    started: int = 0
    _handles: ExitStack = field(default_factory=ExitStack, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._handles.close()


def look_before(
    root: Path,
    names: Iterable[str],
    state: StateCache | None = None,
    *,
    progress: Progress | None = None,
    hold: bool = True,
) -> ProductsBefore:
    """Return the files of the named products that are there now.

    Where something in a product cannot be read, all of its files are taken by inode and times, without their bytes: the
    command may remove what is in the way, and has then not written the rest.
    """
    before = ProductsBefore()
    for name in names:
        if not os.path.lexists(root / name):
            continue
        for path, sha256 in _files(root, name, state, progress):
            held = hold and len(before.files) < MAX_HELD and _hold(before, root / path)
            with suppress(OSError):
                before.files[path] = _state(root / path, sha256, held=held)
    newest = max((max(one.modified, one.changed, one.accessed) for one in before.files.values()), default=0)
    if abs(time.time_ns() - newest) < TICK * 1e9:
        time.sleep(TICK)  # else a write could leave the times that are there
    before.started = time.time_ns()
    return before


def _files(
    root: Path, name: str, state: StateCache | None, progress: Progress | None
) -> Iterator[tuple[str, Sha256 | None]]:
    """Yield path and SHA-256 of each file of a product, None for the SHA-256 where the product cannot be read."""
    try:
        artifact = collect_artifact(root, name, state, progress=progress)
    except GitchainError:
        yield name, None
        for folder, _, files in os.walk(root / name):
            for file in files:
                yield (Path(folder) / file).relative_to(root).as_posix(), None
        return
    for part in artifact.parts:
        yield f"{name}/{part.path}" if part.path else name, part.sha256


def _hold(before: ProductsBefore, path: Path) -> bool:
    flags = getattr(os, "O_PATH", 0) | os.O_CLOEXEC
    if flags == os.O_CLOEXEC:
        return False
    try:
        handle = os.open(path, flags)
    except OSError:
        return False
    before._handles.callback(os.close, handle)  # noqa: SLF001 - of this module
    return True


def _state(path: Path, sha256: Sha256 | None, *, held: bool = False) -> FileState:
    info = os.stat(path)
    return FileState(
        sha256, info.st_dev, info.st_ino, info.st_mtime_ns, info.st_ctime_ns, info.st_atime_ns, held
    )


def look_after(root: Path, before: Mapping[str, FileState]) -> Mapping[str, FileState]:
    """Return the state of the files after the command. Call it before reading them, which changes their access times."""
    after: dict[str, FileState] = {}
    for path, old in before.items():
        with suppress(OSError):
            after[path] = _state(root / path, old.sha256)
    return after


def unwritten_parts(
    artifact: CollectedArtifact, before: Mapping[str, FileState], after: Mapping[str, FileState], started: int
) -> tuple[str, ...]:
    """Return the paths in the artifact ("" for a file itself) of the files that the command did not write."""
    found: list[str] = []
    for part in artifact.parts:
        path = f"{artifact.name}/{part.path}" if part.path else artifact.name
        old, now = before.get(path), after.get(path)
        if old is None or now is None or old.sha256 not in {None, part.sha256}:
            continue
        if not _is_rewritten(old, now, started):
            found.append(part.path)
    return tuple(found)


def _is_rewritten(old: FileState, now: FileState, started: int) -> bool:
    """Return whether a file with the bytes that it had was written again."""
    if (old.device, old.inode) != (now.device, now.inode):
        return True
    if now.modified == old.modified or now.modified < started - TICK * 1e9:
        return False
    only_times = now.accessed == now.modified == now.changed and now.accessed != old.accessed
    return not (old.held and only_times)


def written_products(artifact: CollectedArtifact, unwritten: Sequence[str]) -> tuple[CollectedArtifact, ...]:
    """Return the part of the artifact that the command wrote: all of it, some of its files, or nothing."""
    if not unwritten:
        return (artifact,)
    stale = frozenset(unwritten)
    return tuple(
        make_artifact(f"{artifact.name}/{part.path}", part._replace(path=""))
        for part in artifact.parts
        if part.path not in stale
    )


def not_written(name: str, unwritten: Sequence[str], *, whole: bool) -> RunError:
    """Return the error for a product that the command did not write, or not the whole of."""
    first = f"{name}/{unwritten[0]}" if unwritten and unwritten[0] else name
    more = f" and {len(unwritten) - 1} more" if len(unwritten) > 1 else ""
    if whole:
        return RunError(
            f"the command did not write its product {name}: unchanged since before the run",
            expected="a product that the command makes",
            help="check the command and its output path; or remove the product, then run again",
        )
    return RunError(
        f"the command did not write all of its product {name}: unchanged since before the run",
        got=f"{first}{more}",
        help="the files that it wrote are attested one by one; to attest the directory, "
        f"name it as a material too (-m {name}) or remove it before the run",
    )
