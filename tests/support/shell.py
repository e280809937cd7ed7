"""How the journeys call the command line, git and dvc: as a user does, in one directory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.preloaded import programs

BIN = Path(sys.executable).parent


IDENTITY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "Ada"), ("EMAIL", "ada@example.com"))
}


def environment(home: Path, *, is_installed: bool = False) -> dict[str, str]:
    """Return the environment of a user who has gitchain, dvc and sigstore on PATH, and this home directory.

    `gitchain` and `dvc` are those of `tests.support.preloaded`, or the installed ones.
    """
    places = [BIN] if is_installed else [programs(), BIN]
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("GIT_", "GITCHAIN_", "DVC_", "SIGSTORE_", "XDG_", "ACTIONS_"))
    }
    return (
        kept
        | IDENTITY
        | {
            "PATH": os.pathsep.join([*map(str, places), os.environ["PATH"]]),
            "HOME": str(home),
            "GITCHAIN_HOME": str(home / "gitchain"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(home / "dvc"),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
        }
    )


@dataclass(frozen=True)
class Done:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Shell:
    """Runs commands in one directory, as the user with this home; the installed programs or the preloaded ones."""

    cwd: Path
    home: Path
    is_installed: bool = False

    def run(self, *command: str) -> Done:
        done = subprocess.run(
            command,
            cwd=self.cwd,
            env=environment(self.home, is_installed=self.is_installed),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def must(self, *command: str) -> str:
        done = self.run(*command)
        assert done.code == 0, f"$ {' '.join(command)}\nexit {done.code}\n{done.text}"
        return done.out

    def gitchain(self, *arguments: str) -> Done:
        return self.run("gitchain", *arguments)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.must("gitchain", "--json", *arguments))

    def repro(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """Run `gitchain run -- dvc repro`; return what was attested, by step."""
        document = self.json("run", "--", "dvc", "repro", *arguments)
        assert document["queued"] == []
        return {row["step"]: row for row in document["attested"]}

    def verify(self, target: str, code: int = 0) -> dict[str, Any]:
        """Verify a target, check the exit code, and return the document."""
        done = self.gitchain("verify", target, "--json")
        assert done.code == code, done.text
        found: dict[str, Any] = json.loads(done.out)
        return found

    def commit(self, message: str, *, hooks: bool = True) -> None:
        """Commit everything; without hooks nothing works on in the background afterwards."""
        self.must("git", "add", "-A")
        self.must(
            "git", *(() if hooks else ("-c", "core.hooksPath=/dev/null")), "commit", "-q", "-m", message
        )

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.cwd / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def flip(self, name: str) -> None:
        """Flip one bit in the middle of a file, whatever protects it."""
        path = self.cwd / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.unlink()  # never through a link into DVC's cache
        path.write_bytes(data)

    def copy(self, folder: Path) -> Shell:
        """Copy project and home into a folder, so that a test can do with them what it likes."""
        shutil.copytree(self.cwd, folder / self.cwd.name, symlinks=True)
        shutil.copytree(self.home, folder / self.home.name, symlinks=True)
        return Shell(folder / self.cwd.name, folder / self.home.name)


def new_repository(folder: Path) -> Shell:
    """Make a home, and a Git repository with DVC in it."""
    shell = Shell(folder / "project", folder / "user")
    shell.cwd.mkdir(parents=True)
    shell.home.mkdir()
    shell.must("git", "init", "-q", "-b", "main")
    shell.must("dvc", "init", "-q")
    return shell
