"""The distributions of this tree, built and installed: real virtual environments, and no network.

The packages of a lock file are linked from the environment that runs the tests, and no others are there: what the
lock lacks cannot be imported.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
BIN = "/usr/bin:/bin"
GIT_ENV = {
    f"GIT_{role}_{part}": f"ada{at}"
    for role in ("AUTHOR", "COMMITTER")
    for part, at in (("NAME", ""), ("EMAIL", "@example.com"))
}


@dataclass(frozen=True)
class Installed:
    """One environment with gitchain in it."""

    home: Path

    @property
    def bin(self) -> Path:
        return self.home / "bin"

    def run(self, *command: str, cwd: Path, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, with nothing of ours on PATH but it and git."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        env |= {"PATH": f"{self.bin}:{BIN}"}
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            **more,
        )

    def ok(self, *command: str, cwd: Path) -> str:
        """Return what the program printed; it must end with 0."""
        done = self.run(*command, cwd=cwd)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


def locked(name: str) -> list[Requirement]:
    """Return the packages of a lock file that this platform installs."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    lines = re.findall(r"^([\w.-]+(?:\[[\w,-]+\])?==[^\\\n]+)", text, re.MULTILINE)
    found = [Requirement(line.strip()) for line in lines]
    return [one for one in found if one.marker is None or one.marker.evaluate()]


def build(into: Path, *options: str) -> list[Path]:
    """Build the distributions into a directory and return the files."""
    command = [sys.executable, str(ROOT / "deploy" / "wheels.py"), *options, str(into)]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [Path(line) for line in made.splitlines() if line.startswith(str(into))]


def install(home: Path, wheel: Path, lock: str) -> Installed:
    """Return a new environment with the packages of a lock file and the wheel."""
    venv.EnvBuilder(symlinks=True).create(home)
    (site,) = (home / "lib").glob("python*/site-packages")
    for requirement in locked(lock):
        distribution = importlib.metadata.distribution(requirement.name)
        assert requirement.specifier.contains(distribution.version), "the environment is not that of the lock"
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "-q"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--no-compile", str(wheel)], check=True)
    return Installed(home)
