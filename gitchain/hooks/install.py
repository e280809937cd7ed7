"""Install, list and remove the Git hooks, and keep the hooks that exist (docs/hooks.md).

In a shell script, gitchain's block follows the first line. Any other hook (a link, a program, a script in another
language, a disabled hook) is moved aside unchanged, and gitchain's hook runs it. pre-commit renames the hooks that
it finds to `<hook>.legacy` and runs them from its own: a block in there counts as installed. Removing restores the
bytes and the mode.

Does NOT set `core.hooksPath`. Changes a shared hooks directory only on request.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from gitchain.errors import ProjectError, StoreError
from gitchain.hooks.blocks import (
    ASLEEP,
    CHAINED,
    HOOKS,
    SHEBANG,
    TAG_HOOK,
    HookBlock,
    find,
    insert,
    is_shell,
    render,
)
from gitchain.hooks.hooks_dir import HooksDirectory, delete, find_place, move, read_hook, write_hook
from gitchain.store.queue import HookQueue

HookState = Literal["installed", "outdated", "foreign", "missing"]

_LEGACY = ".legacy"
_MADE_HOOKS = "made-hooks-directory"
_TRANSIENT = ("wake", "hook-error", "drain.log", "drainer.lock", "attest.lock")


@dataclass(frozen=True, slots=True)
class HookStatus:
    """State of one hook. `foreign`: another program's, without gitchain. `detail` describes anything unusual."""

    name: str
    state: HookState
    path: Path
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the fields for `--json`."""
        return {"name": self.name, "state": self.state, "path": str(self.path), "detail": self.detail}


class _HookFile(NamedTuple):
    """A file with gitchain's block."""

    path: Path
    content: bytes
    block: HookBlock
    mode: int


def install(root: Path, *, force: bool = False, tags: bool = False) -> tuple[HookStatus, ...]:
    """Install or update the hooks of the repository that contains `root`; return their states.

    `tags` adds the hook that detects tags at once. `force` allows a shared directory. Raises ProjectError (no
    repository, bare, shared directory, damaged marks) or StoreError.
    """
    place = find_place(root)
    if place.shared and not force:
        raise ProjectError(
            place.shared + ": everyone who uses it would get gitchain's hooks",
            where=str(place.hooks),
            help="gitchain hooks install --force",
        )
    _make_directories(place)
    for name in (*HOOKS, TAG_HOOK) if tags else HOOKS:
        _install_one(place.hooks, name)
    return status(root)


def status(root: Path) -> tuple[HookStatus, ...]:
    """Return the state of every hook; the optional one for tags only if it is installed."""
    directory = find_place(root).hooks
    states = tuple(_status_one(directory, name) for name in (*HOOKS, TAG_HOOK))
    return states if states[-1].state in {"installed", "outdated"} else states[:-1]


def remove(root: Path) -> tuple[HookStatus, ...]:
    """Remove gitchain from all hooks and restore the earlier ones; return their states.

    Raises ProjectError if a hook was changed so that the earlier one cannot be restored, StoreError if the disk
    refuses.
    """
    place = find_place(root)
    for directory in dict.fromkeys((place.hooks, place.home.parent / "hooks")):
        for name in (*HOOKS, TAG_HOOK):
            _remove_one(directory, name)
    _sweep(place)
    return status(root)


def _make_directories(place: HooksDirectory) -> None:
    try:
        place.home.mkdir(parents=True, exist_ok=True)
        if not place.hooks.is_dir():
            (place.home / _MADE_HOOKS).touch()
            place.hooks.mkdir(parents=True)
    except OSError as error:
        raise StoreError(
            "cannot make a directory", where=str(error.filename), got=str(error.strerror)
        ) from error


def _candidates(directory: Path, name: str) -> Iterator[Path]:
    yield directory / name
    yield directory / (name + ASLEEP)
    if os.path.lexists(directory / name):
        yield directory / (name + _LEGACY)


def _held(directory: Path, name: str) -> _HookFile | None:
    for path in _candidates(directory, name):
        try:
            content = read_hook(path)
        except FileNotFoundError:
            continue
        if content is not None and (block := _find(content, path)) is not None:
            return _HookFile(path, content, block, stat.S_IMODE(path.stat().st_mode))
    return None


def _find(content: bytes, path: Path) -> HookBlock | None:
    try:
        return find(content)
    except ProjectError as error:
        raise ProjectError(error.what, where=str(path), expected=error.expected, help=error.help) from error


def _install_one(directory: Path, name: str) -> None:
    held = _held(directory, name)
    if held is not None:
        _update(directory / name, held)
        return
    target, aside = directory / name, directory / (name + CHAINED)
    if not os.path.lexists(target):
        way: Literal["created", "chained"] = "chained" if os.path.lexists(aside) else "created"
        write_hook(target, SHEBANG + render(name, way), None)
        return
    content = read_hook(target)
    if content is not None and is_shell(content) and os.access(target, os.X_OK):
        write_hook(target, insert(content, render(name, "added")), stat.S_IMODE(target.stat().st_mode))
        return
    if os.path.lexists(aside):
        raise ProjectError(
            "a hook was moved aside before and would be lost", where=str(aside), help=f"rm {aside}"
        )
    move(target, aside)
    write_hook(target, SHEBANG + render(name, "chained"), None)


def _update(target: Path, held: _HookFile) -> None:
    asleep = held.path.name.endswith(ASLEEP)
    content = held.content.replace(held.block.text, render(target.name, held.block.way))
    mode = held.mode if held.block.way == "added" else None
    if asleep:
        write_hook(target, content, mode)
        delete(held.path)
    elif content != held.content or not held.mode & stat.S_IXUSR:
        write_hook(held.path, content, mode)


def _status_one(directory: Path, name: str) -> HookStatus:
    path = directory / name
    try:
        held = _held(directory, name)
    except ProjectError as error:
        return HookStatus(name, "outdated", path, error.what)
    if held is None:
        return HookStatus(name, "foreign" if os.path.lexists(path) else "missing", path)
    current = held.block.text == render(name, held.block.way)
    return HookStatus(name, "installed" if current else "outdated", held.path, _detail(held))


def _detail(held: _HookFile) -> str:
    if held.path.name.endswith(ASLEEP):
        return "stepped aside for a rebase"
    if not held.mode & stat.S_IXUSR:
        return "not executable: Git ignores it"
    if held.path.name.endswith(_LEGACY):
        return "run by pre-commit"
    return {"created": "", "added": "beside another hook", "chained": "runs " + held.path.name + CHAINED}[
        held.block.way
    ]


def _remove_one(directory: Path, name: str) -> None:
    target, aside = directory / name, directory / (name + CHAINED)
    held = _held(directory, name)
    if held is None:
        if os.path.lexists(aside) and not os.path.lexists(target):
            move(aside, target)
        return
    if held.block.way == "added" or (held.block.way == "created" and held.block.rest != SHEBANG):
        write_hook(held.path, held.block.rest, held.mode)
    elif held.block.rest != SHEBANG:
        raise ProjectError(
            "lines were added to a hook that only hands on to another one",
            where=str(held.path),
            help=f"move them to {aside}, then gitchain hooks remove",
        )
    elif os.path.lexists(aside):
        move(aside, held.path)
    else:
        delete(held.path)


def _sweep(place: HooksDirectory) -> None:
    """Delete the hooks' files in gitchain's own directory; a queue with events is kept."""
    try:
        if (place.home / _MADE_HOOKS).exists() and not any(place.hooks.iterdir()):
            place.hooks.rmdir()
        for name in (_MADE_HOOKS, *_TRANSIENT):
            (place.home / name).unlink(missing_ok=True)
        if place.home.is_dir() and not len(HookQueue(place.home)):
            for path in (place.home / "queue", *place.home.glob("queue.*.work")):
                path.unlink(missing_ok=True)
        if place.home.is_dir() and not any(place.home.iterdir()):
            place.home.rmdir()
    except OSError as error:
        raise StoreError(
            "cannot delete a file", where=str(error.filename), got=str(error.strerror)
        ) from error
