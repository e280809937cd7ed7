"""Shared fixtures: every test runs with its own user directory, a fixed Git identity, and loopback only."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fuzzing import FUZZ, load_profiles

ROOT = Path(__file__).parents[1]
MEMORY = Path("/dev/shm")
ROOM = 8 << 30
"""Fewer bytes free in memory, and the directories of tests are on the disk."""


def prepare_speed() -> None:
    """Compile the program once for all processes of tests, and keep their directories in memory where it is large."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


prepare_speed()
load_profiles()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests that are marked `slow` to `make fuzz`."""
    if FUZZ or config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


GIT_ENV = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "init.defaultBranch",
    "GIT_CONFIG_VALUE_0": "main",
    "DVC_NO_ANALYTICS": "1",
    "LC_ALL": "C.UTF-8",
}


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test its own user directory and Git identity; return the user directory."""
    home = tmp_path / "home"
    home.mkdir()
    for key in list(os.environ):
        if key.startswith(("GIT_", "GITCHAIN_", "DVC_", "SIGSTORE_", "ACTIONS_", "PYTHONUNBUFFERED")):
            monkeypatch.delenv(key)
    for key, value in GIT_ENV.items():
        monkeypatch.setenv(key, value)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # so starts what a shell puts into the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GITCHAIN_HOME", str(home / "gitchain"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(home / "dvc-site"))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return home / "gitchain"


@pytest.fixture(autouse=True)
def same_directory(tmp_path: Path) -> Iterator[None]:
    """Leave the test's directory before it is removed: `gitchain -C` changes that of the process."""
    yield
    os.chdir(ROOT)


@pytest.fixture(autouse=True)
def logs_of_the_server_restored() -> Iterator[None]:
    """Take away what a test has set up: its stream is closed when the next test starts."""
    loggers = [logging.getLogger(name) for name in ("gitchain.serve", "uvicorn")]
    before = [(one, one.handlers[:], one.level, one.propagate) for one in loggers]
    yield
    for one, handlers, level, propagate in before:
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"
        if host not in {"127.0.0.1", "::1", "localhost"}:
            msg = f"test tried to connect to {host}"
            raise AssertionError(msg)
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def git() -> Callable[..., str]:
    """Return a function that runs git in a directory and returns its stdout."""

    def run(cwd: Path, *args: str, check: bool = True) -> str:
        done = subprocess.run(["git", *args], cwd=cwd, check=check, capture_output=True, text=True)
        return done.stdout.strip()

    return run


@pytest.fixture
def git_repo(tmp_path: Path, git: Callable[..., str]) -> Path:
    """Return a real Git repository with one commit on main."""
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "-q")
    (repo / "README.md").write_text("a repository\n", encoding="utf-8")
    git(repo, "add", "README.md")
    git(repo, "commit", "-q", "-m", "first")
    return repo
