"""How the tests call the command line: as a process where it matters, in this process where speed does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Done:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def text(self) -> str:
        return self.out + self.err


Gitchain = Callable[..., Done]


@pytest.fixture
def gitchain(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Gitchain:
    """Return a function that runs `gitchain ARGS` in this process, in directory `cwd`."""
    from gitchain.cli.main import run

    def call(*args: str, cwd: Path | None = None) -> Done:
        before = Path.cwd()
        if cwd:
            os.chdir(cwd)
        try:
            code = run(args)
        finally:
            os.chdir(before)
        out, err = capfd.readouterr()
        return Done(int(code), out, err)

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return call


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Gitchain:
    """Return a function that runs `gitchain ARGS` as a process of its own."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

    def call(*args: str, cwd: Path | None = None, **kwargs: Any) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "gitchain", *args],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            **kwargs,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call
