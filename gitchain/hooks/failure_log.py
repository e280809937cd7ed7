"""Problems of the hooks and of the last sync, for `gitchain doctor` and `hooks status`."""

from __future__ import annotations

import os
from pathlib import Path

from gitchain.hooks.hooks_dir import find_place
from gitchain.platform.files import open_regular
from gitchain.store.queue import HookQueue

MAX_TRACE_BYTES = 4096  # a few lines suffice


def troubles(root: Path) -> tuple[str, ...]:
    """Return the recorded problems of hooks and drainer, one line each. Raises ProjectError without a repository."""
    home = find_place(root).home
    working = _is_alive(home / "wake")
    found = [f"hook: {line}" for line in _lines(home / "hook-error")]
    found += [f"sync: {line}" for line in _lines(home / "sync-error")]
    if not working:
        found += [f"drainer: {line}" for line in _lines(home / "drain.log")]
        if home.is_dir() and len(HookQueue(home)):
            found.append("events wait and no drainer works on them: gitchain sync")
    return tuple(dict.fromkeys(found))


def _lines(path: Path) -> list[str]:
    try:
        with open_regular(path) as file:
            text = file.read(MAX_TRACE_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def _is_alive(wake: Path) -> bool:
    try:
        with open_regular(wake) as file:
            os.kill(int(file.read(32)), 0)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True
