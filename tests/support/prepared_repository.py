"""A set-up repository to spoil, and what must be true after any command: one clear error, and nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitchain.store.git_ref import AttestationStore
from gitchain.workspace.project import open_project

WHO = "ada@example.com"
GIT_IDENTITY = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "init.defaultBranch",
    "GIT_CONFIG_VALUE_0": "main",
    "GIT_CONFIG_KEY_1": "user.email",
    "GIT_CONFIG_VALUE_1": WHO,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": WHO,
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": WHO,
}
LEFT_BEHIND = (
    ".tmp-",
    ".new",
    ".lock",
    ".config.toml.",
    ".layout.yaml.",
    ".pins.json.",
    ".local.",
    ".gitchain-",
)
LOCKS_THAT_STAY = {"store.lock", "attest.lock", "drainer.lock", "pins.lock", "dvc.lock", "lock"}

PIPELINE = """\
stages:
  prepare:
    cmd: cp data/raw.csv data/clean.csv
    deps: [data/raw.csv]
    outs: [data/clean.csv]
  train:
    cmd: cp data/clean.csv model.bin
    deps: [data/clean.csv]
    outs: [model.bin]
"""


@dataclass(frozen=True)
class PreparedRepository:
    """A repository that `init --local` set up, with a signed layout and an attested pipeline."""

    repo: Path
    home: Path

    def git(self, *args: str) -> str:
        return git(self.repo, *args)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def stored(self) -> set[str]:
        return set(AttestationStore.open(self.repo).names())

    def waiting(self) -> set[str]:
        return {item.id for item in open_project(self.repo).outbox.items()}


def git(cwd: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def lock_file(files: Mapping[str, tuple[Iterable[str], Iterable[str]]], root: Path) -> str:
    """Return the dvc.lock of stages that have run, as DVC writes it."""

    def entry(name: str) -> str:
        data = (root / name).read_bytes()
        return f"    - path: {name}\n      hash: md5\n      md5: {hashlib.md5(data).hexdigest()}\n      size: {len(data)}\n"

    lines = ["schema: '2.0'\nstages:\n"]
    for stage, (deps, outs) in files.items():
        lines.append(
            f"  {stage}:\n    cmd: x\n    deps:\n{''.join(map(entry, deps))}    outs:\n{''.join(map(entry, outs))}"
        )
    return "".join(lines)


def prepare_repository(
    repo: Path, home: Path, run: Callable[[Path, tuple[str, ...]], int]
) -> PreparedRepository:
    """Set a repository up as a user would: two stages, layout signed, everything attested, all committed."""
    world = PreparedRepository(repo, home)
    repo.mkdir()
    world.git("init", "-q")
    (repo / ".dvc").mkdir()
    world.write(".dvc/config", "")
    world.write(".dvc/.gitignore", "/cache\n/tmp\n")
    world.write("dvc.yaml", PIPELINE)
    for name in ("data/raw.csv", "data/clean.csv", "model.bin"):
        world.write(name, "a,b\n1,2\n")
    stages = {"prepare": (["data/raw.csv"], ["data/clean.csv"]), "train": (["data/clean.csv"], ["model.bin"])}
    world.write("dvc.lock", lock_file(stages, repo))
    world.write(".gitignore", "/data\n/model.bin\n")
    world.git("add", "-A")
    world.git("commit", "-q", "-m", "pipeline")
    assert run(repo, ("init", "--local", "--name", "demo", "--no-hooks")) == 0
    layout = repo / ".gitchain/layout.yaml"
    drafted = layout.read_text().splitlines(keepends=True)  # its steps ask for observed evidence
    layout.write_text("".join(line for line in drafted if "evidence: observed" not in line))
    assert run(repo, ("layout", "sign")) == 0
    assert run(repo, ("attest",)) == 0
    world.git("add", "-A")
    world.git("commit", "-q", "-m", "set up")
    return world


def refused(done: Any, code: int, *words: str) -> None:
    """One clear error: the exit code, one `error:` with details and the words, and no traceback or bug."""
    assert done.code == code, done.text
    assert "Traceback" not in done.text, done.text
    assert "a bug in gitchain" not in done.text, done.text
    lines = done.err.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1, done.text
    assert any(line.startswith(("  where ", "  got ", "  expected ", "  help ")) for line in lines), done.text
    assert all(char.isprintable() or char == "\n" for char in done.err), ascii(done.err)
    assert len(done.err) < 10_000, len(done.err)
    for word in words:
        assert word in done.err, (word, done.err)


def intact(world: PreparedRepository, stored: set[str] | None = None) -> None:
    """Nothing half-written: Git and the store are whole, and no temporary file is left."""
    fsck = subprocess.run(
        ["git", "fsck", "--full", "--strict"], cwd=world.repo, capture_output=True, text=True, check=False
    )
    assert fsck.returncode == 0, fsck.stdout + fsck.stderr
    store = AttestationStore.open(world.repo)
    assert store.problems() == ()
    if stored is not None:
        assert stored <= set(store.names())
    assert leftovers(world) == []


def leftovers(world: PreparedRepository) -> list[Path]:
    """Return temporary files that nobody will clean up."""
    places = (world.repo / ".git", world.repo / ".gitchain", world.home)
    return [
        Path(folder) / name
        for place in places
        for folder, folders, names in os.walk(place)
        for name in [*names, *folders]
        if name not in LOCKS_THAT_STAY
        and Path(folder).name != "index"  # the locks of the indexes stay as well
        and (name.startswith(LEFT_BEHIND) or name.endswith(LEFT_BEHIND) or name.startswith("tmp_obj_"))
    ]


def repoint(home: Path, old: Path, new: Path) -> None:
    """Make the pins of a copied world speak of the copy."""
    pins = home / "pins.json"
    pins.write_text(pins.read_text().replace(json.dumps(str(old))[1:-1], json.dumps(str(new))[1:-1]))
