"""Fixtures of the hooks' tests: a repository with hooks, and a drainer that only says that it was started."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.hooks import install

Started = Callable[[], list[str]]


@pytest.fixture
def write_script() -> Callable[..., bytes]:
    """Return a function that puts someone's script at a path and returns its bytes."""

    def write(path: Path, text: str, mode: int = 0o755) -> bytes:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        path.chmod(mode)
        return text.encode()

    return write


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write_script: Callable[..., bytes]) -> Started:
    """Replace the drainer by a line in a file; return a function that reads the lines."""
    tools, log = tmp_path / "tools", tmp_path / "started"
    write_script(tools / "sleep", "#!/bin/sh\nexit 0\n")
    write_script(tools / "nice", f'#!/bin/sh\nenv >"{log}.env"\nprintf "%s\\n" "$*" >>"{log}"\n')
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    return lambda: log.read_text(encoding="utf-8").splitlines() if log.exists() else []


@pytest.fixture
def queued() -> Callable[[Path], list[str]]:
    """Return a function that reads what the hooks of a repository have queued."""

    def read(repo: Path) -> list[str]:
        queue = repo / ".git" / "gitchain" / "queue"
        return (
            [line for line in queue.read_text(encoding="utf-8").splitlines() if line]
            if queue.exists()
            else []
        )

    return read


@pytest.fixture
def hooked(git_repo: Path, started: Started) -> Path:
    """Return a repository whose hooks are installed, the one for tags included."""
    install(git_repo, tags=True)
    return git_repo
